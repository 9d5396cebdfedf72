package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
)

const (
	// followPull is how many messages one pull of a follower asks for,
	// followWait how long it waits for them.
	followPull = 256
	followWait = 5 * time.Second
)

// Follow says where to begin to read a stream that grows. The zero Follow
// begins with its first message.
type Follow struct {
	// After is the sequence after which to begin.
	After uint64
	// Filters are subject filters of which none covers another; none: all.
	Filters []string
	// CaughtUp is called when there is nothing more stored at the moment,
	// perhaps more than once; nil: nobody wants to know.
	CaughtUp func()
	// Bodies: with the bodies of events, else only what is known of them.
	Bodies bool
}

// FollowEvents hands events to each as they are stored, until ctx is done or each returns an error, which it returns.
// It outlives lost connections. Nobody waits for it: a reader that is slow reads
// later.
func (b *Broker) FollowEvents(ctx context.Context, f Follow, each func(StoredEvent) error) error {
	return b.follow(ctx, EventsStream, f, func(m jetstream.Msg, md *jetstream.MsgMetadata) error {
		var body []byte
		if f.Bodies {
			body = m.Data()
		}
		e, ok := decodeEvent(m.Headers(), m.Subject(), body)
		if !ok {
			return nil
		}
		e.Seq = md.Sequence.Stream
		return each(StoredEvent{e, md.Timestamp})
	})
}

// RecordBatch is records that were stored together.
type RecordBatch struct {
	Seq     uint64
	Stored  time.Time
	Records []delivery.Record
}

// FollowRecords is FollowEvents for the records of attempts of all processes,
// which are stored some 200 ms after what they tell of.
func (b *Broker) FollowRecords(ctx context.Context, f Follow, each func(RecordBatch) error) error {
	f.Bodies = true
	return b.follow(ctx, recordStream, f, func(m jetstream.Msg, md *jetstream.MsgMetadata) error {
		batch := RecordBatch{Seq: md.Sequence.Stream, Stored: md.Timestamp}
		sink := strings.TrimPrefix(m.Subject(), recordPrefix)
		for line := range bytes.Lines(m.Data()) {
			if r, err := delivery.DecodeRecord(line, sink); err == nil {
				batch.Records = append(batch.Records, r)
			}
		}
		return each(batch)
	})
}

// Since returns the sequences, of the streams of events and of records, after
// which is what is stored since then; zero: from now on.
func (b *Broker) Since(ctx context.Context, since time.Time) (events, records uint64, err error) {
	for _, s := range []struct {
		name string
		last *uint64
	}{{EventsStream, &events}, {recordStream, &records}} {
		stream, err := b.admin.js.Stream(ctx, s.name)
		if err != nil {
			return 0, 0, fmt.Errorf("look up stream %s: %w", s.name, err)
		}
		info := stream.CachedInfo()
		*s.last = info.State.LastSeq
		if !since.IsZero() && info.State.Msgs > 0 {
			first, err := b.seqAt(ctx, info, since)
			if err != nil {
				return 0, 0, err
			}
			*s.last = max(first, 1) - 1
		}
	}
	return events, records, nil
}

// stopFollowing is the error of whoever is told, as opposed to ours.
type stopFollowing struct{ err error }

func (s stopFollowing) Error() string { return s.err.Error() }

func (b *Broker) follow(ctx context.Context, stream string, f Follow, each func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	from := start{seq: f.After + 1, headersOnly: !f.Bodies, filters: f.Filters}
	wait := fetchBackoff()
	for {
		before := from.seq
		err := b.followOnce(ctx, stream, &from, func(m jetstream.Msg, md *jetstream.MsgMetadata) error {
			if m != nil {
				if err := each(m, md); err != nil {
					return err
				}
			}
			if md.NumPending == 0 && f.CaughtUp != nil {
				f.CaughtUp()
			}
			return nil
		})
		var stop stopFollowing
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &stop):
			return stop.err
		case from.seq != before:
			wait.Reset()
		}
		b.o.Logger.Debug("following a stream anew", "stream", stream, "err", err)
		if pause(ctx, wait.NextBackOff()) != nil {
			return nil
		}
	}
}

// followOnce reads through one consumer until something goes wrong. It moves
// from, so that the next goes on there. At first it calls each without a
// message, to tell how many there are.
func (b *Broker) followOnce(ctx context.Context, stream string, from *start, each func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	s, err := b.admin.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", stream, err)
	}
	c, err := s.CreateConsumer(ctx, from.consumer())
	if err != nil {
		return fmt.Errorf("read stream %s: %w", stream, err)
	}
	defer func() {
		// What fails here the server does by itself after scanIdle.
		gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.DeleteConsumer(gone, c.CachedInfo().Name)
	}()
	if err := each(nil, &jetstream.MsgMetadata{NumPending: c.CachedInfo().NumPending}); err != nil {
		return err
	}
	for next := uint64(1); ; {
		pull, cancel := context.WithTimeout(ctx, followWait)
		batch, err := c.Fetch(followPull, jetstream.FetchContext(pull))
		if err == nil {
			next, err = followPulled(batch, from, next, each)
		}
		cancel()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", stream, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func followPulled(batch jetstream.MessageBatch, from *start, next uint64, each func(jetstream.Msg, *jetstream.MsgMetadata) error) (uint64, error) {
	var failed error
	for m := range batch.Messages() {
		if failed != nil {
			continue // the rest of the pull is not wanted
		}
		md, err := m.Metadata()
		switch {
		case err != nil:
			failed = fmt.Errorf("read message metadata: %w", err)
		case md.Sequence.Consumer != next:
			failed = errScanGap
		default:
			next++
			if err := each(m, md); err != nil {
				failed = stopFollowing{err}
				continue
			}
			from.seq = md.Sequence.Stream + 1
		}
	}
	if failed != nil {
		return next, failed
	}
	err := batch.Error()
	if errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = nil
	}
	return next, err
}
