package sinks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// What a kind that takes batches must do besides. That batches are gathered,
// settled and repeated as they should is tested in router and internal/app: it
// is the same for all kinds.

// batchFixture says how the suite sets up a kind for batches.
type batchFixture struct {
	// options is the YAML of a sink that takes batches, as fixture.options.
	options func(url string) string
	// events is a batch. When the receiver refuses the requests of which refuse
	// says so, it has not got the events of which refused says so: some, not all.
	events  []event.Event
	refuse  func(*http.Request) bool
	refused func(event.Event) bool
	// ids are those of the events that the receiver has, repeated or not.
	ids func(*receiver, *testing.T) []string
}

// everyBatchKind runs test for each kind that takes batches.
func everyBatchKind(t *testing.T, test func(t *testing.T, kind string, f fixture)) {
	everyKind(t, func(t *testing.T, kind string, f fixture) {
		if f.batch == nil {
			return
		}
		f.options = f.batch.options
		test(t, kind, f)
	})
}

func (f fixture) sortedIDs(r *receiver, t *testing.T) []string {
	t.Helper()
	return slices.Compact(slices.Sorted(slices.Values(f.batch.ids(r, t))))
}

func idsOf(events []event.Event, want func(event.Event) bool) []string {
	var ids []string
	for _, e := range events {
		if want(e) {
			ids = append(ids, e.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func TestEveryKindThatTakesBatchesHasAFixtureForThem(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string, f fixture) {
		// A kind that only folds events into one message when it is told to has
		// tests of its own for that: its receiver cannot refuse a part.
		b, ok := f.open(t, kind, newReceiver(t, nil)).(BatchSink)
		if f.batch == nil && ok && b.Batching() != (Batching{}) {
			t.Error("takes batches and has no fixture for them")
		}
	})
}

func TestBatchingIsKnownBeforeTheSinkIsOpen(t *testing.T) {
	everyBatchKind(t, func(t *testing.T, kind string, f fixture) {
		r := newReceiver(t, nil)
		got := f.open(t, kind, r).(BatchSink).Batching()
		if want := BatchingOf(sinkConfig(t, kind, f.options(r.URL))); got != want || got == (Batching{}) {
			t.Errorf("Batching of the open sink %+v, of its configuration %+v; want the same and some", got, want)
		}
	})
}

func TestBatchArrives(t *testing.T) {
	everyBatchKind(t, func(t *testing.T, kind string, f fixture) {
		r := newReceiver(t, nil)
		before := slices.Clone(f.batch.events)
		if err := errors.Join(deliverBatch(t, f.open(t, kind, r), f.batch.events)...); err != nil {
			t.Fatal(err)
		}
		want := idsOf(before, func(event.Event) bool { return true })
		if diff := cmp.Diff(want, f.sortedIDs(r, t)); diff != "" {
			t.Errorf("arrived (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(before, f.batch.events); diff != "" {
			t.Errorf("DeliverBatch changed the slice (-before +after):\n%s", diff)
		}
	})
}

func TestPartialFailureIsToldByEvent(t *testing.T) {
	everyBatchKind(t, func(t *testing.T, kind string, f fixture) {
		r := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
			if f.batch.refuse(r) {
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
		failed := 0
		for i, err := range deliverBatch(t, f.open(t, kind, r), f.batch.events) {
			want := delivery.Class("")
			if f.batch.refused(f.batch.events[i]) {
				want, failed = delivery.Failed, failed+1
			}
			if got := delivery.ClassOf(err); got != want {
				t.Errorf("event %d: class %q (%v), want %q", i, got, err, want)
			}
			checkNoSecret(t, "error", fmt.Sprint(err))
		}
		if failed == 0 || failed == len(f.batch.events) {
			t.Errorf("%d of %d events are refused, want some and not all", failed, len(f.batch.events))
		}
	})
}

func TestBatchCancelledBeforeTheAttempt(t *testing.T) {
	everyBatchKind(t, func(t *testing.T, kind string, f fixture) {
		r := newReceiver(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for i, err := range f.open(t, kind, r).(BatchSink).DeliverBatch(ctx, f.batch.events) {
			if !errors.Is(err, context.Canceled) || delivery.ClassOf(err) != delivery.Failed {
				t.Errorf("event %d: %v (%s), want context.Canceled, classed %s", i, err, delivery.ClassOf(err), delivery.Failed)
			}
		}
		if got := f.batch.ids(r, t); len(got) != 0 {
			t.Errorf("the receiver has %q, want nothing", got)
		}
	})
}

func TestBatchesAtOneTime(t *testing.T) {
	const senders, each = 8, 5
	everyBatchKind(t, func(t *testing.T, kind string, f fixture) {
		r := newReceiver(t, nil)
		s := f.open(t, kind, r).(BatchSink)
		var want []string
		var wg sync.WaitGroup
		for i := range senders * each {
			batch := slices.Clone(f.batch.events)
			for j := range batch {
				batch[j].ID = fmt.Sprintf("%d-%d", i, j)
				want = append(want, batch[j].ID)
			}
			wg.Go(func() {
				if err := errors.Join(s.DeliverBatch(t.Context(), batch)...); err != nil {
					t.Errorf("DeliverBatch: %v", err)
				}
			})
		}
		wg.Wait()
		slices.Sort(want)
		if diff := cmp.Diff(want, f.sortedIDs(r, t)); diff != "" {
			t.Errorf("arrived (-want +got):\n%s", diff)
		}
	})
}
