package router

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/sinks"
)

// Queue hands out events.
type Queue interface {
	// Consume hands the events of s, and its retries, to h and settles them by
	// h's verdicts. It returns nil once ctx is done and everything handed out
	// is settled or given back, or an error when it cannot go on.
	Consume(ctx context.Context, s delivery.Subscription, h delivery.Handler) error
}

// Options says what a Router works with. Config and Sinks are required.
type Options struct {
	// Config is complete as config.Load leaves it.
	Config *config.Config
	// Sinks makes the attempts, by the sink's name; one for every sink of Config.
	Sinks map[string]sinks.Sink
	// Outstanding returns how many retries of a sink wait; nil: not capped.
	Outstanding func(sink string) int
	// Observe is told of every verdict; see WorkerOptions. Nil: nobody.
	Observe func(Observation)
	// Tracing follows deliveries and attempts; nil: nobody does.
	Tracing Tracing
	// Logger; nil: nobody.
	Logger *slog.Logger
}

// Router is the workers of all sinks under one table of routes.
type Router struct {
	table   atomic.Pointer[Table]
	workers []*Worker
}

// New compiles the routes and builds the workers. It starts nothing.
func New(o Options) (*Router, error) {
	table, err := Compile(o.Config)
	if err != nil {
		return nil, err
	}
	r := &Router{}
	r.table.Store(table)
	for _, s := range o.Config.Sinks {
		deliver := o.Sinks[s.Name]
		if deliver == nil {
			return nil, fmt.Errorf("sink %q is configured but was not opened", s.Name)
		}
		r.workers = append(r.workers, NewWorker(WorkerOptions{
			Sink:        s,
			Deliver:     deliver,
			Table:       r.table.Load,
			Outstanding: outstanding(o.Outstanding, s.Name),
			Observe:     o.Observe,
			Tracing:     o.Tracing,
			Logger:      o.Logger,
		}))
	}
	return r, nil
}

func outstanding(count func(string) int, sink string) func() int {
	if count == nil {
		return nil
	}
	return func() int { return count(sink) }
}

// Table returns the routes in force.
func (r *Router) Table() *Table { return r.table.Load() }

// Workers returns the workers, in the order in which the sinks are configured.
// The slice is the caller's not to change.
func (r *Router) Workers() []*Worker { return r.workers }

// Worker returns the named sink's worker, or nil.
func (r *Router) Worker(sink string) *Worker {
	for _, w := range r.workers {
		if w.sink.Name == sink {
			return w
		}
	}
	return nil
}

// Subscription returns what the worker's sink wants of the queue.
func (r *Router) Subscription(w *Worker) delivery.Subscription {
	s := delivery.Subscription{
		Sink:        w.sink.Name,
		Filters:     r.Table().Filters(w.sink.Name),
		Concurrency: w.gate.slots,
		Start:       delivery.Start(w.sink.Start),
	}
	if b := w.batcher; b != nil {
		s.Batch, s.BatchBytes = b.MaxEvents, b.MaxBytes
	}
	return s
}

// Run consumes for every sink until ctx is done, and returns when all have
// returned. When one fails, the others are stopped and its error is returned.
func (r *Router) Run(ctx context.Context, q Queue) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, w := range r.workers {
		g.Go(func() error {
			if err := q.Consume(ctx, r.Subscription(w), w); err != nil {
				return fmt.Errorf("consume for sink %s: %w", w.sink.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}
