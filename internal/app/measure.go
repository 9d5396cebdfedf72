package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/telemetry"
	"github.com/penstock/penstock/router"
)

// snapshotLasts is how long a snapshot is shown again, however many ask: it
// costs requests for each stream, and for each sink and its patterns.
const snapshotLasts = 2 * time.Second

// buildTelemetry makes the metrics. Every process has them, whatever its roles:
// they are read at server.admin, and pushed where the environment says so.
func (a *App) buildTelemetry(catalog *clickfunnels.Catalog) error {
	o := telemetry.Options{
		Version: a.o.Version, KnownSubjects: knownSubjects(a.conf(), catalog), Durability: string(a.conf().Broker.Durability),
		Snapshot: a.snapshot, Env: a.env, Logger: a.log.With("part", "telemetry"),
	}
	o.Sources, o.Sinks = a.measured(a.conf())
	var err error
	a.telemetry, err = telemetry.New(o)
	return err
}

// measured are the sources and sinks of c that this process serves.
func (a *App) measured(c *config.Config) (sources, sinks []string) {
	if a.o.has(config.RoleIngress) {
		for _, s := range c.Sources {
			sources = append(sources, s.Name)
		}
	}
	if a.o.has(config.RoleRouter) {
		for _, s := range c.Sinks {
			sinks = append(sinks, s.Name)
		}
	}
	return sources, sinks
}

// countStore has the metrics told of what the store does.
func (a *App) countStore(o *broker.Options) {
	o.Synced, o.Purged, o.Expired = a.telemetry.Synced, a.telemetry.Purged, a.telemetry.Expired
}

// phases measures how long an event took to its first attempt and to its
// delivery. What was sent again by a person tells nothing of that. A throttled
// attempt is not the first: none is spent.
func (a *App) phases(o *router.Observation) {
	v := o.Verdict
	if o.History.Origin != "" || o.Event.Received.IsZero() || o.Start.IsZero() || v.Action == delivery.Defer {
		return
	}
	if o.History.Attempts == 0 && (v.Action != delivery.Again || v.Spent) {
		a.telemetry.Waited(o.Sink, o.Start.Sub(o.Event.Received))
	}
	if v.Action == delivery.Done {
		a.telemetry.Delivered(o.Sink, o.Start.Add(o.Took).Sub(o.Event.Received))
	}
}

// snapshots remembers the last one. The zero value is ready.
type snapshots struct {
	mu   sync.Mutex
	last telemetry.Snapshot
	made time.Time
	// failed: the streams did not answer the last time.
	failed bool
}

// note says when the streams begin not to answer, and when they do again.
func (s *snapshots) note(err error, log *slog.Logger) {
	switch {
	case err != nil && !s.failed:
		log.Warn("metrics are incomplete: the event store does not answer", "err", err)
	case err == nil && s.failed:
		log.Info("metrics are complete again")
	}
	s.failed = err != nil
}

// snapshot is how things stand, for the metrics: at most snapshotLasts ago.
// Those who ask while one is made get that one.
func (a *App) snapshot() telemetry.Snapshot {
	s := &a.snapshots
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.made) > snapshotLasts {
		s.last = a.survey()
		s.made = time.Now()
	}
	return s.last
}

// survey looks at everything; s.mu is held. When the streams do not answer, what this process
// knows by itself is still told.
func (a *App) survey() telemetry.Snapshot {
	ctx, cancel := context.WithTimeout(context.Background(), snapshotTimeout)
	defer cancel()
	out := telemetry.Snapshot{Foreign: a.broker.Foreign(), RecordsDropped: a.broker.RecordsDropped(), Sources: a.sourceSnapshots()}
	if a.ingress != nil {
		requests, bytes := a.ingress.InFlight()
		out.InFlight = &telemetry.InFlight{Requests: requests, Bytes: bytes}
	}
	now := time.Now()
	st, err := a.broker.Stats(ctx)
	if err == nil {
		out.Store, err = a.storeSnapshot(ctx, now)
	}
	answers := err
	if errors.Is(err, broker.ErrNoView) {
		answers = a.broker.Health()
	}
	a.snapshots.note(answers, a.log)
	out.Reachable = answers == nil
	for _, w := range a.workers() {
		s := a.sinkSnapshot(ctx, w)
		if err == nil {
			s.Queue = a.queueSnapshot(st.Sinks[s.Name], now)
		}
		out.Sinks = append(out.Sinks, s)
	}
	return out
}

func (a *App) sourceSnapshots() []telemetry.SourceSnapshot {
	var out []telemetry.SourceSnapshot
	for name, s := range a.now().sources {
		one := telemetry.SourceSnapshot{Name: name}
		if skew, ok := s.Skew(); ok {
			one.Skew = &skew
		}
		out = append(out, one)
	}
	return out
}

func (a *App) storeSnapshot(ctx context.Context, now time.Time) (*telemetry.StoreSnapshot, error) {
	streams, err := a.broker.Streams(ctx)
	if err != nil {
		return nil, err
	}
	s := &telemetry.StoreSnapshot{Retention: a.conf().Broker.Retention}
	for _, st := range streams {
		s.Streams = append(s.Streams, telemetry.StreamSnapshot{Name: st.Name, Messages: st.Messages, Bytes: st.Bytes, Limit: st.Limit})
		if st.Name == "dead" {
			s.DeadOldest = age(st.Oldest, now)
		}
	}
	return s, nil
}

func (a *App) sinkSnapshot(ctx context.Context, w *router.Worker) telemetry.SinkSnapshot {
	name, state := w.Sink().Name, w.State()
	s := telemetry.SinkSnapshot{Name: name, State: string(state.State), Running: int64(state.Running)}
	s.Outstanding, s.OutstandingBytes, s.Fill = a.broker.Retries(name)
	if n, err := a.broker.Bypassing(ctx, name); err == nil {
		s.Bypassing = int64(n)
	}
	return s
}

func (a *App) queueSnapshot(st broker.SinkStats, now time.Time) *telemetry.QueueSnapshot {
	waiting := age(st.Oldest, now)
	return &telemetry.QueueSnapshot{
		Waiting: st.Waiting, Dead: st.Dead,
		Oldest: max(waiting, age(st.OldestRetry, now)), Left: max(a.conf().Broker.Retention-waiting, 0),
	}
}

// age is how long ago a time was, 0 for the zero time.
func age(t, now time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return max(now.Sub(t), 0)
}
