package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/sinks"
)

// DefaultOutstanding is how many retries of one sink may wait before its main
// lane stops: what fails after that stays in the stream.
const DefaultOutstanding = 50_000

// outstandingPoll is how often a worker that has reached the cap looks again.
const outstandingPoll = time.Second

// WorkerOptions says what a Worker works with. Sink, Deliver and Table are required.
type WorkerOptions struct {
	// Sink is the sink's configuration, complete as config.Load leaves it.
	Sink config.Sink
	// Deliver makes the attempts.
	Deliver sinks.Sink
	// Table is the routes.
	Table *Table
	// Known returns when it is known which routes hold for the event stored as
	// seq, or ctx is done; nil: it always is.
	Known func(ctx context.Context, seq uint64) error
	// Outstanding returns how many retries of the sink wait, cheaply; nil: not capped.
	Outstanding func() int
	// MaxOutstanding is the cap; 0 means DefaultOutstanding.
	MaxOutstanding int
	// Observe is told of every verdict, on the goroutine that made it; nil: nobody.
	Observe func(Observation)
	// turn is shared by the workers whose routes change together; nil: own.
	turn *turn
	// Tracing follows deliveries and attempts; nil: nobody does.
	Tracing Tracing
	// Logger gets one line an attempt at debug, failures and changes of state
	// above it; nil: nobody.
	Logger *slog.Logger
}

// Worker makes the attempts of one sink and judges them. It implements
// delivery.Handler, starts no goroutine and is safe for concurrent use.
type Worker struct {
	name    string
	turn    *turn
	known   func(ctx context.Context, seq uint64) error
	gate    *gate
	backlog backlog
	observe func(Observation)
	tracing Tracing // nil: nobody follows
	names   names
	log     *slog.Logger
	repeats repeats
	panics  sync.Once

	// Guarded by turn. There is at least one era; the last is in force.
	engine *engine
	eras   []era
	past   Past
	run    *consumption
}

var _ delivery.Handler = (*Worker)(nil)

// NewWorker returns a worker with an open gate.
func NewWorker(o WorkerOptions) *Worker {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	w := &Worker{
		name:    o.Sink.Name,
		turn:    o.turn,
		known:   o.Known,
		engine:  newEngine(o.Sink, o.Deliver),
		backlog: backlog{count: o.Outstanding, most: o.MaxOutstanding},
		observe: o.Observe,
		tracing: o.Tracing,
		names:   namesOf(o.Sink.Name),
		log:     o.Logger.With(keySink, o.Sink.Name),
	}
	if w.backlog.most <= 0 {
		w.backlog.most = DefaultOutstanding
	}
	if w.turn == nil {
		w.turn = &turn{}
	}
	w.eras = []era{w.newEra(0, o.Table)}
	w.gate = newGate(o.Sink, w.stateChanged)
	w.gate.batches = w.engine.batcher != nil
	return w
}

// Sink returns the sink's configuration.
func (w *Worker) Sink() config.Sink { return w.current().sink }

// Pause stops deliveries to the sink until Resume. Attempts being made end as they will.
func (w *Worker) Pause() { w.gate.pause() }

// Resume ends Pause. Deliveries start slowly.
func (w *Worker) Resume() { w.gate.resume() }

// State returns how the sink stands.
func (w *Worker) State() HoldState {
	s := w.gate.status()
	s.Reason = w.backlog.reason()
	return s
}

// Admit implements delivery.Handler. The main lane also waits while too many
// retries are outstanding.
func (w *Worker) Admit(ctx context.Context, lane delivery.Lane, most int) (int, context.Context, error) {
	for lane == delivery.Main && ctx.Err() == nil {
		full, changed := w.backlog.check()
		if changed && full {
			w.log.Warn("main lane stopped", keyReason, w.backlog.reason())
		}
		if changed && !full {
			w.log.Info("main lane goes on")
		}
		if !full {
			break
		}
		await(ctx, nil, outstandingPoll)
	}
	return w.gate.admit(ctx, most)
}

// Return implements delivery.Handler.
func (w *Worker) Return(n int) { w.gate.release(n) }

// Handle implements delivery.Handler.
func (w *Worker) Handle(ctx context.Context, a delivery.Attempt) delivery.Verdict {
	if w.known != nil && a.Lane != delivery.Retry && w.known(ctx, a.Event.Seq) != nil {
		w.gate.release(1)
		return delivery.Verdict{}
	}
	e, rules := w.pick(&a)
	defer e.users.Done()
	t := tried{rules: rules.table.Version()}
	if w.tracing != nil {
		t.handed = time.Now()
	}
	if err := prepare(ctx, rules, &a, &t); err != nil {
		w.gate.release(1)
		if ctx.Err() != nil {
			return delivery.Verdict{}
		}
		return w.settled(w.follow(ctx, &a, &t, ""), &a, t, err, e.policy.Judge(err, a.History, t.start))
	}
	if a.Origin == "" && (a.Early || !t.decision.Wanted()) {
		w.gate.release(1)
		return w.settled(ctx, &a, t, nil, delivery.Verdict{Action: delivery.Skip})
	}
	if e.batcher != nil {
		return w.together(ctx, e, &a, t)
	}
	epoch, ok := w.gate.begin(ctx, false)
	if !ok {
		return delivery.Verdict{}
	}
	followed := w.follow(ctx, &a, &t, "")
	t.start = time.Now()
	trying, trace := w.followAttempt(followed, &a)
	err := w.attempt(trying, e, &a, &t, trace)
	v := delivery.Verdict{}
	if err != nil && ctx.Err() != nil {
		w.gate.finish(epoch, silent, 0, "")
	} else {
		v = e.policy.Judge(err, a.History, time.Now())
		w.gate.finish(epoch, outcomeOf(v), v.Delay, v.Reason)
	}
	if trace != "" {
		w.tracing.Attempted(trying, w.name, a.Attempts+1, v, t.trace)
		v.Trace = trace
	}
	return w.settled(followed, &a, t, err, v)
}

// attempt hands the event to the sink, within the sink's timeout. What goes out
// carries the trace context of the attempt, if it has one, instead of the event's.
func (w *Worker) attempt(parent context.Context, e *engine, a *delivery.Attempt, t *tried, trace string) (err error) {
	ctx, cancel := context.WithTimeout(parent, e.sink.Timeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = w.panicked(r)
		}
	}()
	switch {
	case trace != "":
		followed := a.Event
		followed.TraceParent = trace
		t.trace = delivery.NewFollowingTrace(ctx)
		err = e.deliver.Deliver(t.trace, followed)
	case w.observe != nil:
		t.trace = delivery.NewTrace(ctx)
		err = e.deliver.Deliver(t.trace, a.Event)
	default:
		err = e.deliver.Deliver(ctx, a.Event)
	}
	return e.late(ctx, parent, err)
}

// late is err, or that the sink's timeout was over, if that is why the attempt
// that had ctx failed.
func (e *engine) late(ctx, parent context.Context, err error) error {
	if err != nil && ctx.Err() != nil && parent.Err() == nil && timedOut(err) {
		return &delivery.Error{Class: delivery.Failed, Err: &timeoutError{after: e.sink.Timeout, cause: err}}
	}
	return err
}

// timedOut reports that err is what became of an attempt whose time was over,
// rather than an answer that came just before.
func timedOut(err error) bool {
	var classified *delivery.Error
	return errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &classified)
}

// timeoutError says how long an attempt took instead of how its context ended.
type timeoutError struct {
	after time.Duration
	cause error
}

func (e *timeoutError) Error() string { return "timed out after " + e.after.String() }

func (e *timeoutError) Unwrap() error { return e.cause }

// panicked turns a panic, which is a bug of ours, into a failure that is
// retried. A value that is not the runtime's own may hold anything, a secret
// too, and is not shown.
func (w *Worker) panicked(r any) error {
	err := fmt.Errorf("panic in sink: %T", r)
	var re runtime.Error
	if e, ok := r.(error); ok && errors.As(e, &re) {
		err = fmt.Errorf("panic in sink: %w", re)
	}
	w.panics.Do(func() { w.log.Error("sink panicked", keyErr, err, "stack", string(debug.Stack())) })
	return delivery.Fail(delivery.Failed, err)
}

// backlog bounds the retries that wait for a sink.
type backlog struct {
	count func() int // nil: no bound
	most  int
	full  atomic.Bool // as of the last check
}

// check reports whether the bound is reached, and whether that is news.
func (b *backlog) check() (full, changed bool) {
	if b.count == nil {
		return false, false
	}
	full = b.count() >= b.most
	return full, b.full.Swap(full) != full
}

// reason says what the backlog keeps back, or nothing.
func (b *backlog) reason() string {
	if b.count == nil {
		return ""
	}
	if n := b.count(); n >= b.most {
		return fmt.Sprintf("retries: %d outstanding", n)
	}
	return ""
}
