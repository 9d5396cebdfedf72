package app

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/router"
)

// newRules reads other rules, as the command does.
func newRules(t testing.TB, yaml string) config.RuleSet {
	t.Helper()
	c, ms := Parse("new.yaml", []byte(fullYAML("none", yaml)), LoadOptions{})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatalf("new rules:\n%v", fatal)
	}
	return c.Rules()
}

const diffNow = `
sinks: {crm: {kind: log}, lake: {kind: log}}
routes:
  - {name: paid, match: ["*.invoice.paid"], to: [crm], when: money(data.total_amount) >= 50, transform: {id: event.id, total: data.total_amount}}
default: [lake]
`

const diffThen = `
sinks: {crm: {kind: log}, lake: {kind: log, path: "/not-to-be-told"}}
routes:
  - {name: paid, match: ["*.invoice.paid"], to: [crm], when: money(data.total_amount) >= 100, transform: {id: event.id, total: money(data.total_amount)}}
  - {name: contacts, match: ["contact.>"], to: [crm], when: data.vip}
default: [lake]
`

// TestRuleDiff: every event is counted once, over everything that is stored, by
// the rules of the process that runs and those that are sent to it.
func TestRuleDiff(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir(), diffNow)
	const invoices, contacts = 300, 60
	for i := range invoices {
		accepted(t, p.url(), fmt.Appendf(nil, `{"event_id":"i%03d","event_type":"orders/invoice.paid","data":{"total_amount":"%d.00"}}`, i, i))
	}
	for i := range contacts {
		accepted(t, p.url(), fmt.Appendf(nil, `{"event_id":"c%03d","event_type":"contact.created","data":{"vip":%s}}`, i, []string{"true", "false", `"so"`}[i%3]))
	}
	if _, err := p.client().SinkPause(t.Context(), "crm", 0); err != nil {
		t.Fatal(err)
	}
	request := console.DiffRequest{Rules: newRules(t, diffThen), Since: "1h", Examples: 1}
	d, err := p.client().RulesDiff(t.Context(), request, nil)
	if err != nil {
		t.Fatalf("RulesDiff: %v", err)
	}
	if d.Partial || d.Events != invoices+contacts || d.Selected != invoices+contacts || d.First.After(d.Last) || d.First.IsZero() {
		t.Errorf("looked at %d of %d from %s to %s, partial %t", d.Events, d.Selected, d.First, d.Last, d.Partial)
	}
	want := []delivery.SinkDifference{
		{Name: "crm", Kind: "log", Counts: delivery.EffectCounts{Gain: 20, Lose: 50, Transform: 200, Error: 20}, Routes: []delivery.RouteDifference{
			{Name: "paid", Counts: delivery.EffectCounts{Lose: 50, Transform: 200}, Examples: []delivery.EffectExample{
				{Effect: "lose", Seq: 51, ID: "i050", Subject: "orders.invoice.paid"},
				{Effect: "transform", Seq: 101, ID: "i100", Subject: "orders.invoice.paid", Values: []delivery.ValueChange{{Path: "total", Before: `"100.00"`, After: "100"}}},
			}},
			{Name: "contacts", Standing: "new", Counts: delivery.EffectCounts{Gain: 20, Error: 20}, Examples: []delivery.EffectExample{
				{Effect: "gain", Seq: 301, ID: "c000", Subject: "contact.created"},
				{Effect: "error", Seq: 303, ID: "c002", Subject: "contact.created", Place: "new.yaml:8:61", Error: "when: data.vip: is a string, neither true nor false"},
			}},
		}},
		{Name: "lake", Kind: "log", Counts: delivery.EffectCounts{Gain: 50, Lose: 40, Unchanged: 70}, Routes: []delivery.RouteDifference{
			{Name: "default", Default: true, Counts: delivery.EffectCounts{Gain: 50, Lose: 40, Unchanged: 70}, Examples: []delivery.EffectExample{
				{Effect: "gain", Seq: 51, ID: "i050", Subject: "orders.invoice.paid"},
				{Effect: "lose", Seq: 301, ID: "c000", Subject: "contact.created"},
			}},
		}},
	}
	if diff := cmp.Diff(want, d.Sinks); diff != "" {
		t.Errorf("sinks (-want +got)\n%s", diff)
	}
	if sent, _ := json.Marshal(request); strings.Contains(string(sent), "not-to-be-told") || strings.Contains(string(sent), testSecret) {
		t.Errorf("secrets are sent:\n%s", sent)
	}

	// A part of it, and what makes no sense.
	request.Match, request.Limit = []string{"orders/invoice.paid"}, 100
	if d, err = p.client().RulesDiff(t.Context(), request, nil); err != nil || d.Events != 100 || d.Sinks[0].Counts.Transform != 100 {
		t.Errorf("the newest 100 invoices = %+v, %v", d.Sinks, err)
	}
	for name, tt := range map[string]struct {
		r    console.DiffRequest
		want string
	}{
		"a source that is not":  {console.DiffRequest{Source: "shop"}, `there is no source "shop"; there are clickfunnels`},
		"no pattern":            {console.DiffRequest{Match: []string{"a..b"}}, "token 2 is empty"},
		"no time":               {console.DiffRequest{Since: "yesterday"}, "neither a time nor a duration"},
		"backwards":             {console.DiffRequest{Since: "1h", Until: "2h"}, "until is before since"},
		"too many examples":     {console.DiffRequest{Examples: 1000}, "examples must be 0 to 100"},
		"a sink that is not":    {console.DiffRequest{Rules: config.RuleSet{Routes: []config.RuleRoute{{Match: []string{">"}, To: []string{"crm"}}}}}, `there is no sink "crm"`},
		"an expression of old":  {console.DiffRequest{Rules: config.RuleSet{Routes: []config.RuleRoute{{When: &config.RulePart{Shape: config.Scalar, Text: "old()", Raw: "old()"}}}}}, "there is no function old"},
		"a part that is broken": {console.DiffRequest{Rules: config.RuleSet{Routes: []config.RuleRoute{{When: &config.RulePart{Shape: 9}}}}}, "is no part of a rule"},
	} {
		_, err := p.client().RulesDiff(t.Context(), tt.r, nil)
		var refused *console.APIError
		if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestRuleDiffStops: whoever stops waiting has what was found until then, and
// the process stops comparing.
func TestRuleDiffStops(t *testing.T) {
	t.Parallel()
	a := opened(t, t.TempDir(), diffNow)
	fill(t, a, 6_000)
	ctx, cancel := context.WithCancel(t.Context())
	var last delivery.Difference
	diffs := ruleDiffs{app: a, catalog: clickfunnels.NewCatalog()}
	d, err := diffs.Diff(ctx, console.DiffQuery{Rules: newRules(t, diffThen), Examples: 1}, func(p console.SearchProgress, found func() delivery.Difference) {
		if p.Searched > 0 {
			last = found()
			cancel()
		}
	})
	if err != nil || !d.Partial || d.Events == 0 || d.Events >= 6_000 || d.Selected != 6_000 {
		t.Errorf("stopped: %d of %d events, partial %t, %v; want some", d.Events, d.Selected, d.Partial, err)
	}
	if !last.Partial || last.Events == 0 || last.Events > d.Events {
		t.Errorf("found meanwhile: %d events, partial %t", last.Events, last.Partial)
	}
}

// TestRuleDiffYields: deliveries slow a comparison down, and do not stop it.
func TestRuleDiffYields(t *testing.T) {
	t.Parallel()
	a := opened(t, t.TempDir(), diffNow)
	const events = 3000
	fill(t, a, events)
	sweep, err := a.broker.Sweep(t.Context(), broker.SweepQuery{})
	if err != nil {
		t.Fatal(err)
	}
	defer sweep.Close(t.Context())
	_, then, err := proposedRules(newRules(t, diffThen))
	if err != nil {
		t.Fatal(err)
	}
	now, err := router.Compile(a.conf())
	if err != nil {
		t.Fatal(err)
	}
	job := &ruleDiff{
		comparison: router.NewComparison(now, then, 1), sweep: sweep, allRead: make(chan struct{}),
		crowded: func() bool { return true }, log: a.log,
	}
	if d, err := job.run(t.Context()); err != nil || d.Events != events || d.Partial {
		t.Errorf("%d of %d events, partial %t, %v", d.Events, events, d.Partial, err)
	}
}

// opened is a Penstock with a store, of which nothing else runs.
func opened(t testing.TB, dir, yaml string) *App {
	t.Helper()
	c, ms := Parse("test.yaml", []byte(fullYAML(dir, yaml)), LoadOptions{})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatal(fatal)
	}
	c.Broker.MaxBytes = 4 << 30
	a, err := New(c, Options{Version: "test", Stdout: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.broker.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.broker.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := a.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return a
}

// fill stores n events of 1 KiB, of 20 types.
func fill(t testing.TB, a *App, n int) {
	t.Helper()
	types := []string{"orders/invoice.paid", "contact.created", "contact.updated", "subscription.invoice.paid", "courses/enrollment.created"}
	catalog := clickfunnels.NewCatalog()
	for _, e := range catalog.Entries() {
		if len(types) < 20 && e.Subject != "" {
			types = append(types, e.Type)
		}
	}
	var g errgroup.Group
	const publishers = 64
	for at := range publishers {
		g.Go(func() error {
			for i := at; i < n; i += publishers {
				e := trialEvent(catalog, types[i%len(types)], "clickfunnels", "")
				e.ID, e.Received = fmt.Sprintf("event-%d", i), time.Now()
				e.Body = fmt.Appendf(nil, `{"event_id":"event-%d","event_type":%q,"api_version":2,"data":{"id":%d,"total_amount":"%d.00","currency":"USD","vip":%t,`+
					`"order":{"id":%d,"contact":{"id":%d,"email_address":"someone.%d@example.com","name":"Some One"}},"line_items":[{"sku":"COURSE-%d","quantity":%d}],"tags":["a","b","c"],"note":"%s"}}`,
					i, e.Type, i, i%300, i%7 == 0, i, i%1000, i, i%50, i%4, strings.Repeat("lorem ipsum ", 1024/12))
				e.Body = append(e.Body[:min(len(e.Body), 1021)], `"}}`...)
				if _, err := a.broker.Publish(context.Background(), e); err != nil && !errors.Is(err, event.ErrBusy) {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// fiftyRoutes is a set of rules over those events. In each form one condition
// and one transform of ten differ.
func fiftyRoutes(threshold int, total string) string {
	patterns := []string{">", "*.invoice.paid", "contact.>", "orders.>", "courses.*.created"}
	conditions := []string{
		"money(data.total_amount) >= %d", "has(data.vip) && data.vip && data.id %% %d == 1", `data.?order.?contact.?email_address.orValue("").endsWith("%d@example.com")`,
		`data.line_items.exists(i, i.sku == "COURSE-%d")`, `event.type == "orders/invoice.paid" && data.currency == "USD" && data.id > %d`,
	}
	var b strings.Builder
	b.WriteString("sinks:\n")
	for i := range 10 {
		fmt.Fprintf(&b, "  sink%d: {kind: log}\n", i)
	}
	b.WriteString("routes:\n")
	for i := range 50 {
		fmt.Fprintf(&b, "  - {name: route%d, match: [%q], to: [sink%d, sink%d]", i, patterns[i%len(patterns)], i%10, (i+3)%10)
		if i%5 != 4 || i%2 == 0 {
			n := i
			if i%10 == 0 {
				n += threshold
			}
			fmt.Fprintf(&b, ", when: %q", fmt.Sprintf(conditions[(i+i/5)%len(conditions)], n))
		}
		if i%3 == 0 {
			of := "data.total_amount"
			if i%10 == 3 {
				of = total
			}
			fmt.Fprintf(&b, ", transform: {id: event.id, total: %s, currency: data.currency, customer: {email: data.order.contact.email_address}, n: data.line_items.size()}", of)
		}
		b.WriteString("}\n")
	}
	b.WriteString("default: [sink0]\n")
	return b.String()
}

var diffEvents = flag.Int("diff-events", 5_000, "how many stored events BenchmarkRuleDiff looks at")

// BenchmarkRuleDiff compares two sets of 50 routes over stored events of 1 KiB.
// Of a million it tells with -benchtime 1x -diff-events 1000000.
func BenchmarkRuleDiff(b *testing.B) {
	a := opened(b, b.TempDir(), fiftyRoutes(100, "data.total_amount"))
	fill(b, a, *diffEvents)
	diffs := ruleDiffs{app: a, catalog: clickfunnels.NewCatalog()}
	q := console.DiffQuery{Rules: newRules(b, fiftyRoutes(120, "money(data.total_amount)")), Examples: 3}
	for b.Loop() {
		d, err := diffs.Diff(b.Context(), q, nil)
		if err != nil || d.Events != uint64(*diffEvents) || d.Partial {
			b.Fatalf("%d of %d events, %v", d.Events, *diffEvents, err)
		}
	}
	b.ReportMetric(float64(*diffEvents)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
