package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/router"
	"github.com/penstock/penstock/sinks"
)

// trialType is the type of a trial's event where routes allow it.
const trialType = "orders/invoice.paid"

// TrialOptions say what is delivered. The zero TrialOptions choose a type that
// a route gives the sink.
type TrialOptions struct {
	// Type is an event type or its subject, Body what is sent instead of the
	// catalogue's sample of it.
	Type string
	Body []byte
	// Version is ours, and Stdout where sinks of kind log write.
	Version string
	Stdout  io.Writer
}

// Trial is one delivery that was made to see whether a sink works.
type Trial struct {
	Sink, Kind string
	Event      event.Event
	// Route would bring the event to the sink; empty when none would.
	Route string
	// Transformed reports that Event has the body that the route makes.
	Transformed bool
	// Request is what was handed over, nil when the kind cannot show it.
	Request *sinks.Preview
	// Answer is what the receiver said, Err why the attempt failed.
	Answer  delivery.Said
	Err     error
	Timings delivery.Timings
	Took    time.Duration
	// answer is what the routes make of the event.
	answer router.SinkAnswer
}

// Try delivers one event to a sink of c, once and for real, without a queue or
// a running process. The error is that there was nothing to try; what came of
// the attempt is in the Trial.
func Try(ctx context.Context, c *config.Config, sink string, o TrialOptions) (*Trial, error) {
	i := slices.IndexFunc(c.Sinks, func(s config.Sink) bool { return s.Name == sink })
	if i < 0 {
		return nil, fmt.Errorf("no sink is called %q; %s", sink, sinkNames(c))
	}
	t := &Trial{Sink: sink, Kind: c.Sinks[i].Kind}
	if err := t.choose(ctx, c, o); err != nil {
		return nil, err
	}
	s, err := sinks.Open(c.Sinks[i], sinks.Deps{
		HTTP: sinks.NewTransport(sinks.Guard{}), Stdout: o.Stdout, Logger: slog.New(slog.DiscardHandler), Version: o.Version,
	})
	if err != nil {
		return nil, err
	}
	if t.Err == nil { // else the route's expressions fail for this event
		t.deliver(ctx, s, c.Sinks[i].Timeout)
	}
	if closer, ok := s.(io.Closer); ok {
		t.Err = errors.Join(t.Err, closer.Close())
	}
	return t, nil
}

func sinkNames(c *config.Config) string {
	var names []string
	for _, s := range c.Sinks {
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return "the configuration has no sinks"
	}
	return "there are " + strings.Join(names, ", ")
}

// choose makes the event.
func (t *Trial) choose(ctx context.Context, c *config.Config, o TrialOptions) error {
	table, err := router.Compile(c)
	if err != nil {
		return err
	}
	catalog := clickfunnels.NewCatalog()
	source, prefix := "trial", ""
	if len(c.Sources) > 0 {
		source, prefix = c.Sources[0].Name, c.Sources[0].SubjectPrefix
	}
	now := time.Now()
	id := "trial-" + now.UTC().Format("20060102T150405.000000000")
	sample := func(eventType string) (event.Event, error) {
		if entry, known := catalog.Resolve(eventType); known {
			eventType = entry.Type
		}
		e := trialEvent(catalog, eventType, source, prefix)
		e.Received, e.ID, e.Body = now, id, o.Body
		if o.Body == nil {
			var err error
			if e.Body, err = catalog.Sample(eventType, clickfunnels.SampleOptions{ID: id, Now: now}); err != nil {
				return e, fmt.Errorf("%w; `penstock catalog` lists the types, and --data sends what you have", err)
			}
		}
		return e, nil
	}
	eventType := o.Type
	if eventType == "" {
		eventType = firstReaching(catalog, func(eventType string) bool {
			e, err := sample(eventType)
			return err == nil && table.Match(&e, t.Sink).Wanted()
		})
	}
	if t.Event, err = sample(eventType); err != nil {
		return err
	}
	t.answer = router.SinkAnswer{Event: t.Event}
	t.shape(ctx, table, now)
	return nil
}

// shape makes the event what the routes would hand to the sink. Where none
// would, the sink is handed the event as it came.
func (t *Trial) shape(ctx context.Context, table *router.Table, now time.Time) {
	for _, answer := range table.Try(ctx, &t.Event, now).Sinks {
		if answer.Sink != t.Sink {
			continue
		}
		if t.Route = answer.Route; answer.Default {
			t.Route = "default"
		}
		if t.Err = delivery.Fail(delivery.Ours, answer.Err); t.Err == nil {
			t.answer, t.Event, t.Transformed = answer, answer.Event, answer.Transformed
		}
	}
}

func firstReaching(catalog *clickfunnels.Catalog, reaches func(string) bool) string {
	if reaches(trialType) {
		return trialType
	}
	for _, e := range catalog.Entries() {
		if reaches(e.Type) {
			return e.Type
		}
	}
	return trialType
}

// trialEvent is an event of the type as the source would store it, but for its
// body.
func trialEvent(catalog *clickfunnels.Catalog, eventType, source, prefix string) event.Event {
	e := event.Event{Type: eventType, Source: source, APIVersion: 2, ContentType: "application/json"}
	if entry, known := catalog.Resolve(eventType); known {
		e.Subject = entry.Subject
		if n := len(entry.Versions); n > 0 {
			e.APIVersion = entry.Versions[n-1]
		}
	} else if subject, ok := event.Subject(eventType); ok {
		e.Subject = event.UnknownPrefix + subject
	} else {
		e.Subject = event.Malformed
	}
	if prefix != "" {
		e.Subject = prefix + "." + e.Subject
	}
	return e
}

// deliver makes the attempt.
func (t *Trial) deliver(ctx context.Context, s sinks.Sink, timeout time.Duration) {
	if p, ok := s.(sinks.Previewer); ok {
		request, err := preview(p, &t.answer)
		if err != nil {
			t.Err = err
			return
		}
		t.Request = &request
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	trace := delivery.NewListeningTrace(ctx)
	start := time.Now()
	if b, ok := s.(sinks.BatchSink); ok && b.Batching().MaxEvents > 0 {
		t.Err = errors.Join(b.DeliverBatch(trace, []event.Event{t.Event})...)
	} else {
		t.Err = s.Deliver(trace, t.Event)
	}
	t.Took, t.Timings, t.Answer = time.Since(start), trace.Timings(), trace.Heard()
}
