// Command release builds what is published for a version: for each platform an
// archive with the program, its licences, its manual and the completions of
// shells; beside it an SBOM in CycloneDX; the chart, as helm push takes it; and
// SHA256SUMS of it all. The same commit gives the same bytes, in whatever folder
// and on whatever day. A version whose chart installs another one is refused.
//
//	go -C tools run ./release -dir .. -out ../dist/release
//	go -C tools run ./release -dir .. -check     build it twice and compare
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	var o options
	var targets string
	var check bool
	flag.StringVar(&o.dir, "dir", ".", "the repository")
	flag.StringVar(&o.out, "out", "dist/release", "the folder to write, which is made anew")
	flag.StringVar(&o.version, "version", "", "the version; default: what git describe says")
	flag.StringVar(&o.sbom, "sbom", "", "the program cyclonedx-gomod; without it there is no SBOM")
	flag.StringVar(&targets, "targets", defaultTargets, "the platforms, with commas")
	flag.BoolVar(&check, "check", false, "write nothing: build twice, in two clones, and compare")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := func() (err error) {
		if o.targets, err = parseTargets(targets); err != nil {
			return err
		}
		for _, path := range []*string{&o.dir, &o.out, &o.sbom} {
			if *path != "" {
				if *path, err = filepath.Abs(*path); err != nil {
					return err
				}
			}
		}
		if check {
			return compare(ctx, o)
		}
		return release(ctx, o)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// defaultTargets are those that CI tests (Linux) or compiles (the others).
const defaultTargets = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64"

// target is a platform.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "_" + t.arch }

func parseTargets(list string) ([]target, error) {
	var out []target
	for _, one := range strings.Split(list, ",") {
		system, arch, ok := strings.Cut(strings.TrimSpace(one), "/")
		if !ok || system == "" || arch == "" {
			return nil, fmt.Errorf("-targets: %q is no platform; write linux/amd64", one)
		}
		out = append(out, target{system, arch})
	}
	return out, nil
}

// options say what is built, of which repository, into which folder.
type options struct {
	dir, out, version, sbom string
	targets                 []target
	// cache is the build cache, or empty for the usual one.
	cache string
}
