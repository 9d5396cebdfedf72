package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoView: this process takes events in and may not look at the streams.
var ErrNoView = errors.New("a process that is ingress alone does not see the streams")

// StreamStats is how one of our streams stands.
type StreamStats struct {
	// Name is what it holds: events, retries, dead, rejected, attempts or jobs.
	Name            string
	Messages, Bytes int64
	// Limit is the most bytes; 0: there is no limit.
	Limit int64
	// Oldest is when its first message was stored; zero when it has none.
	Oldest time.Time
}

// Streams asks every stream how it stands: one request each.
func (b *Broker) Streams(ctx context.Context) ([]StreamStats, error) {
	if b.admin.nc == nil {
		return nil, ErrNoView
	}
	var out []StreamStats
	for _, s := range []struct{ name, stream string }{
		{"events", EventsStream}, {"retries", retryStream}, {"dead", deadStream},
		{"rejected", rejectedStream}, {"attempts", recordStream}, {"jobs", jobsStream},
	} {
		stream, err := b.admin.js.Stream(ctx, s.stream)
		if err != nil {
			return nil, fmt.Errorf("look up stream %s: %w", s.stream, err)
		}
		info := stream.CachedInfo()
		st := StreamStats{
			Name: s.name, Messages: int64(info.State.Msgs), Bytes: int64(info.State.Bytes), Limit: max(info.Config.MaxBytes, 0),
		}
		if st.Messages > 0 {
			st.Oldest = info.State.FirstTime
		}
		out = append(out, st)
	}
	return out, nil
}

// Foreign counts messages on our subjects that are not ours, since the start.
func (b *Broker) Foreign() int64 { return b.foreign.Load() }

// Retries is how many deliveries of the sink by its routes wait for a retry, as
// far as this process knows, the bytes of their bodies, and which share of the
// room for them that takes, by number or bytes, whichever is more.
func (b *Broker) Retries(sink string) (n, bytes int64, fill float64) {
	l := b.ledger(sink)
	l.mu.Lock()
	defer l.mu.Unlock()
	n, bytes = max(l.routed.n+l.inherited.n, 0), max(l.routed.bytes+l.inherited.bytes, 0)
	return n, bytes, max(float64(n)/RetryCap, float64(bytes)/retryBytes)
}

// oldestRetry is when the oldest event came in that waits for a retry of the
// sink. Of those that waited when this process began only the sequence is
// known: the oldest of them is looked up, once. When its event is gone, it is
// at least as old as the first that is kept.
func (b *Broker) oldestRetry(ctx context.Context, events jetstream.Stream, sink string) time.Time {
	l := b.ledger(sink)
	oldest, seq := l.oldest()
	if seq == 0 {
		return oldest
	}
	came := events.CachedInfo().State.FirstTime
	m, err := events.GetMsg(ctx, seq)
	switch {
	case err == nil:
		came = m.Time
	case !errors.Is(err, jetstream.ErrMsgNotFound):
		return oldest // asked again next time
	}
	l.learn(seq, came)
	if oldest.IsZero() || came.Before(oldest) {
		return came
	}
	return oldest
}
