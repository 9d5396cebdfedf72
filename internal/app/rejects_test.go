package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/ingress"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/internal/telemetry"
)

const oldSecret = "a-secret-of-another-endpoint"

const toCRM = "sinks: {crm: {kind: http, url: URL}}\nroutes: [{match: [\">\"], to: [crm]}]\n"

// wrongSecret is a source that cannot verify what post signs.
const wrongSecret = "sources: {clickfunnels: {kind: clickfunnels, secrets: [" + oldSecret + "]}}\n"

// refusedPost posts a body that is signed at a time and expects a 401.
func refusedPost(t *testing.T, url string, at time.Time, signed, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = clickfunnels.Sign(testSecret, at, signed)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("answered %d, want 401", resp.StatusCode)
	}
}

// ring waits until n rejected requests are kept.
func (p *process) ring(n int) []event.Rejected {
	p.t.Helper()
	var got []event.Rejected
	eventually(p.t, fmt.Sprintf("%d rejected requests are kept", n), func() bool {
		var err error
		got, _, err = p.broker.Rejected(context.Background(), event.RejectedFilter{Limit: 500})
		return err == nil && len(got) >= n
	})
	return got
}

func (p *process) accept(seq uint64, ignoreAge bool) event.Acceptance {
	p.t.Helper()
	a, err := rejectedStore{p.broker, p.App}.AcceptRejected(p.t.Context(), seq, ignoreAge)
	if err != nil {
		p.t.Fatalf("accept %d: %v", seq, err)
	}
	return a
}

func TestAWrongSecretCostsNoEvents(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	dir, yaml := t.TempDir(), strings.ReplaceAll(toCRM, "URL", r.URL)
	p := run(t, dir, wrongSecret+yaml)
	const events = 4 // and as many repeats: below ten a second
	before := time.Now()
	for i := range events {
		b := body(fmt.Sprint("e", i), "order.created")
		refusedPost(t, p.url(), time.Now(), b, b)
		refusedPost(t, p.url(), time.Now().Add(time.Second), b, b) // the sender's own retry
	}
	if got := p.ring(events); len(got) != events || got[0].Cause != string(clickfunnels.CauseBadSignature) {
		t.Fatalf("%d are kept, the first %+v; want one for each body", len(got), got[0])
	}
	if a := p.accept(1, true); a.Outcome != event.StillRefused || !strings.Contains(a.Hint, "wrong secret") {
		t.Errorf("with the wrong secret: %+v, want it still refused", a)
	}
	p.stop()

	p = run(t, dir, yaml)
	accepted(t, p.url(), body("e0", "order.created")) // the retry that came in time
	for _, q := range p.ring(events) {
		want := event.AcceptedNow
		if q.Seq == 1 {
			want = event.AcceptedBefore
		}
		a := p.accept(q.Seq, false)
		if a.Outcome != want || a.Event.Subject != "order.created" || a.Event.Received.Before(before) || a.Event.Received.After(time.Now()) {
			t.Errorf("accept %d: %+v, want %s", q.Seq, a, want)
		}
		if _, err := (rejectedStore{p.broker, p.App}).AcceptRejected(t.Context(), q.Seq, false); !errors.Is(err, event.ErrNoRejected) {
			t.Errorf("accept %d once more: %v, want ErrNoRejected", q.Seq, err)
		}
	}
	eventually(t, "all delivered", func() bool { return len(r.byID()) == events })
	for id, bodies := range r.byID() {
		if len(bodies) != 1 || !bytes.Equal(bodies[0], body(id, "order.created")) {
			t.Errorf("%s came %d times, first as %s", id, len(bodies), bodies[0])
		}
	}
}

// The process ends between storing the event and deleting the request: the
// request is still there, and accepting it again stores nothing.
func TestAcceptIsOnceOverACrash(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	dir, yaml := t.TempDir(), strings.ReplaceAll(toCRM, "URL", r.URL)
	p := run(t, dir, wrongSecret+yaml)
	b := body("only", "order.created")
	refusedPost(t, p.url(), time.Now(), b, b)
	p.ring(1)
	p.stop()

	ctx, crash := context.WithCancel(t.Context())
	a := build(t, dir, yaml, Options{Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), step: func(s broker.Step) {
		if s == broker.StepStored {
			crash()
		}
	}})
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := (rejectedStore{a.broker, a}).AcceptRejected(ctx, 1, false); err == nil || !strings.Contains(err.Error(), "accepting it again is safe") {
		t.Errorf("accept cut off after storing: %+v, %v; want an error that says so", got, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}

	p = run(t, dir, yaml)
	if got := p.ring(1); len(got) != 1 {
		t.Fatalf("%d rejected requests after it, want the one", len(got))
	}
	var wg sync.WaitGroup
	for range 4 { // several people at the same time
		wg.Go(func() {
			a, err := rejectedStore{p.broker, p.App}.AcceptRejected(t.Context(), 1, false)
			if err != nil && !errors.Is(err, event.ErrNoRejected) || err == nil && a.Outcome != event.AcceptedBefore {
				t.Errorf("accept again: %+v, %v; want a duplicate or gone", a, err)
			}
		})
	}
	wg.Wait()
	accepted(t, p.url(), body("last", "order.created"))
	eventually(t, "all delivered", func() bool { return len(r.byID()) == 2 })
	if n := len(r.got()); n != 2 {
		t.Errorf("%d deliveries, want each event once", n)
	}
}

func TestAcceptAndTheClock(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), strings.ReplaceAll(toCRM, "URL", r.URL))
	for i := range 3 {
		b := body(fmt.Sprint("late", i), "order.created")
		refusedPost(t, p.url(), time.Now().Add(-time.Hour), b, b)
	}
	got := p.ring(3)
	if got[0].Cause != string(clickfunnels.CauseStale) || got[2].Cause != string(clickfunnels.CauseClock) || !strings.Contains(got[2].Hint, "NTP") {
		t.Errorf("causes %s and %s (%s), want stale, and at last a clock", got[0].Cause, got[2].Cause, got[2].Hint)
	}
	if a := p.accept(1, false); a.Outcome != event.StillRefused || !strings.Contains(a.Hint, "--ignore-age") {
		t.Errorf("without ignoring the age: %+v", a)
	}
	if a := p.accept(1, true); a.Outcome != event.AcceptedNow || a.Event.ID != "late0" {
		t.Errorf("ignoring the age: %+v", a)
	}
}

// Neither a scanner nor a flood fills the ring, and what is good is answered
// as ever meanwhile.
func TestRingIsBounded(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), wrongSecret+strings.ReplaceAll(toCRM, "URL", r.URL))
	for _, h := range []http.Header{{}, {"X-Webhook-Clickfunnels-Signature": {"abc"}}} {
		p.rejects.note(ingress.Rejection{Source: "clickfunnels", Header: h, Body: []byte("x"), Received: time.Now(), Err: clickfunnels.ErrNoSignature})
	}
	const flood = 500
	start := time.Now()
	for i := range flood {
		b := body(fmt.Sprint("f", i), "order.created")
		p.rejects.note(ingress.Rejection{Source: "clickfunnels", Header: clickfunnels.Sign(testSecret, time.Now(), b), Body: b, Received: time.Now(), Err: clickfunnels.ErrBadSignature})
	}
	most := int(time.Since(start).Seconds()*rejectsPerSecond) + rejectsPerSecond + 1
	var page string
	var kept, over int
	eventually(t, "all counted", func() bool {
		page = metrics(t, p)
		kept = counted(t, page, `penstock_rejected_ring_total{outcome="kept",source="clickfunnels"}`)
		over = counted(t, page, `penstock_rejected_ring_total{outcome="overflow",source="clickfunnels"}`)
		all := counted(t, page, `penstock_rejected_total{reason="bad_signature",source="clickfunnels"}`)
		return all >= flood && kept+over >= flood // what became of one is counted after it
	})
	if kept < 1 || kept > most || kept+over != flood {
		t.Errorf("of %d %d were kept and %d not, want at most %d kept", flood, kept, over, most)
	}
	if got := p.ring(kept); len(got) != kept {
		t.Errorf("%d are in the ring, %d were counted", len(got), kept)
	}
	if n := counted(t, page, `penstock_rejected_total{reason="unsigned",source="clickfunnels"}`); n != 2 {
		t.Errorf("%d unsigned requests counted, want 2", n)
	}
}

// A store that cannot be written holds up nobody, and what was in memory is
// bounded.
func TestKeepingDoesNotBlock(t *testing.T) {
	t.Parallel()
	stuck, entered := make(chan struct{}), make(chan struct{}, 1)
	s := clickfunnels.NewSource(clickfunnels.Options{Name: "cf", Secrets: []string{oldSecret}})
	r := newRejects(nil, map[string]*clickfunnels.Source{"cf": s}, func() *telemetry.Telemetry { return nil }, slog.New(slog.DiscardHandler))
	r.keep = func(context.Context, event.Rejected) (bool, error) {
		entered <- struct{}{}
		<-stuck
		return true, nil
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.run(ctx) }()
	(*r.sources.Load())["cf"].second.SetLimit(1e9)
	(*r.sources.Load())["cf"].second.SetBurst(1e9)
	b := bytes.Repeat([]byte("x"), 1<<20)
	h := clickfunnels.Sign(testSecret, time.Now(), b)
	note := func() {
		r.note(ingress.Rejection{Source: "cf", Header: h, Body: b, Received: time.Now(), Err: clickfunnels.ErrBadSignature})
	}
	note()
	<-entered
	for range 100 { // returns, though nothing is taken out
		note()
	}
	if held := r.bytes.Load(); held > rejectsQueuedBytes+2<<20 {
		t.Errorf("%d bytes are held, at most %d are allowed", held, rejectsQueuedBytes)
	}
	b[0] = 'y' // the body was copied
	go func() {
		for range entered { // the rest
		}
	}()
	close(stuck)
	stop()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	close(entered)
	if r.bytes.Load() != 0 || len(r.queue) != 0 {
		t.Errorf("%d bytes in %d requests are left", r.bytes.Load(), len(r.queue))
	}
}
