package router

import (
	"context"
	"errors"
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

// sinkNamed is sixteen under another name.
func sinkNamed(name string) config.Sink {
	s := sixteen()
	s.Name = name
	return s
}

// routed is a configuration with these sinks and routes.
func routed(routes string, configured ...config.Sink) *config.Config {
	return &config.Config{Sinks: configured, Routes: []config.Route{rule("r", routes)}}
}

func newRouter(t *testing.T, c *config.Config, all map[string]sinks.Sink) *Router {
	t.Helper()
	r, err := New(Options{Config: c, Sinks: all})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// apply applies a configuration as of a last event.
func apply(t *testing.T, r *Router, c *config.Config, last uint64, opened map[string]sinks.Sink, late map[string]Past) []Retired {
	t.Helper()
	retired, err := r.Apply(Change{Config: c, Table: mustCompile(t, c), Sinks: opened, Last: last, Late: late})
	if err != nil {
		t.Fatal(err)
	}
	return retired
}

func at(seq uint64) delivery.Attempt {
	a := order()
	a.Event.Seq = seq
	return a
}

func TestEventsAreRoutedByTheRulesOfTheirTime(t *testing.T) {
	t.Parallel()
	a, b := sinkNamed("a"), sinkNamed("b")
	works := sinkFunc(works)
	r := newRouter(t, routed("orders.> -> a", a, b), map[string]sinks.Sink{"a": works, "b": works})
	act := func(sink string, seq uint64) string {
		return r.Worker(sink).Handle(t.Context(), at(seq)).Action.String()
	}
	if got := act("a", 12); got != "done" { // judged before the change is told of
		t.Errorf("12 for a before the change: %s, want done", got)
	}
	var from uint64
	c := routed("orders.> -> b", a, b)
	retired, err := r.Apply(Change{Config: c, Table: mustCompile(t, c), Last: 10, Record: func(f uint64) error { from = f; return nil }})
	if err != nil || len(retired) != 0 || from != 13 {
		t.Fatalf("Apply = %v, %v from %d, want nothing retired from 13, as 12 was judged", retired, err, from)
	}
	for _, tt := range []struct {
		sink string
		seq  uint64
		want string
	}{{"a", 5, "done"}, {"b", 5, "skip"}, {"a", 12, "done"}, {"b", 12, "skip"}, {"a", 13, "skip"}, {"b", 13, "done"}} {
		if got := act(tt.sink, tt.seq); got != tt.want {
			t.Errorf("%d for %s: %s, want %s", tt.seq, tt.sink, got, tt.want)
		}
	}
	again := at(5)
	again.Lane = delivery.Retry
	if got := r.Worker("a").Handle(t.Context(), again); got.Action != delivery.Skip {
		t.Errorf("a retry is routed by the old rules: %s, want skip", got.Action)
	}
	want := []string{"orders.>", "unknown.orders.>"}
	if got := r.Subscription(r.Worker("a")).Filters; !cmp.Equal(got, want) {
		t.Errorf("while a needs the old rules its filters are %v, want %v", got, want)
	}
	for _, tt := range []struct {
		up   map[string]uint64
		want int
	}{{map[string]uint64{"a": 12, "b": 12}, 1}, {map[string]uint64{"a": 11, "b": 12}, 2}, {map[string]uint64{"a": 30, "b": 30}, 1}, {nil, 2}} {
		if got := r.InUse(tt.up); got != tt.want {
			t.Errorf("settled up to %v %d versions are needed, want %d", tt.up, got, tt.want)
		}
	}
	narrowed := r.Settled(map[string]uint64{"a": 12, "b": 11})
	if len(narrowed) != 1 || narrowed[0].Sink != "a" || len(narrowed[0].Filters) != 0 {
		t.Errorf("narrowed are %+v, want a alone, to nothing", narrowed)
	}
	if got := r.Eras(); got != 2 {
		t.Errorf("%d versions are in use, want 2 as b needs the old one", got)
	}
	r.Settled(map[string]uint64{"a": 12, "b": 20})
	if got := r.Eras(); got != 1 {
		t.Errorf("%d versions are in use, want 1", got)
	}
}

func TestApplyChangesNothingWhenTheRecordFails(t *testing.T) {
	t.Parallel()
	a, b := sinkNamed("a"), sinkNamed("b")
	r := newRouter(t, routed("orders.> -> a", a), map[string]sinks.Sink{"a": sinkFunc(works)})
	before := r.Table()
	c := routed("orders.> -> b", b)
	_, err := r.Apply(Change{Config: c, Table: mustCompile(t, c), Sinks: map[string]sinks.Sink{"b": sinkFunc(works)}, Record: func(uint64) error { return errDown }})
	if !errors.Is(err, errDown) {
		t.Errorf("Apply = %v, want the failure of the record", err)
	}
	if _, err := r.Apply(Change{Config: c, Table: mustCompile(t, c)}); err == nil || err.Error() != `sink "b" is configured but was not opened` {
		t.Errorf("Apply without the sink = %v", err)
	}
	if r.Table() != before || r.Worker("a") == nil || r.Worker("b") != nil {
		t.Error("something was changed")
	}
}

func TestWhatBeganOnASinkEndsOnIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		slow := sinkFunc(func(context.Context, event.Event) error { <-release; return nil })
		a := sinkNamed("a")
		r := newRouter(t, routed("orders.> -> a", a), map[string]sinks.Sink{"a": slow})
		w := r.Worker("a")
		var under sync.WaitGroup
		under.Go(func() {
			if v := w.Handle(t.Context(), at(1)); v.Action != delivery.Done {
				t.Errorf("the attempt under way: %s, want done", v.Action)
			}
		})
		synctest.Wait()
		var mu sync.Mutex
		taken := 0
		next := sinkFunc(func(context.Context, event.Event) error { mu.Lock(); defer mu.Unlock(); taken++; return nil })
		changed := a
		changed.Timeout = time.Minute
		retired := apply(t, r, routed("orders.> -> a", changed), 1, map[string]sinks.Sink{"a": next}, nil)
		if len(retired) != 1 || retired[0].Name != "a" {
			t.Fatalf("retired are %v, want a", retired)
		}
		waited := make(chan struct{})
		go func() { retired[0].Wait(); close(waited) }()
		if v := w.Handle(t.Context(), at(2)); v.Action != delivery.Done || taken != 1 {
			t.Errorf("after the change %s and %d taken by the new sink, want done and 1", v.Action, taken)
		}
		synctest.Wait()
		select {
		case <-waited:
			t.Error("the old sink is let go of while it delivers")
		default:
		}
		close(release)
		under.Wait()
		<-waited
		if r.Worker("a") != w || w.Sink().Timeout != time.Minute {
			t.Error("the sink has another worker, or its old timeout")
		}
	})
}

func TestAnOpenBatchEndsOnItsSink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bounds := sinks.Batching{MaxEvents: 3, MaxWait: time.Minute}
		before, after := &batchSink{bounds: bounds, answer: allDone}, &batchSink{bounds: bounds, answer: allDone}
		a := sinkNamed("a")
		r := newRouter(t, routed("orders.> -> a", a), map[string]sinks.Sink{"a": before})
		var under sync.WaitGroup
		hand := func(seq uint64) {
			under.Go(func() {
				if _, _, err := r.Worker("a").Admit(t.Context(), delivery.Main, 1); err != nil {
					t.Error(err)
				}
				if v := r.Worker("a").Handle(t.Context(), at(seq)); v.Action != delivery.Done {
					t.Errorf("%d: %s, want done", seq, v.Action)
				}
			})
			synctest.Wait()
		}
		hand(1)
		hand(2)
		changed := a
		changed.Timeout = time.Hour
		retired := apply(t, r, routed("orders.> -> a", changed), 2, map[string]sinks.Sink{"a": after}, nil)
		hand(3)
		under.Wait()
		retired[0].Wait()
		if len(before.batches) != 1 || len(before.batches[0]) != 2 || len(after.batches) != 1 || len(after.batches[0]) != 1 {
			t.Errorf("the old sink got %v and the new %v, want a batch of two and one of one", before.batches, after.batches)
		}
	})
}

func TestGateOverAChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := sinkNamed("a")
		a.Hold.Failures = 1
		c := routed("orders.> -> a", a)
		r := newRouter(t, c, map[string]sinks.Sink{"a": fails(errDown)})
		w := r.Worker("a")
		w.Handle(t.Context(), at(1))
		if s := w.State(); s.State != Held {
			t.Fatalf("after a failure %s, want held", s.State)
		}
		// Other rules are nothing to the gate.
		apply(t, r, routed("orders.> people.> -> a", a), 1, nil, nil)
		if s := w.State(); s.State != Held || s.Failures != 1 {
			t.Errorf("after other rules %+v, want held as before", s)
		}
		// Another URL may be the cure.
		changed := a
		changed.Concurrency, changed.Timeout = 4, time.Second
		apply(t, r, routed("orders.> -> a", changed), 1, map[string]sinks.Sink{"a": sinkFunc(works)}, nil)
		if s := w.State(); s.State != Probing {
			t.Errorf("after a change of the sink %s, want probing", s.State)
		}
		for range 8 {
			w.Handle(t.Context(), at(2))
		}
		if s := w.State(); s.State != Open || s.Limit != 4 {
			t.Errorf("in the end %+v, want open for 4", s)
		}
		// A pause is a person's.
		w.Pause()
		changed.Timeout = 2 * time.Second
		apply(t, r, routed("orders.> -> a", changed), 2, map[string]sinks.Sink{"a": sinkFunc(works)}, nil)
		if s := w.State(); s.State != Paused {
			t.Errorf("after a change of a paused sink %s, want paused", s.State)
		}
	})
}

func TestASinkThatComesAndGoes(t *testing.T) {
	t.Parallel()
	a, b := sinkNamed("a"), sinkNamed("b")
	without, with := routed("orders.> -> a", a), routed("orders.> -> a b", a, b)
	b1 := map[string]sinks.Sink{"b": sinkFunc(works)}
	for name, tt := range map[string]struct {
		late map[string]Past
		want map[uint64]string
	}{
		"new":                     {nil, map[uint64]string{5: "skip", 20: "skip", 21: "done"}},
		"new, wants all there is": {map[string]Past{"b": {}}, map[uint64]string{5: "done", 20: "done", 21: "done"}},
		"back": {map[string]Past{"b": {Absent: []Absence{{From: 10}}}},
			map[uint64]string{5: "skip", 10: "skip", 20: "skip", 21: "done"}}, // a's rules of then did not name it
		"back after a forgotten time": {map[string]Past{"b": {Absent: []Absence{{From: 3, To: 4}, {From: 10}}}},
			map[uint64]string{3: "skip", 21: "done"}},
	} {
		r := newRouter(t, without, map[string]sinks.Sink{"a": sinkFunc(works)})
		apply(t, r, with, 20, b1, tt.late)
		for seq, want := range tt.want {
			if got := r.Worker("b").Handle(t.Context(), at(seq)).Action.String(); got != want {
				t.Errorf("%s: %d is %s, want %s", name, seq, got, want)
			}
		}
		retired := apply(t, r, without, 30, nil, nil)
		if len(retired) != 1 || retired[0].Name != "b" || r.Worker("b") != nil {
			t.Errorf("%s: retired are %v, want b", name, retired)
		}
	}
}

func TestRulesThatAreForgotten(t *testing.T) {
	t.Parallel()
	a, b := sinkNamed("a"), sinkNamed("b")
	r := newRouter(t, routed("orders.> -> a b", a, b), map[string]sinks.Sink{"a": sinkFunc(works), "b": sinkFunc(works)})
	apply(t, r, routed("orders.> -> a", a), 10, nil, nil)
	r.Settled(map[string]uint64{"a": 30}) // the rules that named b are let go of
	apply(t, r, routed("orders.> -> a b", a, b), 40, map[string]sinks.Sink{"b": sinkFunc(works)}, map[string]Past{"b": {Absent: []Absence{{From: 11}}}})
	for seq, want := range map[uint64]string{5: "done", 10: "done", 11: "skip", 40: "skip", 41: "done"} {
		if got := r.Worker("b").Handle(t.Context(), at(seq)).Action.String(); got != want {
			t.Errorf("%d is %s, want %s: what waited from before the absence, and what comes after", seq, got, want)
		}
	}
}

func TestPast(t *testing.T) {
	t.Parallel()
	var p Past
	p = p.Leave(5).Return(8).Leave(20)
	if diff := cmp.Diff(Past{Absent: []Absence{{5, 8}, {20, 0}}}, p); diff != "" {
		t.Errorf("two absences (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Past{Absent: []Absence{{20, 0}}}, p.Settled(7)); diff != "" {
		t.Errorf("once the first is settled (-want +got):\n%s", diff)
	}
	if got := (Past{Since: 9}).Settled(8); got.Counts() {
		t.Errorf("Since 9 with 8 settled is %+v, want nothing", got)
	}
	if diff := cmp.Diff(Past{Since: 9}, Past{}.Return(9)); diff != "" {
		t.Errorf("a sink that never left (-want +got):\n%s", diff)
	}
	for n := range uint64(200) {
		p = p.Return(100 + 2*n).Leave(101 + 2*n)
	}
	if len(p.Absent) != maxAbsences || p.Absent[0].From != 5 {
		t.Errorf("%d absences from %d, want %d from 5: the oldest become one", len(p.Absent), p.Absent[0].From, maxAbsences)
	}
}

// closingQueue consumes until it is told to end.
type closingQueue struct {
	mu    sync.Mutex
	began []delivery.Subscription
	ended []string
}

func (q *closingQueue) Consume(ctx context.Context, s delivery.Subscription, _ delivery.Handler) error {
	q.mu.Lock()
	q.began = append(q.began, s)
	q.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-s.Closing:
		q.mu.Lock()
		q.ended = append(q.ended, s.Sink)
		q.mu.Unlock()
	}
	return nil
}

func TestConsumptionsFollowTheSinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b, c := sinkNamed("a"), sinkNamed("b"), sinkNamed("c")
		r := newRouter(t, routed("> -> a b", a, b), map[string]sinks.Sink{"a": sinkFunc(works), "b": sinkFunc(works)})
		q := &closingQueue{}
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- r.Run(ctx, q) }()
		synctest.Wait()
		a.Timeout = time.Minute // that needs no other consumption
		b.Concurrency = 3       // that does
		retired := apply(t, r, routed("> -> a b c", a, b, c), 1, map[string]sinks.Sink{"a": sinkFunc(works), "b": sinkFunc(works), "c": sinkFunc(works)}, nil)
		synctest.Wait()
		var began []string
		for _, s := range q.began {
			began = append(began, s.Sink)
		}
		if len(began) != 4 || !cmp.Equal(q.ended, []string{"b"}) || len(retired) != 2 {
			t.Errorf("began %v, ended %v, retired %d; want b anew and c", began, q.ended, len(retired))
		}
		retired = apply(t, r, routed("> -> a b", a, b), 2, nil, nil)
		retired[0].Wait()
		if !cmp.Equal(q.ended, []string{"b", "c"}) {
			t.Errorf("ended %v, want b and c", q.ended)
		}
		stop()
		if err := <-ran; err != nil {
			t.Errorf("Run = %v", err)
		}
		apply(t, r, routed("> -> a c", a, c), 3, map[string]sinks.Sink{"c": sinkFunc(works)}, nil)[0].Wait()
		if len(q.began) != 4 {
			t.Errorf("a consumption began after the end")
		}
	})
}
