package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/event"
)

// JetStream error codes that a publisher can see.
const (
	codeStoreLimit     jetstream.ErrorCode = 10077 // maximum bytes or messages of the stream
	codeNoResources    jetstream.ErrorCode = 10023 // the server's store is full
	codeAccountLimit   jetstream.ErrorCode = 10002 // the account's store is full
	codeStorageExceeds jetstream.ErrorCode = 10047
	codeTooManyReqs    jetstream.ErrorCode = 10167 // the stream's inbound queue is full
	codeTooLarge       jetstream.ErrorCode = 10054 // the message
	codeHeaderTooLarge jetstream.ErrorCode = 10097
	codeDupInProcess   jetstream.ErrorCode = 10158 // the same id is being stored right now
)

// publishTimeout bounds how long a publish is tried; it outlasts a leader
// election. publishAgain is the pause before the next try.
const (
	publishTimeout = 10 * time.Second
	publishAgain   = 100 * time.Millisecond
)

// Publish stores e and returns once it is safe at the configured durability.
// Its errors wrap those of package event.
func (b *Broker) Publish(ctx context.Context, e event.Event) (event.Receipt, error) {
	h := eventHeader(&e, 1)
	h.set(hdrMsgID, event.DedupeID(e.Source, e.ID))
	m := &nats.Msg{Subject: e.Subject, Header: h.h, Data: e.Body}
	ack, err := b.store(ctx, b.ingress.js, m)
	if err != nil {
		return event.Receipt{}, fmt.Errorf("store event: %w", err)
	}
	b.step(StepStored)
	return event.Receipt{Seq: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// store publishes m and waits until it is stored at the configured durability.
// A duplicate waits too: the first copy may not be on disk yet.
func (b *Broker) store(ctx context.Context, js jetstream.JetStream, m *nats.Msg) (*jetstream.PubAck, error) {
	ack, err := b.publish(ctx, js, m)
	if err != nil {
		return nil, publishError(err)
	}
	b.step(StepWritten)
	if err := b.syncer.Wait(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", event.ErrUnavailable, err)
	}
	return ack, nil
}

// publish sends m and waits for the stream's answer. It does not use
// js.Publish, whose bookkeeping per call costs a third of the throughput. What
// a cluster answers while it elects a leader is no answer: m is sent again,
// until ctx is done or publishTimeout is over. Every message we store has an id
// or a subject of its own, so that one sent twice is stored once.
func (b *Broker) publish(ctx context.Context, js jetstream.JetStream, m *nats.Msg) (*jetstream.PubAck, error) {
	var until time.Time
	for {
		ack, err := b.publishOnce(ctx, js, m)
		if err == nil || ctx.Err() != nil || !askAgain(err) {
			return ack, err
		}
		now := time.Now()
		if until.IsZero() {
			until = now.Add(publishTimeout)
		}
		if now.After(until) || pause(ctx, publishAgain) != nil {
			return nil, err
		}
		m.Reply = ""
	}
}

func (b *Broker) publishOnce(ctx context.Context, js jetstream.JetStream, m *nats.Msg) (*jetstream.PubAck, error) {
	f, err := js.PublishMsgAsync(m, b.publishOpts...)
	if err != nil {
		return nil, err
	}
	select {
	case ack := <-f.Ok():
		return ack, nil
	case err := <-f.Err():
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// askAgain reports that err says nothing about the message: there is no leader
// or no connection at the moment, its answer was lost with a server, or the
// first copy is still on its way through the cluster.
func askAgain(err error) bool {
	for _, e := range []error{jetstream.ErrNoStreamResponse, jetstream.ErrAsyncPublishTimeout,
		nats.ErrDisconnected, nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting} {
		if errors.Is(err, e) {
			return true
		}
	}
	return apiCode(err) == codeDupInProcess
}

// pause waits d or until ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publishError gives a publisher's error one of the meanings of package event.
func publishError(err error) error {
	kind := event.ErrUnavailable
	switch apiCode(err) {
	case codeStoreLimit, codeNoResources, codeAccountLimit, codeStorageExceeds:
		kind = event.ErrFull
	case codeTooManyReqs:
		kind = event.ErrBusy
	case codeTooLarge, codeHeaderTooLarge:
		kind = event.ErrTooLarge
	}
	switch {
	case errors.Is(err, jetstream.ErrTooManyStalledMsgs):
		kind = event.ErrBusy
	case errors.Is(err, nats.ErrMaxPayload):
		kind = event.ErrTooLarge
	}
	return fmt.Errorf("%w: %w", kind, err)
}
