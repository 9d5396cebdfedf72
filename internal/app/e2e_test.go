package app

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/event"
)

func TestEveryTypeGoesThroughUnchanged(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), "sinks: {crm: {kind: http, url: "+r.URL+"}}\nroutes: [{match: [\">\"], to: [crm]}]\n")
	catalog := clickfunnels.NewCatalog()
	sent := map[string][]byte{}
	subjects := map[string]string{}
	for _, e := range catalog.Entries() {
		for _, v := range e.Versions {
			id := fmt.Sprintf("%032x", len(sent)+1)
			b, err := catalog.Sample(e.Type, clickfunnels.SampleOptions{Version: v, ID: id})
			if err != nil {
				t.Fatalf("sample of %s V%d: %v", e.Type, v, err)
			}
			got := accepted(t, p.url(), b)
			if got.Subject != e.Subject || got.ID != id {
				t.Errorf("%s V%d was stored as %s, id %s; want %s, %s", e.Type, v, got.Subject, got.ID, e.Subject, id)
			}
			sent[id], subjects[id] = b, e.Subject
		}
	}
	if len(sent) < 91 {
		t.Fatalf("walked %d samples, want one at least of 91 types", len(sent))
	}
	eventually(t, "all delivered", func() bool { return len(r.byID()) == len(sent) })
	for _, g := range r.got() {
		id := g.header.Get("Webhook-Id")
		if !bytes.Equal(g.body, sent[id]) {
			t.Errorf("%s came out as\n%s\nwant\n%s", subjects[id], g.body, sent[id])
		}
		if g.header.Get("Penstock-Subject") != subjects[id] || g.header.Get("Ce-Id") != id {
			t.Errorf("%s has headers %v", subjects[id], g.header)
		}
	}
}

func TestDuplicatesAreStoredOnce(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), "sinks: {crm: {kind: http, url: "+r.URL+"}}\nroutes: [{match: [\">\"], to: [crm]}]\n")
	first := accepted(t, p.url(), body("6a1c1d2e-0f7b-4e51-9d55-1b1a3f6f2c01", "order.created"))
	// Another endpoint may write the same id without dashes.
	again := accepted(t, p.url(), body("6A1C1D2E0F7B4E519D551B1A3F6F2C01", "order.created"))
	if first.Duplicate || !again.Duplicate || again.Seq != first.Seq {
		t.Errorf("first %+v, again %+v; want the same sequence, the second a duplicate", first, again)
	}
	accepted(t, p.url(), body("another", "order.created"))
	eventually(t, "the other event", func() bool { return len(r.byID()) == 2 })
	if n := len(r.got()); n != 2 {
		t.Errorf("%d deliveries, want 2", n)
	}
}

func TestFailingAttemptsAreRepeated(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(n int, _ got) int {
		if n%3 == 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	p := run(t, t.TempDir(), "sinks: {crm: {kind: http, url: "+r.URL+", retry: {initial: 20ms, max_interval: 50ms}}}\nroutes: [{match: [\">\"], to: [crm]}]\n")
	const events = 100
	for i := range events {
		accepted(t, p.url(), body(fmt.Sprint("event-", i), "order.created"))
	}
	done := func() map[string]int {
		done := map[string]int{}
		for n, g := range r.got() {
			if (n+1)%3 != 0 {
				done[g.header.Get("Webhook-Id")]++
			}
		}
		return done
	}
	eventually(t, "every event is taken by the receiver", func() bool { return len(done()) == events })
	eventually(t, "nothing is under way", func() bool { n, retries := underWay(p.AdminAddr().String()); return n+retries == 0 })
	for id, n := range done() {
		if n != 1 {
			t.Errorf("%s was taken %d times, want once", id, n)
		}
	}
}

func TestRoutesAndDefault(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), strings.ReplaceAll(`
sinks:
  paid: {kind: http, url: URL/paid}
  forms: {kind: http, url: URL/forms}
  brand: {kind: http, url: URL/brand}
  rest: {kind: http, url: URL/rest}
routes:
  - {name: paid, match: ["*.invoice.paid", orders.>], to: [paid]}
  - {name: paid-again, match: ["orders.invoice.paid"], to: [paid]}
  - {name: forms, match: [form_submission.created], to: [forms]}
  - {name: brand, match: ["brand.>"], to: [brand]}
default: [rest]
`, "URL", r.URL))
	want := map[string][]string{
		"orders/invoice.paid": {"/paid"}, "subscription/invoice.paid": {"/paid"}, "subscription.invoice.paid": {"/paid"},
		"orders/invoice.created": {"/paid"}, "form/submission.created": {"/forms"}, "form_submission.created": {"/forms"},
		"brand/thing.made": {"/brand"}, "contact.created": {"/rest"}, "never/heard.of": {"/rest"},
	}
	total := 0
	for typ, paths := range want {
		total += len(paths)
		accepted(t, p.url(), body(fmt.Sprint("id-", total), typ))
	}
	eventually(t, "all delivered", func() bool { return len(r.got()) >= total })
	have := map[string][]string{}
	for _, g := range r.got() {
		typ := g.header.Get("Ce-Type")
		have[typ] = append(have[typ], g.path)
	}
	for typ, paths := range want {
		if fmt.Sprint(have[typ]) != fmt.Sprint(paths) {
			t.Errorf("%s went to %v, want %v", typ, have[typ], paths)
		}
	}
}

func TestHostileTypesReachNoSubjectRaw(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), "sinks: {crm: {kind: http, url: "+r.URL+"}}\nroutes: [{match: [\">\"], to: [crm]}]\n")
	types := []string{
		"a b", "order.*", "order.>", "*", ">", "bestellung/größe", "a\r\nNats-Rollup: all", "..", "/", ".", strings.Repeat("x", 5000),
		strings.Repeat("a.", 40) + "z", "$JS.API.STREAM.DELETE.PENSTOCK_EVENTS", "penstock.retry.due.crm", "penstock/dead/crm", "unknown/malformed", "x\x00y",
	}
	for i, typ := range types {
		b := body(fmt.Sprint("hostile-", i), typ)
		got := accepted(t, p.url(), b)
		if got.Subject != event.Malformed && !strings.HasPrefix(got.Subject, event.UnknownPrefix) && !strings.HasPrefix(got.Subject, "order.") ||
			strings.ContainsAny(got.Subject, " *>$\r\n\x00") {
			t.Errorf("type %.40q was stored on %q", typ, got.Subject)
		}
	}
	for i, raw := range []string{"not json", "", "[]", `"x"`, `{"event_id":"no-type"}`, `{"event_type":7}`, "\xff\xfe", strings.Repeat("[", 100_000)} {
		if got := accepted(t, p.url(), []byte(raw)); got.Subject != event.Malformed {
			t.Errorf("unreadable body %d was stored on %q, want %s", i, got.Subject, event.Malformed)
		}
	}
	eventually(t, "all delivered", func() bool { return len(r.byID()) == len(types)+8 })
}

func TestURLTokenReplacesTheSignature(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), fmt.Sprintf("sources: {steps: {kind: clickfunnels, path: /webhooks/steps, url_token: a-long-secret-token}}\nsinks: {crm: {kind: http, url: %s}}\nroutes: [{match: [\">\"], to: [crm]}]\n", r.URL))
	base := "http://" + p.Addr().String() + "/webhooks/steps"
	resp, err := http.Post(base+"/a-long-secret-token", "application/json", strings.NewReader(`{"contact":{"email":"x@example.test"}}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("unsigned request with the token answered %d, want 202", resp.StatusCode)
	}
	resp, err = http.Post(base+"/another", "application/json", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("wrong token answered %d, want 401", resp.StatusCode)
	}
	eventually(t, "delivered", func() bool { return len(r.got()) == 1 })
}

func TestSubjectPrefix(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), fmt.Sprintf(`
sources: {shop: {kind: clickfunnels, path: /webhooks/clickfunnels, secrets: [%s], subject_prefix: shop}}
sinks: {crm: {kind: http, url: %s}}
routes: [{match: ["shop.orders.>", "shop.brand.>"], to: [crm]}]
`, testSecret, r.URL))
	for id, want := range map[string]string{"orders/invoice.paid": "shop.orders.invoice.paid", "brand/x.y": "shop.unknown.brand.x.y"} {
		if got := accepted(t, p.url(), body(id, id)); got.Subject != want {
			t.Errorf("%s was stored on %s, want %s", id, got.Subject, want)
		}
	}
	eventually(t, "both delivered", func() bool { return len(r.got()) == 2 })
}

func TestStopFinishesAttempts(t *testing.T) {
	t.Parallel()
	under := make(chan struct{}, 1)
	release := make(chan struct{})
	r := newReceiver(t, func(int, got) int {
		under <- struct{}{}
		<-release
		return http.StatusOK
	})
	dir := t.TempDir()
	yaml := "sinks: {crm: {kind: http, url: " + r.URL + "}}\nroutes: [{match: [\">\"], to: [crm]}]\n"
	p := run(t, dir, yaml)
	accepted(t, p.url(), body("one", "order.created"))
	<-under
	stopped := make(chan struct{})
	go func() { p.stop(); close(stopped) }()
	eventually(t, "no longer taking webhooks", func() bool {
		resp, err := http.Get("http://" + p.Addr().String() + "/healthz") // which stores nothing while they are taken
		if err == nil {
			resp.Body.Close()
		}
		return err != nil
	})
	close(release)
	<-stopped
	if n := len(r.got()); n != 1 {
		t.Fatalf("%d attempts, want the one under way to finish", n)
	}
	p = run(t, dir, yaml)
	accepted(t, p.url(), body("two", "order.created"))
	eventually(t, "the next event", func() bool { return len(r.got()) == 2 })
	if id := r.got()[1].header.Get("Webhook-Id"); id != "two" {
		t.Errorf("after a restart %s was delivered, want only what was new", id)
	}
}

func TestSickSinkDelaysNoOther(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	sick := newReceiver(t, func(int, got) int { <-hang; return http.StatusOK })
	t.Cleanup(func() { close(hang) })
	well := newReceiver(t, ok)
	p := run(t, t.TempDir(), fmt.Sprintf("server: {listen: \"127.0.0.1:0\", admin: \"\", shutdown_timeout: 2s}\nsinks: {sick: {kind: http, url: %s, timeout: 10m}, well: {kind: http, url: %s}}\nroutes: [{match: [\">\"], to: [sick, well]}]\n", sick.URL, well.URL))
	const events = 200
	for i := range events {
		accepted(t, p.url(), body(fmt.Sprint("e", i), "order.created"))
	}
	eventually(t, "the well sink has all", func() bool { return len(well.byID()) == events })
	// Nothing has let go of the sick one: its first attempts still hang.
	if n := len(sick.got()); n > 16 || p.broker.Outstanding("sick") != 0 {
		t.Errorf("meanwhile the sick sink had %d attempts and %d retries, want its concurrency of 16 and none", n, p.broker.Outstanding("sick"))
	}
}
