package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// chartDir is the chart's folder in the repository, chartName its name.
const (
	chartDir  = "charts/penstock"
	chartName = "penstock"
)

// packChart writes the chart as helm package does, but so that the bytes depend
// on the commit alone.
func packChart(ctx context.Context, o options, at time.Time) error {
	version, err := chartVersion(o.dir, o.version)
	if err != nil {
		return err
	}
	listed, err := git(ctx, o.dir, "ls-files", "--", chartDir)
	if err != nil {
		return err
	}
	ignored, err := helmIgnore(filepath.Join(o.dir, chartDir, ".helmignore"))
	if err != nil {
		return err
	}
	var files []file
	for name := range strings.Lines(listed) {
		name = strings.TrimPrefix(strings.TrimSpace(name), chartDir+"/")
		if !ignored(name) {
			files = append(files, file{name: name, from: filepath.Join(o.dir, chartDir, name)})
		}
	}
	if !slices.ContainsFunc(files, func(f file) bool { return f.name == "Chart.yaml" }) {
		return fmt.Errorf("git knows no %s/Chart.yaml", chartDir)
	}
	return writeArchive(filepath.Join(o.out, chartName+"-"+version+".tgz"), chartName, files, at)
}

var (
	releaseVersion = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)
	// commitsLater is how git describe ends for a commit that has no tag.
	commitsLater = regexp.MustCompile(`-\d+-g[0-9a-f]+$`)
	chartField   = regexp.MustCompile(`(?m)^(version|appVersion): *"?([^"\s#]+)"?`)
)

// chartVersion reads the chart's own version. Where the version to build is that
// of a release, the chart and the image it installs have to be of the same: its
// appVersion is the image's default tag.
func chartVersion(dir, version string) (string, error) {
	name := filepath.Join(chartDir, "Chart.yaml")
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return "", err
	}
	fields := map[string]string{}
	for _, m := range chartField.FindAllStringSubmatch(string(data), -1) {
		fields[m[1]] = m[2]
	}
	if !releaseVersion.MatchString(version) || commitsLater.MatchString(version) {
		if fields["version"] == "" {
			return "", fmt.Errorf("%s has no version", name)
		}
		return fields["version"], nil
	}
	want := strings.TrimPrefix(version, "v")
	var wrong []error
	for _, key := range []string{"version", "appVersion"} {
		if fields[key] != want {
			wrong = append(wrong, fmt.Errorf("%s: %s is %q; for the tag %s write %q, commit, and tag that commit", name, key, fields[key], version, want))
		}
	}
	return fields["version"], errors.Join(wrong...)
}

// helmIgnore reads what Helm leaves out of a package. Of its patterns those are
// known that hold for a name in whatever folder: a name, one with *, a folder
// with / at its end.
func helmIgnore(file string) (func(name string) bool, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return func(string) bool { return false }, nil
	}
	if err != nil {
		return nil, err
	}
	var patterns []string
	for sc, n := bufio.NewScanner(bytes.NewReader(data)), 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern := strings.TrimSuffix(line, "/")
		if _, err := path.Match(pattern, ""); err != nil || strings.ContainsAny(pattern, "/!") {
			return nil, fmt.Errorf("%s:%d: %q is a pattern that is not known here; write a name, with * or not", file, n, line)
		}
		patterns = append(patterns, pattern)
	}
	return func(name string) bool {
		return slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool {
			return slices.ContainsFunc(patterns, func(p string) bool {
				ok, _ := path.Match(p, part) // its syntax was checked above
				return ok
			})
		})
	}, nil
}
