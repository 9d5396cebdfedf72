package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/event"
)

const (
	// sweepBytes is about how much one part of a sweep holds. A pull cannot be
	// bounded in bytes without waiting, so it asks for as many messages as fit
	// if they are like the last ones.
	sweepBytes = 4 << 20
	// sweepTries is how often in a row a sweep goes on after its reading broke
	// off, and sweepPause how long it waits before.
	sweepTries = 5
	sweepPause = 500 * time.Millisecond
)

// SweepQuery selects the events that a sweep reads.
type SweepQuery struct {
	// Filters are NATS subject filters of which none covers another; none
	// means every event.
	Filters []string
	// Since and Until bound when the events were stored, when not zero.
	Since, Until time.Time
	// Limit is how many messages to read at most, the newest; 0: all.
	Limit uint64
}

// SweptEvent is a message of the stream of events that nobody has looked into.
type SweptEvent struct {
	Seq    uint64
	Stored time.Time
	msg    jetstream.Msg
}

// Event decodes the message. It reports false for one that somebody else
// published on our subjects.
func (s SweptEvent) Event() (event.Event, bool) {
	e, ok := decodeEvent(s.msg.Headers(), s.msg.Subject(), s.msg.Data())
	e.Seq = s.Seq
	return e, ok
}

// Sweep reads a part of the stream of events from its oldest to its newest, as
// fast as it can be read, with little in memory at a time. It is not safe for
// concurrent use.
type Sweep struct {
	b     *Broker
	from  start
	c     jetstream.Consumer // nil: there is nothing more to read
	next  uint64             // by the consumer's own count
	total uint64
	size  int // of a message, of late
	tries int
}

// Sweep begins a sweep of what is stored now. It has to be closed.
func (b *Broker) Sweep(ctx context.Context, q SweepQuery) (*Sweep, error) {
	low, high, err := b.bounds(ctx, EventFilter{Since: q.Since, Until: q.Until})
	if err != nil {
		return nil, err
	}
	s := &Sweep{b: b, from: start{seq: low, upTo: high, filters: q.Filters}, size: typicalSize}
	if low > high {
		return s, nil
	}
	after, err := s.pending(ctx, high+1)
	if err != nil {
		return nil, err
	}
	all, err := s.pending(ctx, low)
	if err != nil {
		return nil, err
	}
	s.total = all - min(after, all)
	if q.Limit > 0 && s.total > q.Limit {
		if s.from.seq, s.total, err = s.newest(ctx, q.Limit, after); err != nil {
			return nil, err
		}
	}
	if s.total == 0 {
		return s, nil
	}
	return s, s.open(ctx)
}

// Total is how many messages the sweep reads, if none of them goes meanwhile.
func (s *Sweep) Total() uint64 { return s.total }

// newest returns where to begin to read at most limit messages, and how many
// that are. after of those that are counted come after the end.
func (s *Sweep) newest(ctx context.Context, limit, after uint64) (from, total uint64, err error) {
	low, high := s.from.seq, s.from.upTo+1 // too many from low on, few enough from high on
	for high-low > 1 {
		middle := low + (high-low)/2
		n, err := s.pending(ctx, middle)
		if err != nil {
			return 0, 0, err
		}
		if n -= min(after, n); n > limit {
			low = middle
		} else {
			high, total = middle, n
		}
	}
	return high, total, nil
}

// pending counts the selected messages from a sequence on.
func (s *Sweep) pending(ctx context.Context, seq uint64) (uint64, error) {
	at := s.from
	at.seq = seq
	c, err := s.consumer(ctx, at)
	if err != nil {
		return 0, err
	}
	defer s.forget(ctx, c)
	return c.CachedInfo().NumPending, nil
}

func (s *Sweep) consumer(ctx context.Context, from start) (jetstream.Consumer, error) {
	c, err := s.b.admin.js.CreateConsumer(ctx, EventsStream, from.consumer())
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", EventsStream, err)
	}
	return c, nil
}

// forget deletes a consumer. What fails here the server does by itself after
// scanIdle.
func (s *Sweep) forget(ctx context.Context, c jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = s.b.admin.js.DeleteConsumer(ctx, EventsStream, c.CachedInfo().Name)
}

// open makes the consumer from where the sweep is.
func (s *Sweep) open(ctx context.Context) error {
	c, err := s.consumer(ctx, s.from)
	if err != nil {
		return err
	}
	s.c, s.next = c, 1
	if c.CachedInfo().NumPending == 0 {
		s.Close(ctx)
	}
	return nil
}

// Next returns the next part of what is read, in order; none: there is no more.
func (s *Sweep) Next(ctx context.Context) ([]SweptEvent, error) {
	for s.c != nil {
		part, err := s.pull(ctx)
		if len(part) > 0 {
			s.tries = 0
			return part, nil // what went wrong after these shows at the next pull
		}
		if err == nil {
			continue
		}
		if err := s.recover(ctx, err); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// pull makes one pull.
func (s *Sweep) pull(ctx context.Context) ([]SweptEvent, error) {
	n := min(max(sweepBytes/max(s.size, 1), 16), scanPull)
	part := make([]SweptEvent, 0, n)
	bytes, before := 0, s.next
	next, more, err := scanPulled(ctx, s.c, n, s.next, s.from.upTo, func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
		part = append(part, SweptEvent{Seq: md.Sequence.Stream, Stored: md.Timestamp, msg: m})
		bytes += len(m.Data())
		return true
	})
	s.next = next
	if len(part) > 0 {
		s.size = max(bytes/len(part), s.size/2) // many large ones may follow a few small ones
		s.from.seq = part[len(part)-1].Seq + 1
	}
	switch {
	case err != nil || more:
	case s.next > before:
		s.Close(ctx)
	default: // nothing came: there is no more, or nobody answered
		err = s.ended(ctx)
	}
	return part, err
}

// ended closes a sweep of which nothing is left, or says that something is.
func (s *Sweep) ended(ctx context.Context) error {
	info, err := s.c.Info(ctx)
	if err == nil && (info.NumPending > 0 || info.Delivered.Consumer >= s.next) {
		err = errScanGap
	}
	if err == nil {
		s.Close(ctx)
	}
	return err
}

// recover goes on with another consumer after reading broke off: a node of the
// cluster may have gone, or the connection.
func (s *Sweep) recover(ctx context.Context, err error) error {
	if s.tries++; ctx.Err() != nil || s.tries > sweepTries || !errors.Is(err, errScanGap) && !untilBack(err) {
		return errors.Join(ctx.Err(), fmt.Errorf("read stream %s: %w", EventsStream, err))
	}
	if err := pause(ctx, sweepPause); err != nil {
		return err
	}
	s.Close(ctx)
	if err := s.open(ctx); err != nil {
		return s.recover(ctx, err)
	}
	return nil
}

// untilBack reports that reading may succeed with another consumer.
func untilBack(err error) bool {
	return transient(err) || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrConsumerDeleted) ||
		errors.Is(err, jetstream.ErrNoHeartbeat)
}

// Close ends the sweep. It may be called more than once.
func (s *Sweep) Close(ctx context.Context) {
	if s.c != nil {
		s.forget(ctx, s.c)
		s.c = nil
	}
}
