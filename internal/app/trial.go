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
	// Request is what was handed over, nil when the kind cannot show it.
	Request *sinks.Preview
	// Answer is what the receiver said, Err why the attempt failed.
	Answer  delivery.Said
	Err     error
	Timings delivery.Timings
	Took    time.Duration
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
	if err := t.choose(c, o); err != nil {
		return nil, err
	}
	s, err := sinks.Open(c.Sinks[i], sinks.Deps{
		HTTP: sinks.NewTransport(sinks.Guard{}), Stdout: o.Stdout, Logger: slog.New(slog.DiscardHandler), Version: o.Version,
	})
	if err != nil {
		return nil, err
	}
	t.deliver(ctx, s, c.Sinks[i].Timeout)
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
func (t *Trial) choose(c *config.Config, o TrialOptions) error {
	table, err := router.Compile(c)
	if err != nil {
		return err
	}
	catalog := clickfunnels.NewCatalog()
	source, prefix := "trial", ""
	if len(c.Sources) > 0 {
		source, prefix = c.Sources[0].Name, c.Sources[0].SubjectPrefix
	}
	reaches := func(eventType string) bool {
		e := trialEvent(catalog, eventType, source, prefix)
		return table.Match(&e, t.Sink).Wanted()
	}
	eventType := o.Type
	if eventType == "" {
		eventType = firstReaching(catalog, reaches)
	}
	if entry, known := catalog.Resolve(eventType); known {
		eventType = entry.Type
	}
	t.Event = trialEvent(catalog, eventType, source, prefix)
	if d := table.Match(&t.Event, t.Sink); d.Wanted() {
		if t.Route = d.Route; d.Default {
			t.Route = "default"
		}
	}
	now := time.Now()
	t.Event.Received, t.Event.Body = now, o.Body
	t.Event.ID = "trial-" + now.UTC().Format("20060102T150405.000000000")
	if o.Body == nil {
		if t.Event.Body, err = catalog.Sample(eventType, clickfunnels.SampleOptions{ID: t.Event.ID, Now: now}); err != nil {
			return fmt.Errorf("%w; `penstock catalog` lists the types, and --data sends what you have", err)
		}
	}
	return nil
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
		request, err := p.Preview(t.Event)
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
