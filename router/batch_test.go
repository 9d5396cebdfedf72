package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/sinks"
)

// batchSink is a sink that takes batches and remembers them.
type batchSink struct {
	sinkFunc
	bounds sinks.Batching
	answer func(ctx context.Context, events []event.Event) []error

	mu      sync.Mutex
	batches [][]string // ids
	at      []time.Duration
	start   time.Time
}

func (s *batchSink) Batching() sinks.Batching { return s.bounds }

func (s *batchSink) DeliverBatch(ctx context.Context, events []event.Event) []error {
	var ids []string
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	slices.Sort(ids)
	s.mu.Lock()
	s.batches, s.at = append(s.batches, ids), append(s.at, time.Since(s.start).Round(time.Millisecond))
	s.mu.Unlock()
	return s.answer(ctx, events)
}

func allDone(_ context.Context, events []event.Event) []error { return make([]error, len(events)) }

func allFail(err error) func(context.Context, []event.Event) []error {
	return func(_ context.Context, events []event.Event) []error { return allFailed(len(events), err) }
}

// newBatchWorker is a worker for batches of three, 100 bytes and a minute, and
// what it observed by event.
func newBatchWorker(t *testing.T, s *batchSink, change func(*config.Sink)) (*Worker, func() map[string]Observation) {
	t.Helper()
	s.start = time.Now()
	if s.bounds == (sinks.Batching{}) {
		s.bounds = sinks.Batching{MaxEvents: 3, MaxBytes: 100, MaxWait: time.Minute}
	}
	if s.answer == nil {
		s.answer = allDone
	}
	table := mustCompile(t, &config.Config{Sinks: named("crm"), Routes: []config.Route{rule("all", "orders.> -> crm")}})
	c := sixteen()
	if change != nil {
		change(&c)
	}
	var mu sync.Mutex
	seen := map[string]Observation{}
	w := NewWorker(WorkerOptions{Sink: c, Deliver: s, Table: table, Observe: func(o Observation) {
		mu.Lock()
		defer mu.Unlock()
		seen[o.Event.ID] = o
	}})
	return w, func() map[string]Observation { mu.Lock(); defer mu.Unlock(); return seen }
}

// handing is deliveries under way.
type handing struct {
	wg       sync.WaitGroup
	mu       sync.Mutex
	verdicts map[string]delivery.Verdict
}

// hand gives events of a size to w, one after the other.
func (h *handing) hand(ctx context.Context, w *Worker, size int, draining <-chan struct{}, ids ...string) {
	for _, id := range ids {
		a := order()
		a.Event.ID, a.Event.Body, a.Draining = id, make([]byte, size), draining
		h.wg.Go(func() {
			v := w.Handle(ctx, a)
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.verdicts == nil {
				h.verdicts = map[string]delivery.Verdict{}
			}
			h.verdicts[id] = v
		})
		synctest.Wait()
	}
}

// actions waits for all and returns what became of them.
func (h *handing) actions() map[string]delivery.Action {
	h.wg.Wait()
	got := map[string]delivery.Action{}
	for id, v := range h.verdicts {
		got[id] = v.Action
	}
	return got
}

func checkIdle(t *testing.T, w *Worker) {
	t.Helper()
	if s := w.State(); s.Running != 0 || w.gate.inside != 0 || w.gate.granted != 0 || w.engine.batcher.open != nil {
		t.Errorf("afterwards: %d running, %d inside, %d granted, open batch %v; want none", s.Running, w.gate.inside, w.gate.granted, w.engine.batcher.open)
	}
}

func TestWhenABatchIsHandedOver(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		size    int
		ids     []string
		drain   time.Duration
		batches [][]string
		at      []time.Duration
	}{
		"full":                    {1, []string{"a", "b", "c"}, 0, [][]string{{"a", "b", "c"}}, []time.Duration{0}},
		"its time is over":        {1, []string{"a", "b"}, 0, [][]string{{"a", "b"}}, []time.Duration{time.Minute}},
		"the rest waits":          {1, []string{"a", "b", "c", "d"}, 0, [][]string{{"a", "b", "c"}, {"d"}}, []time.Duration{0, time.Minute}},
		"no room for the next":    {60, []string{"a", "b"}, 0, [][]string{{"a"}, {"b"}}, []time.Duration{0, time.Minute}},
		"bytes reached":           {50, []string{"a", "b"}, 0, [][]string{{"a", "b"}}, []time.Duration{0}},
		"larger than a batch":     {101, []string{"a", "b"}, 0, [][]string{{"a"}, {"b"}}, []time.Duration{0, 0}},
		"nothing more will come":  {1, []string{"a", "b"}, time.Second, [][]string{{"a", "b"}}, []time.Duration{time.Second}},
		"empty bodies have a end": {0, []string{"a"}, 0, [][]string{{"a"}}, []time.Duration{time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &batchSink{}
				w, seen := newBatchWorker(t, s, nil)
				var h handing
				draining := make(chan struct{})
				h.hand(t.Context(), w, tt.size, draining, tt.ids...)
				if tt.drain > 0 {
					time.AfterFunc(tt.drain, func() { close(draining) })
				}
				for id, got := range h.actions() {
					if got != delivery.Done {
						t.Errorf("%s: %s, want done", id, got)
					}
				}
				if diff := cmp.Diff(tt.batches, s.batches); diff != "" {
					t.Errorf("batches (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.at, s.at); diff != "" {
					t.Errorf("times (-want +got):\n%s", diff)
				}
				if len(seen()) != len(tt.ids) {
					t.Errorf("%d events observed, want %d", len(seen()), len(tt.ids))
				}
				checkIdle(t, w)
			})
		})
	}
}

func TestEveryEventOfABatchHasItsOwnVerdict(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &batchSink{answer: func(_ context.Context, events []event.Event) []error {
			time.Sleep(time.Second)
			errs := make([]error, len(events))
			for i, e := range events {
				switch e.ID {
				case "b":
					errs[i] = errDown
				case "c":
					errs[i] = delivery.Permanent(errors.New("answered 400"))
				}
			}
			return errs
		}}
		w, seen := newBatchWorker(t, s, nil)
		var h handing
		h.hand(t.Context(), w, 1, nil, "a", "b", "c")
		want := map[string]delivery.Action{"a": delivery.Done, "b": delivery.Again, "c": delivery.Bury}
		if diff := cmp.Diff(want, h.actions()); diff != "" {
			t.Errorf("actions (-want +got):\n%s", diff)
		}
		if o := seen()["b"]; o.Took != time.Second || !errors.Is(o.Err, errDown) || o.Decision.Route != "all" {
			t.Errorf("observed %+v, want the batch's second and the event's own error", o)
		}
		if got := w.State().Failures; got != 1 {
			t.Errorf("%d failures counted, want one for the batch", got)
		}
		checkIdle(t, w)
	})
}

func TestABatchThatGoesWrongLosesNothing(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(context.Context, []event.Event) []error{
		"panic":      func(context.Context, []event.Event) []error { panic("hunter2") },
		"too few":    func(context.Context, []event.Event) []error { return make([]error, 2) },
		"none":       func(context.Context, []event.Event) []error { return nil },
		"too many":   func(context.Context, []event.Event) []error { return make([]error, 4) },
		"times out":  func(ctx context.Context, e []event.Event) []error { <-ctx.Done(); return allFailed(len(e), ctx.Err()) },
		"all failed": allFail(errDown),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, _ := newBatchWorker(t, &batchSink{answer: answer}, nil)
				var h handing
				h.hand(t.Context(), w, 1, nil, "a", "b", "c")
				want := map[string]delivery.Action{"a": delivery.Again, "b": delivery.Again, "c": delivery.Again}
				if diff := cmp.Diff(want, h.actions()); diff != "" {
					t.Errorf("actions (-want +got):\n%s", diff)
				}
				checkIdle(t, w)
			})
		})
	}
}

func TestAHoldGivesBackWhatWaitsInABatch(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(w *Worker, end context.CancelFunc){
		"paused": func(w *Worker, _ context.CancelFunc) { w.Pause() },
		"held":   func(w *Worker, _ context.CancelFunc) { w.gate.mu.Lock(); w.gate.holdBack(time.Now()); w.gate.unlock() },
		"ended":  func(_ *Worker, end context.CancelFunc) { end() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &batchSink{}
				w, _ := newBatchWorker(t, s, nil)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var h handing
				h.hand(ctx, w, 1, nil, "a", "b")
				start := time.Now()
				stop(w, cancel)
				want := map[string]delivery.Action{"a": delivery.Defer, "b": delivery.Defer}
				if diff := cmp.Diff(want, h.actions()); diff != "" {
					t.Errorf("actions (-want +got):\n%s", diff)
				}
				if len(s.batches) != 0 || time.Since(start) != 0 {
					t.Errorf("handed over %v after %s, want nothing at once", s.batches, time.Since(start))
				}
				checkIdle(t, w)
			})
		})
	}
}

func TestAProbeWaitsForNoOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &batchSink{answer: allFail(errDown)}
		w, _ := newBatchWorker(t, s, func(c *config.Sink) { c.Hold.Failures = 1 })
		var h handing
		h.hand(t.Context(), w, 1, nil, "a", "b", "c")
		h.actions()
		if s := w.State(); s.State != Held || s.Failures != 1 {
			t.Fatalf("after a failed batch %+v, want held by one failure", s)
		}
		s.answer = allDone
		n, _, err := w.Admit(t.Context(), delivery.Main, 100)
		if n != 1 || err != nil {
			t.Fatalf("Admit = %d, %v, want one event to try the sink with", n, err)
		}
		start := time.Now()
		h.hand(t.Context(), w, 1, nil, "d")
		if got := h.actions()["d"]; got != delivery.Done || time.Since(start) != 0 {
			t.Errorf("the probe is %s after %s, want done at once", got, time.Since(start))
		}
		checkIdle(t, w)
	})
}

func TestRateAndConcurrencyAreOfBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		running, most := 0, 0
		var mu sync.Mutex
		s := &batchSink{answer: func(_ context.Context, events []event.Event) []error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return make([]error, len(events))
		}}
		w, _ := newBatchWorker(t, s, func(c *config.Sink) {
			c.Concurrency, c.Rate = 2, config.Rate{PerSecond: 0.1, Burst: 4}
		})
		if n, _, err := w.Admit(t.Context(), delivery.Main, 18); n != 18 || err != nil {
			t.Fatalf("Admit = %d, %v, want all: the rate is of batches", n, err)
		}
		var h handing
		for i := range 18 {
			h.hand(t.Context(), w, 1, nil, fmt.Sprint("e", i))
		}
		for id, got := range h.actions() {
			if got != delivery.Done {
				t.Errorf("%s: %s, want done", id, got)
			}
		}
		want := []time.Duration{0, 0, time.Second, time.Second, 10 * time.Second, 20 * time.Second}
		if diff := cmp.Diff(want, s.at); diff != "" || most != 2 {
			t.Errorf("%d batches at one time, want 2; times (-want +got):\n%s", most, diff)
		}
		checkIdle(t, w)
	})
}

func TestWhatComesWhileABatchWaitsForItsPlaceGoesIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &batchSink{answer: func(_ context.Context, events []event.Event) []error {
			time.Sleep(2 * time.Second)
			return make([]error, len(events))
		}}
		s.bounds = sinks.Batching{MaxEvents: 3, MaxBytes: 100, MaxWait: time.Second}
		w, _ := newBatchWorker(t, s, func(c *config.Sink) { c.Concurrency = 1 })
		var h handing
		h.hand(t.Context(), w, 1, nil, "a")
		time.Sleep(1500 * time.Millisecond)
		h.hand(t.Context(), w, 1, nil, "b")
		time.Sleep(1200 * time.Millisecond)
		h.hand(t.Context(), w, 1, nil, "c")
		h.actions()
		if diff := cmp.Diff([][]string{{"a"}, {"b", "c"}}, s.batches); diff != "" {
			t.Errorf("batches (-want +got):\n%s", diff)
		}
		checkIdle(t, w)
	})
}
