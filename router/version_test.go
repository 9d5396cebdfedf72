package router

import (
	"testing"

	"github.com/penstock/penstock/config"
)

func TestVersionNamesTheRules(t *testing.T) {
	t.Parallel()
	rules := func(change func(*config.Config)) string {
		c := &config.Config{
			Sinks:  []config.Sink{{Name: "crm"}, {Name: "lake"}},
			Routes: []config.Route{rule("paid", "*.invoice.paid -> crm"), rule("all", "> -> lake")},
		}
		change(c)
		return mustCompile(t, c).Version()
	}
	same := rules(func(*config.Config) {})
	if len(same) != 8 {
		t.Errorf("version %q, want 8 digits", same)
	}
	if got := rules(func(c *config.Config) { c.Routes[0].Pos.Line, c.Sinks[0].Concurrency = 99, 7 }); got != same {
		t.Errorf("version %s after a change that is no rule's, want %s", got, same)
	}
	seen := map[string]string{same: "unchanged"}
	for name, change := range map[string]func(*config.Config){
		"another name":    func(c *config.Config) { c.Routes[0].Name = "due" },
		"another pattern": func(c *config.Config) { c.Routes[0].Match[0].Name = "*.invoice.due" },
		"another sink":    func(c *config.Config) { c.Routes[0].To[0].Name = "lake" },
		"another order":   func(c *config.Config) { c.Routes[0], c.Routes[1] = c.Routes[1], c.Routes[0] },
		"a default":       func(c *config.Config) { c.Default = []config.Ref{{Name: "crm"}} },
		"a prefix":        func(c *config.Config) { c.Sources = []config.Source{{SubjectPrefix: "shop"}} },
	} {
		v := rules(change)
		if other, ok := seen[v]; ok {
			t.Errorf("%s has the version of %s, %s", name, other, v)
		}
		seen[v] = name
	}
}
