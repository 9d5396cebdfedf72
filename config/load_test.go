package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/penstock/penstock/config"
)

var update = flag.Bool("update", false, "rewrite what the cases in testdata expect")

// archive is a txtar file: the text before the first marker says what the
// case is about, then files.
type archive struct {
	about string
	names []string
	files map[string]string
}

func readArchive(t testing.TB, path string) archive {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a, name := archive{files: map[string]string{}}, ""
	for line := range strings.Lines(string(data)) {
		marker := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(marker, "-- ") && strings.HasSuffix(marker, " --"):
			name = strings.TrimSpace(marker[3 : len(marker)-3])
			a.names = append(a.names, name)
			a.files[name] = ""
		case name == "":
			a.about += line
		default:
			a.files[name] += line
		}
	}
	return a
}

func (a archive) write(t *testing.T, path string) {
	t.Helper()
	out := a.about
	for _, name := range a.names {
		out += "-- " + name + " --\n" + a.files[name]
	}
	if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
}

// load writes the archive's files to a folder and loads it: the folder when
// there are several YAML files, otherwise the one. The files env and options
// set variables and the words ingress, router, console and no-env.
func (a archive) load(t *testing.T) (*config.Config, string) {
	t.Helper()
	dir, yaml := t.TempDir(), []string{}
	for name, text := range a.files {
		if strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") {
			yaml = append(yaml, name)
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := dir
	if len(yaml) == 1 {
		path = filepath.Join(dir, yaml[0])
	}
	cfg, ms := config.Load([]string{path}, a.options())
	if len(ms) == 0 {
		return cfg, ""
	}
	text := strings.ReplaceAll(ms.Error(), dir+string(filepath.Separator), "")
	return cfg, strings.ReplaceAll(text, dir, "(the folder)") + "\n"
}

func (a archive) options() config.Options {
	o := testOptions()
	env := map[string]string{}
	for line := range strings.Lines(a.files["env"]) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		env[name] = value
	}
	o.Env = func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	for _, word := range strings.Fields(a.files["options"]) {
		if word == "no-env" {
			o.NoEnv = true
		} else {
			o.Roles = append(o.Roles, word)
		}
	}
	return o
}

// testOptions knows some kinds and a small catalogue.
func testOptions() config.Options {
	subjects := []string{"orders.invoice.paid", "orders.invoice.refunded", "contact.created", "form.submission.created"}
	return config.Options{
		Env:         func(string) (string, bool) { return "", false },
		SourceKinds: []string{"clickfunnels"},
		SinkKinds: map[string]config.KindCheck{
			"http": func(n config.Node) config.Mistakes {
				var o struct {
					URL     string                   `yaml:"url,required"`
					Headers map[string]config.Secret `yaml:"headers"`
					Method  string                   `yaml:"method" oneof:"POST PUT PATCH"`
					Sign    struct {
						Scheme  string          `yaml:"scheme"`
						Secrets []config.Secret `yaml:"secrets"`
					} `yaml:"sign"`
				}
				ms := n.Decode(&o)
				if o.URL != "" && !strings.HasPrefix(o.URL, "https://") {
					ms = append(ms, n.Errorf("url", "is not an https URL", ""))
				}
				return ms
			},
			"log": func(n config.Node) config.Mistakes { return n.Decode(&struct{}{}) },
			"slack": func(n config.Node) config.Mistakes {
				var o struct {
					WebhookURL config.Secret `yaml:"webhook_url"`
					Text       string        `yaml:"text"`
				}
				return n.Decode(&o)
			},
		},
		Canonical: func(entry string) (string, bool, string) {
			subject := strings.ReplaceAll(entry, "/", ".")
			if rest, ok := strings.CutPrefix(subject, "form_submission."); ok {
				subject = "form.submission." + rest
			}
			return subject, slices.Contains(subjects, subject), config.Nearest(subject, subjects)
		},
	}
}

// TestCases loads every testdata/*.txtar and compares the mistakes with its
// file want. Run it with -update to write them, and read the difference.
func TestCases(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) < 60 {
		t.Fatalf("found %d cases, %v; want 60 or more", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a := readArchive(t, path)
			_, got := a.load(t)
			if *update {
				if a.files["want"] = got; !slices.Contains(a.names, "want") {
					a.names = append(a.names, "want")
				}
				a.write(t, path)
				return
			}
			if !slices.Contains(a.names, "want") {
				t.Fatal("the case has no file want; run with -update")
			}
			if diff := cmp.Diff(a.files["want"], got); diff != "" {
				t.Errorf("%s(-want +got)\n%s", a.about, diff)
			}
			if good := strings.HasPrefix(filepath.Base(path), "good_"); good != (got == "") {
				t.Errorf("a case is named good_ exactly when it has no mistakes")
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("the mistakes show a secret:\n%s", got)
			}
		})
	}
}
