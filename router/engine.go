package router

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/sinks"
)

// era is the time of one table: it routes the events that were stored from a
// sequence on, until the next era begins.
type era struct {
	from  uint64
	table *Table
	sink  int // the worker's number in table; -1: the table does not know it
}

// engine is what a worker delivers with: one configuration of its sink. It is
// replaced as a whole, and what began on it ends on it.
type engine struct {
	sink    config.Sink
	deliver sinks.Sink
	batcher *batcher // nil: events are handed over one by one
	policy  Policy
	users   sync.WaitGroup // deliveries that began on it
}

func newEngine(c config.Sink, s sinks.Sink) *engine {
	return &engine{sink: c, deliver: s, batcher: newBatcher(s), policy: NewPolicy(c.Retry)}
}

// turn is the moment at which routes change for all workers of a router. Who
// decides about an event holds it for reading while it picks the rules and the
// sink, so that a change falls between two events and never within one.
type turn struct {
	sync.RWMutex
	// judged is the latest sequence that rules were picked for.
	judged atomic.Uint64
}

// note remembers that rules are picked for a sequence.
func (t *turn) note(seq uint64) {
	for {
		have := t.judged.Load()
		if seq <= have || t.judged.CompareAndSwap(have, seq) {
			return
		}
	}
}

// pick returns what the delivery is made with, which is the caller's until
// done, and the rules it is made by: those in force when the event was stored;
// for what is delivered again those in force now.
func (w *Worker) pick(a *delivery.Attempt) (*engine, era) {
	w.turn.RLock()
	defer w.turn.RUnlock()
	w.engine.users.Add(1)
	if a.Lane == delivery.Retry {
		return w.engine, w.eras[len(w.eras)-1]
	}
	w.turn.note(a.Event.Seq)
	return w.engine, w.eraOf(a.Event.Seq)
}

// eraOf is by what the event stored as seq is routed to the sink.
func (w *Worker) eraOf(seq uint64) era {
	switch {
	case w.past.absentAt(seq):
		return era{table: w.lookUp(seq).table, sink: -1}
	case seq < w.past.Since:
		return w.lookUp(w.past.Since)
	case seq >= w.eras[0].from:
		return w.lookUp(seq)
	}
	for _, e := range w.eras { // what was in force then is not known any more
		if e.sink >= 0 {
			return e
		}
	}
	return w.eras[0]
}

func (w *Worker) lookUp(seq uint64) era {
	for _, e := range slices.Backward(w.eras) {
		if e.from <= seq {
			return e
		}
	}
	return w.eras[0]
}

// newEra makes an era of the table for this worker.
func (w *Worker) newEra(from uint64, t *Table) era {
	e := era{from: from, table: t, sink: -1}
	if n, ok := t.numbers[w.name]; ok {
		e.sink = n
	}
	return e
}

// current is the engine in use, for who wants to know how it is set.
func (w *Worker) current() *engine {
	w.turn.RLock()
	defer w.turn.RUnlock()
	return w.engine
}

// filters let through what any of the eras wants of the queue.
func (w *Worker) filters(more ...*Table) []string {
	var patterns []Pattern
	var prefixes []string
	add := func(t *Table) {
		patterns = append(patterns, t.Patterns(w.name)...)
		for _, p := range t.prefixes {
			if !slices.Contains(prefixes, p) {
				prefixes = append(prefixes, p)
			}
		}
	}
	for _, e := range w.eras {
		add(e.table)
	}
	for _, t := range more {
		add(t)
	}
	return Filters(patterns, prefixes)
}

// shape is what of a subscription cannot be changed while it is consumed.
type shape struct {
	concurrency, batch int
	bytes              int64
}

func (e *engine) shape() shape {
	s := shape{concurrency: max(e.sink.Concurrency, 1)}
	if e.batcher != nil {
		s.batch, s.bytes = e.batcher.MaxEvents, e.batcher.MaxBytes
	}
	return s
}

// subscription asks for what filters let through; wider, for what the queue's
// own do as well.
func (s shape) subscription(c config.Sink, filters []string, wider bool) delivery.Subscription {
	return delivery.Subscription{
		Sink: c.Name, Filters: filters, Wider: wider, Concurrency: s.concurrency,
		Batch: s.batch, BatchBytes: s.bytes, Start: delivery.Start(c.Start),
	}
}

// notOpened is a sink that is configured and that nobody opened.
func notOpened(name string) error {
	return fmt.Errorf("sink %q is configured but was not opened", name)
}
