package console

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// ring is a RejectedRequests in memory. Request 2 does not verify.
type ring struct {
	mu        sync.Mutex
	kept      []event.Rejected
	ignoreAge []bool
}

func newRing(n int) *ring {
	r := &ring{}
	for i := range n {
		r.kept = append(r.kept, event.Rejected{
			Seq: uint64(i + 1), Source: []string{"shop", "cf"}[i%2], Cause: "bad_signature", Reason: "signature matches no configured secret",
			Hint: "wrong secret", Received: noon.Add(-time.Duration(n-1-i) * time.Minute), Size: 7,
			Header: http.Header{"X-Signature": {"abc"}}, Body: []byte{'<', 0xff, '>', byte('0' + i), 1, 2, 3},
		})
	}
	return r
}

func (r *ring) Rejected(_ context.Context, f event.RejectedFilter) (out []event.Rejected, more bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.kept {
		if q.Seq <= f.After || f.Source != "" && q.Source != f.Source || q.Received.Before(f.Since) {
			continue
		}
		if len(out) == f.Limit {
			return out, true, nil
		}
		q.Body, q.Header = nil, nil
		out = append(out, q)
	}
	return out, false, nil
}

func (r *ring) RejectedRequest(_ context.Context, seq uint64) (event.Rejected, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.kept {
		if q.Seq == seq {
			return q, nil
		}
	}
	return event.Rejected{}, fmt.Errorf("%w: %d", event.ErrNoRejected, seq)
}

func (r *ring) AcceptRejected(ctx context.Context, seq uint64, ignoreAge bool) (event.Acceptance, error) {
	q, err := r.RejectedRequest(ctx, seq)
	if err != nil {
		return event.Acceptance{}, err
	}
	r.mu.Lock()
	r.ignoreAge = append(r.ignoreAge, ignoreAge)
	r.mu.Unlock()
	if seq == 2 {
		return event.Acceptance{Request: q, Outcome: event.StillRefused, Why: "signature matches no configured secret", Hint: "wrong secret"}, nil
	}
	return event.Acceptance{Request: q, Outcome: event.AcceptedNow, Event: event.Event{
		ID: "e1", Type: "order.created", Subject: "order.created", Source: q.Source, Received: q.Received, Seq: 41,
	}}, nil
}

func withRing(r *ring) func(*Options) { return func(o *Options) { o.Rejected = r } }

func TestRejectedPages(t *testing.T) {
	t.Parallel()
	s := serve(t, newLetters(0), withRing(newRing(7)))
	c := s.client(t, "")
	for name, tt := range map[string]struct {
		q    RejectedQuery
		want []uint64
	}{
		"all, in pages": {RejectedQuery{Limit: 2}, []uint64{1, 2, 3, 4, 5, 6, 7}},
		"of one source": {RejectedQuery{Source: "cf", Limit: 2}, []uint64{2, 4, 6}},
		"of late":       {RejectedQuery{Since: "2m"}, []uint64{5, 6, 7}},
		"since a time":  {RejectedQuery{Since: noon.Format(time.RFC3339)}, []uint64{7}},
		"after a page":  {RejectedQuery{Cursor: "5"}, []uint64{6, 7}},
	} {
		var got []uint64
		for r, err := range c.RejectedAll(t.Context(), tt.q) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = append(got, r.Seq)
			if r.Body != "" || r.Cause != "bad_signature" || r.Hint != "wrong secret" || r.Bytes != 7 {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestRejectedQueriesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	s := serve(t, newLetters(0), withRing(newRing(1)))
	c := s.client(t, "")
	for name, tt := range map[string]struct {
		q    RejectedQuery
		want string
	}{
		"a wildcard for a source": {RejectedQuery{Source: "*"}, `source "*" is not a name`},
		"a time in words":         {RejectedQuery{Since: "yesterday"}, `since "yesterday" is neither a time nor a duration`},
		"a foreign cursor":        {RejectedQuery{Cursor: "x"}, `cursor "x" is not one of ours`},
		"too large a page":        {RejectedQuery{Limit: 501}, "limit must be 1 to 500"},
	} {
		if _, err := c.RejectedList(t.Context(), tt.q); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, tt.want)
		}
	}
	if _, err := c.RejectedShow(t.Context(), 9); err == nil || !strings.Contains(err.Error(), "no such rejected request: 9") {
		t.Errorf("one that is gone: %v", err)
	}
}

func TestShowAndAcceptRejected(t *testing.T) {
	t.Parallel()
	r := newRing(2)
	s := serve(t, newLetters(0), withRing(r))
	c := s.client(t, "")
	shown, err := c.RejectedShow(t.Context(), 1)
	if err != nil || shown.BodyEncoding != BodyBase64 || shown.Body != "PP8+MAECAw==" || shown.Headers["X-Signature"] != "abc" {
		t.Errorf("show: %+v, %v", shown, err)
	}
	got, err := c.RejectedAccept(t.Context(), 1, true)
	want := Acceptance{Seq: 1, Source: "shop", Outcome: "accepted", Event: &Event{
		ID: "e1", Type: "order.created", Subject: "order.created", Source: "shop", Received: noon.Add(-time.Minute), Seq: 41,
	}}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("accept: %v (-want +got):\n%s", err, d)
	}
	got, err = c.RejectedAccept(t.Context(), 2, false)
	want = Acceptance{Seq: 2, Source: "cf", Outcome: "refused", Why: "signature matches no configured secret", Hint: "wrong secret"}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("accept a bad one: %v (-want +got):\n%s", err, d)
	}
	if d := cmp.Diff([]bool{true, false}, r.ignoreAge); d != "" {
		t.Errorf("ages ignored (-want +got):\n%s", d)
	}
}

// control is a SinkControl in memory.
type control struct {
	mu    sync.Mutex
	calls []string
}

func (c *control) call(sink, what string) error {
	if sink == "nobody" {
		return fmt.Errorf("%w: %s", delivery.ErrNoSink, sink)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, what+" "+sink)
	return nil
}

func (c *control) PauseSink(_ context.Context, sink string, until time.Time) error {
	return c.call(sink, "pause "+until.Format(time.RFC3339))
}
func (c *control) ResumeSink(_ context.Context, sink string) error { return c.call(sink, "resume") }
func (c *control) RemovedSinks(context.Context) ([]delivery.RemovedSink, error) {
	return []delivery.RemovedSink{{Name: "old", Waiting: 3, Retries: 2}}, nil
}
func (c *control) PruneSink(_ context.Context, sink string) (delivery.RemovedSink, error) {
	if sink == "crm" {
		return delivery.RemovedSink{}, fmt.Errorf("%w: %s", delivery.ErrSinkInUse, sink)
	}
	return delivery.RemovedSink{Name: sink, Waiting: 3, Retries: 2}, c.call(sink, "prune")
}

func TestSinkControl(t *testing.T) {
	t.Parallel()
	ctl := &control{}
	s := serve(t, newLetters(0), func(o *Options) { o.Control = ctl })
	c, ctx := s.client(t, ""), t.Context()
	if r, err := c.SinkPause(ctx, "crm", 2*time.Hour); err != nil || !r.Until.Equal(noon.Add(2*time.Hour)) || !r.Paused {
		t.Errorf("pause for two hours: %+v, %v", r, err)
	}
	if r, err := c.SinkPause(ctx, "sales", 0); err != nil || !r.Until.IsZero() || !r.Paused {
		t.Errorf("pause: %+v, %v", r, err)
	}
	if r, err := c.SinkResume(ctx, "crm"); err != nil || r != (PauseResult{Name: "crm"}) {
		t.Errorf("resume: %+v, %v", r, err)
	}
	old := RemovedSink{Name: "old", Waiting: 3, Retries: 2}
	if l, err := c.SinkList(ctx); err != nil || len(l.Removed) != 1 || l.Removed[0] != old {
		t.Errorf("list: %+v, %v", l, err)
	}
	if r, err := c.SinkPrune(ctx, "old"); err != nil || r != old {
		t.Errorf("prune: %+v, %v", r, err)
	}
	want := []string{"pause 2026-11-23T14:00:00Z crm", "pause 0001-01-01T00:00:00Z sales", "resume crm", "prune old"}
	if d := cmp.Diff(want, ctl.calls); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
	for name, tt := range map[string]struct {
		do   func() error
		want string
	}{
		"no such sink":        {func() error { _, err := c.SinkPause(ctx, "nobody", 0); return err }, "no such sink: nobody; list what there is with penstock sinks ls"},
		"a sink in use":       {func() error { _, err := c.SinkPrune(ctx, "crm"); return err }, "the sink is configured: crm; remove it from the configuration"},
		"a name that is none": {func() error { _, err := c.SinkResume(ctx, "CRM"); return err }, `sink "CRM" is not a name`},
		"less than a second":  {func() error { _, err := c.SinkPause(ctx, "crm", time.Millisecond); return err }, `for "1ms" is not a duration of at least a second`},
	} {
		if err := tt.do(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, tt.want)
		}
	}
}
