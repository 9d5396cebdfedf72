package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/router"
)

// cutShort does of a reload what comes before the record, as when a kill
// falls there: the queues of new sinks are made, and no new routes hold.
func cutShort(t *testing.T, p *reloading) {
	t.Helper()
	c, _ := p.o.Load()
	g, opened, err := p.next(c, p.now())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.broker.Prepare(t.Context(), p.router.Plan(router.Change{Config: c, Table: g.table, Sinks: opened})); err != nil {
		t.Fatal(err)
	}
}

// TestAReloadCutShort kills a reload between the making of a new sink's queue
// and the record of the new routes. What is stored until these do come into
// force is routed by the old ones, to the new sink as well.
func TestAReloadCutShort(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]func(*testing.T, *reloading, string, string) *reloading{
		"then a reload": func(t *testing.T, p *reloading, dir, yaml string) *reloading {
			p.write(t, dir, yaml)
			p.reloaded(t)
			return p
		},
		"then a start": func(t *testing.T, p *reloading, dir, yaml string) *reloading {
			p.stop()
			return runFile(t, dir, yaml, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, dir := newReceiver(t, ok), t.TempDir()
			yaml := func(v int) string { return strings.ReplaceAll(versions[v].yaml, "URL", r.URL) }
			p := runFile(t, dir, yaml(0), nil)
			want := map[string][]string{}
			send := func(v, n int) {
				for range n {
					id := fmt.Sprint("e", len(want))
					accepted(t, p.url(), body(id, "order.created"))
					want[id] = versions[v].reaches("")
				}
			}
			send(0, 3)
			p.write(t, dir, yaml(1))
			cutShort(t, p)
			send(0, 5)
			p = again(t, p, dir, yaml(1))
			send(1, 5)
			// Gone and back once more, with another change cut short between.
			p.write(t, dir, yaml(0))
			p.reloaded(t)
			send(0, 5)
			p.write(t, dir, yaml(1))
			cutShort(t, p)
			send(0, 5)
			p = again(t, p, dir, yaml(1))
			send(1, 5)
			total := 0
			for _, paths := range want {
				total += len(paths)
			}
			eventually(t, "all is delivered and nothing is under way", func() bool {
				n, _ := underWay(p.AdminAddr().String())
				return n == 0 && len(r.got()) >= total
			})
			got := map[string][]string{}
			for _, g := range r.got() {
				id := g.header.Get("Webhook-Id")
				got[id] = append(got[id], g.path)
			}
			for _, paths := range got {
				slices.Sort(paths)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("what events reached (-want +got):\n%s", diff)
			}
		})
	}
}

// TestASinkReturnsBeforeItsRoute has a sink come back without a route, under
// the routes that are in force, and be routed to afterwards.
func TestASinkReturnsBeforeItsRoute(t *testing.T) {
	t.Parallel()
	r, dir := newReceiver(t, ok), t.TempDir()
	yaml := func(sinks, to string) string {
		out := "sinks:\n"
		for s := range strings.FieldsSeq(sinks) {
			out += fmt.Sprintf("  %s: {kind: http, url: %s/%[1]s}\n", s, r.URL)
		}
		return out + "routes: [{match: [\">\"], to: [" + to + "]}]\n"
	}
	p := runFile(t, dir, yaml("a b", "a, b"), nil)
	for i, step := range []string{yaml("a", "a"), yaml("a b", "a"), yaml("a b", "b")} {
		accepted(t, p.url(), body(fmt.Sprint("e", i), "order.created"))
		p.write(t, dir, step)
		p.reloaded(t)
	}
	accepted(t, p.url(), body("last", "order.created"))
	p.stop()
	p = runFile(t, dir, yaml("a b", "b"), nil)
	accepted(t, p.url(), body("restarted", "order.created"))
	want := []string{"e0 /a", "e0 /b", "e1 /a", "e2 /a", "last /b", "restarted /b"}
	eventually(t, "all is delivered and nothing is under way", func() bool {
		n, _ := underWay(p.AdminAddr().String())
		return n == 0 && len(r.got()) >= len(want)
	})
	var got []string
	for _, g := range r.got() {
		got = append(got, g.header.Get("Webhook-Id")+" "+g.path)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what was delivered (-want +got):\n%s", diff)
	}
}

// TestWhatIsRecordedOfSinks enters an era with the sinks a, b and c. What
// matters is the record, whatever the process that enters it had before.
func TestWhatIsRecordedOfSinks(t *testing.T) {
	t.Parallel()
	text := func(sinks string) []byte {
		c, ms := Parse("test.yaml", []byte(fullYAML(t.TempDir(), "sinks: {"+sinks+"}\n")), LoadOptions{})
		if fatal := ms.Fatal(); len(fatal) > 0 {
			t.Fatal(fatal)
		}
		b, err := c.Routing()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const a, ab, abc = "a: {kind: log}", "a: {kind: log}, b: {kind: log}", "a: {kind: log}, b: {kind: log}, c: {kind: log}"
	for name, tt := range map[string]struct {
		recorded []byte
		past     map[string]string
		roster   roster
		want     map[string]string
	}{
		"as before":                   {text(ab), nil, roster{sinks: []string{"a", "b"}}, map[string]string{}},
		"new":                         {text(a), nil, roster{sinks: []string{"a", "b"}}, map[string]string{"b": "0-9"}},
		"new, wants all there is":     {text(a), nil, roster{sinks: []string{"a", "b"}, eager: []string{"a", "b"}}, map[string]string{"b": "9"}},
		"gone":                        {text(abc), nil, roster{sinks: []string{"a", "b"}}, map[string]string{"c": "9-0"}},
		"gone already":                {text(ab), map[string]string{"c": "4-0"}, roster{sinks: []string{"a", "b"}}, map[string]string{"c": "4-0"}},
		"gone, though away":           {text(abc), map[string]string{"c": "4-0"}, roster{sinks: []string{"a", "b"}}, map[string]string{"c": "4-0"}},
		"back":                        {text(a), map[string]string{"b": "2-3 4-0"}, roster{sinks: []string{"a", "b"}}, map[string]string{"b": "2-3 4-9"}},
		"back, wants all there is":    {text(a), map[string]string{"b": "4-0"}, roster{sinks: []string{"a", "b"}, eager: []string{"b"}}, map[string]string{"b": "4-9"}},
		"back, and was here":          {text(a), map[string]string{"b": "4-0"}, roster{sinks: []string{"a", "b"}, before: []string{"a", "b"}}, map[string]string{"b": "4-9"}},
		"recorded by another":         {text(ab), map[string]string{"b": "2-3"}, roster{sinks: []string{"a", "b"}, before: []string{"a"}}, map[string]string{"b": "2-3"}},
		"gone, and was not here":      {text(abc), nil, roster{sinks: []string{"a", "b"}, before: []string{"a", "b"}}, map[string]string{"c": "9-0"}},
		"no text":                     {nil, nil, roster{sinks: []string{"a", "b"}}, map[string]string{}},
		"no text, but the process":    {nil, nil, roster{sinks: []string{"a", "b"}, before: []string{"b", "c"}}, map[string]string{"a": "0-9", "c": "9-0"}},
		"no text, and one that was":   {nil, map[string]string{"b": "4-0"}, roster{sinks: []string{"a", "b"}}, map[string]string{"b": "4-9"}},
		"the last one has no sinks":   {text(""), nil, roster{sinks: []string{"a"}}, map[string]string{"a": "0-9"}},
		"all are gone, and no others": {text(a), nil, roster{}, map[string]string{"a": "9-0"}},
	} {
		r := broker.Routing{Eras: []broker.Era{{Version: "old", Text: tt.recorded}}, Past: maps.Clone(tt.past), Announced: "x"}
		era := broker.Era{From: 9, Version: "new", Text: text(abc)}
		got := entered(r, era, tt.roster)
		if diff := cmp.Diff(tt.want, got.Past); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(got, entered(got, era, tt.roster)); diff != "" {
			t.Errorf("%s: entered twice (-once +twice):\n%s", name, diff)
		}
	}
}
