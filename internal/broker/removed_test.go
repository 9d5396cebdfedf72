package broker

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
)

func TestPausesOutliveTheProcess(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	until := time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC)
	t.Run("record", func(t *testing.T) {
		b := open(t, o)
		for sink, at := range map[string]time.Time{"crm": {}, "lake": until, "sales": {}} {
			if err := b.PauseSink(t.Context(), sink, at); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // twice is no error
			if err := b.ResumeSink(t.Context(), "sales"); err != nil {
				t.Fatal(err)
			}
		}
	})
	b := open(t, o)
	got, err := b.Pauses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]delivery.Pause{"crm": {}, "lake": {Until: until}}, got); d != "" {
		t.Errorf("pauses after a restart (-want +got):\n%s", d)
	}
	for _, tt := range []struct {
		sink string
		now  time.Time
		want bool
	}{{"crm", until.AddDate(9, 0, 0), true}, {"lake", until.Add(-time.Second), true}, {"lake", until, false}} {
		if lasts := got[tt.sink].Lasts(tt.now); lasts != tt.want {
			t.Errorf("pause of %s lasts at %s: %t, want %t", tt.sink, tt.now, lasts, tt.want)
		}
	}
}

// What one process records another one sees, and writing undoes nothing of it.
func TestPausesOfTwoProcesses(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.Config.URL = externalServer(t)
	a, b := open(t, o), open(t, o)
	for i, w := range []*Broker{a, b, a, b} {
		if err := w.PauseSink(t.Context(), string(rune('a'+i)), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.ResumeSink(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	for _, w := range []*Broker{a, b} {
		got, err := w.Pauses(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(map[string]delivery.Pause{"b": {}, "c": {}, "d": {}}, got); d != "" {
			t.Errorf("pauses (-want +got):\n%s", d)
		}
	}
}

func TestPruneRemovedSink(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.Sinks = []string{"crm", "old"}
	again := func(sink string) delivery.Subscription {
		return delivery.Subscription{Sink: sink, Filters: []string{"order.>"}, Concurrency: 1}
	}
	t.Run("both sinks", func(t *testing.T) {
		b := open(t, o)
		h := &handler{judge: func(a delivery.Attempt) delivery.Verdict {
			if a.Event.ID == "id-1" {
				return delivery.Verdict{Action: delivery.Bury, Spent: true, Class: delivery.Rejected, Reason: "no"}
			}
			return delivery.Verdict{Action: delivery.Again, Spent: true, Delay: time.Hour, Class: delivery.Failed, Reason: "later"}
		}}
		stop := consume(t, b, again("old"), h)
		publishAll(t, b, 1, 3)
		eventually(t, "all tried", func() bool { return b.Outstanding("old") == 2 })
		settledFor(t, b, "old")
		stop()
		publishAll(t, b, 4, 7)
		if err := b.Prepare(t.Context(), []delivery.Subscription{again("crm")}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.PruneSink(t.Context(), "old"); !errors.Is(err, delivery.ErrSinkInUse) {
			t.Errorf("pruning a configured sink: %v, want ErrSinkInUse", err)
		}
	})
	o.Sinks = []string{"crm"}
	b := open(t, o)
	want := delivery.RemovedSink{Name: "old", Waiting: 4, Retries: 2}
	removed, err := b.RemovedSinks(t.Context())
	if d := cmp.Diff([]delivery.RemovedSink{want}, removed); err != nil || d != "" {
		t.Fatalf("RemovedSinks: %v (-want +got):\n%s", err, d)
	}
	got, err := b.PruneSink(t.Context(), "old")
	if err != nil || got != want {
		t.Errorf("PruneSink = %+v, %v, want %+v", got, err, want)
	}
	if removed, err := b.RemovedSinks(t.Context()); err != nil || len(removed) != 0 {
		t.Errorf("after it there is %v, %v", removed, err)
	}
	if n, err := b.retriesOf(t.Context(), "old"); err != nil || n != 0 {
		t.Errorf("%d retries are left, %v", n, err)
	}
	if _, err := b.PruneSink(t.Context(), "old"); !errors.Is(err, delivery.ErrNoSink) {
		t.Errorf("pruning it again: %v, want ErrNoSink", err)
	}
	letters, _, err := b.DeadLetters(t.Context(), delivery.DeadFilter{Sink: "old", Limit: 5})
	if err != nil || len(letters) != 1 {
		t.Errorf("its dead letters are %v, %v, want the one it had", letters, err)
	}
	// The other sink's queue is as it was.
	h := &handler{judge: done}
	consume(t, b, again("crm"), h)
	eventually(t, "the other sink's events", func() bool { return len(h.attempts()) == 7 })
}

func TestPrunedNameBeginsAsANewSink(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.Sinks = []string{"crm"}
	b := open(t, o)
	old := delivery.Subscription{Sink: "old", Filters: []string{"order.>"}, Concurrency: 1}
	if err := b.Prepare(t.Context(), []delivery.Subscription{subscription("order.>"), old}); err != nil {
		t.Fatal(err)
	}
	publishAll(t, b, 1, 3)
	if _, err := b.PruneSink(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	h := &handler{judge: done}
	if err := b.Prepare(t.Context(), []delivery.Subscription{old}); err != nil {
		t.Fatal(err)
	}
	publishAll(t, b, 4, 4)
	consume(t, b, old, h)
	eventually(t, "the new event", func() bool { return len(h.attempts()) > 0 })
	if got := h.attempts()[0].Event.ID; got != "id-4" {
		t.Errorf("a sink of the pruned name got %s first, want what came after it", got)
	}
}
