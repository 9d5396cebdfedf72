package router

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// rulesOf compiles a whole file.
func rulesOf(t testing.TB, file, text string) *Table {
	t.Helper()
	c, ms := config.Parse(file, []byte(text), config.Options{
		Env:         func(name string) (string, bool) { return "the-" + strings.ToLower(name), name == "SECRET" },
		Roles:       []string{config.RoleRouter},
		Expressions: CheckExpressions(),
	})
	if len(ms.Fatal()) > 0 {
		t.Fatal(ms)
	}
	return mustCompile(t, c)
}

const threeSinks = "sinks: {crm: {kind: log}, sales: {kind: log}, lake: {kind: log}}\n"

// lines writes what is counted, one line for each sink and route, and for a
// route by itself.
func differenceLines(d delivery.Difference) []string {
	counts := func(c delivery.EffectCounts) string {
		var parts []string
		for change := range delivery.Effects {
			if n := *c.Of(change); n > 0 {
				parts = append(parts, fmt.Sprintf("%s %d", change, n))
			}
		}
		return strings.Join(parts, ", ")
	}
	var out []string
	for _, s := range d.Sinks {
		if s.Standing != "" {
			out = append(out, s.Name+" is "+s.Standing)
		}
		for _, r := range s.Routes {
			out = append(out, fmt.Sprintf("%s by %s: %s", s.Name, r.Name, counts(r.Counts)))
		}
	}
	for _, r := range d.Routes {
		if text := counts(r.Counts); text != "" || r.Standing != "" {
			name := strings.TrimSpace(r.Standing + " route " + r.Name)
			out = append(out, fmt.Sprintf("%s: %s", name, text))
		}
	}
	return out
}

func TestComparison(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		now, then string
		events    []string // subject and body
		want      []string
	}{
		"nothing changes": {
			now:    `routes: [{name: all, match: [">"], to: [crm]}]`,
			then:   `routes: [{name: all, match: [">"], to: [crm]}]`,
			events: []string{`orders.paid {}`, `carts.made no json`},
			want:   []string{"crm by all: unchanged 2", "route all: unchanged 2"},
		},
		"a sink gains and another loses": {
			now:    `routes: [{name: paid, match: ["*.paid"], to: [crm]}]`,
			then:   `routes: [{name: paid, match: ["orders.>"], to: [crm]}]`,
			events: []string{`orders.paid {}`, `carts.paid {}`, `orders.made {}`, `carts.made {}`},
			want: []string{
				"crm by paid: gain 1, lose 1, unchanged 1",
				"route paid: gain 1, lose 1, unchanged 1",
				"route default: gain 1, lose 1, unchanged 1",
			},
		},
		"a condition lets less through": {
			now:    `routes: [{name: paid, match: ["*.paid"], to: [crm], when: money(data.total) >= 10}]`,
			then:   `routes: [{name: paid, match: ["*.paid"], to: [crm], when: money(data.total) >= 100}]`,
			events: []string{`orders.paid {"data":{"total":"149.00"}}`, `orders.paid {"data":{"total":"49.00"}}`, `orders.paid {"data":{"total":1}}`},
			want: []string{
				"crm by paid: lose 1, unchanged 1",
				"route paid: lose 1, unchanged 1",
				"route default: gain 1, unchanged 1",
			},
		},
		"another transform": {
			now:    `routes: [{name: paid, match: ["*.paid"], to: [crm], transform: {id: event.id, total: data.total}}]`,
			then:   `routes: [{name: paid, match: ["*.paid"], to: [crm], transform: {total: money(data.total), id: event.id}}]`,
			events: []string{`orders.paid {"data":{"total":"149.00"}}`, `orders.paid {"data":{"total":7}}`},
			want:   []string{"crm by paid: transform 1, unchanged 1", "route paid: transform 1, unchanged 1"},
		},
		"a first transform": {
			now:    `routes: [{name: paid, match: ["*.paid"], to: [crm]}]`,
			then:   `routes: [{name: paid, match: ["*.paid"], to: [crm], transform: body}]`,
			events: []string{`orders.paid { "b": 1, "a": [2.0] }`, `orders.paid no json`},
			want:   []string{"crm by paid: error 1, unchanged 1", "route paid: error 1, unchanged 1"},
		},
		"a condition that cannot be evaluated": {
			now:    `routes: [{name: vip, match: [">"], to: [crm], when: "data.?vip.orValue(false)"}]`,
			then:   `routes: [{name: vip, match: [">"], to: [crm], when: data.vip}]`,
			events: []string{`orders.paid {"data":{"vip":true}}`, `orders.paid {"data":{}}`, `orders.paid no json`},
			want:   []string{"crm by vip: error 1, failing 1, unchanged 1", "route vip: error 1, failing 1, unchanged 1", "route default: lose 1"},
		},
		"a condition that can be evaluated again": {
			now:    `routes: [{name: vip, match: [">"], to: [crm], when: data.vip}]`,
			then:   `routes: [{name: vip, match: [">"], to: [crm], when: "data.?vip.orValue(false)"}]`,
			events: []string{`orders.paid {"data":{}}`},
			want:   []string{"crm by vip: fixed 1", "route vip: fixed 1", "route default: gain 1"},
		},
		"an error that another route covers": {
			now: `routes: [{name: all, match: [">"], to: [crm]}]`,
			then: `
routes:
  - {name: vip, match: [">"], to: [crm], when: data.vip}
  - {name: all, match: [">"], to: [crm]}`,
			events: []string{`orders.paid {}`},
			want:   []string{"crm by all: unchanged 1", "new route vip: error 1", "route all: unchanged 1"},
		},
		"the default sinks": {
			now: `
routes: [{name: paid, match: ["*.paid"], to: [crm]}]
default: [lake]`,
			then: `
routes: [{name: paid, match: ["orders.paid"], to: [crm]}]
default: [lake, sales]`,
			events: []string{`orders.paid {}`, `carts.paid {}`, `carts.made {}`},
			want: []string{
				"crm by paid: lose 1, unchanged 1",
				"sales by default: gain 2",
				"lake by default: gain 1, unchanged 1",
				"route paid: lose 1, unchanged 1",
				"route default: gain 1, unchanged 1",
			},
		},
		"another route brings the same": {
			now: `
routes: [{name: paid, match: ["*.paid"], to: [crm], transform: {id: event.id}}]`,
			then: `
routes:
  - {name: carts, match: ["carts.>"], to: [crm], transform: {id: event.id}}
  - {name: paid, match: ["*.paid"], to: [crm], transform: {id: event.id}}`,
			events: []string{`carts.paid {}`},
			want:   []string{"crm by carts: unchanged 1", "new route carts: gain 1", "route paid: unchanged 1"},
		},
		"the first transform that can be made counts": {
			now: `
routes:
  - {name: first, match: [">"], to: [crm], transform: {n: data.n}}
  - {name: second, match: [">"], to: [crm], transform: {id: event.id}}`,
			then: `
routes:
  - {name: first, match: [">"], to: [crm], transform: {n: data.n}}`,
			events: []string{`orders.paid {"data":{"n":1}}`, `orders.paid {}`},
			want:   []string{"crm by first: error 1, unchanged 1", "route first: unchanged 2", "removed route second: lose 2"},
		},
		"routes without names move": {
			now: `
routes:
  - {match: ["orders.>"], to: [crm]}
  - {match: ["carts.>"], to: [sales]}`,
			then: `
routes:
  - {match: ["*.made"], to: [lake]}
  - {match: ["orders.>"], to: [crm]}
  - {match: ["carts.>"], to: [sales]}`,
			events: []string{`orders.made {}`, `carts.paid {}`},
			want: []string{
				"crm by route-2: unchanged 1", "sales by route-3: unchanged 1", "lake by route-1: gain 1",
				"new route route-1: gain 1", "route route-2: unchanged 1", "route route-3: unchanged 1",
			},
		},
		"a type that the catalogue does not list": {
			now:    `routes: [{name: brand, match: ["other.>"], to: [crm]}]`,
			then:   `routes: [{name: brand, match: ["brand.>"], to: [crm]}]`,
			events: []string{`unknown.brand.made {}`, `unknown.malformed {}`},
			want:   []string{"crm by brand: gain 1", "route brand: gain 1", "route default: lose 1, unchanged 1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := NewComparison(rulesOf(t, "now.yaml", threeSinks+tt.now), rulesOf(t, "new.yaml", threeSinks+tt.then), 3)
			m := c.NewComparer()
			for i, text := range tt.events {
				subject, body, _ := strings.Cut(text, " ")
				m.Look(&event.Event{ID: fmt.Sprint("e", i), Seq: uint64(i + 1), Subject: subject, Body: []byte(body)}, time.Now())
			}
			d := c.Difference([]*Comparer{m})
			if diff := cmp.Diff(tt.want, differenceLines(d)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if d.Events != uint64(len(tt.events)) {
				t.Errorf("looked at %d events, want %d", d.Events, len(tt.events))
			}
		})
	}
}

// TestComparisonOfSinks: a sink is the same one when it has the same name.
func TestComparisonOfSinks(t *testing.T) {
	t.Parallel()
	now := rulesOf(t, "now.yaml", "sinks: {crm: {kind: log}, old: {kind: log}}\nroutes: [{name: all, match: [\">\"], to: [old, crm]}]")
	then := rulesOf(t, "new.yaml", "sinks: {new: {kind: log}, crm: {kind: log}}\nroutes: [{name: all, match: [\">\"], to: [crm, new]}]")
	c := NewComparison(now, then, 0)
	m := c.NewComparer()
	m.Look(&event.Event{Subject: "orders.paid"}, time.Now())
	want := []string{
		"new is new", "new by all: gain 1", "crm by all: unchanged 1", "old is removed", "old by all: lose 1", "route all: unchanged 1",
	}
	d := c.Difference([]*Comparer{m})
	if diff := cmp.Diff(want, differenceLines(d)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if d.Sinks[0].Routes[0].Examples != nil {
		t.Errorf("there are examples, and none were asked for")
	}
}

// TestComparisonExamples: the first events of each change are named, whoever
// looked at them, with what differs or why it fails.
func TestComparisonExamples(t *testing.T) {
	t.Parallel()
	now := rulesOf(t, "now.yaml", threeSinks+`
routes:
  - {name: paid, match: [">"], to: [crm], transform: {id: event.id, total: data.total, currency: data.currency}}
  - {name: hidden, match: [">"], to: [sales], transform: {key: "'${SECRET}'", total: data.total}}
`)
	then := rulesOf(t, "new.yaml", threeSinks+`
routes:
  - name: paid
    match: [">"]
    to: [crm]
    transform: {id: event.id, total: money(data.total), order: {id: data.order}}
  - {name: hidden, match: [">"], to: [sales], transform: {key: "'${SECRET}!'", total: data.total}}
`)
	c := NewComparison(now, then, 2)
	comparers := []*Comparer{c.NewComparer(), c.NewComparer()}
	for i := 9; i >= 1; i-- { // backwards, to make it harder
		body := fmt.Sprintf(`{"data":{"total":"%d.00","currency":"USD","order":%d}}`, i, i)
		if i%3 == 0 {
			body = `{"data":{"total":"a lot","currency":"USD","order":1}}`
		}
		comparers[i%2].Look(&event.Event{ID: fmt.Sprint("e", i), Seq: uint64(i), Subject: "orders.paid", Body: []byte(body)}, time.Now())
	}
	d := c.Difference(comparers)
	values := func(total string) []delivery.ValueChange {
		return []delivery.ValueChange{
			{Path: "currency", Before: `"USD"`},
			{Path: "order", After: `{"id":` + total + `}`},
			{Path: "total", Before: `"` + total + `.00"`, After: total},
		}
	}
	const reason = `transform.total: money(data.total): money: "a lot" is not an amount`
	want := []delivery.EffectExample{
		{Effect: "transform", Seq: 1, ID: "e1", Subject: "orders.paid", Values: values("1")},
		{Effect: "transform", Seq: 2, ID: "e2", Subject: "orders.paid", Values: values("2")},
		{Effect: "error", Seq: 3, ID: "e3", Subject: "orders.paid", Place: "new.yaml:7:38", Error: reason},
		{Effect: "error", Seq: 6, ID: "e6", Subject: "orders.paid", Place: "new.yaml:7:38", Error: reason},
	}
	got := d.Sinks[0].Routes[0].Examples
	for i := range got { // what CEL adds to it is not ours
		got[i].Error = got[i].Error[:min(len(got[i].Error), len(reason))]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, e := range d.Sinks[1].Routes[0].Examples {
		if diff := cmp.Diff([]delivery.ValueChange{{Path: "key"}}, e.Values); diff != "" || e.Note == "" {
			t.Errorf("of a transform with a variable: %+v, want the path alone and a note", e)
		}
	}
	if text, _ := json.Marshal(d); strings.Contains(string(text), "the-secret") {
		t.Errorf("the difference holds what a variable stands for:\n%s", text)
	}
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ before, after, want string }{
		"the same, written differently": {`{"a":1.0,"b":[true,null]}`, `{ "b": [true, null], "a": 1 }`, ""},
		"another type":                  {`{"a":"1"}`, `{"a":1}`, `a: "1" -> 1`},
		"a value within":                {`{"a":{"b c":[1,2]}}`, `{"a":{"b c":[1,3,4]}}`, `a["b c"][1]: 2 -> 3; a["b c"][2]:  -> 4`},
		"null is not absent":            {`{"a":null}`, `{}`, `a: null -> `},
		"something else altogether":     {`[1]`, `{"a":1}`, `body: [1] -> {"a":1}`},
		"large numbers":                 {`12345678901234567890`, `12345678901234567891`, `body: 12345678901234567890 -> 12345678901234567891`},
		"not JSON":                      {`<x/>`, `{}`, "the present body is not JSON; 4 bytes now, 2 then"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, _, note := differences([]byte(tt.before), []byte(tt.after))
			var parts []string
			for _, v := range list {
				parts = append(parts, v.Path+": "+v.Before+" -> "+v.After)
			}
			if note != "" {
				parts = append(parts, note)
			}
			if diff := cmp.Diff(tt.want, strings.Join(parts, "; ")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if same := sameJSON([]byte(tt.before), []byte(tt.after)); same != (tt.want == "") {
				t.Errorf("sameJSON = %t", same)
			}
		})
	}
	var wide []string
	for i := range 30 {
		wide = append(wide, fmt.Sprintf(`"k%02d":%q`, i, strings.Repeat("é", 200)))
	}
	list, more, _ := differences([]byte("{"+strings.Join(wide, ",")+"}"), []byte("{}"))
	if len(list) != mostValues || more != 30-mostValues || len(list[0].Before) > mostLetters+3 {
		t.Errorf("of 30 long values: %d listed, %d more, %d letters", len(list), more, len(list[0].Before))
	}
}

// TestComparisonAgreesWithTables makes up rules and events, and asks both
// tables about each event by itself.
func TestComparisonAgreesWithTables(t *testing.T) {
	t.Parallel()
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 1))
		texts := [sides]string{madeUpRules(r), madeUpRules(r)}
		if r.IntN(3) == 0 { // mostly the same
			texts[proposed] = strings.Replace(texts[running], "data.n > 1", "data.n > 2", 1)
		}
		tables := [sides]*Table{rulesOf(t, "now.yaml", texts[running]), rulesOf(t, "new.yaml", texts[proposed])}
		for range 12 {
			e := madeUpEvent(r)
			c := NewComparison(tables[running], tables[proposed], 1)
			m := c.NewComparer()
			m.Look(e, time.Unix(1e9, 0))
			got := map[string]string{}
			d := c.Difference([]*Comparer{m})
			for _, s := range d.Sinks {
				for _, by := range s.Routes {
					got[s.Name] = byRoute(changeText(by.Counts), by.Name)
					if by.Counts.Error > 0 {
						got[s.Name] += ": " + by.Examples[0].Error
					}
				}
			}
			if diff := cmp.Diff(expectedChanges(t, tables, e), got); diff != "" {
				t.Fatalf("seed %d: event %s %s (-want +got)\n%s\nrunning:\n%s\nproposed:\n%s", seed, e.Subject, e.Body, diff, texts[running], texts[proposed])
			}
			got = map[string]string{}
			for n, by := range d.Routes {
				if text := changeText(by.Counts); text != "" {
					got[fmt.Sprint(n)] = text
				}
			}
			if diff := cmp.Diff(expectedRoutes(c, e), got); diff != "" {
				t.Fatalf("seed %d: routes: event %s %s (-want +got)\n%s\nrunning:\n%s\nproposed:\n%s", seed, e.Subject, e.Body, diff, texts[running], texts[proposed])
			}
		}
	}
}

// changeText names the one change that is counted. A failure that is the same
// in both is not always found out, so it is the same as no change.
func changeText(c delivery.EffectCounts) string {
	for change := range delivery.Effects {
		if *c.Of(change) > 0 {
			return strings.Replace(change.String(), "failing", "unchanged", 1)
		}
	}
	return ""
}

// byRoute adds the route. Of what does not change it is the first that
// matched, whether or not its transform can be made, which is not asked.
func byRoute(change, route string) string {
	if change == "unchanged" {
		return change
	}
	return change + " by " + route
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func madeUpRules(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("sinks: {a: {kind: log}, b: {kind: log}, " + pick(r, "c", "d") + ": {kind: log}}\nroutes:\n")
	for i := range 1 + r.IntN(5) {
		fmt.Fprintf(&b, "  - match: [%s]\n    to: [%s]\n", pick(r, `">"`, `"x.*"`, `"*.z"`, "x.z", "y.>"), pick(r, "a", "b", "a, b", "b, a"))
		if r.IntN(3) > 0 {
			fmt.Fprintf(&b, "    name: %s%d\n", pick(r, "p", "q"), i)
		}
		if r.IntN(3) > 0 {
			fmt.Fprintf(&b, "    when: %s\n", pick(r, "data.n > 1", "data.n > 2", "has(data.n) && data.n > 1", "has(data.s)", "data.s == 'x'", "event.id == 'e1'"))
		}
		if r.IntN(3) > 0 {
			fmt.Fprintf(&b, "    transform: %s\n", pick(r, "{n: data.n}", "{n: double(data.n)}", "{s: data.s}", "body", "{id: event.id}", `{id: event.id, n: "data.?n"}`))
		}
	}
	if r.IntN(2) == 0 {
		b.WriteString("default: [" + pick(r, "a", "b", "a, b") + "]\n")
	}
	return b.String()
}

func madeUpEvent(r *rand.Rand) *event.Event {
	return &event.Event{
		ID: pick(r, "e1", "e2"), Seq: 1, Subject: pick(r, "x.z", "x.w", "y.z", "y.w.v", "unknown.x.z", "unknown.malformed"),
		Body: []byte(pick(r, `{"data":{"n":2}}`, `{"data":{"n":"2"}}`, `{"data":{"n":3,"s":"x"}}`, `{"data":{"s":7}}`, `{}`, `none`, `{"id":"e1"}`)),
	}
}

// expectedChanges asks both tables as the command that tries rules does.
func expectedChanges(t *testing.T, tables [sides]*Table, e *event.Event) map[string]string {
	var answers [sides]map[string]SinkAnswer
	names := map[string]bool{}
	for s, table := range tables {
		answers[s] = map[string]SinkAnswer{}
		for _, a := range table.Try(t.Context(), e, time.Unix(1e9, 0)).Sinks {
			answers[s][a.Sink] = a
			names[a.Sink] = true
		}
	}
	want := map[string]string{}
	for name := range names {
		now, gotNow := answers[running][name]
		then, gotThen := answers[proposed][name]
		by := then
		if !gotThen {
			by = now
		}
		route := by.Route
		if by.Default {
			route = unmatchedName
		}
		want[name] = byRoute(expected(gotNow, now.Err, now.Event.Body, gotThen, then.Err, then.Event.Body), route)
		if then.Err != nil && now.Err == nil {
			want[name] += ": " + then.Err.Error()
		}
	}
	return want
}

// expected names a change, having asked nothing but the tables.
func expected(now bool, errNow error, bodyNow []byte, then bool, errThen error, bodyThen []byte) string {
	switch now, then = now && errNow == nil, then && errThen == nil; {
	case errNow != nil && errThen != nil:
		return "unchanged"
	case errThen != nil:
		return "error"
	case errNow != nil:
		return "fixed"
	case !now && !then:
		return ""
	case !now:
		return "gain"
	case !then:
		return "lose"
	case plainlySame(bodyNow, bodyThen):
		return "unchanged"
	}
	return "transform"
}

func plainlySame(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return string(a) == string(b)
	}
	return reflect.DeepEqual(x, y)
}

// expectedRoutes asks the tables about every route, by its number in the comparison.
func expectedRoutes(c *Comparison, e *event.Event) map[string]string {
	want := map[string]string{}
	claimed := [sides]bool{}
	for n, r := range c.routes {
		var matched [sides]bool
		var errs [sides]error
		var bodies [sides][]byte
		var transforms [sides]string
		for s, number := range r.numbers {
			t := c.sides[s].table
			q := question{table: t, event: e, now: time.Unix(1e9, 0)}
			if number == none || !slices.Contains(t.compute(e.Subject).routes, int32(number)) {
				continue
			}
			a := q.ask(context.Background(), int32(number))
			matched[s], errs[s] = a.matched, a.err
			claimed[s] = claimed[s] || a.matched || a.err != nil
			transforms[s] = t.routes[number].transformID
			if a.matched {
				bodies[s] = e.Body
			}
		}
		if matched[running] && matched[proposed] && transforms[running] != transforms[proposed] {
			for s, number := range r.numbers {
				q := question{table: c.sides[s].table, event: e, now: time.Unix(1e9, 0)}
				shaped, err := q.apply(context.Background(), c.sides[s].table.routes[number].transform)
				bodies[s], errs[s] = shaped.Body, err
			}
		}
		if n < len(c.routes)-1 {
			if text := expected(matched[running], errs[running], bodies[running], matched[proposed], errs[proposed], bodies[proposed]); text != "" {
				want[fmt.Sprint(n)] = text
			}
		}
	}
	if text := expected(!claimed[running], nil, nil, !claimed[proposed], nil, nil); text != "" {
		want[fmt.Sprint(len(c.routes)-1)] = text
	}
	return want
}
