package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
)

const changeBase = `server: {listen: ":8070", admin_token: one, tls: {cert_file: a.pem, key_file: b.pem}}
broker: {users: [{name: x, password: p}]}
sources: {cf: {kind: clickfunnels, secrets: [s]}}
sinks:
  a: {kind: log, timeout: 5s}
  b: {kind: log}
routes:
  - {name: one, match: [">"], to: [a], when: "data.x == 1"}
  - {name: two, match: [">"], to: [b], transform: {id: event.id, x: data.x}}
`

func loadText(t *testing.T, text string) *config.Config {
	t.Helper()
	c, ms := config.Parse("penstock.yaml", []byte(text), config.Options{Env: func(string) (string, bool) { return "", false }})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatal(fatal)
	}
	return c
}

func TestChangesTo(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		from, to string
		want     config.Changes
	}{
		"a comment and another order of the file": {"sinks:\n", "# more\n\nsinks:\n", config.Changes{}},
		"a key of a sink":                         {"timeout: 5s", "timeout: 6s", config.Changes{Sinks: config.Difference{Changed: []string{"a"}}}},
		"a kind's own key":                        {"b: {kind: log}", "b: {kind: log, body: true}", config.Changes{Sinks: config.Difference{Changed: []string{"b"}}}},
		"where a new sink would begin":            {"b: {kind: log}", "b: {kind: log, start: beginning}", config.Changes{}},
		"a secret":                                {"secrets: [s]", "secrets: [s, t]", config.Changes{Sources: config.Difference{Changed: []string{"cf"}}}},
		"another name of a sink": {"a: {kind: log, timeout: 5s}", "c: {kind: log, timeout: 5s}",
			config.Changes{Sinks: config.Difference{Added: []string{"c"}, Removed: []string{"a"}}, Routes: config.Difference{}}},
		"a token":                 {"admin_token: one", "admin_token: two", config.Changes{Tokens: true}},
		"a condition":             {"data.x == 1", "data.x == 2", config.Changes{Routes: config.Difference{Changed: []string{"one"}}}},
		"the keys of a transform": {"{id: event.id, x: data.x}", "{x: data.x, id: event.id}", config.Changes{Routes: config.Difference{Changed: []string{"two"}}}},
		"a route":                 {"routes:\n", "default: [a]\nroutes:\n  - {name: three, match: [\">\"], to: [a]}\n", config.Changes{Routes: config.Difference{Added: []string{"three"}}, Default: true}},
	} {
		before := loadText(t, changeBase)
		text := strings.Replace(changeBase, tt.from, tt.to, 1)
		if name == "another name of a sink" {
			text = strings.Replace(text, "to: [a]", "to: [c]", 1)
			tt.want.Routes.Changed = []string{"one"}
		}
		got := before.ChangesTo(loadText(t, text))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got.Empty() != (len(cmp.Diff(tt.want, config.Changes{})) == 0) {
			t.Errorf("%s: Empty = %t", name, got.Empty())
		}
	}
	lines := strings.SplitAfter(changeBase, "\n")
	lines[7], lines[8] = lines[8], lines[7]
	if got := loadText(t, changeBase).ChangesTo(loadText(t, strings.Join(lines, ""))); !got.Order || !got.Routes.Empty() {
		t.Errorf("two routes the other way round are %+v, want another order", got)
	}
}

func TestFixed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ from, to, want string }{
		"nothing":           {"", "", ""},
		"an address":        {`":8070"`, `":9090"`, "penstock.yaml:1:18: server.listen: cannot be changed while the process runs; it takes effect at a restart; put it back, or restart the process"},
		"a token":           {"admin_token: one", "admin_token: two", ""},
		"a part of a key":   {"cert_file: a.pem", "cert_file: c.pem", "penstock.yaml:1:62: server.tls.cert_file: cannot"},
		"a user's password": {"password: p", "password: q", "penstock.yaml:2:17: broker.users: cannot"},
		"a key more":        {"broker: {", "broker: {durability: process, ", "penstock.yaml:2:22: broker.durability: cannot"},
		"a key less":        {`listen: ":8070", `, "", "penstock.yaml:1:9: server.listen: cannot"},
		"a section less":    {"broker: {users: [{name: x, password: p}]}\n", "", "penstock.yaml:1:1: broker.users: cannot"},
	} {
		got := loadText(t, changeBase).Fixed(loadText(t, strings.Replace(changeBase, tt.from, tt.to, 1)))
		if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.HasPrefix(got.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, got, tt.want)
		}
		if strings.Contains(got.Error(), "two") {
			t.Errorf("%s: the secret is shown in %v", name, got)
		}
	}
}

func TestASecretsFileIsPartOfTheSink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("penstock.yaml", "sources: {cf: {kind: clickfunnels, secrets_file: s}}\nsinks: {a: {kind: x, deep: [{token_file: token}]}}\nroutes: [{match: [\">\"], to: [a]}]\n")
	write("s", "one\n")
	write("token", "one")
	type keys struct {
		Deep []struct {
			Token config.Secret `yaml:"token"`
		} `yaml:"deep"`
	}
	load := func() *config.Config {
		c, ms := config.Load([]string{file}, config.Options{SinkKinds: map[string]config.KindCheck{
			"x": func(n config.Node) config.Mistakes { return n.Decode(&keys{}) },
		}})
		if fatal := ms.Fatal(); len(fatal) > 0 {
			t.Fatal(fatal)
		}
		return c
	}
	before := load()
	if got := before.ChangesTo(load()); !got.Empty() {
		t.Errorf("the same files differ: %+v", got)
	}
	write("token", "two")
	write("s", "two\n")
	want := config.Changes{Sinks: config.Difference{Changed: []string{"a"}}, Sources: config.Difference{Changed: []string{"cf"}}}
	if diff := cmp.Diff(want, before.ChangesTo(load())); diff != "" {
		t.Errorf("other secrets in the files (-want +got):\n%s", diff)
	}
}

func TestRoutingIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	text := strings.Replace(changeBase, "data.x == 1", "data.x == '${NAME}'", 1) + "default: [b]\n"
	env := func(name string) (string, bool) { return "not-to-be-kept", name == "NAME" }
	c, ms := config.Parse("penstock.yaml", []byte(text), config.Options{Env: env})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatal(fatal)
	}
	kept, err := c.Routing()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(kept), "not-to-be-kept") {
		t.Errorf("a variable's value is kept: %s", kept)
	}
	back, err := config.ParseRouting(kept, env)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range c.Routes {
		if !r.Same(back.Routes[i]) || r.When.Text() != back.Routes[i].When.Text() {
			t.Errorf("route %s came back as another", r.Name)
		}
	}
	if !cmp.Equal([]string{back.Sinks[0].Name, back.Sinks[1].Name, back.Default[0].Name}, []string{"a", "b", "b"}) {
		t.Errorf("sinks %v and default %v came back", back.Sinks, back.Default)
	}
	if _, err := config.ParseRouting([]byte("{"), env); err == nil {
		t.Error("what is not JSON was read")
	}
}
