package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// StoredEvent is an event as the stream has it.
type StoredEvent struct {
	event.Event
	// Stored is when the stream took it.
	Stored time.Time
}

// EventFilter selects events. The zero filter selects all.
type EventFilter struct {
	// Filters are NATS subject filters of which none covers another; none
	// means every event.
	Filters []string
	// Since and Until bound when the events were stored, when not zero.
	Since, Until time.Time
	// Before is the sequence of the last event already seen; 0: none.
	Before uint64
	// Limit is the most to return, at least 1.
	Limit int
}

// The windows in which Events looks back: the first is for a stream of which
// the filter selects everything.
const (
	firstWindow = 256
	mostWindow  = 64 << 10
)

// Events returns the events that f selects, newest first, without bodies. next
// is the Before of the next page, 0 when there is none. When ctx has a
// deadline and it comes near, the page may be short, even empty, and next says
// where to go on.
func (b *Broker) Events(ctx context.Context, f EventFilter) (page []StoredEvent, next uint64, err error) {
	low, high, err := b.bounds(ctx, f)
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	for window := uint64(firstWindow); high >= low && len(page) < f.Limit; window = min(4*window, mostWindow) {
		from := max(low, high-min(high, window-1))
		part, err := b.window(ctx, f.Filters, from, high)
		if err != nil {
			return nil, 0, err
		}
		page = append(page, part...)
		high = from - 1
		if soon(ctx, began) {
			break
		}
	}
	if len(page) >= f.Limit {
		more := len(page) > f.Limit || high >= low
		page = page[:f.Limit]
		if more {
			next = page[f.Limit-1].Seq
		}
		return page, next, nil
	}
	if high >= low {
		next = high + 1
	}
	return page, next, nil
}

// soon reports that half of ctx's time is over.
func soon(ctx context.Context, began time.Time) bool {
	end, ok := ctx.Deadline()
	return ok && time.Since(began) > time.Until(end)
}

// bounds are the sequences of f, both included.
func (b *Broker) bounds(ctx context.Context, f EventFilter) (low, high uint64, err error) {
	s, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return 0, 0, fmt.Errorf("look up stream %s: %w", EventsStream, err)
	}
	info := s.CachedInfo()
	if info.State.Msgs == 0 {
		return 1, 0, nil
	}
	low, high = info.State.FirstSeq, info.State.LastSeq
	if !f.Since.IsZero() {
		if low, err = b.seqAt(ctx, info, f.Since); err != nil {
			return 0, 0, err
		}
	}
	if !f.Until.IsZero() {
		end, err := b.seqAt(ctx, info, f.Until)
		if err != nil {
			return 0, 0, err
		}
		high = end - 1
	}
	if f.Before != 0 {
		high = min(high, f.Before-1)
	}
	return max(low, 1), high, nil
}

// window reads the events from one sequence to another, newest first.
func (b *Broker) window(ctx context.Context, filters []string, from, to uint64) ([]StoredEvent, error) {
	var out []StoredEvent
	err := b.scan(ctx, EventsStream, start{seq: from, upTo: to, headersOnly: true, filters: filters}, func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
		if e, ok := decodeEvent(m.Headers(), m.Subject(), nil); ok {
			e.Seq = md.Sequence.Stream
			out = append(out, StoredEvent{e, md.Timestamp})
		}
		return true
	})
	slices.Reverse(out)
	return out, err
}

// Event returns one event with its body, or an error that wraps
// delivery.ErrNoEvent.
func (b *Broker) Event(ctx context.Context, seq uint64) (StoredEvent, error) {
	s, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return StoredEvent{}, fmt.Errorf("look up stream %s: %w", EventsStream, err)
	}
	m, err := s.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return StoredEvent{}, fmt.Errorf("%w: %d", delivery.ErrNoEvent, seq)
	}
	if err != nil {
		return StoredEvent{}, fmt.Errorf("read event %d: %w", seq, err)
	}
	e, ok := decodeEvent(m.Header, m.Subject, m.Data)
	if !ok {
		return StoredEvent{}, fmt.Errorf("%w: message %d was not written by Penstock", delivery.ErrNoEvent, seq)
	}
	e.Seq = m.Sequence
	return StoredEvent{e, m.Time}, nil
}

// Find says which events are searched for: those with the ID, with or without
// dashes, or else those whose Body is wanted.
type Find struct {
	ID   string
	Body func(body []byte) bool
}

// match looks only at what is asked for: it is called for every event.
func (f Find) match(m jetstream.Msg, want string) bool {
	if f.ID == "" {
		return f.Body(m.Data())
	}
	id := first(m.Headers(), hdrCeID)
	return id == f.ID || len(id) >= len(want)-1 && event.DedupeID("", id) == want
}

// Search looks at the events stored since a time (zero: all), oldest first:
// their headers, or to find a body all of them. Every now and then it tells how
// many it has looked at, of about how many. It returns events without bodies.
func (b *Broker) Search(ctx context.Context, since time.Time, find Find, progress func(done, total uint64)) ([]StoredEvent, error) {
	low, high, err := b.bounds(ctx, EventFilter{Since: since})
	if err != nil || low > high {
		return nil, err
	}
	var found []StoredEvent
	want := event.DedupeID("", find.ID)
	total, done, told := high-low+1, uint64(0), time.Now()
	err = b.scan(ctx, EventsStream, start{seq: low, upTo: high, headersOnly: find.ID != ""}, func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
		done++
		if done%1024 == 0 && progress != nil && time.Since(told) > 100*time.Millisecond {
			told = time.Now()
			progress(done, total)
		}
		if !find.match(m, want) {
			return true
		}
		if e, ok := decodeEvent(m.Headers(), m.Subject(), nil); ok {
			e.Seq = md.Sequence.Stream
			found = append(found, StoredEvent{e, md.Timestamp})
		}
		return true
	})
	if progress != nil {
		progress(done, total)
	}
	return found, err
}

// Records hands the records made since a time (zero: all kept) to each, in the
// order in which they were stored, until that returns false. With seqs, only
// those of these events.
func (b *Broker) Records(ctx context.Context, since time.Time, seqs []uint64, each func(delivery.Record) bool) error {
	prefixes := map[uint64]bool{}
	for _, s := range seqs {
		prefixes[s] = true
	}
	return b.scan(ctx, recordStream, start{at: since, seq: 1}, func(m jetstream.Msg, _ *jetstream.MsgMetadata) bool {
		sink := strings.TrimPrefix(m.Subject(), recordPrefix)
		for line := range bytes.Lines(m.Data()) {
			if len(seqs) > 0 && !prefixes[seqOf(line)] {
				continue
			}
			r, err := delivery.DecodeRecord(line, sink)
			if err != nil {
				continue // not ours
			}
			if !each(r) {
				return false
			}
		}
		return true
	})
}

// seqOf reads the sequence with which a record's line begins, 0 if it does not.
func seqOf(line []byte) uint64 {
	rest, ok := bytes.CutPrefix(line, []byte(`{"q":`))
	end := bytes.IndexByte(rest, ',')
	if !ok || end < 0 {
		return 0
	}
	n, err := strconv.ParseUint(string(rest[:end]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Position is how far a sink has come in the stream of events.
type Position struct {
	// Start is where the sink began. Up to Settled every event is delivered,
	// skipped, waiting for a retry or dead; up to Handed it was handed out.
	Start, Settled, Handed uint64
}

// Positions returns where the configured sinks stand, by name.
func (b *Broker) Positions(ctx context.Context) (map[string]Position, error) {
	s, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", EventsStream, err)
	}
	info := s.CachedInfo()
	out := map[string]Position{}
	for _, sink := range b.sinks() {
		p := Position{Start: recordedStart(info, sink)}
		c, err := b.admin.js.Consumer(ctx, EventsStream, sinkConsumerPrefix+sink)
		switch {
		case err == nil:
			ci := c.CachedInfo()
			p.Settled, p.Handed = consumerFloor(ci, info.State.LastSeq), ci.Delivered.Stream
			if ci.NumPending == 0 {
				p.Handed = max(p.Handed, info.State.LastSeq)
			}
		case !errors.Is(err, jetstream.ErrConsumerNotFound):
			return nil, fmt.Errorf("look up queue of sink %s: %w", sink, err)
		}
		out[sink] = p
	}
	return out, nil
}

// NextRetry is when the delivery's next attempt is scheduled, and the number of
// attempts before it. It is zero when none is: it is due, or there is none.
func (b *Broker) NextRetry(ctx context.Context, sink string, seq uint64, id string) (at time.Time, attempts int, err error) {
	s, err := b.admin.js.Stream(ctx, retryStream)
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("look up stream %s: %w", retryStream, err)
	}
	m, err := s.GetLastMsgForSubject(ctx, retryAtSubject(sink, seq, id, ""))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return time.Time{}, 0, nil
	}
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("look up scheduled retry: %w", err)
	}
	if first(m.Header, hdrCeID) != id {
		return time.Time{}, 0, nil
	}
	return scheduledFor(m.Header), attemptsOf(m.Header), nil
}

func scheduledFor(h nats.Header) time.Time {
	at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(first(h, hdrSchedule), "@at "))
	if err != nil {
		return time.Time{}
	}
	return at
}

func attemptsOf(h nats.Header) int {
	n, _ := strconv.Atoi(first(h, hdrAttempts))
	return n
}

// DeadOf returns the dead letters, without bodies, of the events with these
// sequences and ids. None is older than since.
func (b *Broker) DeadOf(ctx context.Context, since time.Time, ids map[uint64]string) ([]delivery.DeadLetter, error) {
	var out []delivery.DeadLetter
	err := b.scan(ctx, deadStream, start{at: since, seq: 1, headersOnly: true}, func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
		d, ok := deadLetter(m.Headers(), m.Subject(), nil, md.Sequence.Stream, md.Timestamp)
		if id, wanted := ids[d.Event.Seq]; ok && wanted && id == d.Event.ID {
			out = append(out, d)
		}
		return true
	})
	return out, err
}
