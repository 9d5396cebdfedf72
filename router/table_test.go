package router

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
)

// rule is a route in short: patterns, and sinks after "->".
func rule(name, s string) config.Route {
	match, to, _ := strings.Cut(s, " -> ")
	return config.Route{Name: name, Match: refs(match), To: refs(to)}
}

func refs(s string) []config.Ref {
	var out []config.Ref
	for i, name := range strings.Fields(s) {
		out = append(out, config.Ref{Pos: config.Pos{File: "penstock.yaml", Line: 1, Column: i + 1}, Name: name})
	}
	return out
}

func named(names ...string) []config.Sink {
	var out []config.Sink
	for _, n := range names {
		out = append(out, config.Sink{Name: n})
	}
	return out
}

func mustCompile(t testing.TB, c *config.Config) *Table {
	t.Helper()
	table, err := Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func shop() *config.Config {
	return &config.Config{
		Sources: []config.Source{{Name: "clickfunnels"}, {Name: "shop", SubjectPrefix: "shop"}},
		Sinks:   named("crm", "sales", "lake"),
		Routes: []config.Route{
			rule("paid", "*.invoice.paid -> crm sales"),
			rule("orders", "orders.> orders/invoice.paid -> sales"),
			rule("brand", "brand.> shop.brand.> -> crm"),
			rule("odd", "unknown.malformed -> crm"),
			rule("pairs", "*.* -> lake"),
		},
		Default: refs("lake"),
	}
}

func TestTableSinks(t *testing.T) {
	t.Parallel()
	table := mustCompile(t, shop())
	crm := func(route string) Decision { return Decision{Sink: "crm", Route: route} }
	sales := func(route string) Decision { return Decision{Sink: "sales", Route: route} }
	lake := func(route string) Decision { return Decision{Sink: "lake", Route: route} }
	unmatched := []Decision{{Sink: "lake", Default: true}}
	for name, tt := range map[string]struct {
		subject string
		want    []Decision
	}{
		"the first route that names a sink decides": {"orders.invoice.paid", []Decision{crm("paid"), sales("paid")}},
		"one route":                       {"people.invoice.paid", []Decision{crm("paid"), sales("paid")}},
		"a later route alone":             {"orders.a.b.c", []Decision{sales("orders")}},
		"two routes":                      {"orders.made", []Decision{sales("orders"), lake("pairs")}},
		"nothing matched":                 {"people.merged", []Decision{lake("pairs")}},
		"default":                         {"a.b.c.d", unmatched},
		"root without more":               {"orders", unmatched},
		"unknown counts as if listed":     {"unknown.brand.made.now", []Decision{crm("brand")}},
		"unknown and its wildcards":       {"unknown.x.invoice.paid", []Decision{crm("paid"), sales("paid")}},
		"unknown under a prefix":          {"shop.unknown.brand.made", []Decision{crm("brand")}},
		"wildcard over a prefix":          {"shop.unknown.invoice.paid", []Decision{crm("paid"), sales("paid")}},
		"unknown elsewhere is a token":    {"people.unknown.invoice.paid", unmatched},
		"prefixed is not the bare one":    {"shop.orders.a.b", unmatched},
		"malformed only by name or rest":  {"unknown.malformed", []Decision{crm("odd")}},
		"malformed under a prefix":        {"shop.unknown.malformed", unmatched},
		"unknown alone is a plain token":  {"unknown", unmatched},
		"an unlisted type called so deep": {"unknown.malformed.x", []Decision{lake("pairs")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &event.Event{Subject: tt.subject}
			for range 3 { // computed, remembered, published
				if diff := cmp.Diff(tt.want, table.Sinks(e)); diff != "" {
					t.Fatalf("Sinks(%q) (-want +got):\n%s", tt.subject, diff)
				}
			}
			for _, sink := range []string{"crm", "sales", "lake", "nosuch"} {
				var want Decision
				if i := slices.IndexFunc(tt.want, func(d Decision) bool { return d.Sink == sink }); i >= 0 {
					want = tt.want[i]
				}
				if got := table.Match(e, sink); got != want || got.Wanted() != (want.Sink != "") {
					t.Errorf("Match(%q, %q) = %+v, want %+v", tt.subject, sink, got, want)
				}
			}
		})
	}
}

func TestTablePatterns(t *testing.T) {
	t.Parallel()
	c := shop()
	c.Sinks = append(c.Sinks, named("idle")...)
	table := mustCompile(t, c)
	for sink, want := range map[string][]string{
		"crm":    {"*.invoice.paid", "brand.>", "shop.brand.>", "unknown.malformed"},
		"sales":  {"*.invoice.paid", "orders.>", "orders.invoice.paid"},
		"lake":   {">"},
		"idle":   nil,
		"nosuch": nil,
	} {
		var got []string
		for _, p := range table.Patterns(sink) {
			got = append(got, p.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Patterns(%q) (-want +got):\n%s", sink, diff)
		}
	}
	if got := table.Filters("idle"); len(got) != 0 {
		t.Errorf("Filters of a sink that no route names = %q, want none", got)
	}
}

func TestCompileReportsEveryMistakeWithItsPlace(t *testing.T) {
	t.Parallel()
	c := &config.Config{
		Sinks:   named("crm", "lake"),
		Routes:  []config.Route{rule("a", "orders..paid orders.> -> crm sles"), rule("b", "> -> crm")},
		Default: refs("crm lak"),
	}
	_, err := Compile(c)
	var mistakes config.Mistakes
	if !errors.As(err, &mistakes) {
		t.Fatalf("Compile = %v, want config.Mistakes", err)
	}
	want := []string{
		`penstock.yaml:1:1: routes[0].match[0]: pattern "orders..paid": token 2 is empty; tokens are separated by single dots, with none at either end`,
		`penstock.yaml:1:2: routes[0].to[1]: there is no sink "sles"; defined are crm, lake`,
		`penstock.yaml:1:2: default[1]: there is no sink "lak"; defined are crm, lake`,
	}
	if diff := cmp.Diff(strings.Join(want, "\n"), err.Error()); diff != "" {
		t.Errorf("Compile (-want +got):\n%s", diff)
	}
}

// matchesPlainly is what Table's comment says, route by route.
func matchesPlainly(patterns []Pattern, prefixes []string, subject string) bool {
	for _, head := range append([]string{""}, prefixes...) {
		if head != "" {
			head += "."
		}
		rest, ok := strings.CutPrefix(subject, head+"unknown.")
		switch {
		case !ok:
		case rest == "malformed":
			return slices.ContainsFunc(patterns, func(p Pattern) bool {
				tokens, at := strings.Split(p.text, "."), strings.Count(head, ".")
				return p.Match(subject) && (len(tokens) <= at || tokens[at] != "*")
			})
		default:
			return slices.ContainsFunc(patterns, func(p Pattern) bool {
				return p.Match(subject) || p.Match(head+rest)
			})
		}
	}
	return slices.ContainsFunc(patterns, func(p Pattern) bool { return p.Match(subject) })
}

func TestTableAgreesWithEveryPatternTriedInTurn(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	words := []string{"a", "b", "shop", "unknown", "malformed"}
	pick := func(extra ...string) string { w := append(extra, words...); return w[rnd.IntN(len(w))] }
	c := &config.Config{Sources: []config.Source{{SubjectPrefix: "shop"}}, Sinks: named("s")}
	for i := range 200 {
		tokens := []string{}
		for range 1 + rnd.IntN(4) {
			tokens = append(tokens, pick("*", "*"))
		}
		if rnd.IntN(8) == 0 && len(tokens) > 1 {
			tokens[len(tokens)-1] = ">"
		}
		c.Routes = append(c.Routes, rule(fmt.Sprint(i), strings.Join(tokens, ".")+" -> s"))
	}
	// A few routes at a time, so that often none matches.
	all := c.Routes
	for from := 0; from < len(all); from += 4 {
		c.Routes = all[from : from+4]
		table := mustCompile(t, c)
		for range 50 {
			tokens := []string{}
			for range 1 + rnd.IntN(4) {
				tokens = append(tokens, pick())
			}
			subject := strings.Join(tokens, ".")
			want := Decision{}
			for _, r := range table.routes {
				if matchesPlainly(r.patterns, table.prefixes, subject) {
					want = Decision{Sink: "s", Route: r.name}
					break
				}
			}
			if got := table.Match(&event.Event{Subject: subject}, "s"); got != want {
				t.Fatalf("Match(%q) = %+v, want %+v", subject, got, want)
			}
		}
	}
}

func TestTableStaysRightWhenItsMemoryIsFull(t *testing.T) {
	t.Parallel()
	table := mustCompile(t, &config.Config{Sinks: named("even", "odd"), Routes: []config.Route{
		rule("even", "*.even -> even"), rule("odd", "*.odd -> odd"),
	}})
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 2 * cacheSize {
				kind := [...]string{"even", "odd"}[i%2]
				e := &event.Event{Subject: fmt.Sprintf("s%d.%s", (i+worker*7)/2, kind)}
				if got := table.Match(e, kind); got.Route != kind {
					t.Errorf("Match(%q) = %+v, want route %q", e.Subject, got, kind)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := len(*table.cache.read.Load()); n > cacheSize {
		t.Errorf("%d subjects are remembered, want at most %d", n, cacheSize)
	}
}
