package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// documents go into every archive.
var documents = []string{"LICENSE", "THIRD_PARTY_LICENSES.md", "README.md", "CHANGELOG.md", "SECURITY.md"}

// shells are those that completions are made for, by the file's name.
var shells = map[string]string{"bash": "penstock.bash", "zsh": "_penstock", "fish": "penstock.fish", "powershell": "penstock.ps1"}

// release writes all files of a version.
func release(ctx context.Context, o options) error {
	if err := clean(ctx, o.dir); err != nil {
		return err
	}
	at, err := commitTime(ctx, o.dir)
	if err != nil {
		return err
	}
	if o.version == "" {
		if o.version, err = git(ctx, o.dir, "describe", "--tags", "--always"); err != nil {
			return err
		}
	}
	if _, err := chartVersion(o.dir, o.version); err != nil { // known before minutes of building
		return err
	}
	if err := os.RemoveAll(o.out); err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "penstock-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	shared, err := sharedFiles(ctx, o, work)
	if err != nil {
		return err
	}
	for _, t := range o.targets {
		began := time.Now()
		if err := releaseTarget(ctx, o, t, work, shared, at); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		fmt.Printf("%-14s %s\n", t, time.Since(began).Round(time.Second))
	}
	if err := packChart(ctx, o, at); err != nil {
		return fmt.Errorf("chart: %w", err)
	}
	return writeSums(o.out)
}

// clean refuses a tree that differs from its commit: what is built of it could
// not be built again.
func clean(ctx context.Context, dir string) error {
	changed, err := git(ctx, dir, "status", "--porcelain")
	if err == nil && changed != "" {
		err = fmt.Errorf("the tree differs from its commit; commit or stash first:\n%s", changed)
	}
	return err
}

func commitTime(ctx context.Context, dir string) (time.Time, error) {
	text, err := git(ctx, dir, "log", "-1", "--format=%ct")
	if err != nil {
		return time.Time{}, err
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	return time.Unix(seconds, 0).UTC(), err
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// build compiles the program for a platform.
func build(ctx context.Context, o options, t target, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=true", "-ldflags", "-s -w -X main.version="+o.version, "-o", binary, "./cmd/penstock")
	cmd.Dir = o.dir
	cmd.Env = append(os.Environ(), "GOOS="+t.os, "GOARCH="+t.arch, "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0")
	if o.cache != "" {
		cmd.Env = append(cmd.Env, "GOCACHE="+o.cache)
	}
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

// sharedFiles are the documents, the manual and the completions, which are the
// same for all platforms. The program itself writes the latter two, as it is on
// this one.
func sharedFiles(ctx context.Context, o options, work string) ([]file, error) {
	here := filepath.Join(work, "here")
	if err := build(ctx, o, target{runtime.GOOS, runtime.GOARCH}, here); err != nil {
		return nil, fmt.Errorf("build for this machine: %w", err)
	}
	var files []file
	for _, name := range documents {
		files = append(files, file{name: name, from: filepath.Join(o.dir, name)})
	}
	for shell, name := range shells {
		text, err := exec.CommandContext(ctx, here, "completion", shell).Output()
		if err != nil {
			return nil, fmt.Errorf("penstock completion %s: %w", shell, err)
		}
		from := filepath.Join(work, name)
		if err := os.WriteFile(from, text, 0o644); err != nil {
			return nil, err
		}
		files = append(files, file{name: "completions/" + name, from: from})
	}
	manual := filepath.Join(work, "man")
	if out, err := exec.CommandContext(ctx, here, "man", manual).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("penstock man: %w: %s", err, out)
	}
	pages, err := os.ReadDir(manual)
	for _, p := range pages {
		files = append(files, file{name: "man/man1/" + p.Name(), from: filepath.Join(manual, p.Name())})
	}
	if err == nil && len(pages) == 0 {
		err = errors.New("the manual has no pages")
	}
	return files, err
}

func releaseTarget(ctx context.Context, o options, t target, work string, shared []file, at time.Time) error {
	name := "penstock"
	if t.os == "windows" {
		name += ".exe"
	}
	binary := filepath.Join(work, t.String(), name)
	if err := build(ctx, o, t, binary); err != nil {
		return err
	}
	base := fmt.Sprintf("penstock_%s_%s", strings.TrimPrefix(o.version, "v"), t)
	files := append([]file{{name: name, from: binary, mode: 0o755}}, shared...)
	if err := writeArchive(filepath.Join(o.out, base+".tar.gz"), base, files, at); err != nil {
		return err
	}
	if o.sbom == "" {
		return nil
	}
	// From the program, not from go.mod: what is in it, no more.
	cmd := exec.CommandContext(ctx, o.sbom, "bin", "-json", "-std", "-noserial", "-notimestamp", "-licenses", "-version", o.version,
		"-output", filepath.Join(o.out, base+".cdx.json"), binary)
	cmd.Dir = o.dir
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sbom: %w: %s", err, out)
	}
	return nil
}
