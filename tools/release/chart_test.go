package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// repository is the one that this is part of, as seen from the folder of the test.
const repository = "../.."

func TestChartVersion(t *testing.T) {
	t.Parallel()
	const same = "name: penstock\nversion: 1.2.3 # its own\nappVersion: \"1.2.3\"\n"
	for name, tt := range map[string]struct{ chart, version, want string }{
		"the tag's":           {same, "v1.2.3", "1.2.3"},
		"before a release":    {"version: 1.2.3-rc.1\nappVersion: 1.2.3-rc.1\n", "v1.2.3-rc.1", "1.2.3-rc.1"},
		"a commit later":      {same, "v1.2.2-14-g0f43a5e", "1.2.3"},
		"a commit, no tag":    {same, "0f43a5e", "1.2.3"},
		"no version, no tag":  {"appVersion: 1.2.3\n", "0f43a5e", "charts/penstock/Chart.yaml has no version"},
		"another application": {"version: 1.2.3\nappVersion: 1.2.2\n", "v1.2.3", `charts/penstock/Chart.yaml: appVersion is "1.2.2"; for the tag v1.2.3 write "1.2.3", commit, and tag that commit`},
		"both":                {"version: 1.0.0\n", "v1.2.3", `version is "1.0.0"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, filepath.Join(dir, chartDir, "Chart.yaml"), tt.chart)
			got, err := chartVersion(dir, tt.version)
			if err != nil {
				got = err.Error()
			}
			if got != tt.want && (err == nil || !strings.Contains(got, tt.want)) {
				t.Errorf("chartVersion(%q) = %s, want %s", tt.version, got, tt.want)
			}
		})
	}
}

// TestPackChart packs what git knows of a chart, without what Helm ignores.
func TestPackChart(t *testing.T) {
	t.Parallel()
	dir, out := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml": "version: 1.2.3\n", "values.yaml": "a: 1\n", "templates/a.yaml": "b: 2\n", "templates/.DS_Store": "x", "icon.svg": "<svg/>",
		".helmignore": "# not these\n.helmignore\n.DS_Store\n*.svg\ndraft/\n", "draft/b.yaml": "c: 3\n",
	} {
		write(t, filepath.Join(dir, chartDir, name), text)
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "."}} {
		if _, err := git(t.Context(), dir, args...); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, chartDir, "unknown.yaml"), "git does not know it\n")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := packChart(t.Context(), options{dir: dir, out: out, version: "0f43a5e"}, at); err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(filepath.Join(out, "penstock-1.2.3.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := entries(t, archive), "penstock/Chart.yaml 644, penstock/templates/a.yaml 644, penstock/values.yaml 644, "; got != want {
		t.Errorf("the chart has %s want %s", got, want)
	}
	write(t, filepath.Join(dir, chartDir, ".helmignore"), "\ntemplates/*.txt\n")
	err = packChart(t.Context(), options{dir: dir, out: out, version: "0f43a5e"}, at)
	if err == nil || !strings.Contains(err.Error(), `.helmignore:2: "templates/*.txt" is a pattern that is not known here`) {
		t.Errorf("with a pattern for one folder: %v", err)
	}
}

// TestReleaseOfThisChart: a tag of the version that the chart installs can be
// released, another one cannot; the image that is pushed is the one that the
// chart installs by default.
func TestReleaseOfThisChart(t *testing.T) {
	t.Parallel()
	version, err := chartVersion(repository, "untagged")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chartVersion(repository, "v"+version); err != nil {
		t.Errorf("a tag of the chart's version: %v", err)
	}
	if _, err := chartVersion(repository, "v99.0.0"); err == nil {
		t.Error("a tag of another version is taken")
	}
	values := read(t, chartDir+"/values.yaml")
	m := regexp.MustCompile(`(?s)\nimage:\n.*?\n  registry: (\S+)\n.*?\n  repository: (\S+)\n`).FindStringSubmatch(values)
	if m == nil {
		t.Fatal("values.yaml has no image.registry and image.repository")
	}
	module := strings.TrimSpace(strings.TrimPrefix(strings.SplitN(read(t, "go.mod"), "\n", 2)[0], "module github.com/"))
	if image := m[1] + "/" + m[2]; image != "ghcr.io/"+module {
		t.Errorf("the chart installs %s, the release pushes ghcr.io/%s", image, module)
	}
}

// TestWorkflows: what they run with make is there; a build without the database
// of vulnerabilities is no success; the chart of a release is looked at, and pushed.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	makefile := read(t, "Makefile")
	for _, name := range []string{"ci.yml", "release.yml"} {
		text := read(t, ".github/workflows/"+name)
		targets := regexp.MustCompile(`(?m)- run: make (.+)$`).FindAllStringSubmatch(text, -1)
		if len(targets) == 0 {
			t.Errorf("%s runs no make", name)
		}
		for _, m := range targets {
			for _, target := range strings.Fields(m[1]) {
				if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).MatchString(makefile) {
					t.Errorf("%s runs make %s, which the Makefile does not have", name, target)
				}
			}
		}
		if !strings.Contains(text, "PENSTOCK_REQUIRE_VULNDB: ") {
			t.Errorf("%s passes when the database of vulnerabilities is out of reach", name)
		}
	}
	if test := read(t, "tools/vulncheck/vulncheck_test.go"); !strings.Contains(test, `"PENSTOCK_REQUIRE_VULNDB"`) {
		t.Error("vulncheck does not read PENSTOCK_REQUIRE_VULNDB")
	}
	if ci := read(t, ".github/workflows/ci.yml"); !strings.Contains(ci, "make release-check") {
		t.Error("ci.yml does not build the release twice")
	}
	release := read(t, ".github/workflows/release.yml")
	for _, want := range []string{"helm template hooks dist/release/" + chartName + "-*.tgz", "helm push dist/release/" + chartName + "-*.tgz oci://"} {
		if !strings.Contains(release, want) {
			t.Errorf("release.yml does not run %s", want)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "make", "-C", repository, "--dry-run", "lint").CombinedOutput(); err != nil || !strings.Contains(string(out), "./licenses -dir .. -check") {
		t.Errorf("make lint does not check the licences: %v\n%s", err, out)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
