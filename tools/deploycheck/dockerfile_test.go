package deploycheck

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// readDockerfile returns the stages, by name, and what BuildKit's own checks
// have to say.
func readDockerfile(t *testing.T) (stages map[string]instructions.Stage, warnings []string) {
	t.Helper()
	data, err := os.ReadFile(inRepo("Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	result, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		warnings = append(warnings, rule+": "+message)
	}})
	list, _, err := instructions.Parse(result.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	stages = map[string]instructions.Stage{}
	for _, s := range list {
		stages[s.Name] = s
	}
	if last := list[len(list)-1].Name; last != "penstock" {
		t.Errorf("the last stage is %s, want penstock: it is what docker build makes", last)
	}
	return stages, warnings
}

// all returns the commands of one kind.
func all[C any](s instructions.Stage) []C {
	var out []C
	for _, c := range s.Commands {
		if c, ok := c.(C); ok {
			out = append(out, c)
		}
	}
	return out
}

// pinned is a version with all its numbers.
var pinned = regexp.MustCompile(`:v?\d+\.\d+\.\d+(-[a-z0-9.]+)?$`)

func TestDockerfile(t *testing.T) {
	t.Parallel()
	stages, warnings := readDockerfile(t)
	for _, w := range warnings {
		t.Errorf("BuildKit warns: %s", w)
	}
	for name, s := range stages {
		if s.BaseName != "scratch" && !pinned.MatchString(s.BaseName) {
			t.Errorf("stage %s: %s is not pinned by a full version", name, s.BaseName)
		}
		for _, c := range all[*instructions.AddCommand](s) {
			t.Errorf("stage %s: %s: use COPY, which fetches and unpacks nothing", name, c)
		}
	}
	if v, need := goVersions(t, stages["build"]); slices.Compare(v, need) < 0 {
		t.Errorf("the image is built by Go %v, go.mod needs %v", v, need)
	}
	for _, name := range []string{"penstock", "receiver"} {
		t.Run(name, func(t *testing.T) { checkFinalStage(t, stages[name]) })
	}
	s := stages["penstock"]
	if vs := all[*instructions.VolumeCommand](s); len(vs) != 1 || !slices.Equal(vs[0].Volumes, []string{dataDir}) {
		t.Errorf("volumes %v, want %s alone", vs, dataDir)
	}
	if ws := all[*instructions.WorkdirCommand](s); len(ws) != 1 || ws[0].Path != dataDir {
		t.Errorf("workdir %v, want %s, where the default data_dir then is", ws, dataDir)
	}
	checkLabels(t, s)
}

// dataDir is the volume.
const dataDir = "/var/lib/penstock"

// checkFinalStage demands what every image needs that holds one program.
func checkFinalStage(t *testing.T, s instructions.Stage) {
	if s.BaseName != "scratch" {
		t.Errorf("the base is %s, want scratch: no shell, nothing to patch", s.BaseName)
	}
	if runs := all[*instructions.RunCommand](s); len(runs) > 0 {
		t.Errorf("it runs %s; there is nothing to run it with", runs[0])
	}
	users := all[*instructions.UserCommand](s)
	if len(users) != 1 || !regexp.MustCompile(`^[1-9]\d{3,}:[1-9]\d{3,}$`).MatchString(users[0].User) {
		t.Errorf("users %v, want one, by number and not root's", users)
	}
	entry := all[*instructions.EntrypointCommand](s)
	if len(entry) != 1 || entry[0].PrependShell || len(entry[0].CmdLine) == 0 {
		t.Fatalf("entrypoint %v, want one in the exec form", entry)
	}
	health := all[*instructions.HealthCheckCommand](s)
	if len(health) != 1 {
		t.Fatalf("%d health checks, want 1", len(health))
	}
	if test := health[0].Health.Test; len(test) < 2 || test[0] != "CMD" || test[1] != entry[0].CmdLine[0] {
		t.Errorf("the health check is %v, want the program itself, in the exec form", test)
	}
}

func checkLabels(t *testing.T, s instructions.Stage) {
	t.Helper()
	got := map[string]string{}
	for _, l := range all[*instructions.LabelCommand](s) {
		for _, kv := range l.Labels {
			got[kv.Key] = kv.Value
		}
	}
	for _, key := range []string{"title", "description", "licenses", "source", "documentation", "version", "revision", "created"} {
		if got["org.opencontainers.image."+key] == "" {
			t.Errorf("the label org.opencontainers.image.%s is missing or empty", key)
		}
	}
}

// goVersions are that of the base of a stage and that of go.mod.
func goVersions(t *testing.T, s instructions.Stage) (image, mod []int) {
	t.Helper()
	data, err := os.ReadFile(inRepo("go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	numbers := func(text string) (out []int) {
		for _, n := range strings.Split(text, ".") {
			i, err := strconv.Atoi(n)
			if err != nil {
				t.Fatalf("%q is no version of Go: %v", text, err)
			}
			out = append(out, i)
		}
		return out
	}
	_, tag, _ := strings.Cut(s.BaseName, ":")
	return numbers(tag), numbers(regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(string(data))[1])
}

// buildContext are the files that Docker would get, relative to the
// repository: those in the tree that .dockerignore lets through.
func buildContext(t *testing.T) []string {
	t.Helper()
	f, err := os.Open(inRepo(".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	patterns, err := ignorefile.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	ignore, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	err = filepath.WalkDir(repo(), func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(repo(), name)
		if d.IsDir() {
			if d.Name() == ".git" || rel == "dist" {
				return filepath.SkipDir
			}
			return nil
		}
		ignored, err := ignore.MatchesOrParentMatches(filepath.ToSlash(rel))
		if err == nil && !ignored {
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDockerignore keeps out of the context what no layer may have, and what
// the Dockerfile never copies.
func TestDockerignore(t *testing.T) {
	t.Parallel()
	stages, _ := readDockerfile(t)
	var copied []string
	for _, c := range all[*instructions.CopyCommand](stages["build"]) {
		copied = append(copied, c.SourcePaths...)
	}
	used := map[string]bool{}
	files := buildContext(t)
	for _, f := range files {
		i := slices.IndexFunc(copied, func(c string) bool { return f == c || strings.HasSuffix(c, "/") && strings.HasPrefix(f, c) })
		if i < 0 {
			t.Errorf("%s is sent to Docker and never copied; let .dockerignore name it", f)
			continue
		}
		used[copied[i]] = true
		if strings.HasSuffix(f, "_test.go") || strings.HasSuffix(f, ".env") || strings.HasSuffix(f, ".pem") {
			t.Errorf("%s has no place in an image", f)
		}
	}
	for _, c := range copied {
		if !used[c] {
			t.Errorf("COPY %s finds no file", c)
		}
	}
	if len(files) < 100 {
		t.Errorf("%d files are sent to Docker, want 100 at least", len(files))
	}
}
