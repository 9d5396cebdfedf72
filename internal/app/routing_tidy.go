package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/broker"
)

// sample is up to where each sink was settled at a time.
type sample struct {
	at      time.Time
	settled map[string]uint64
}

// run follows the record, and lets the queues let less through as soon as
// nobody needs earlier routes any more, until ctx is done.
func (g *routing) run(ctx context.Context) error {
	t := time.NewTicker(routingEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := g.tidy(ctx); err != nil && ctx.Err() == nil {
			g.log.Warn("could not look after the routes, trying again", "err", err, "in", routingEvery)
		}
	}
}

func (g *routing) tidy(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shared {
		r, err := g.broker.Routing(ctx)
		if err != nil {
			return err
		}
		g.take(r)
		if r.Announced != "" {
			return nil
		}
	}
	if len(g.known.Eras) < 2 && len(g.known.Past) == 0 {
		return nil
	}
	positions, err := g.broker.Positions(ctx)
	if err != nil {
		return err
	}
	now := sample{at: time.Now(), settled: map[string]uint64{}}
	for sink, p := range positions {
		now.settled[sink] = p.Settled
	}
	settled := g.settledFor(now)
	if settled == nil {
		return nil
	}
	if g.shared {
		if next := forget(g.known, settled); sameEras(next, g.known) && maps.Equal(next.Past, g.known.Past) {
			return nil
		}
		limited, cancel := context.WithTimeout(ctx, announceLimit)
		defer cancel()
		r, err := g.announce(limited)
		if err != nil {
			if broker.NotProvisioned(err) {
				return nil
			}
			return errors.Join(err, g.withdraw(ctx))
		}
		if !sameEras(r, g.known) {
			g.follow(r)
		}
	}
	if narrowed := g.router.Settled(settled); len(narrowed) > 0 {
		if err := g.broker.Prepare(ctx, narrowed); err != nil {
			return errors.Join(err, g.withdraw(ctx))
		}
	}
	next := forget(g.known, settled)
	if !g.shared && len(next.Eras) == len(g.known.Eras) && maps.Equal(next.Past, g.known.Past) {
		return nil
	}
	own := g.own
	err = g.broker.EditRouting(ctx, func(r broker.Routing) broker.Routing {
		if r.Announced == "" || r.Announced == own { // else somebody is at it
			r = forget(r, settled)
		}
		next = r
		return r
	})
	if broker.NotProvisioned(err) {
		return nil
	}
	if err == nil && sameEras(next, forget(g.known, settled)) {
		g.known = next // else what is new is followed at the next look
	}
	return err
}

// settledFor adds a sample and returns up to where each sink has been settled
// all the time since forgetAfter ago; nil before that is known of all.
func (g *routing) settledFor(now sample) map[string]uint64 {
	g.samples = append(g.samples, now)
	first := 0
	for first+1 < len(g.samples) && now.at.Sub(g.samples[first+1].at) >= g.forgetAfter {
		first++
	}
	g.samples = slices.Clone(g.samples[first:])
	if now.at.Sub(g.samples[0].at) < g.forgetAfter {
		return nil
	}
	settled := maps.Clone(now.settled)
	for _, s := range g.samples {
		for sink := range settled {
			seq, ok := s.settled[sink]
			if !ok {
				return nil
			}
			settled[sink] = min(settled[sink], seq)
		}
	}
	return settled
}
