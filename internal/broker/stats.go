package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Stats is how the streams stand at one moment.
type Stats struct {
	// Events and Bytes are what the stream of events holds, FirstSeq and
	// LastSeq its range, Limit the bytes it may hold.
	Events, FirstSeq, LastSeq uint64
	Bytes, Limit              int64
	// Foreign counts messages on our subjects that are not ours, since the start.
	Foreign int64
	// Dead counts all dead letters.
	Dead int64
	// Sinks are the configured sinks, by name.
	Sinks map[string]SinkStats
}

// SinkStats is how one sink's queue stands.
type SinkStats struct {
	// Waiting counts the events that the sink has not been handed, Dead its
	// dead letters.
	Waiting, Dead int64
	// Oldest is when the oldest of the waiting events was stored; zero when
	// none waits. It may be a second behind.
	Oldest time.Time
	// OldestRetry is when the oldest of the events came in that wait for a
	// retry; zero when none does, or this process does not deliver to the sink.
	OldestRetry time.Time
}

// Stats asks the streams how they stand. It costs a request for
// each sink, and one for each of its patterns while events wait.
func (b *Broker) Stats(ctx context.Context) (Stats, error) {
	if b.admin.nc == nil {
		return Stats{}, ErrNoView
	}
	events, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return Stats{}, fmt.Errorf("look up stream %s: %w", EventsStream, err)
	}
	info := events.CachedInfo()
	s := Stats{
		Events: info.State.Msgs, FirstSeq: info.State.FirstSeq, LastSeq: info.State.LastSeq,
		Bytes: int64(info.State.Bytes), Limit: info.Config.MaxBytes,
		Foreign: b.foreign.Load(), Sinks: map[string]SinkStats{},
	}
	for _, sink := range b.sinks() {
		c, err := b.admin.js.Consumer(ctx, EventsStream, sinkConsumerPrefix+sink)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			s.Sinks[sink] = SinkStats{}
			continue
		}
		if err != nil {
			return Stats{}, fmt.Errorf("look up queue of sink %s: %w", sink, err)
		}
		ci := c.CachedInfo()
		oldest, err := b.oldestWaiting(ctx, events, sink, ci)
		if err != nil {
			return Stats{}, fmt.Errorf("look for the oldest event of sink %s: %w", sink, err)
		}
		s.Sinks[sink] = SinkStats{Waiting: int64(ci.NumPending) + int64(ci.NumAckPending), Oldest: oldest, OldestRetry: b.oldestRetry(ctx, events, sink)}
	}
	return s, b.countDead(ctx, &s)
}

// countDead adds the dead letters. There are few subjects: a sink's event types.
func (b *Broker) countDead(ctx context.Context, s *Stats) error {
	dead, err := b.admin.js.Stream(ctx, deadStream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", deadStream, err)
	}
	if s.Dead = int64(dead.CachedInfo().State.Msgs); s.Dead == 0 {
		return nil
	}
	info, err := dead.Info(ctx, jetstream.WithSubjectFilter(deadPrefix+">"))
	if err != nil {
		return fmt.Errorf("count dead letters: %w", err)
	}
	for subject, n := range info.State.Subjects {
		sink := sinkOfDead(subject)
		if st, ok := s.Sinks[sink]; ok {
			st.Dead += int64(n)
			s.Sinks[sink] = st
		}
	}
	return nil
}
