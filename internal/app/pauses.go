package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/router"
)

// pausesEvery is how often a pause that another process recorded is looked
// for, and how late one that is over may end.
const pausesEvery = 2 * time.Second

// pauses carries out on this process's workers what the broker has on record.
type pauses struct {
	broker  *broker.Broker
	workers func() []*router.Worker
	log     *slog.Logger

	mu    sync.Mutex
	known map[string]delivery.Pause
}

// run looks again and again until ctx is done.
func (p *pauses) run(ctx context.Context) error {
	t := time.NewTicker(pausesEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := p.refresh(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("could not look for paused sinks, trying again", "err", err, "in", pausesEvery)
		}
	}
}

// refresh reads what is on record and carries it out. When it cannot be read,
// what was known still holds, and ends when it should.
func (p *pauses) refresh(ctx context.Context) error {
	read, err := p.broker.Pauses(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.known = read
	}
	now := time.Now()
	for _, w := range p.workers() {
		pause, ok := p.known[w.Sink().Name]
		if ok && pause.Lasts(now) {
			w.Pause()
		} else {
			w.Resume()
		}
	}
	return err
}

// sinkControl is what the admin API may do with sinks.
type sinkControl struct {
	*broker.Broker
	app *App
}

// PauseSink stops deliveries to a sink until then; zero: until ResumeSink. In
// this process it works at once, in others within seconds.
func (s sinkControl) PauseSink(ctx context.Context, sink string, until time.Time) error {
	if err := s.known(sink); err != nil {
		return err
	}
	if err := s.Broker.PauseSink(ctx, sink, until); err != nil {
		return err
	}
	return s.app.pauses.refresh(ctx)
}

// ResumeSink ends a pause.
func (s sinkControl) ResumeSink(ctx context.Context, sink string) error {
	if err := s.known(sink); err != nil {
		return err
	}
	if err := s.Broker.ResumeSink(ctx, sink); err != nil {
		return err
	}
	return s.app.pauses.refresh(ctx)
}

func (s sinkControl) known(sink string) error {
	if slices.ContainsFunc(s.app.conf().Sinks, func(c config.Sink) bool { return c.Name == sink }) {
		return nil
	}
	return fmt.Errorf("%w: %s", delivery.ErrNoSink, sink)
}

// reportRemoved says at a start what is left of sinks that are gone.
func (a *App) reportRemoved(ctx context.Context) error {
	removed, err := a.broker.RemovedSinks(ctx)
	if err != nil {
		return err
	}
	for _, r := range removed {
		a.log.Warn("a sink is not configured any more; its queue is kept until `penstock sinks prune`",
			"sink", r.Name, "waiting", r.Waiting, "retries", r.Retries)
	}
	return nil
}

// of names those of the sinks that are paused on record.
func (p *pauses) of(ctx context.Context, configured []config.Sink) ([]string, error) {
	read, err := p.broker.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range configured {
		if pause, ok := read[s.Name]; ok && pause.Lasts(time.Now()) {
			out = append(out, s.Name)
		}
	}
	return out, nil
}
