package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// scanPull is how many messages one pull of a scan asks for.
	scanPull = 2000
	// scanIdle is after what time the server forgets a scan that nobody goes on with.
	scanIdle = 30 * time.Second
	// pullWait is how long the client waits for what a pull brings that is not
	// to wait. It takes a server that is slower for one that has nothing.
	pullWait = time.Second
)

// errScanGap: the connection was lost and messages with it.
var errScanGap = errors.New("messages were lost on the way; ask again")

// start is where a scan begins and what it reads.
type start struct {
	seq         uint64    // the first sequence, unless at says otherwise
	at          time.Time // the first message stored then or later
	upTo        uint64    // the last sequence; 0: the stream's end
	headersOnly bool
	filters     []string // of which none covers another; none: everything
}

// scan hands messages of a stream to each, in their order, until that returns
// false or there are no more. It reads through a consumer of its own that
// nothing else notices, and through another when messages were lost on the way.
func (b *Broker) scan(ctx context.Context, stream string, from start, each func(jetstream.Msg, *jetstream.MsgMetadata) bool) error {
	s, err := b.admin.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", stream, err)
	}
	st := s.CachedInfo().State
	if from.upTo == 0 || from.upTo > st.LastSeq {
		from.upTo = st.LastSeq
	}
	if st.Msgs == 0 || from.at.IsZero() && from.seq > from.upTo {
		return nil
	}
	for tries := 0; ; tries++ {
		err := scanOnce(ctx, s, from, func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
			tries = 0
			from.seq, from.at = md.Sequence.Stream+1, time.Time{}
			return each(m, md)
		})
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, errScanGap) || tries == sweepTries:
			return fmt.Errorf("read stream %s: %w", stream, err)
		case from.at.IsZero() && from.seq > from.upTo:
			return nil
		}
	}
}

// scanOnce reads through one consumer.
func scanOnce(ctx context.Context, s jetstream.Stream, from start, each func(jetstream.Msg, *jetstream.MsgMetadata) bool) error {
	c, err := s.CreateConsumer(ctx, from.consumer())
	if err != nil {
		return err
	}
	defer func() {
		// What fails here the server does by itself after scanIdle.
		_ = s.DeleteConsumer(context.WithoutCancel(ctx), c.CachedInfo().Name)
	}()
	if c.CachedInfo().NumPending == 0 {
		return nil
	}
	for next, more := uint64(1), true; more; {
		began, before := time.Now(), next
		if next, more, err = scanPulled(ctx, c, scanPull, next, from.upTo, each); err != nil {
			return err
		}
		if next > before {
			continue
		}
		none, err := atEnd(ctx, c, began, next-1)
		if err != nil {
			return err
		}
		if !none {
			return errScanGap
		}
	}
	return nil
}

func (from start) consumer() jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from.seq, 1),
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: scanIdle, MemoryStorage: true, Replicas: 1,
		HeadersOnly: from.headersOnly, FilterSubjects: from.filters,
		Metadata: map[string]string{ownerKey: owner},
	}
	if !from.at.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, &from.at
	}
	return cfg
}

// scanPulled makes a pull of so many messages, of which next is the first message by the
// consumer's own count. more reports that the scan is not over.
func scanPulled(ctx context.Context, c jetstream.Consumer, pull int, next, upTo uint64, each func(jetstream.Msg, *jetstream.MsgMetadata) bool) (after uint64, more bool, err error) {
	if err := ctx.Err(); err != nil {
		return next, false, err
	}
	batch, err := c.FetchNoWait(pull)
	if err != nil {
		return next, false, err
	}
	over := false
	for m := range batch.Messages() {
		if over {
			continue // the rest of the pull is not wanted
		}
		md, err := m.Metadata()
		if err != nil {
			return next, false, fmt.Errorf("read message metadata: %w", err)
		}
		if md.Sequence.Consumer != next {
			return next, false, errScanGap
		}
		next++
		over = md.Sequence.Stream > upTo || !each(m, md) || md.Sequence.Stream == upTo || md.NumPending == 0
		more = !over
	}
	if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
		return next, false, err
	}
	return next, more, nil
}

// atEnd reports that a pull that began then and brought nothing has shown that
// there is nothing more, after the so many messages that had come.
func atEnd(ctx context.Context, c jetstream.Consumer, began time.Time, came uint64) (bool, error) {
	if time.Since(began) < pullWait {
		return true, nil // the server has said so
	}
	info, err := c.Info(ctx)
	if err != nil {
		return false, err
	}
	return info.NumPending == 0 && info.Delivered.Consumer <= came, nil
}
