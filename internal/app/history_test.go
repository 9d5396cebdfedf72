package app

import (
	"bytes"
	"context"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/delivery"
)

// client returns a client of the process's admin API.
func (p *process) client() *console.Client {
	p.t.Helper()
	c, err := console.NewClient("http://"+p.AdminAddr().String(), "", describedClient(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// story asks for an event's story until f is true of it.
func (p *process) story(what string, seq uint64, f func(console.EventStory) bool) console.EventStory {
	p.t.Helper()
	c := p.client()
	var s console.EventStory
	eventually(p.t, what, func() bool {
		var err error
		if s, err = c.EventShow(p.t.Context(), seq); err != nil {
			p.t.Fatalf("EventShow(%d): %v", seq, err)
		}
		return f(s)
	})
	return s
}

func attempted(n int) func(console.EventStory) bool {
	return func(s console.EventStory) bool {
		return len(s.Deliveries) == 1 && len(s.Deliveries[0].Attempts) >= n
	}
}

func TestAnEventsStory(t *testing.T) {
	t.Parallel()
	const token = "token-in-a-header-that-nobody-may-see"
	r := httpReceiver(t, http.StatusServiceUnavailable, func(req *http.Request) string {
		return "come back later, " + req.Header.Get("Authorization")
	})
	p := run(t, t.TempDir(), "sinks: {crm: {kind: http, url: "+r+", headers: {Authorization: Bearer "+token+"}, retry: {initial: 20ms, multiplier: 100, max_interval: 1h, jitter: 0}}}\nroutes: [{name: all, match: [\">\"], to: [crm]}]\n")
	got := accepted(t, p.url(), body("the-event", "order.created"))
	s := p.story("a second attempt", got.Seq, attempted(2))
	// The first wait was 20 ms, the second is 2 s, the third minutes.
	s = p.story("a third attempt", got.Seq, func(s console.EventStory) bool {
		return attempted(3)(s) && s.Deliveries[0].Outcome == console.OutcomeRetrying
	})
	d := s.Deliveries[0]
	if s.ID != "the-event" || s.Subject != "order.created" || s.Outcome != console.OutcomeRetrying || s.Durability != "process" {
		t.Errorf("story = %+v", s)
	}
	if d.Sink != "crm" || d.Route != "all" || d.Outcome != console.OutcomeRetrying || !d.Until.After(time.Now().Add(time.Minute)) {
		t.Errorf("delivery = %+v, want it to wait some minutes", d)
	}
	for i, a := range d.Attempts {
		if a.Number != i+1 || a.Verdict != "again" || a.Status != 503 || a.Class != "sink" || a.Route != "all" || a.Rules != s.Rules ||
			len(a.Rules) != 8 || a.TookMS <= 0 || a.FirstByteMS <= 0 || a.FirstByteMS > a.TookMS || a.Start.Before(s.Received) || !a.Next.After(a.Start) {
			t.Errorf("attempt %d = %+v", i+1, a)
		}
		if !strings.HasPrefix(a.Response, "come back later, ") || strings.Contains(a.Response+a.Error, token) {
			t.Errorf("answer of attempt %d = %q, want it without the token", i+1, a.Response)
		}
	}
	if first := d.Attempts[0]; first.ConnectMS <= 0 || first.Lane != "main" || d.Attempts[1].Lane != "retry" {
		t.Errorf("first attempts = %+v, want a connection made and the lanes main and retry", d.Attempts[:2])
	}
	// The record counts from the end of the attempt, the schedule from when it
	// was made, after that and before now.
	third := d.Attempts[2]
	ended := third.Start.Add(time.Duration(third.TookMS * float64(time.Millisecond)))
	if gap := d.Until.Sub(third.Next); gap < -50*time.Millisecond || gap > time.Since(ended)+50*time.Millisecond {
		t.Errorf("the schedule says %s, the record %s", d.Until, third.Next)
	}
	if found := filesWith(t, p.Config().Broker.DataDir, token); len(found) > 0 {
		t.Errorf("the token is in %v", found)
	}
}

// serveHTTP serves until the test ends and returns where.
func serveHTTP(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

// httpReceiver is a server that answers everything with a status and a text.
func httpReceiver(t *testing.T, status int, text func(*http.Request) string) string {
	t.Helper()
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text(r)))
	})
}

func TestOutcomesOfAList(t *testing.T) {
	t.Parallel()
	url := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Penstock-Subject") {
		case "order.created":
			w.WriteHeader(http.StatusNoContent)
		case "order.updated":
			w.WriteHeader(http.StatusUnprocessableEntity)
		default:
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	p := run(t, t.TempDir(), strings.ReplaceAll(`
sinks:
  crm: {kind: http, url: URL, retry: {initial: 1h}, hold: {failures: 0}}
  other: {kind: http, url: URL, retry: {initial: 1h}, hold: {failures: 0}}
routes:
  - {name: orders, match: ["order.>"], to: [crm]}
  - {name: contacts, match: [contact.created], to: [crm, other]}
`, "URL", url))
	c := p.client()
	seqs := map[string]uint64{}
	for _, typ := range []string{"order.created", "order.updated", "contact.created", "course.created"} {
		seqs[typ] = accepted(t, p.url(), body(typ, typ)).Seq
	}
	want := map[string]map[string]string{
		"order.created":   {"crm": console.OutcomeDelivered},
		"order.updated":   {"crm": console.OutcomeDead},
		"contact.created": {"crm": console.OutcomeRetrying, "other": console.OutcomeRetrying},
		"course.created":  nil,
	}
	list := func(q console.EventQuery) []console.EventSummary {
		page, err := c.EventList(t.Context(), q)
		if err != nil || page.Next != "" {
			t.Fatalf("EventList(%+v) = %+v, %v", q, page, err)
		}
		return page.Items
	}
	eventually(t, "every outcome", func() bool {
		n := 0
		for _, e := range list(console.EventQuery{}) {
			if maps.Equal(e.Sinks, want[e.Subject]) {
				n++
			}
		}
		return n == len(want)
	})
	all := list(console.EventQuery{})
	if len(all) != 4 || all[0].Subject != "course.created" || all[0].Outcome != console.OutcomeSkipped || all[3].Seq != seqs["order.created"] {
		t.Errorf("list = %+v, want the newest first", all)
	}
	for name, tt := range map[string]struct {
		q    console.EventQuery
		want string
	}{
		"pattern":           {console.EventQuery{Pattern: "order.*"}, "order.updated order.created"},
		"a type":            {console.EventQuery{Pattern: "order/created"}, "order.created"},
		"dead":              {console.EventQuery{Outcome: "dead"}, "order.updated"},
		"skipped":           {console.EventQuery{Outcome: "skipped"}, "course.created"},
		"delivered":         {console.EventQuery{Outcome: "delivered"}, "order.created"},
		"a sink":            {console.EventQuery{Sink: "other"}, "contact.created"},
		"retrying at crm":   {console.EventQuery{Sink: "crm", Outcome: "retrying"}, "contact.created"},
		"delivered at none": {console.EventQuery{Sink: "other", Outcome: "delivered"}, ""},
		"until long ago":    {console.EventQuery{Until: "1h"}, ""},
		"since a minute":    {console.EventQuery{Since: "10m", Pattern: "course.>"}, "course.created"},
	} {
		var got []string
		for _, e := range list(tt.q) {
			got = append(got, e.Subject)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: list = %v, want %s", name, got, tt.want)
		}
	}
	// Pages follow each other without gaps.
	var paged []uint64
	for cursor := ""; ; {
		page, err := c.EventList(t.Context(), console.EventQuery{Limit: 1, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Items {
			paged = append(paged, e.Seq)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if len(paged) != 4 || paged[0] <= paged[1] || paged[3] != seqs["order.created"] {
		t.Errorf("pages of one = %v, want all four", paged)
	}
	if _, err := c.EventList(t.Context(), console.EventQuery{Pattern: "a.>.b"}); err == nil || !strings.Contains(err.Error(), "may only be the last") {
		t.Errorf("list by a pattern that is none = %v", err)
	}
}

func TestAnErasedEventIsGone(t *testing.T) {
	t.Parallel()
	const private = "jane-doe-of-example-street-9"
	url := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		// Receivers like to repeat what they were sent.
		w.WriteHeader(http.StatusServiceUnavailable)
		var b bytes.Buffer
		_, _ = b.ReadFrom(r.Body)
		_, _ = w.Write(b.Bytes())
	})
	p := run(t, t.TempDir(), strings.ReplaceAll("sinks: {crm: {kind: http, url: URL, retry: {initial: 1h}, hold: {failures: 0}}, gone: {kind: http, url: URL, retry: {initial: 1h, permanent_statuses: [503]}, hold: {failures: 0}}}\nroutes: [{match: [\">\"], to: [crm, gone]}]\n", "URL", url))
	c := p.client()
	private1 := []byte(`{"data":{"id":7,"name":"` + private + `"},"event_id":"one","event_type":"order.created","subject_id":4242}`)
	one := accepted(t, p.url(), private1)
	two := accepted(t, p.url(), []byte(`{"data":{"id":8},"event_id":"two","event_type":"order.created","subject_id":42421}`))
	settled := func(s console.EventStory) bool {
		return len(s.Deliveries) == 2 && s.Deliveries[0].Outcome == console.OutcomeRetrying && len(s.Deliveries[0].Attempts) == 1 &&
			s.Deliveries[1].Outcome == console.OutcomeDead && len(s.Deliveries[1].Attempts) == 1
	}
	p.story("one is tried", one.Seq, settled)
	p.story("two is tried", two.Seq, settled)

	found, err := c.EventSearch(t.Context(), "", "4242", "1h", nil)
	if err != nil || len(found) != 1 || found[0].Seq != one.Seq {
		t.Fatalf("search by subject_id = %+v, %v; want event %d", found, err, one.Seq)
	}
	if len(filesWith(t, p.Config().Broker.DataDir, private)) == 0 {
		t.Fatal("the body is in no file before it is erased")
	}
	r, err := c.EventErase(t.Context(), one.Seq)
	if want := (console.ErasedEvent{Seq: one.Seq, Events: 1, Retries: 1, DeadLetters: 1, Records: 2}); err != nil || r != want {
		t.Fatalf("erase = %+v, %v; want %+v", r, err, want)
	}
	if _, err := c.EventShow(t.Context(), one.Seq); err == nil || !strings.Contains(err.Error(), "it was erased at 20") {
		t.Errorf("show after the erasure = %v", err)
	}
	if _, err := c.EventErase(t.Context(), one.Seq); err == nil {
		t.Error("a second erasure succeeded")
	}
	if s := p.story("two is as it was", two.Seq, settled); s.ID != "two" {
		t.Errorf("the other event = %+v", s)
	}
	p.broker.Records(t.Context(), time.Time{}, []uint64{one.Seq}, func(r delivery.Record) bool {
		if r.Kind != delivery.Erased || r.EventID != "" {
			t.Errorf("a record is left: %+v", r)
		}
		return true
	})
	if n := p.broker.Outstanding("crm"); n != 1 {
		t.Errorf("%d retries outstanding, want one", n)
	}
	p.stop()
	if found := filesWith(t, p.Config().Broker.DataDir, private); len(found) > 0 {
		t.Errorf("the erased body is still in %v", found)
	}
}

// TestAnErasedEventDoesNotComeBack erases an event while it is attempted.
func TestAnErasedEventDoesNotComeBack(t *testing.T) {
	t.Parallel()
	came, answer := make(chan struct{}, 8), make(chan struct{})
	url := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		<-answer
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	p := run(t, t.TempDir(), strings.ReplaceAll("sinks: {crm: {kind: http, url: URL, concurrency: 1, retry: {initial: 10ms}, hold: {failures: 0}}}\nroutes: [{match: [\">\"], to: [crm]}]\n", "URL", url))
	one := accepted(t, p.url(), body("one", "order.created"))
	<-came
	if _, err := p.client().EventErase(t.Context(), one.Seq); err != nil {
		t.Fatal(err)
	}
	close(answer)
	two := accepted(t, p.url(), body("two", "order.created"))
	p.story("the other event is tried", two.Seq, attempted(1))
	if n := p.broker.Outstanding("crm"); n > 1 {
		t.Errorf("%d retries outstanding, want only the other event's", n)
	}
	if at, _, err := p.broker.NextRetry(context.Background(), "crm", one.Seq, "one"); err != nil || !at.IsZero() {
		t.Errorf("the erased event is to be tried again at %s, %v", at, err)
	}
}

// filesWith returns the files under dir that hold the text.
func filesWith(t *testing.T, dir, text string) []string {
	t.Helper()
	var found []string
	read := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files come and go
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		read += len(data)
		if bytes.Contains(data, []byte(text)) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil || read == 0 {
		t.Fatalf("read %d bytes of %s: %v", read, dir, err)
	}
	return found
}
