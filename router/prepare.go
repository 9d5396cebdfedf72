package router

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// binding is the sink's number in a table, kept so that the hot path looks up
// no name. The number is -1 when the table does not know the sink.
type binding struct {
	table *Table
	sink  int
}

// bind returns the sink's number in the table, or -1.
func (w *Worker) bind(t *Table) int {
	b := w.bound.Load()
	if b == nil || b.table != t {
		b = &binding{table: t, sink: -1}
		if n, ok := t.numbers[w.sink.Name]; ok {
			b.sink = n
		}
		w.bound.Store(b)
	}
	return b.sink
}

// prepare asks the table whether the sink gets the event and makes a.Event
// what it gets. An expression that cannot be evaluated is an attempt that
// failed for a reason of ours: the error has the class, and t the start.
func (w *Worker) prepare(ctx context.Context, table *Table, a *delivery.Attempt, t *tried) error {
	sink := w.bind(table)
	if sink < 0 {
		return nil
	}
	if a.Origin != "" {
		transform := table.transformAgain(sink)
		if transform == nil {
			return nil
		}
		q := question{table: table, event: copyOf(a)}
		shaped, err := q.apply(ctx, transform)
		return prepared(a, t, shaped, err)
	}
	if choice, ok := table.simple(a.Event.Subject, sink); ok {
		t.decision = table.decision(sink, choice)
		return nil
	}
	if a.Early {
		return nil
	}
	q := question{table: table, event: copyOf(a)}
	decision, choice := q.decide(ctx, sink)
	if t.decision = decision; !decision.Wanted() || decision.Err != nil {
		return prepared(a, t, a.Event, decision.Err)
	}
	shaped, choice, err := q.shape(ctx, sink, choice)
	t.decision = table.decision(sink, choice)
	return prepared(a, t, shaped, err)
}

// copyOf returns the event as it came, for expressions to look at.
func copyOf(a *delivery.Attempt) *event.Event {
	e := a.Event
	return &e
}

func prepared(a *delivery.Attempt, t *tried, e event.Event, err error) error {
	if err != nil {
		t.start = time.Now()
		return delivery.Fail(delivery.Ours, err)
	}
	a.Event = e
	return nil
}
