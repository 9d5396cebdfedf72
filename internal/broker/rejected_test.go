package broker

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/event"
)

func rejected(n int) event.Rejected {
	return event.Rejected{
		Source: "cf", Cause: "bad_signature", Reason: "signature matches no configured secret", Hint: "wrong secret",
		Received: time.Date(2026, 11, 24, 8, n, 0, 0, time.UTC),
		Header:   http.Header{"X-Signature": {"abc"}, "Content-Type": {"application/json"}},
		Body:     fmt.Appendf(nil, `{"n":%d}`, n), Size: len(fmt.Sprintf(`{"n":%d}`, n)),
	}
}

func TestRejectedRing(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	t.Run("keep", func(t *testing.T) {
		b := open(t, o)
		for n := 1; n <= 5; n++ {
			r := rejected(n)
			if n == 4 {
				r.Source = "other"
			}
			if kept, err := b.KeepRejected(t.Context(), r); err != nil || !kept {
				t.Fatalf("KeepRejected(%d) = %t, %v", n, kept, err)
			}
		}
		again := rejected(2)
		again.Received, again.Header = again.Received.Add(time.Hour), http.Header{"X-Signature": {"other"}}
		if kept, err := b.KeepRejected(t.Context(), again); err != nil || kept {
			t.Errorf("the same body once more: %t, %v; want it not kept", kept, err)
		}
	})
	b := open(t, o)
	for name, tt := range map[string]struct {
		f    event.RejectedFilter
		want string
	}{
		"all":            {event.RejectedFilter{Limit: 10}, "[1 2 3 4 5] false"},
		"a page":         {event.RejectedFilter{Limit: 2}, "[1 2] true"},
		"the next page":  {event.RejectedFilter{Limit: 3, After: 2}, "[3 4 5] false"},
		"of one source":  {event.RejectedFilter{Limit: 10, Source: "other"}, "[4] false"},
		"since a time":   {event.RejectedFilter{Limit: 10, Since: rejected(3).Received}, "[3 4 5] false"},
		"of no source":   {event.RejectedFilter{Limit: 10, Source: "none"}, "[] false"},
		"after the last": {event.RejectedFilter{Limit: 10, After: 5}, "[] false"},
	} {
		got, more, err := b.Rejected(t.Context(), tt.f)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		seqs := []uint64{}
		for _, r := range got {
			seqs = append(seqs, r.Seq)
			if r.Body != nil {
				t.Errorf("%s: a list has the body of %d", name, r.Seq)
			}
		}
		if s := fmt.Sprint(seqs, more); s != tt.want {
			t.Errorf("%s: %s, want %s", name, s, tt.want)
		}
	}
	want := rejected(3)
	want.Seq = 3
	got, err := b.RejectedRequest(t.Context(), 3)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("RejectedRequest: %v (-want +got):\n%s", err, d)
	}
	for range 2 {
		if err := b.DropRejected(t.Context(), 3); err != nil {
			t.Errorf("DropRejected: %v", err)
		}
	}
	if _, err := b.RejectedRequest(t.Context(), 3); !errors.Is(err, event.ErrNoRejected) {
		t.Errorf("after it: %v, want ErrNoRejected", err)
	}
}

// What came in so long ago that the dedupe window may have forgotten it is
// looked for in the stream.
func TestPublishLateIsOnce(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.Config.DedupeWindow = 100 * time.Millisecond
	b := open(t, o)
	e := testEvent(1)
	e.Received = time.Now()
	if r, err := b.PublishLate(t.Context(), e); err != nil || r.Duplicate || r.Seq != 1 {
		t.Fatalf("PublishLate = %+v, %v, want stored as 1", r, err)
	}
	publishAll(t, b, 2, 2)
	eventually(t, "the dedupe window has forgotten a later event", func() bool {
		r, err := b.Publish(t.Context(), testEvent(2))
		return err == nil && !r.Duplicate
	})
	if r, err := b.PublishLate(t.Context(), e); err != nil || !r.Duplicate || r.Seq != 1 {
		t.Errorf("PublishLate after the window = %+v, %v, want a duplicate of 1", r, err)
	}
	other := testEvent(4)
	other.Received = e.Received
	if r, err := b.PublishLate(t.Context(), other); err != nil || r.Duplicate {
		t.Errorf("PublishLate of another = %+v, %v, want it stored", r, err)
	}
}
