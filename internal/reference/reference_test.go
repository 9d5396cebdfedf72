package reference_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	return s.Validate(v)
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

// byMeaning are cases that are wrong by what they mean, which no schema sees.
var byMeaning = []string{"type_network/penstock.yaml", "range_broker/penstock.yaml"}

func TestSchemaRefusesWhatIsWrongByShape(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	n := 0
	for _, group := range []string{"key", "type", "range", "kind", "section", "not_a_mapping", "no_value", "http_method", "name_source"} {
		archives(t, "cmd/penstock/testdata/check/"+group+"*.txtar", func(name string, data []byte) {
			n++
			if validate(t, s, name, data) == nil && !slices.Contains(byMeaning, name) {
				t.Errorf("%s: the schema has nothing against it", name)
			}
		})
	}
	if n < 20 {
		t.Errorf("%d cases are wrong by shape, want 20 at least", n)
	}
}
