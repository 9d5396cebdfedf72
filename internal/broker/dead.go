package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
)

// DeadLetters returns the dead letters that f selects, oldest first, without
// bodies, and whether there may be more after the last one.
func (b *Broker) DeadLetters(ctx context.Context, f delivery.DeadFilter) (letters []delivery.DeadLetter, more bool, err error) {
	patient, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	// A cluster that elects a leader does not answer for some seconds.
	err = retrying(patient, b.o.Logger, "list dead letters", transient, func() error {
		letters, more, err = b.deadLetters(ctx, f)
		return err
	})
	return letters, more, err
}

func (b *Broker) deadLetters(ctx context.Context, f delivery.DeadFilter) (letters []delivery.DeadLetter, more bool, err error) {
	stream, err := b.admin.js.Stream(ctx, deadStream)
	if err != nil {
		return nil, false, fmt.Errorf("look up stream %s: %w", deadStream, err)
	}
	if stream.CachedInfo().State.Msgs == 0 {
		return nil, false, nil
	}
	c, err := stream.OrderedConsumer(ctx, deadConsumer(f))
	if err != nil {
		return nil, false, fmt.Errorf("read dead letters: %w", err)
	}
	for {
		began := time.Now()
		batch, err := c.FetchNoWait(max(min(f.Limit+1, 500), 1))
		if err != nil {
			return nil, false, fmt.Errorf("read dead letters: %w", err)
		}
		got := 0
		for m := range batch.Messages() {
			got++
			d, ok := decodeDead(m)
			if !ok || !selects(f, d) {
				continue
			}
			if len(letters) == f.Limit {
				more = true
				continue
			}
			letters = append(letters, d)
		}
		if err := fetchError(batch); err != nil {
			return nil, false, fmt.Errorf("read dead letters: %w", err)
		}
		if more {
			return letters, more, nil
		}
		if got > 0 {
			continue
		}
		// An ordered consumer is a new one for each pull.
		none, err := atEnd(ctx, c, began, 0)
		if err != nil {
			return nil, false, fmt.Errorf("read dead letters: %w", err)
		}
		if none {
			return letters, false, nil
		}
	}
}

// deadConsumer reads, without bodies, at least what f selects.
func deadConsumer(f delivery.DeadFilter) jetstream.OrderedConsumerConfig {
	cfg := jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: f.After + 1,
		HeadersOnly: true, InactiveThreshold: readerIdle,
	}
	if f.Sink != "" {
		cfg.FilterSubjects = []string{deadPrefix + f.Sink + ".>"}
	}
	return cfg
}

func selects(f delivery.DeadFilter, d delivery.DeadLetter) bool {
	return (f.Class == "" || d.Class == f.Class) && !d.Died.Before(f.Since)
}

// fetchError is what went wrong with a batch that was not waited for.
func fetchError(batch jetstream.MessageBatch) error {
	if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
		return err
	}
	return nil
}

func decodeDead(m jetstream.Msg) (delivery.DeadLetter, bool) {
	md, err := m.Metadata()
	if err != nil {
		return delivery.DeadLetter{}, false
	}
	return deadLetter(m.Headers(), m.Subject(), m.Data(), md.Sequence.Stream, md.Timestamp)
}

func deadLetter(h nats.Header, subject string, body []byte, seq uint64, at time.Time) (delivery.DeadLetter, bool) {
	a, ok := decodeDelivery(h, body)
	if !ok {
		return delivery.DeadLetter{}, false
	}
	d := delivery.DeadLetter{
		Seq: seq, Sink: sinkOfDead(subject), Event: a.Event, Died: at,
		Attempts: a.Attempts, First: a.First, Generation: a.Generation,
		Class: delivery.Class(first(h, hdrClass)), Reason: first(h, hdrReason),
	}
	d.Status, _ = strconv.Atoi(first(h, hdrStatus))
	return d, true
}

// DeadLetter returns one dead letter with its body.
func (b *Broker) DeadLetter(ctx context.Context, seq uint64) (delivery.DeadLetter, error) {
	stream, err := b.admin.js.Stream(ctx, deadStream)
	if err != nil {
		return delivery.DeadLetter{}, fmt.Errorf("look up stream %s: %w", deadStream, err)
	}
	m, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return delivery.DeadLetter{}, fmt.Errorf("%w: %d", delivery.ErrNoDeadLetter, seq)
	}
	if err != nil {
		return delivery.DeadLetter{}, fmt.Errorf("read dead letter %d: %w", seq, err)
	}
	d, ok := deadLetter(m.Header, m.Subject, m.Data, m.Sequence, m.Time)
	if !ok {
		return delivery.DeadLetter{}, fmt.Errorf("dead letter %d was not written by Penstock", seq)
	}
	return d, nil
}

// RetryDead puts one dead letter back into its sink's retry lane, and only
// there, as a delivery without attempts. It is gone from the dead letters once
// the lane has it.
func (b *Broker) RetryDead(ctx context.Context, seq uint64) (delivery.DeadLetter, error) {
	d, err := b.DeadLetter(ctx, seq)
	if err != nil {
		return delivery.DeadLetter{}, err
	}
	a := delivery.Attempt{Event: d.Event, History: delivery.History{
		Generation: d.Generation + 1, Origin: "redrive/" + strconv.FormatUint(seq, 10),
	}}
	if err := b.putDue(ctx, d.Sink, &a, "redrive."+strconv.FormatUint(seq, 10)); err != nil {
		return delivery.DeadLetter{}, fmt.Errorf("retry dead letter %d: %w", seq, err)
	}
	return d, b.deleteDead(ctx, seq)
}

// putDue publishes a as due in the sink's retry lane, once under one id.
func (b *Broker) putDue(ctx context.Context, sink string, a *delivery.Attempt, msgID string) error {
	h := deliveryHeader(sink, a, 1)
	h.set(hdrMsgID, msgID)
	ack, err := b.store(ctx, b.admin.js, &nats.Msg{Subject: retryDuePrefix + sink, Header: h.h, Data: a.Event.Body})
	if err != nil {
		return err
	}
	if !ack.Duplicate {
		b.ledger(sink).put(a, ack.Sequence)
	}
	return nil
}

// DropDead deletes one dead letter for good and returns what it was.
func (b *Broker) DropDead(ctx context.Context, seq uint64) (delivery.DeadLetter, error) {
	d, err := b.DeadLetter(ctx, seq)
	if err != nil {
		return delivery.DeadLetter{}, err
	}
	return d, b.deleteDead(ctx, seq)
}

func (b *Broker) deleteDead(ctx context.Context, seq uint64) error {
	stream, err := b.admin.js.Stream(ctx, deadStream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", deadStream, err)
	}
	err = stream.DeleteMsg(ctx, seq)
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return fmt.Errorf("delete dead letter %d: %w", seq, err)
	}
	return nil
}
