package router

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// Tracing follows deliveries and attempts. What is followed goes by the
// context. Its methods may be called concurrently and neither block nor fail.
type Tracing interface {
	// Delivery follows a delivery from began on; it returns ctx itself when
	// nobody wants to. link is the trace context of the attempt for a whole
	// batch that made it, or "".
	Delivery(ctx context.Context, name string, a *delivery.Attempt, began time.Time, link string) context.Context
	// Attempt follows an attempt of a followed delivery. It returns the trace
	// context to send along, or ctx itself and "".
	Attempt(ctx context.Context, name string, a *delivery.Attempt) (context.Context, string)
	// Batch is Attempt for events that are handed over together.
	Batch(ctx context.Context, name string, events []event.Event) (context.Context, string)
	// Attempted ends what Attempt or Batch began; number counts the attempts of
	// the delivery from 1 and is 0 for a batch.
	Attempted(ctx context.Context, sink string, number int, v delivery.Verdict, notes *delivery.Trace)
	// Settled ends what Delivery began.
	Settled(ctx context.Context, sink, route string, a *delivery.Attempt, v delivery.Verdict)
}

// names are those of a sink's spans, made once.
type names struct{ delivery, attempt string }

func namesOf(sink string) names {
	return names{delivery: "deliver " + sink, attempt: "attempt " + sink}
}

// follow has the delivery followed, from when it was handed to us.
func (w *Worker) follow(ctx context.Context, a *delivery.Attempt, t *tried, link string) context.Context {
	if w.tracing == nil {
		return ctx
	}
	return w.tracing.Delivery(ctx, w.names.delivery, a, t.handed, link)
}

func (w *Worker) followAttempt(ctx context.Context, a *delivery.Attempt) (context.Context, string) {
	if w.tracing == nil {
		return ctx, ""
	}
	return w.tracing.Attempt(ctx, w.names.attempt, a)
}
