package router

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/sinks"
)

// memory is a queue that hands the same events to every sink, with a retry
// lane. A sink is finished once each of its events is done, skipped or buried.
type memory struct {
	events []event.Event

	mu   sync.Mutex
	done map[string]map[delivery.Action]int // by sink
	took map[string]time.Duration
	// ended, if set, is called when a sink is finished.
	ended func()
}

// lanes is one sink's share of a memory.
type lanes struct {
	h     delivery.Handler
	main  chan delivery.Attempt
	retry chan delivery.Attempt
	left  sync.WaitGroup // deliveries that are not finished
	count func(delivery.Action)
}

func (q *memory) Consume(ctx context.Context, s delivery.Subscription, h delivery.Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	l := &lanes{h: h, main: make(chan delivery.Attempt, len(q.events)), retry: make(chan delivery.Attempt, len(q.events))}
	l.count = func(a delivery.Action) {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.done[s.Sink] == nil {
			q.done[s.Sink] = make(map[delivery.Action]int)
		}
		q.done[s.Sink][a]++
		q.took[s.Sink] = time.Since(start)
	}
	for _, e := range q.events {
		l.left.Add(1)
		l.main <- delivery.Attempt{Event: e, Lane: delivery.Main}
	}
	var loops sync.WaitGroup
	loops.Go(func() { l.loop(ctx, delivery.Main, l.main) })
	loops.Go(func() { l.loop(ctx, delivery.Retry, l.retry) })
	l.left.Wait()
	cancel()
	loops.Wait()
	if q.ended != nil {
		q.ended()
	}
	return nil
}

// loop fetches as a broker does: up to what is admitted, for up to five seconds.
func (l *lanes) loop(ctx context.Context, lane delivery.Lane, from chan delivery.Attempt) {
	for {
		n, open, err := l.h.Admit(ctx, lane, 8)
		if err != nil {
			return
		}
		wait := time.NewTimer(5 * time.Second)
		got := 0
	fetch:
		for got < n {
			select {
			case a := <-from:
				got++
				go l.settle(ctx, a, from)
			case <-wait.C:
				break fetch
			case <-open.Done():
				break fetch
			case <-ctx.Done():
				break fetch
			}
		}
		wait.Stop()
		l.h.Return(n - got)
	}
}

func (l *lanes) settle(ctx context.Context, a delivery.Attempt, from chan delivery.Attempt) {
	start := time.Now()
	v := l.h.Handle(ctx, a)
	switch v.Action {
	case delivery.Defer:
		from <- a
	case delivery.Again:
		if a.First.IsZero() {
			a.First = start
		}
		if v.Spent {
			a.Attempts++
		}
		a.Lane = delivery.Retry
		time.AfterFunc(v.Delay, func() { l.retry <- a })
	default:
		l.count(v.Action)
		l.left.Done()
	}
}

func orders(n int) []event.Event {
	events := make([]event.Event, n)
	for i := range events {
		events[i] = event.Event{ID: fmt.Sprint(i), Subject: "orders.paid", Seq: uint64(i + 1)}
	}
	return events
}

// outage is a sink that is down for a while and then takes everything.
type outage struct {
	until time.Time
	mu    sync.Mutex
	tries map[string]int
	taken int
}

func (o *outage) Deliver(_ context.Context, e event.Event) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tries[e.ID]++
	if time.Now().Before(o.until) {
		return delivery.Fail(delivery.Network, errDown)
	}
	o.taken++
	return nil
}

func TestOneSickSinkDelaysNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := &outage{until: time.Now().Add(2 * time.Hour), tries: make(map[string]int)}
		slow := sinkFunc(func(context.Context, event.Event) error { time.Sleep(100 * time.Millisecond); return nil })
		a, b, c := sixteen(), sixteen(), sixteen()
		a.Name, b.Name, c.Name = "down", "well", "idle"
		r, err := New(Options{
			Config: &config.Config{Sinks: []config.Sink{a, b, c}, Routes: []config.Route{rule("all", "orders.> -> down well")}},
			Sinks:  map[string]sinks.Sink{"down": down, "well": slow, "idle": fails(errDown)},
		})
		if err != nil {
			t.Fatal(err)
		}
		q := &memory{events: orders(1000), done: make(map[string]map[delivery.Action]int), took: make(map[string]time.Duration)}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var finished atomic.Int32
		q.ended = func() {
			if finished.Add(1) == 3 {
				stop()
			}
		}
		if err := r.Run(ctx, q); err != nil {
			t.Fatal(err)
		}
		want := map[string]map[delivery.Action]int{
			"down": {delivery.Done: 1000}, "well": {delivery.Done: 1000}, "idle": {delivery.Skip: 1000},
		}
		if diff := cmp.Diff(want, q.done); diff != "" {
			t.Errorf("what became of the deliveries (-want +got):\n%s", diff)
		}
		if took := q.took["well"]; took > 7*time.Second {
			t.Errorf("1000 deliveries of 100ms, 16 at a time, took %s beside a sink that is down, want 6.3s", took)
		}
		checkOutage(t, down, r.Worker("down").State())
	})
}

// checkOutage asserts that hardly an attempt was made while the sink was down.
func checkOutage(t *testing.T, down *outage, s HoldState) {
	t.Helper()
	total := 0
	for _, n := range down.tries {
		total += n
	}
	// 10 to 25 failures at first, then about one probe a minute for two hours.
	if failed := total - down.taken; failed < 100 || failed > 180 {
		t.Errorf("%d attempts failed in two hours, want about 130", failed)
	}
	if s.State != Open || s.Held < 2*time.Hour-time.Minute || s.Held > 2*time.Hour+2*time.Minute {
		t.Errorf("in the end %+v, want open after 2h held", s)
	}
}

func TestSubscription(t *testing.T) {
	t.Parallel()
	crm := sixteen()
	crm.Start = config.Start{Since: time.Hour}
	r, err := New(Options{
		Config: &config.Config{Sinks: []config.Sink{crm}, Routes: []config.Route{rule("a", "orders.> -> crm")}},
		Sinks:  map[string]sinks.Sink{"crm": sinkFunc(works)},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := delivery.Subscription{
		Sink: "crm", Filters: []string{"orders.>", "unknown.orders.>"}, Concurrency: 16, Start: delivery.Start{Since: time.Hour},
	}
	if diff := cmp.Diff(want, r.Subscription(r.Worker("crm"))); diff != "" {
		t.Errorf("Subscription (-want +got):\n%s", diff)
	}
	if got := r.Worker("nosuch"); got != nil {
		t.Errorf("Worker of an unknown sink = %v, want nil", got)
	}
}

func TestNewFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		route config.Route
		want  string
	}{
		"a sink that was not opened": {rule("a", "> -> crm"), `sink "crm" is configured but was not opened`},
		"a mistake in the routes":    {rule("a", "> -> sales"), `there is no sink "sales"`},
	} {
		_, err := New(Options{Config: &config.Config{Sinks: named("crm"), Routes: []config.Route{tt.route}}})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: New = %v, want an error with %q", name, err, tt.want)
		}
	}
}

// brokenQueue fails for one sink and waits for the end for the others.
type brokenQueue struct{ sink string }

func (q brokenQueue) Consume(ctx context.Context, s delivery.Subscription, _ delivery.Handler) error {
	if s.Sink == q.sink {
		return errDown
	}
	<-ctx.Done()
	return nil
}

func TestRunStopsAllWhenOneFails(t *testing.T) {
	t.Parallel()
	r, err := New(Options{
		Config: &config.Config{Sinks: named("a", "b", "c")},
		Sinks:  map[string]sinks.Sink{"a": sinkFunc(works), "b": sinkFunc(works), "c": sinkFunc(works)},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = r.Run(t.Context(), brokenQueue{"b"})
	if !errors.Is(err, errDown) || err.Error() != "consume for sink b: connection refused" {
		t.Errorf("Run = %v, want the failure of b", err)
	}
}
