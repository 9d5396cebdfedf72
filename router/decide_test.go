package router

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// ruled compiles routes written as in the file.
func ruled(t testing.TB, routes string) *Table {
	t.Helper()
	c, ms := config.Parse("penstock.yaml", []byte("sinks: {crm: {kind: log}, sales: {kind: log}, lake: {kind: log}}\n"+routes), config.Options{
		Env:         func(string) (string, bool) { return "", false },
		Roles:       []string{config.RoleRouter},
		Expressions: CheckExpressions(),
	})
	if len(ms.Fatal()) > 0 {
		t.Fatal(ms)
	}
	return mustCompile(t, c)
}

const conditional = `
routes:
  - {name: big, match: ["*.paid"], when: "money(data.total) >= 100", to: [crm, sales], transform: {total: money(data.total)}}
  - {name: vip, match: [">"], when: "has(data.vip) && data.vip", to: [sales, crm], transform: {vip: data.vip}}
  - {name: all, match: ["orders.>"], to: [sales]}
default: [lake]
`

// TestConditionalRoutes: which sinks get an event, by which route, or why it
// is not known. A sink is written name=route, name! when it is not known.
func TestConditionalRoutes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ subject, body, want string }{
		{"orders.paid", `{"data":{"total":"149.00"}}`, "crm=big sales=big"},
		{"orders.paid", `{"data":{"total":"49.00"}}`, "sales=all"},
		{"orders.paid", `{"data":{"total":49,"vip":true}}`, "crm=vip sales=vip"},
		{"orders.paid", `{"data":{"total":149,"vip":true}}`, "crm=big sales=big"},
		{"orders.paid", `{"data":{}}`, "crm!big sales=all"},
		{"orders.paid", `{"data":{"total":"a lot","vip":true}}`, "crm=vip sales=vip"},
		{"carts.paid", `{"data":{"total":"1.00"}}`, "lake=default"},
		{"carts.paid", `{"data":{}}`, "crm!big sales!big"},
		{"carts.made", `{"data":{}}`, "lake=default"},
		{"carts.made", `{"data":{"vip":true}}`, "crm=vip sales=vip"},
		{"carts.made", `no json`, "crm!vip sales!vip"},
		{"orders.made", `no json`, "crm!vip sales=all"},
	} {
		t.Run(tt.subject+" "+tt.body, func(t *testing.T) {
			t.Parallel()
			table := ruled(t, conditional)
			e := &event.Event{Subject: tt.subject, Body: []byte(tt.body)}
			var got []string
			for _, d := range table.Sinks(e) {
				got = append(got, decisionText(d))
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("Sinks (-want +got)\n%s", diff)
			}
			got = nil
			for _, sink := range []string{"crm", "sales", "lake"} {
				if d := table.Match(e, sink); d.Wanted() {
					got = append(got, decisionText(d))
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("Match (-want +got)\n%s", diff)
			}
		})
	}
}

func decisionText(d Decision) string {
	switch {
	case d.Err != nil:
		return d.Sink + "!" + d.Route
	case d.Default:
		return d.Sink + "=default"
	}
	return d.Sink + "=" + d.Route
}

// TestHandleConditions: what a worker hands to its sink, and what becomes of
// an event for which an expression cannot be evaluated.
func TestHandleConditions(t *testing.T) {
	t.Parallel()
	const routes = `
routes:
  - {name: first, match: [a], when: "data.n > 0", to: [crm], transform: {n: data.n, name: data.name}}
  - {name: second, match: [a], when: "has(data.second)", to: [crm]}
  - {name: plain, match: [b], to: [crm]}
`
	for _, tt := range []struct {
		name, subject, body, origin string
		action                      delivery.Action
		route, sent, reason         string
	}{
		{"transformed", "a", `{"data":{"n":1,"name":"x"}}`, "", delivery.Done, "first", `{"n":1,"name":"x"}`, ""},
		{"false", "a", `{"data":{"n":0}}`, "", delivery.Skip, "", "", ""},
		{"condition fails", "a", `{"data":{}}`, "", delivery.Bury, "first", "", "when: data.n > 0: there is no n"},
		{"condition fails, another claims", "a", `{"data":{"second":1}}`, "", delivery.Done, "second", `{"data":{"second":1}}`, ""},
		{"transform fails", "a", `{"data":{"n":1}}`, "", delivery.Bury, "first", "", "transform.name: data.name: there is no name"},
		{"transform fails, another claims", "a", `{"data":{"n":1,"second":1}}`, "", delivery.Done, "second", `{"data":{"n":1,"second":1}}`, ""},
		{"no expression", "b", `not json`, "", delivery.Done, "plain", `not json`, ""},
		{"not JSON", "a", `not json`, "", delivery.Bury, "first", "", "the body is not JSON"},
		{"replay", "b", `{"data":{"n":-1,"name":"x"}}`, "replay/1", delivery.Done, "", `{"n":-1,"name":"x"}`, ""},
		{"redrive of what cannot be transformed", "b", `{"data":{}}`, "redrive/1", delivery.Bury, "", "", "transform.n: data.n: there is no n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table := ruled(t, routes)
			var sent *event.Event
			var seen Observation
			s := sixteen()
			s.Name = "crm"
			w := NewWorker(WorkerOptions{
				Sink: s, Table: table, Observe: func(o Observation) { seen = o },
				Deliver: sinkFunc(func(_ context.Context, e event.Event) error { sent = &e; return nil }),
			})
			admit(t, w)
			a := delivery.Attempt{
				Event: event.Event{ID: "e1", Subject: tt.subject, ContentType: "text/plain", Body: []byte(tt.body)},
				Lane:  delivery.Main, History: delivery.History{Origin: tt.origin},
			}
			v := w.Handle(t.Context(), a)
			if v.Action != tt.action || seen.Decision.Route != tt.route || !strings.Contains(v.Reason, tt.reason) {
				t.Errorf("got %+v by route %q, want %v by %q with %q", v, seen.Decision.Route, tt.action, tt.route, tt.reason)
			}
			if tt.action == delivery.Bury && (v.Class != delivery.Ours || seen.Start.IsZero()) {
				t.Errorf("class %q begun at %v, want ours at some time", v.Class, seen.Start)
			}
			got := ""
			if sent != nil {
				got = string(sent.Body)
				if changed := got != tt.body; changed != (sent.ContentType == "application/json") || sent.ID != "e1" || sent.Subject != tt.subject {
					t.Errorf("the sink got %+v", sent)
				}
			}
			if got != tt.sent {
				t.Errorf("the sink got %s, want %s", got, tt.sent)
			}
			if st := w.State(); st.Failures != 0 || st.State != Open {
				t.Errorf("the sink is blamed for a mistake of ours: %+v", st)
			}
			admit(t, w) // the slot was given back
		})
	}
}

func admit(t *testing.T, w *Worker) {
	t.Helper()
	if n, _, err := w.Admit(t.Context(), delivery.Main, 1); n != 1 || err != nil {
		t.Fatalf("Admit = %d, %v", n, err)
	}
}

// TestVersionCoversExpressions: a changed expression is other rules, a changed
// form of the file is not.
func TestVersionCoversExpressions(t *testing.T) {
	t.Parallel()
	base := "routes: [{match: [a], to: [crm], when: data.a == 1, transform: {a: data.a, b: [event.id]}}]"
	for _, tt := range []struct {
		routes string
		same   bool
	}{
		{"routes:\n  - match: a\n    when: 'data.a == 1' # comment\n    to: crm\n    transform:\n      a: data.a\n      b:\n      - event.id\n", true},
		{strings.Replace(base, "== 1", "== 2", 1), false},
		{strings.Replace(base, "a: data.a, ", "", 1), false},
		{strings.Replace(base, "[event.id]", "event.id", 1), false},
		{strings.Replace(base, "when: data.a == 1, ", "", 1), false},
	} {
		if same := ruled(t, base).Version() == ruled(t, tt.routes).Version(); same != tt.same {
			t.Errorf("%s: same version %v, want %v", tt.routes, same, tt.same)
		}
	}
}

func TestCompileTellsMistakesOfExpressions(t *testing.T) {
	t.Parallel()
	_, ms := config.Parse("penstock.yaml", []byte(`
sinks: {crm: {kind: log}}
routes:
  - match: [a]
    when: |
      data.a == 1 &&
        dta.b == 2
    to: [crn]
    transform: {a: "dta.x"}
  - {match: [a], when: "${UNSET} > 1", to: crm}
`), config.Options{Env: func(string) (string, bool) { return "", false }, Roles: []string{config.RoleRouter}, Expressions: CheckExpressions()})
	want := `penstock.yaml:7:9: routes[0].when: there is no dta; did you mean data?
penstock.yaml:8:10: routes[0].to[0]: no sink is named "crn"; did you mean crm?
penstock.yaml:9:21: routes[0].transform.a: there is no dta; did you mean data?
penstock.yaml:10:24: routes[1].when: environment variable UNSET is not set; export it, or write ${UNSET:-...} for a default`
	if diff := cmp.Diff(want, ms.Error()); diff != "" {
		t.Error(diff)
	}
}

// conditionalRoutes is a table whose routes all have a condition, of which one
// in ten matches the subject of the invoices.
func conditionalRoutes(b *testing.B, n int) *Table {
	var text strings.Builder
	text.WriteString("routes:\n")
	for i := range n {
		pattern := fmt.Sprintf("root%d.made", i)
		if i == n-1 {
			pattern = "orders.invoice.paid"
		}
		fmt.Fprintf(&text, "  - {match: [%s], when: double(data.total_amount) >= %d.0, to: [crm]}\n", pattern, i%100)
	}
	return ruled(b, text.String())
}

// benchmarkCondition is what an event costs whose subject one route of n
// matches, with its condition: the body is decoded for every event.
func benchmarkCondition(b *testing.B, n int) {
	table := conditionalRoutes(b, n)
	e := &event.Event{Subject: "orders.invoice.paid", Body: invoiceBody()}
	b.ReportAllocs()
	for b.Loop() {
		q := question{table: table, event: e}
		if d, _ := q.decide(b.Context(), 0); d.Route == "" || d.Err != nil {
			b.Fatalf("%+v", d)
		}
	}
}

// invoiceBody is an invoice of 2 KiB.
func invoiceBody() []byte {
	var items strings.Builder
	for i := range 12 {
		fmt.Fprintf(&items, `{"id":%d,"name":"a thing that is sold","quantity":1,"unit_price":"9.90","currency":"USD","sku":"SKU-%d","taxable":true},`, i, i)
	}
	return fmt.Appendf(nil, `{"event_id":"0a6f2c5e","event_type":"orders/invoice.paid","data":{"id":7,"total_amount":"149.00","currency":"USD",`+
		`"order":{"id":9,"contact":{"id":1,"email_address":"ada@example.com","first_name":"Ada"}},"line_items":[%s]}}`,
		strings.TrimSuffix(items.String(), ","))
}

func BenchmarkMatchAndCondition10Routes(b *testing.B)   { benchmarkCondition(b, 10) }
func BenchmarkMatchAndCondition100Routes(b *testing.B)  { benchmarkCondition(b, 100) }
func BenchmarkMatchAndCondition1000Routes(b *testing.B) { benchmarkCondition(b, 1000) }

// BenchmarkConditionDecoded is what one condition costs over a body of 2 KiB
// that an earlier condition had decoded.
func BenchmarkConditionDecoded(b *testing.B) {
	table := conditionalRoutes(b, 1)
	q := question{table: table, event: &event.Event{Subject: "orders.invoice.paid", Body: invoiceBody()}}
	q.decide(b.Context(), 0)
	b.ReportAllocs()
	for b.Loop() {
		if d, _ := q.decide(b.Context(), 0); d.Route == "" {
			b.Fatalf("%+v", d)
		}
	}
}
