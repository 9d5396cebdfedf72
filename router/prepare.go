package router

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// prepare asks the rules whether the sink gets the event and makes a.Event
// what it gets. An expression that cannot be evaluated is an attempt that
// failed for a reason of ours: the error has the class, and t the start.
func prepare(ctx context.Context, rules era, a *delivery.Attempt, t *tried) error {
	table, sink := rules.table, rules.sink
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
