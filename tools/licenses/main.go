// Command licenses writes THIRD_PARTY_LICENSES.md: every library that is in the
// program on some platform, its licence, and the texts that have to go with
// it. It exits with 1 when a licence is not one that Penstock may be given away
// with and, with -check, when the file is not what would be written.
//
//	go -C tools run ./licenses -dir .. [-check]
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-licenses/v2/licenses"
	"k8s.io/klog/v2"
)

const (
	product = "github.com/penstock/penstock"
	file    = "THIRD_PARTY_LICENSES.md"
)

// allowed are the licences under which a library may be part of a program that
// is given away under Apache-2.0, without conditions on the rest of it.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"}

func main() {
	dir := flag.String("dir", ".", "the repository")
	check := flag.Bool("check", false, "write nothing; tell whether the file is as it should be")
	flag.Parse()
	klog.LogToStderr(false) // it tells of every file in assembly
	klog.SetOutput(io.Discard)
	if err := run(*dir, *check); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func run(dir string, check bool) error {
	if err := os.Chdir(dir); err != nil {
		return err
	}
	found, err := collect()
	if err != nil {
		return err
	}
	if err := forbidden(found); err != nil {
		return err
	}
	want := render(found)
	if !check {
		return os.WriteFile(file, want, 0o644)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		return errors.Join(errors.New(file+" is not current; run make licenses"), err)
	}
	return nil
}

// library is a part of the program that others have written.
type library struct {
	name, version string
	licences      []string
	// texts are the licence and, where there is one, the notice.
	texts []string
}

// collect looks at every platform that is released, since each has libraries
// of its own.
func collect() (map[string]library, error) {
	classifier, err := licenses.NewClassifier()
	if err != nil {
		return nil, err
	}
	found := map[string]library{}
	for _, platform := range []string{"linux", "darwin", "windows"} {
		for name, value := range map[string]string{"GOOS": platform, "GOARCH": "amd64", "CGO_ENABLED": "0"} {
			if err := os.Setenv(name, value); err != nil {
				return nil, err
			}
		}
		libs, err := licenses.Libraries(context.Background(), classifier, false, []string{product}, "./cmd/penstock")
		if err != nil {
			return nil, fmt.Errorf("libraries on %s: %w", platform, err)
		}
		for _, l := range libs {
			if found[l.Name()], err = read(l); err != nil {
				return nil, err
			}
		}
	}
	found["std"], err = standardLibrary()
	return found, err
}

func read(l *licenses.Library) (library, error) {
	out := library{name: l.Name(), version: l.Version()}
	if l.LicenseFile == "" {
		return out, nil // forbidden says so
	}
	for _, one := range l.Licenses {
		out.licences = append(out.licences, one.Name)
	}
	slices.Sort(out.licences)
	out.licences = slices.Compact(out.licences)
	notices, err := filepath.Glob(filepath.Join(filepath.Dir(l.LicenseFile), "NOTICE*"))
	if err != nil {
		return out, err
	}
	for _, name := range append([]string{l.LicenseFile}, notices...) {
		text, err := os.ReadFile(name)
		if err != nil {
			return out, err
		}
		out.texts = append(out.texts, clean(text))
	}
	return out, nil
}

// standardLibrary is in every program that Go makes.
func standardLibrary() (library, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return library{}, fmt.Errorf("go env GOROOT: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "LICENSE"))
	return library{name: "the standard library of Go", licences: []string{"BSD-3-Clause"}, texts: []string{clean(text)}}, err
}

// clean makes texts the same that differ in spaces at the ends of lines alone.
func clean(text []byte) string {
	lines := strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

func forbidden(found map[string]library) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(found)) {
		l := found[name]
		if len(l.licences) == 0 {
			errs = append(errs, fmt.Errorf("%s has no licence that is known; without one nobody may use it", l.name))
		}
		for _, licence := range l.licences {
			if !slices.Contains(allowed, licence) {
				errs = append(errs, fmt.Errorf("%s is under %s, which is none of %s", l.name, licence, strings.Join(allowed, ", ")))
			}
		}
	}
	return errors.Join(errs...)
}

// render writes the list, then each text once, with the libraries it is of.
func render(found map[string]library) []byte {
	var out bytes.Buffer
	out.WriteString("# Third-party licences\n\nWritten by `make licenses`. Penstock contains these libraries, on one platform or another:\n\n| library | version | licence |\n|---|---|---|\n")
	of := map[string][]string{}
	var order []string
	libs := slices.SortedFunc(maps.Values(found), func(a, b library) int { return strings.Compare(a.name, b.name) })
	for _, l := range libs {
		fmt.Fprintf(&out, "| %s | %s | %s |\n", l.name, l.version, strings.Join(l.licences, ", "))
		for _, text := range l.texts {
			if of[text] == nil {
				order = append(order, text)
			}
			of[text] = append(of[text], l.name)
		}
	}
	for _, text := range order {
		fmt.Fprintf(&out, "\n## %s\n\n~~~~~~text\n%s\n~~~~~~\n", strings.Join(of[text], ", "), text)
	}
	return out.Bytes()
}
