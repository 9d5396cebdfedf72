package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/config"
)

// FuzzParse feeds anything to Parse: it must not panic, must not show a
// variable's value, and must say where every mistake is.
func FuzzParse(f *testing.F) {
	f.Add("")
	f.Add(config.QuickStartYAML)
	f.Add(minimal)
	f.Add("routes:\n- {transform}")
	f.Add("routes: [{match: a, when: !b x}, {match: [{")
	f.Add("? [a]\n: b\n")
	f.Add("a: &a {<<: *a}\n")
	f.Add("%YAML 1.2\n---\n!!binary x: !!float y\n...\n")
	f.Add("\xff\xfea\x00:\x00")
	f.Add("sinks: {a: {kind: http, url: \"${CANARY}\", rate: {rate: 1/s}, start: -1d}}\ndefault: a")
	f.Add("server: {listen: \"${CANARY}\", admin_token_file: \"${CANARY}\"}\nbroker: {url: \"${CANARY}\", replicas: ~}")
	f.Add("default: \"${CANARY:-x}${\"\nroutes: [{match: \"${CANARY}\", to: \"$$\"}]")
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		f.Add(readArchive(f, path).files["penstock.yaml"])
	}
	const canary = "qZ7canary7Zq"
	f.Fuzz(func(t *testing.T, text string) {
		for _, noEnv := range []bool{false, true} {
			o := testOptions()
			o.NoEnv, o.Advice = noEnv, true
			o.Survey = func(pattern string) config.Survey {
				return config.Survey{Types: len(pattern) % 2, Nearest: "orders.>"}
			}
			if noEnv {
				o.Facts = func(n config.Node) config.Facts {
					value := n.Raw()
					return config.Facts{
						Never: len(value)%3 == 0, Headers: []config.Literal{{Value: value, Offset: len(value)}},
						Literals: []config.Literal{{Attribute: "type", Value: value}, {Attribute: "subject", Value: value, Offset: 1}},
						Needs:    map[string][]string{"type": {value}},
					}
				}
				o.Type = func(string) config.TypeFacts { return config.TypeFacts{Nearest: "a/b.c"} }
			}
			o.Env = func(name string) (string, bool) { return canary, name == "CANARY" }
			cfg, ms := config.Parse("fuzz.yaml", []byte(text), o)
			if cfg == nil && len(ms.Fatal()) == 0 {
				t.Fatal("no configuration and no mistake")
			}
			for _, m := range ms {
				if m.Pos.File != "fuzz.yaml" || m.What == "" || strings.ContainsAny(m.String(), "\n\x00") {
					t.Errorf("mistake %q has no place, no text or several lines", m)
				}
				if strings.Contains(m.String()+m.Excerpt, canary) {
					t.Errorf("mistake %q shows a variable", m)
				}
			}
		}
	})
}
