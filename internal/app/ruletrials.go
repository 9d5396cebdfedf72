package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// Trials asks the routes of a configuration what they would make of events. It
// delivers nothing and touches neither network nor store. It is not safe for
// concurrent use.
type Trials struct {
	config  *config.Config
	table   *router.Table
	catalog *clickfunnels.Catalog
}

// Preview is what a sink would send, or why that cannot be said.
type Preview struct {
	sinks.Preview
	// Err is why nothing can be made of the event, or shown of it.
	Err error
}

// NewTrials compiles the routes of a loaded configuration.
func NewTrials(c *config.Config) (*Trials, error) {
	table, err := router.Compile(c)
	if err != nil {
		return nil, err
	}
	return &Trials{config: c, table: table, catalog: clickfunnels.NewCatalog()}, nil
}

// Table returns the routes.
func (t *Trials) Table() *router.Table { return t.table }

// Decode reads a body as the named source would, without verifying it; "" is
// the first source.
func (t *Trials) Decode(source string, body []byte, now time.Time) (event.Event, error) {
	o := clickfunnels.Options{Name: "clickfunnels", ExtraRoots: t.config.Broker.ExtraRoots, Catalog: t.catalog}
	at := 0
	if source != "" {
		var names []string
		for _, s := range t.config.Sources {
			names = append(names, s.Name)
		}
		if at = slices.Index(names, source); at < 0 {
			return event.Event{}, fmt.Errorf("there is no source %q; there are %s", source, strings.Join(names, ", "))
		}
	}
	if at < len(t.config.Sources) {
		o.Name, o.SubjectPrefix = t.config.Sources[at].Name, t.config.Sources[at].SubjectPrefix
	}
	h := http.Header{"Content-Type": {"application/json"}}
	return clickfunnels.NewSource(o).Decode(h, body, now), nil
}

// Sample makes a body as `penstock send` does.
func (t *Trials) Sample(eventType string, o clickfunnels.SampleOptions) ([]byte, error) {
	return t.catalog.Sample(eventType, o)
}

// Try asks every route about an event.
func (t *Trials) Try(ctx context.Context, e *event.Event, now time.Time) router.Trial {
	return t.table.Try(ctx, e, now)
}

// Preview shows what a sink would send for what it is handed. router.Hidden
// stands for what variables of the file have put into the body.
func (t *Trials) Preview(a router.SinkAnswer) Preview {
	at := slices.IndexFunc(t.config.Sinks, func(s config.Sink) bool { return s.Name == a.Sink })
	if a.Err != nil || at < 0 {
		return Preview{Err: a.Err}
	}
	s, err := sinks.Open(t.config.Sinks[at], sinks.Deps{HTTP: sinks.NewTransport(sinks.Guard{}), Stdout: io.Discard, Version: "preview"})
	if err != nil {
		return Preview{Err: err}
	}
	previewer, ok := s.(sinks.Previewer)
	if !ok {
		return Preview{Err: fmt.Errorf("sinks of kind %s show no preview", t.config.Sinks[at].Kind)}
	}
	p, err := preview(previewer, &a)
	return Preview{p, err}
}

// errHidden stands for an error that may quote a secret.
var errHidden = errors.New("makes nothing of this event; why is not shown: a variable of the file is part of the transform")

// preview asks a sink for what may be shown of its request. Whether there is one
// depends on what the sink is really handed.
func preview(s sinks.Previewer, a *router.SinkAnswer) (sinks.Preview, error) {
	p, err := s.Preview(a.Event)
	if !a.Hidden {
		return p, err
	}
	if err != nil {
		return sinks.Preview{}, delivery.Fail(delivery.ClassOf(err), errHidden)
	}
	e := a.Event
	e.Body = a.Shown
	if p, err = s.Preview(e); err != nil {
		return sinks.Preview{}, errors.New("the request is not shown: a variable of the file is part of it")
	}
	return p, nil
}
