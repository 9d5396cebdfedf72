package app

import (
	"context"

	"github.com/penstock/penstock/ingress"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/internal/telemetry"
	"github.com/penstock/penstock/router"
)

// Span is a part of a trace that has ended.
type Span = telemetry.Span

var (
	_ ingress.Tracing = (*telemetry.Tracing)(nil)
	_ router.Tracing  = (*telemetry.Tracing)(nil)
)

func (a *App) buildTracing() {
	o := telemetry.TracingOptions{
		Version: a.o.Version, Spans: a.o.Spans, Console: a.o.Stdout, Env: a.env, Logger: a.log.With("part", "traces"),
		// What the requests and the attempts leave of the time to stop.
		FlushTimeout: a.conf().Server.ShutdownTimeout / 20,
	}
	a.tracing = telemetry.NewTracing(o)
}

// requestTracing and deliveryTracing keep a nil *Tracing from becoming an
// interface that is not nil.
func (a *App) requestTracing() ingress.Tracing {
	if a.tracing == nil {
		return nil
	}
	return a.tracing
}

func (a *App) deliveryTracing() router.Tracing {
	if a.tracing == nil {
		return nil
	}
	return a.tracing
}

// publisher is the broker, with every event that it stores told to the metrics
// and followed.
type publisher struct {
	app   *App
	store func(context.Context, event.Event) (event.Receipt, error)
}

// Publish implements ingress.Publisher.
func (p publisher) Publish(ctx context.Context, e event.Event) (event.Receipt, error) {
	if t := p.app.tracing; t != nil {
		return p.followed(ctx, t, e)
	}
	return p.publish(ctx, e)
}

func (p publisher) followed(ctx context.Context, t *telemetry.Tracing, e event.Event) (event.Receipt, error) {
	within := t.Store(ctx, &e)
	r, err := p.publish(within, e)
	if within != ctx {
		t.Stored(within, &e, r, err)
	}
	return r, err
}

func (p publisher) publish(ctx context.Context, e event.Event) (event.Receipt, error) {
	r, err := p.store(ctx, e)
	if err == nil && p.app.telemetry != nil {
		p.app.telemetry.Stored(e.Source, e.Subject, r.Duplicate)
	}
	return r, err
}
