package router

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/sinks"
)

// errOutcomes is a bug of ours: a sink has to say of each event what became of it.
var errOutcomes = errors.New("the sink did not tell of every event what became of it")

// batcher gathers what is to be handed over together. It starts no goroutine:
// the first event of a batch leads it, which is to say that its goroutine waits
// for the others and makes the attempt for all.
type batcher struct {
	sinks.Batching
	deliver sinks.BatchSink

	mu   sync.Mutex
	open *batch // nil: there is none
}

// newBatcher returns nil when the sink takes events one by one.
func newBatcher(s sinks.Sink) *batcher {
	b, ok := s.(sinks.BatchSink)
	if !ok || b.Batching().MaxEvents < 1 {
		return nil
	}
	return &batcher{Batching: b.Batching(), deliver: b}
}

// batch is events that are handed over together. The slices belong to the
// batcher's lock until the batch is shut, then to its leader, and once it is
// settled they do not change.
type batch struct {
	events    []event.Event
	histories []delivery.History
	bytes     int64
	full      chan struct{} // closed when nothing more goes in
	settled   chan struct{} // closed when it is known what became of it

	// What became of it; verdicts is nil when no attempt was made.
	verdicts []delivery.Verdict
	errs     []error
	start    time.Time
	took     time.Duration
	trace    *delivery.Trace
	followed string // the attempt's trace context; "" when nobody follows it
}

// join adds the event to the open batch. It returns the batch and the event's
// place in it; the first leads.
func (b *batcher) join(a *delivery.Attempt) (*batch, int) {
	size := int64(len(a.Event.Body))
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != nil && b.MaxBytes > 0 && b.open.bytes+size > b.MaxBytes {
		b.shutLocked(b.open)
	}
	if b.open == nil {
		b.open = &batch{full: make(chan struct{}), settled: make(chan struct{})}
	}
	o := b.open
	place := len(o.events)
	o.events = append(o.events, a.Event)
	o.histories = append(o.histories, a.History)
	o.bytes += size
	if len(o.events) >= b.MaxEvents || b.MaxBytes > 0 && o.bytes >= b.MaxBytes {
		b.shutLocked(o)
	}
	return o, place
}

// shut lets nothing more into the batch.
func (b *batcher) shut(o *batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shutLocked(o)
}

func (b *batcher) shutLocked(o *batch) {
	if b.open == o {
		b.open = nil
		close(o.full)
	}
}

// gather returns when the batch is to be handed over: it is full, its time is
// over, nothing more will come, or nothing may be handed over any more, which
// is for the gate to say. A sink that is being tried waits for no others.
func (w *Worker) gather(ctx context.Context, e *engine, a *delivery.Attempt, o *batch) {
	closing, well := w.gate.watch()
	if !well {
		return
	}
	t := time.NewTimer(e.batcher.MaxWait)
	defer t.Stop()
	select {
	case <-o.full:
	case <-t.C:
	case <-a.Draining:
	case <-closing.Done():
	case <-ctx.Done():
	}
}

// together hands the event over with others and returns its own verdict.
func (w *Worker) together(ctx context.Context, e *engine, a *delivery.Attempt, t tried) delivery.Verdict {
	o, place := e.batcher.join(a)
	w.gate.release(1) // from here on the batch counts, not the event
	if place == 0 {
		w.lead(ctx, e, a, o)
	}
	// An event that is in an attempt has to hear how it ends, even if its own
	// context has ended: the leader's bounds the wait.
	<-o.settled
	if o.verdicts == nil {
		return delivery.Verdict{}
	}
	t.start, t.took, t.trace = o.start, o.took, o.trace
	v := o.verdicts[place]
	v.Trace = o.followed
	return w.settled(w.follow(ctx, a, &t, o.followed), a, t, o.errs[place], v)
}

// lead waits for the rest of the batch and makes its attempt. What comes while
// the gate has no place for the batch still goes into it.
func (w *Worker) lead(ctx context.Context, e *engine, a *delivery.Attempt, o *batch) {
	defer close(o.settled)
	defer e.batcher.shut(o)
	w.gather(ctx, e, a, o)
	epoch, ok := w.gate.begin(ctx, true)
	e.batcher.shut(o)
	if !ok {
		return
	}
	o.start = time.Now()
	trying := ctx
	if w.tracing != nil {
		trying, o.followed = w.tracing.Batch(ctx, w.names.attempt, o.events)
	}
	o.errs = w.attemptBatch(trying, e, o)
	now := time.Now()
	o.took = now.Sub(o.start)
	o.verdicts = make([]delivery.Verdict, len(o.events))
	cut := ctx.Err() != nil
	for i, err := range o.errs {
		if err == nil || !cut {
			o.verdicts[i] = e.policy.Judge(err, o.histories[i], now)
		}
	}
	result, v := outcomeOfAll(o.verdicts)
	if cut {
		w.gate.finish(epoch, silent, 0, "")
	} else {
		w.gate.finish(epoch, result, v.Delay, v.Reason)
	}
	if o.followed != "" {
		w.tracing.Attempted(trying, w.name, 0, v, o.trace)
	}
}

// attemptBatch hands the batch to the sink, within the sink's timeout. It
// returns one error for each event.
func (w *Worker) attemptBatch(parent context.Context, e *engine, o *batch) (errs []error) {
	ctx, cancel := context.WithTimeout(parent, e.sink.Timeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			errs = allFailed(len(o.events), w.panicked(r))
		}
	}()
	traced := ctx
	switch {
	case o.followed != "":
		o.trace = delivery.NewFollowingTrace(ctx)
		traced = o.trace
	case w.observe != nil:
		o.trace = delivery.NewTrace(ctx)
		traced = o.trace
	}
	errs = e.batcher.deliver.DeliverBatch(traced, o.events)
	if len(errs) != len(o.events) {
		err := fmt.Errorf("%w: %d of %d", errOutcomes, len(errs), len(o.events))
		w.log.Error("sink miscounted", keyErr, err)
		return allFailed(len(o.events), delivery.Fail(delivery.Failed, err))
	}
	for i, err := range errs {
		errs[i] = e.late(ctx, parent, err)
	}
	return errs
}

func allFailed(n int, err error) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// outcomeOfAll says what a batch tells about the sink, and the verdict that
// says it. A request for a pause counts before a failure, as the pause covers
// both, and a failure before successes: half a batch is no sign of health.
func outcomeOfAll(verdicts []delivery.Verdict) (outcome, delivery.Verdict) {
	var worst outcome
	var by delivery.Verdict
	for _, v := range verdicts {
		switch o := outcomeOf(v); {
		case o > worst:
			worst, by = o, v
		case o == worst && v.Delay > by.Delay:
			by = v
		}
	}
	return worst, by
}
