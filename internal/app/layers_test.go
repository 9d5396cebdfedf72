package app

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/penstock/penstock/"

// layers is who may import whom. Imports point downward only, and packages of
// one level never at each other. The command may use, besides internal/app, the
// vocabulary of what it shows (config, delivery, broker.Info, the observations
// of router), the admin API's client in console, and the samples of
// clickfunnels: it builds nothing of them itself.
var layers = map[string][]string{
	"internal/event":        {},
	"internal/delivery":     {"internal/event"},
	"config":                {},
	"internal/httpconn":     {},
	"internal/replay":       {"internal/delivery", "internal/event"},
	"internal/telemetry":    {"internal/delivery", "internal/event"},
	"internal/clickfunnels": {"internal/event"},
	"sinks":                 {"config", "internal/delivery", "internal/event"},
	"ingress":               {"config", "internal/event", "internal/httpconn"},
	"router/rules":          {"config", "internal/event"},
	"router":                {"config", "internal/delivery", "internal/event", "router/rules", "sinks"},
	"internal/backup":       {},
	"internal/broker":       {"config", "internal/backup", "internal/delivery", "internal/event"},
	"internal/reference":    {"config", "internal/telemetry", "sinks"},
	"internal/dashboard":    {},
	"internal/console":      {"config", "internal/delivery", "internal/event", "internal/httpconn", "internal/replay"},
	"internal/app": {
		"config", "ingress", "internal/backup", "internal/broker", "internal/clickfunnels", "internal/console", "internal/delivery",
		"internal/event", "internal/replay", "internal/telemetry", "router", "sinks",
	},
	"cmd/penstock": {
		"config", "internal/app", "internal/backup", "internal/broker", "internal/clickfunnels", "internal/console", "internal/delivery", "internal/event", "router",
	},
	"bench":              {"config", "internal/app", "internal/clickfunnels", "internal/event", "sinks"},
	"examples/receiver":  {},
	"examples/subscribe": {},
}

// rooms are the packages that alone may use a library, by the beginning of its
// path.
var rooms = map[string][]string{
	"github.com/labstack/echo":        {"ingress", "internal/console", "bench"},                              // bench: the ceiling to compare with
	"github.com/nats-io/nats.go":      {"internal/backup", "internal/broker", "sinks", "examples/subscribe"}, // sinks: the kind nats
	"github.com/DeRuina/timberjack":   {"sinks"},
	"github.com/fsnotify/":            {"internal/app"},
	"github.com/nats-io/nats-server":  {"internal/backup", "internal/broker", "bench"},
	"github.com/spf13/":               {"cmd/penstock"},
	"cel.dev/":                        {"router/rules"},
	"go.yaml.in/yaml":                 {"config"},
	"go.opentelemetry.io/":            {"internal/telemetry"},
	"github.com/prometheus/":          {"internal/telemetry"},
	"golang.org/x/net":                {"sinks"},
	"golang.org/x/oauth2":             {"sinks"},
	"golang.org/x/term":               {"cmd/penstock"},
	"golang.org/x/sys":                {"internal/broker"},
	"github.com/cenkalti/backoff":     {"internal/broker", "router"},
	"golang.org/x/time":               {"internal/app", "internal/replay", "router"},
	"github.com/google/go-cmp":        {},
	"github.com/rogpeppe/go-internal": {},
	"testing":                         {},
	"net/http/httptest":               {},
	"math/rand":                       {}, // math/rand/v2 is the one to use
	"io/ioutil":                       {},
	"unsafe":                          {},
}

// forbidden is text that has no place in this repository: errors that say that
// they failed, promises without a condition, and the paths of one machine.
var forbidden = regexp.MustCompile(`(?i:failed to )|TODO:|FIXME|\bXXX\b|HACK:|/(home|work|root)/\w`)

// source is one Go file that is not a test.
type source struct {
	file, pkg string // relative to the repository
	imports   []string
	funcs     []string
	hasDoc    bool
	hasInit   bool
	lines     int
}

// sources reads all Go files of the module that are not tests.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	walk(t, func(file string, data []byte) {
		if strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go") {
			out = append(out, parse(t, file, data))
		}
	})
	if len(out) < 100 {
		t.Fatalf("found %d Go files, want 100 at least", len(out))
	}
	return out
}

// walk calls f for every file of the repository that people wrote.
func walk(t *testing.T, f func(file string, data []byte)) {
	t.Helper()
	skip := []string{".git", "dist", "penstock-data", "samples"}
	err := filepath.WalkDir(moduleRoot, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(moduleRoot, name)
		if err != nil || d.IsDir() {
			if slices.Contains(skip, d.Name()) {
				return filepath.SkipDir
			}
			return err
		}
		if !slices.Contains([]string{".go", ".md", ".yaml", ".yml", ".txtar", ".mod"}, filepath.Ext(name)) && d.Name() != "Makefile" {
			return nil
		}
		data, err := os.ReadFile(name)
		if err == nil {
			f(filepath.ToSlash(rel), data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, file string, data []byte) source {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	s := source{file: file, pkg: path.Dir(file), hasDoc: f.Doc != nil, lines: bytes.Count(data, []byte("\n"))}
	for _, i := range f.Imports {
		s.imports = append(s.imports, strings.Trim(i.Path.Value, `"`))
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			s.funcs = append(s.funcs, fn.Name.Name)
			s.hasInit = s.hasInit || fn.Name.Name == "init" && fn.Recv == nil
		}
	}
	return s
}

func TestImportsPointDownward(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range sources(t) {
		if strings.HasPrefix(f.pkg, "tools/") {
			continue // a module of its own
		}
		seen[f.pkg] = true
		may, known := layers[f.pkg]
		if !known {
			t.Errorf("%s is in no layer: add %s to the table with what it may import", f.file, f.pkg)
			continue
		}
		for _, i := range f.imports {
			if own, ok := strings.CutPrefix(i, modulePath); ok && !slices.Contains(may, own) {
				t.Errorf("%s imports %s; %s may import %s", f.file, own, f.pkg, strings.Join(may, ", "))
			}
		}
	}
	for pkg := range layers {
		if !seen[pkg] {
			t.Errorf("the table has %s, which is not there", pkg)
		}
	}
}

func TestLibrariesStayInTheirRooms(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		for _, i := range f.imports {
			for library, may := range rooms {
				if matchesLibrary(i, library) && !slices.Contains(may, f.pkg) {
					t.Errorf("%s imports %s; only these may: %q", f.file, i, may)
				}
			}
		}
	}
}

// matchesLibrary reports that an import is of a library: a path of the standard
// library is meant exactly, another with all below it.
func matchesLibrary(imported, library string) bool {
	if first, _, _ := strings.Cut(library, "/"); !strings.Contains(first, ".") {
		return imported == library
	}
	return strings.HasPrefix(imported, library)
}

func TestFilesAndPackagesKeepTheRules(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, f := range sources(t) {
		documented[f.pkg] = documented[f.pkg] || f.hasDoc
		if f.lines > 500 {
			t.Errorf("%s has %d lines, want 500 at most", f.file, f.lines)
		}
		if f.hasInit {
			t.Errorf("%s has a func init: make a constructor of it, so that its order is plain and tests share nothing", f.file)
		}
		if base := path.Base(f.pkg); slices.Contains([]string{"util", "utils", "common", "helpers", "misc"}, base) {
			t.Errorf("%s: a package is named for what it does, not %s", f.file, base)
		}
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s has no comment", pkg)
		}
	}
}

func TestNoForbiddenWords(t *testing.T) {
	t.Parallel()
	walk(t, func(file string, data []byte) {
		for n, line := range strings.Split(string(data), "\n") {
			if word := forbidden.FindString(line); word != "" && file != "internal/app/layers_test.go" {
				t.Errorf("%s:%d has %q: %s", file, n+1, word, strings.TrimSpace(line))
			}
		}
	})
}
