package reference_test

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/reference"
	"github.com/penstock/penstock/sinks"
)

var update = flag.Bool("update", false, "write the generated files anew")

const root = "../.."

func describe(t *testing.T) reference.File {
	t.Helper()
	f, err := reference.Describe(root, []string{"clickfunnels"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// kept compares a generated file with the one in the repository.
func kept(t *testing.T, file, want string) {
	t.Helper()
	path := filepath.Join(root, file)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("%s is not what the source says; run make generate (-want +got):\n%s", file, diff)
	}
}

func TestSchemaIsGenerated(t *testing.T) {
	t.Parallel()
	schema, err := describe(t).Schema()
	if err != nil {
		t.Fatal(err)
	}
	kept(t, "config/schema.json", string(schema))
}

func TestPagesAreGenerated(t *testing.T) {
	t.Parallel()
	f := describe(t)
	kept(t, "docs/config.md", f.ConfigPage())
	kept(t, "docs/sinks.md", f.SinksPage())
}

func TestMetricsPageIsGenerated(t *testing.T) {
	t.Parallel()
	page, err := reference.MetricsPage(root)
	if err != nil {
		t.Fatal(err)
	}
	kept(t, "docs/metrics.md", page)
}

// TestEveryKindIsDescribed: of a kind there is what CONTRIBUTING.md asks for on
// the page and beside it. That each key has a comment is for Describe to say.
func TestEveryKindIsDescribed(t *testing.T) {
	t.Parallel()
	f := describe(t)
	page, err := os.ReadFile(filepath.Join(root, "docs/sinks.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range sinks.Kinds() {
		k, ok := f.Kinds[kind]
		if !ok {
			t.Errorf("kind %s: sinks.Keys does not know it", kind)
		}
		if k.About == "" {
			t.Errorf("kind %s: the comment of %sSink has nothing to begin the section with", kind, kind)
		}
		if k.Example == "" {
			t.Errorf("kind %s: no examples/%s*.yaml has a sink of it", kind, kind)
		}
		if !strings.Contains(string(page), "\n## "+kind+"\n") {
			t.Errorf("kind %s: docs/sinks.md has no section %q; run make generate", kind, "## "+kind)
		}
	}
}

// compiled is the schema as the program has it.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(config.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("penstock.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("penstock.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate asks the schema about a YAML document.
func validate(t *testing.T, s *jsonschema.Schema, name string, data []byte) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s.Validate(plain(v))
}

// plain is a document with its times as texts, as JSON has them.
func plain(v any) any {
	switch v := v.(type) {
	case time.Time:
		return v.Format(time.RFC3339)
	case map[string]any:
		for key := range v {
			v[key] = plain(v[key])
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	}
	return v
}

func TestSchemaTakesTheExamples(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	files, err := filepath.Glob(filepath.Join(root, "examples/*.yaml"))
	if err != nil || len(files) < 4 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, s, file, data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if err := validate(t, s, "quick start", []byte(config.QuickStartYAML)); err != nil {
		t.Error(err)
	}
}

// archives calls f for every YAML file in the cases of a folder.
func archives(t *testing.T, pattern string, f func(name string, data []byte)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range a.Files {
			if filepath.Ext(part.Name) == ".yaml" && !strings.HasPrefix(part.Name, ".") {
				f(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+part.Name, part.Data)
			}
		}
	}
}

// planned are good cases with kinds of sinks that only the tests of config have.
var planned = []string{"good_design/penstock.yaml", "good_no_env/penstock.yaml", "good_other_role/penstock.yaml", "good_secret_files/penstock.yaml"}

func TestSchemaTakesWhatIsGood(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	archives(t, "config/testdata/good_*.txtar", func(name string, data []byte) {
		if err := validate(t, s, name, data); err != nil && !slices.Contains(planned, name) {
			t.Errorf("%s: %v", name, err)
		}
	})
	for _, file := range []string{"good", "warnings_only", "route_shadowed", "sink_unused", "clear_urls", "source_unused", "no_env_good"} {
		data, err := os.ReadFile(filepath.Join(root, "cmd/penstock/testdata/check", file+".txtar"))
		if os.IsNotExist(err) {
			continue
		}
		for _, part := range txtar.Parse(data).Files {
			if filepath.Ext(part.Name) == ".yaml" {
				if err := validate(t, s, file, part.Data); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
		}
	}
}

// byMeaning are the cases with an error that no schema sees, by how their names
// begin, and why not.
var byMeaning = map[string]string{
	"admin_open":             "a key is needed because of the value of another",
	"broker_":                "what an address or a key has to look like, and keys that exclude each other",
	"dedupe_above_retention": "two values are compared",
	"folder_conflict":        "each file is right by itself",
	"github_strict":          "only a warning, taken for a mistake",
	"hold_contradictory":     "two values are compared",
	"http_headers":           "names that are reserved, in any case",
	"in_flight":              "two values are compared",
	"json":                   "a name has to be defined",
	"listeners":              "what an address has to look like, and two are compared",
	"name_route_twice":       "two values are compared",
	"pattern":                "what a pattern has to look like is said better by check",
	"range_broker":           "sizes are texts",
	"retry_intervals":        "two values are compared",
	"sink_none_defined":      "a name has to be defined",
	"sink_undefined":         "a name has to be defined",
	"source_no":              "needed of one kind of sender only",
	"source_p":               "two sources are compared",
	"tests_beside":           "in files of their own",
	"tls_half":               "a key is needed because of another, or a file of its kind",
	"type_network":           "what an address has to look like",
	"url_token_short":        "it may be a variable",
	"variable":               "needs the environment",
	"when_":                  "an expression is a text to a schema",
	"yaml":                   "gone once it is read",
}

// TestSchemaAgreesWithCheck: what check has no error against the schema takes,
// and what check refuses the schema refuses where it can be expressed.
func TestSchemaAgreesWithCheck(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	used, n := map[string]bool{}, 0
	files, err := filepath.Glob(filepath.Join(root, "cmd/penstock/testdata/check/*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		wrong := hasError(a)
		refused := schemaRefuses(t, s, a)
		if !wrong {
			if refused != nil {
				t.Errorf("%s: check has no error against it, the schema has: %v", name, refused)
			}
			continue
		}
		why := slices.IndexFunc(slices.Sorted(maps.Keys(byMeaning)), func(p string) bool { return strings.HasPrefix(name, p) })
		switch {
		case refused != nil:
			n++
		case why < 0:
			t.Errorf("%s: the schema has nothing against it, and it is not said why", name)
		default:
			used[slices.Sorted(maps.Keys(byMeaning))[why]] = true
		}
	}
	for prefix := range byMeaning {
		if !used[prefix] {
			t.Errorf("%s: the schema refuses all of these cases; it is listed for nothing", prefix)
		}
	}
	if n < 30 {
		t.Errorf("the schema refuses %d cases, want 30 at least", n)
	}
}

var errorLine = regexp.MustCompile(`(?m)^[a-z_./]+\.yaml(:\d+)*: (warning: )?`)

// hasError reports that a case expects an error, not warnings alone.
func hasError(a *txtar.Archive) bool {
	for _, f := range a.Files {
		if f.Name != "want" {
			continue
		}
		if !strings.HasPrefix(string(f.Data), "exit 1") {
			return false
		}
		lines := errorLine.FindAllStringSubmatch(string(f.Data), -1)
		return len(lines) == 0 || slices.ContainsFunc(lines, func(m []string) bool { return m[1] == "" || m[2] == "" })
	}
	return false
}

// schemaRefuses is what the schema has against a file of a case; what is not
// even YAML is no question for it.
func schemaRefuses(t *testing.T, s *jsonschema.Schema, a *txtar.Archive) error {
	t.Helper()
	for _, f := range a.Files {
		if filepath.Ext(f.Name) != ".yaml" || strings.HasSuffix(f.Name, "_test.yaml") || strings.HasPrefix(filepath.Base(f.Name), ".") {
			continue
		}
		var v any
		if err := yaml.Unmarshal(f.Data, &v); err != nil {
			return err
		}
		if err := s.Validate(plain(v)); err != nil {
			return err
		}
	}
	return nil
}
