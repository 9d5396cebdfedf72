package router

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

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
	// Table are the routes of Config; nil: New compiles them.
	Table *Table
	// Sinks makes the attempts, by the sink's name; one for every sink of Config.
	Sinks map[string]sinks.Sink
	// Outstanding returns how many retries of a sink wait; nil: not capped.
	Outstanding func(sink string) int
	// Observe is told of every verdict; see WorkerOptions. Nil: nobody.
	Observe func(Observation)
	// Known returns when it is known which routes hold for the event stored as
	// seq, or ctx is done; nil: it always is. See Router.Apply.
	Known func(ctx context.Context, seq uint64) error
	// Tracing follows deliveries and attempts; nil: nobody does.
	Tracing Tracing
	// Logger; nil: nobody.
	Logger *slog.Logger
}

// Router is the workers of all sinks under one table of routes, which Apply
// replaces. It is safe for concurrent use.
type Router struct {
	o    Options
	turn turn

	// Guarded by turn.
	table   *Table
	eras    []Era // at least one; the last is of table
	workers []*Worker
	// launch begins a consumption; nil while Run does not run.
	launch func(*Worker)
}

// consumption is one run of a queue for a worker.
type consumption struct {
	shape   shape
	closing chan struct{} // closed when it is to end
	ended   chan struct{} // closed when it has
}

// New compiles the routes and builds the workers. It starts nothing.
func New(o Options) (*Router, error) {
	table := o.Table
	if table == nil {
		var err error
		if table, err = Compile(o.Config); err != nil {
			return nil, err
		}
	}
	r := &Router{o: o, table: table, eras: []Era{{Table: table}}}
	for _, s := range o.Config.Sinks {
		deliver := o.Sinks[s.Name]
		if deliver == nil {
			return nil, notOpened(s.Name)
		}
		r.workers = append(r.workers, r.newWorker(s, deliver, table))
	}
	return r, nil
}

func (r *Router) newWorker(s config.Sink, deliver sinks.Sink, table *Table) *Worker {
	return NewWorker(WorkerOptions{
		Sink:        s,
		Deliver:     deliver,
		Table:       table,
		Known:       r.o.Known,
		Outstanding: outstanding(r.o.Outstanding, s.Name),
		Observe:     r.o.Observe,
		Tracing:     r.o.Tracing,
		Logger:      r.o.Logger,
		turn:        &r.turn,
	})
}

func outstanding(count func(string) int, sink string) func() int {
	if count == nil {
		return nil
	}
	return func() int { return count(sink) }
}

// Table returns the routes in force.
func (r *Router) Table() *Table {
	r.turn.RLock()
	defer r.turn.RUnlock()
	return r.table
}

// Workers returns the workers, in the order in which the sinks are configured.
// The slice is the caller's not to change.
func (r *Router) Workers() []*Worker {
	r.turn.RLock()
	defer r.turn.RUnlock()
	return r.workers
}

// Worker returns the named sink's worker, or nil.
func (r *Router) Worker(sink string) *Worker { return find(r.Workers(), sink) }

func find(workers []*Worker, sink string) *Worker {
	if i := slices.IndexFunc(workers, func(w *Worker) bool { return w.name == sink }); i >= 0 {
		return workers[i]
	}
	return nil
}

// Subscription returns what the worker's sink wants of the queue.
func (r *Router) Subscription(w *Worker) delivery.Subscription {
	r.turn.RLock()
	defer r.turn.RUnlock()
	return w.subscription()
}

// subscription is for who holds the turn.
func (w *Worker) subscription() delivery.Subscription {
	return w.engine.shape().subscription(w.engine.sink, w.filters(), w.past.Counts())
}

// Run consumes for every sink, and for those that Apply adds, until ctx is done,
// and returns when all have returned. When one fails, the others are stopped and its error is returned.
func (r *Router) Run(ctx context.Context, q Queue) error {
	g, ctx := errgroup.WithContext(ctx)
	launch := func(w *Worker) {
		run := &consumption{shape: w.engine.shape(), closing: make(chan struct{}), ended: make(chan struct{})}
		w.run = run
		s := w.subscription()
		s.Closing = run.closing
		g.Go(func() error {
			defer close(run.ended)
			if err := q.Consume(ctx, s, w); err != nil {
				return fmt.Errorf("consume for sink %s: %w", w.name, err)
			}
			return nil
		})
	}
	g.Go(func() error { // so that there is somebody to wait for while Apply may launch
		<-ctx.Done()
		r.turn.Lock()
		defer r.turn.Unlock()
		r.launch = nil
		return nil
	})
	r.turn.Lock()
	if ctx.Err() == nil {
		r.launch = launch
		for _, w := range r.workers {
			launch(w)
		}
	}
	r.turn.Unlock()
	return g.Wait()
}
