package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// sinkFunc is a sink that is a function.
type sinkFunc func(ctx context.Context, e event.Event) error

func (f sinkFunc) Deliver(ctx context.Context, e event.Event) error { return f(ctx, e) }

func works(context.Context, event.Event) error { return nil }

func fails(err error) sinkFunc {
	return func(context.Context, event.Event) error { return err }
}

// hangs waits for the end of the attempt.
func hangs(ctx context.Context, _ event.Event) error {
	<-ctx.Done()
	return fmt.Errorf("post: %w", ctx.Err())
}

// testedWorker is a worker for sink crm, which gets orders.>, and what it told.
type testedWorker struct {
	*Worker
	seen []Observation
	logs bytes.Buffer
}

func newTestedWorker(t *testing.T, deliver sinkFunc, change func(*WorkerOptions)) *testedWorker {
	t.Helper()
	w := &testedWorker{}
	table := mustCompile(t, &config.Config{
		Sinks: named("crm", "other"), Routes: []config.Route{rule("orders", "orders.> -> crm"), rule("rest", "> -> other")},
	})
	o := WorkerOptions{
		Sink: sixteen(), Deliver: deliver, Table: table,
		Observe: func(o Observation) { w.seen = append(w.seen, o) },
		Logger:  slog.New(slog.NewTextHandler(&w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&o)
	}
	w.Worker = NewWorker(o)
	return w
}

func order() delivery.Attempt {
	return delivery.Attempt{Event: event.Event{ID: "e1", Subject: "orders.paid"}, Lane: delivery.Main}
}

func TestHandle(t *testing.T) {
	t.Parallel()
	replay := delivery.Attempt{Event: event.Event{Subject: "people.made"}, Lane: delivery.Retry, History: delivery.History{Origin: "replay/1"}}
	elsewhere := delivery.Attempt{Event: event.Event{Subject: "people.made"}, Lane: delivery.Retry, History: delivery.History{Attempts: 2}}
	failed := func(reason string) delivery.Verdict {
		return delivery.Verdict{Action: delivery.Again, Delay: 5 * time.Second, Spent: true, Class: delivery.Failed, Reason: reason}
	}
	for name, tt := range map[string]struct {
		attempt delivery.Attempt
		deliver sinkFunc
		want    delivery.Verdict
		took    time.Duration
		route   string
	}{
		"delivered":             {order(), works, delivery.Verdict{Action: delivery.Done, Spent: true}, 0, "orders"},
		"failed":                {order(), fails(errDown), failed("connection refused"), 0, "orders"},
		"no route":              {elsewhere, fails(errDown), delivery.Verdict{Action: delivery.Skip}, 0, ""},
		"replay needs no route": {replay, works, delivery.Verdict{Action: delivery.Done, Spent: true}, 0, ""},
		"timed out":             {order(), hangs, failed("timed out after 10s"), 10 * time.Second, "orders"},
		"panics with a runtime error": {order(), func(_ context.Context, e event.Event) error {
			_ = e.Body[3]
			return nil
		}, failed("panic in sink: runtime error: index out of range [3] with length 0"), 0, "orders"},
		"panics with a secret": {order(), func(context.Context, event.Event) error { panic("hunter2") }, failed("panic in sink: string"), 0, "orders"},
		"rejected just in time": {order(), func(ctx context.Context, _ event.Event) error {
			<-ctx.Done()
			return delivery.Permanent(errors.New("answered 400"))
		}, delivery.Verdict{Action: delivery.Bury, Spent: true, Class: delivery.Rejected, Reason: "answered 400"}, 10 * time.Second, "orders"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newTestedWorker(t, tt.deliver, nil)
				if diff := cmp.Diff(tt.want, w.Handle(t.Context(), tt.attempt)); diff != "" {
					t.Errorf("Handle (-want +got):\n%s", diff)
				}
				if len(w.seen) != 1 {
					t.Fatalf("%d observations, want 1", len(w.seen))
				}
				o := w.seen[0]
				if o.Took != tt.took || o.Decision.Route != tt.route || o.Verdict != tt.want || o.Event.Subject != tt.attempt.Event.Subject {
					t.Errorf("observed %+v, want route %q, took %s, verdict %+v", o, tt.route, tt.took, tt.want)
				}
				if s := w.State(); s.Running != 0 || w.gate.inside != 0 || w.gate.granted != 0 {
					t.Errorf("after Handle: %d running, %d inside, %d granted, want none", s.Running, w.gate.inside, w.gate.granted)
				}
				if strings.Contains(w.logs.String(), "hunter2") {
					t.Errorf("a secret is logged:\n%s", &w.logs)
				}
			})
		})
	}
}

func TestTimeoutKeepsItsCause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTestedWorker(t, hangs, nil)
		w.Handle(t.Context(), order())
		if err := w.seen[0].Err; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v does not wrap %v", err, context.DeadlineExceeded)
		}
	})
}

func TestShuttingDownIsNeverAFailure(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		deliver sinkFunc
		want    delivery.Action
	}{
		"cut off":                    {hangs, delivery.Defer},
		"an answer all the same":     {func(ctx context.Context, _ event.Event) error { <-ctx.Done(); return nil }, delivery.Done},
		"a failure while we cut off": {func(ctx context.Context, _ event.Event) error { <-ctx.Done(); return delivery.Permanent(errDown) }, delivery.Defer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newTestedWorker(t, tt.deliver, func(o *WorkerOptions) { o.Sink.Hold.Failures = 1 })
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				if got := w.Handle(ctx, order()); got.Action != tt.want {
					t.Errorf("Handle = %+v, want %s", got, tt.want)
				}
				if s := w.State(); s.State != Open {
					t.Errorf("the sink is %s, want open", s.State)
				}
				if got := w.Handle(ctx, order()); got.Action != delivery.Defer {
					t.Errorf("Handle after the end = %+v, want defer", got)
				}
			})
		})
	}
}

func TestAHeldSinkDefersWhatIsInHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var attempts atomic.Int32
		w := newTestedWorker(t, func(context.Context, event.Event) error { attempts.Add(1); return errDown }, nil)
		n, open, err := w.Admit(t.Context(), delivery.Main, 16)
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			want := delivery.Again
			if open.Err() != nil {
				want = delivery.Defer
			}
			if got := w.Handle(t.Context(), order()); got.Action != want {
				t.Fatalf("attempt %d: Handle = %+v, want %s", attempts.Load(), got, want)
			}
		}
		s := w.State()
		if attempts.Load() != 10 || s.State != Held || s.LastError != "connection refused" {
			t.Errorf("%d attempts, then %+v; want 10, then held by the last error", attempts.Load(), s)
		}
		if got := strings.Count(w.logs.String(), "sink is held"); got != 1 {
			t.Errorf("the hold is logged %d times, want once:\n%s", got, &w.logs)
		}
	})
}

func TestAThrottledSinkSpendsNoAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTestedWorker(t, fails(delivery.RetryAfter(errors.New("answered 429"), time.Minute)), nil)
		v := w.Handle(t.Context(), order())
		if v.Action != delivery.Again || v.Spent || v.Delay != time.Minute {
			t.Errorf("Handle = %+v, want again after 1m with no attempt spent", v)
		}
		start := time.Now()
		if s := w.State(); s.State != Throttled || s.LastError != "answered 429" || !s.NextProbe.Equal(start.Add(time.Minute)) {
			t.Errorf("state %+v, want throttled for a minute, and why", s)
		}
		if _, _, err := w.Admit(t.Context(), delivery.Main, 1); err != nil || time.Since(start) != time.Minute {
			t.Errorf("Admit = %v after %s, want after 1m", err, time.Since(start))
		}
	})
}

func TestMainLaneWaitsWhileTooManyRetriesAre(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var outstanding atomic.Int64
		outstanding.Store(DefaultOutstanding)
		w := newTestedWorker(t, works, func(o *WorkerOptions) {
			o.Outstanding = func() int { return int(outstanding.Load()) }
		})
		if n, _, err := w.Admit(t.Context(), delivery.Retry, 16); n != 16 || err != nil {
			t.Errorf("the retry lane is admitted %d, %v, want 16", n, err)
		}
		time.AfterFunc(time.Hour, func() { outstanding.Add(-1) })
		start := time.Now()
		synctest.Wait()
		go func() {
			time.Sleep(time.Minute)
			if got := w.State().Reason; got != "retries: 50000 outstanding" {
				t.Errorf("reason %q, want the retries", got)
			}
		}()
		if _, _, err := w.Admit(t.Context(), delivery.Main, 16); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < time.Hour || took > time.Hour+time.Second {
			t.Errorf("the main lane waited %s, want 1h", took)
		}
		if got := w.State().Reason; got != "" {
			t.Errorf("reason %q after the wait, want none", got)
		}
		outstanding.Store(DefaultOutstanding)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := w.Admit(ctx, delivery.Main, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Admit = %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestNewTableIsUsedFromTheNextEventOn(t *testing.T) {
	t.Parallel()
	compile := func(rules ...config.Route) *Table {
		return mustCompile(t, &config.Config{Sinks: named("other", "crm"), Routes: rules})
	}
	w := newTestedWorker(t, works, nil)
	gone := mustCompile(t, &config.Config{Sinks: named("other")})
	for _, tt := range []struct {
		table *Table
		want  delivery.Action
	}{
		{compile(rule("a", "orders.> -> crm")), delivery.Done},
		{compile(rule("a", "people.> -> crm")), delivery.Skip},
		{compile(rule("a", "> -> crm")), delivery.Done},
		{gone, delivery.Skip},
	} {
		w.eras = []era{w.newEra(0, tt.table)}
		if got := w.Handle(t.Context(), order()); got.Action != tt.want {
			t.Errorf("under %v: %s, want %s", tt.table.routes, got.Action, tt.want)
		}
	}
}

func TestTheSameFailureIsPrintedOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTestedWorker(t, fails(errDown), func(o *WorkerOptions) { o.Sink.Hold.Failures = 0 })
		for range 120 {
			w.Handle(t.Context(), order())
			time.Sleep(time.Second)
		}
		logs := w.logs.String()
		if n := strings.Count(logs, "level=WARN"); n != 2 {
			t.Errorf("%d warnings in two minutes, want 2", n)
		}
		if !strings.Contains(logs, "repeated=59") {
			t.Errorf("the second warning does not say that it stands for 59 more:\n%.2000s", logs)
		}
		if n := strings.Count(logs, "level=DEBUG"); n != 118 {
			t.Errorf("%d lines at debug, want one for each of the other 118 attempts", n)
		}
	})
}

func TestStackOfAPanicIsLoggedOnce(t *testing.T) {
	t.Parallel()
	w := newTestedWorker(t, func(context.Context, event.Event) error { panic(errDown) }, nil)
	for range 3 {
		w.Handle(t.Context(), order())
	}
	if n := strings.Count(w.logs.String(), "stack="); n != 1 {
		t.Errorf("%d stacks logged, want 1", n)
	}
}
