package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoView says that this process takes events in and may not look at the streams.
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
// sink, as far as this process knows: of those that were due already when it
// began, only the first is looked at.
func (b *Broker) oldestRetry(ctx context.Context, events jetstream.Stream, sink string) time.Time {
	l := b.ledger(sink)
	oldest, seq := l.oldest()
	if seq != 0 {
		oldest = earlier(oldest, b.learnRetry(ctx, events, l, seq))
	}
	if l.anyInherited() {
		oldest = earlier(oldest, b.firstDue(ctx, sink))
	}
	return oldest
}

// learnRetry looks up when an event came in of which only the sequence is
// known. When it is gone, it is at least as old as the first that is kept.
func (b *Broker) learnRetry(ctx context.Context, events jetstream.Stream, l *retryLedger, seq uint64) time.Time {
	came := events.CachedInfo().State.FirstTime
	m, err := events.GetMsg(ctx, seq)
	switch {
	case err == nil:
		came = m.Time
	case !errors.Is(err, jetstream.ErrMsgNotFound):
		return time.Time{} // asked again next time
	}
	l.learn(seq, came)
	return came
}

// firstDue is when the event of the first retry came in that is due, zero when
// there is none.
func (b *Broker) firstDue(ctx context.Context, sink string) time.Time {
	s, err := b.admin.js.Stream(ctx, retryStream)
	if err != nil {
		return time.Time{}
	}
	m, err := s.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(retryDuePrefix+sink))
	if err != nil {
		return time.Time{}
	}
	a, ok := decodeDelivery(m.Header, nil)
	if !ok || a.Origin != "" {
		return time.Time{}
	}
	return a.Event.Received
}

// earlier is the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
