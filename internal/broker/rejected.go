package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/event"
)

// RejectedAge is how long a rejected request is kept at most.
const RejectedAge = 72 * time.Hour

// Headers of a rejected request. What was in the request is under a prefix of
// its own, so that nothing of it can have a meaning to the server.
const (
	hdrCause         = "Penstock-Cause"
	hdrHint          = "Penstock-Hint"
	hdrSize          = "Penstock-Size"
	hdrRequestPrefix = "Penstock-Request-"
)

// KeepRejected keeps a request that failed verification. It reports false for
// one whose body is kept already: senders repeat what is refused.
func (b *Broker) KeepRejected(ctx context.Context, r event.Rejected) (kept bool, err error) {
	h := newHeader(7 + len(r.Header))
	sum := sha256.Sum256(r.Body)
	h.set(hdrMsgID, r.Source+"."+hex.EncodeToString(sum[:]))
	h.set(hdrSource, r.Source)
	h.set(hdrReceived, r.Received.UTC().Format(time.RFC3339Nano))
	h.set(hdrCause, oneLine(r.Cause))
	h.set(hdrReason, oneLine(r.Reason))
	h.set(hdrHint, oneLine(r.Hint))
	h.set(hdrSize, strconv.Itoa(len(r.Body)))
	for name, values := range r.Header {
		if len(values) == 1 {
			h.set(hdrRequestPrefix+name, oneLine(values[0]))
		}
	}
	ack, err := b.store(ctx, b.ingress.js, &nats.Msg{Subject: rejectedPrefix + r.Source, Header: h.h, Data: r.Body})
	if err != nil {
		return false, fmt.Errorf("keep rejected request: %w", err)
	}
	return !ack.Duplicate, nil
}

// Rejected returns the rejected requests that f selects, oldest first, without
// bodies, and whether there may be more after the last one.
func (b *Broker) Rejected(ctx context.Context, f event.RejectedFilter) (out []event.Rejected, more bool, err error) {
	filter := rejectedPrefix + "*"
	if f.Source != "" {
		filter = rejectedPrefix + f.Source
	}
	more, err = b.read(ctx, reading{stream: rejectedStream, filter: filter, after: f.After},
		func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
			r, ok := decodeRejected(m.Headers(), nil, md.Sequence.Stream)
			if !ok || r.Received.Before(f.Since) {
				return true
			}
			if len(out) == f.Limit {
				return false
			}
			out = append(out, r)
			return true
		})
	if err != nil {
		return nil, false, fmt.Errorf("read rejected requests: %w", err)
	}
	return out, more, nil
}

// reading says what of a stream is read; see Broker.read.
type reading struct {
	stream, filter string
	after          uint64    // the sequence before the first
	since          time.Time // instead of after, when not zero
}

// read calls f with the headers of every message that r selects, oldest first,
// until it returns false: then there is more.
func (b *Broker) read(ctx context.Context, r reading, f func(jetstream.Msg, *jetstream.MsgMetadata) bool) (more bool, err error) {
	stream, err := b.admin.js.Stream(ctx, r.stream)
	if err != nil {
		return false, fmt.Errorf("look up stream %s: %w", r.stream, err)
	}
	cfg := jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.after + 1,
		HeadersOnly: true, FilterSubjects: []string{r.filter},
	}
	if !r.since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, &r.since
	}
	err = scan(ctx, stream, cfg, func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
		more = !f(m, md)
		return !more
	})
	return more, err
}

// RejectedRequest returns one rejected request with its body, or
// event.ErrNoRejected.
func (b *Broker) RejectedRequest(ctx context.Context, seq uint64) (event.Rejected, error) {
	stream, err := b.admin.js.Stream(ctx, rejectedStream)
	if err != nil {
		return event.Rejected{}, fmt.Errorf("look up stream %s: %w", rejectedStream, err)
	}
	m, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return event.Rejected{}, fmt.Errorf("%w: %d", event.ErrNoRejected, seq)
	}
	if err != nil {
		return event.Rejected{}, fmt.Errorf("read rejected request %d: %w", seq, err)
	}
	r, ok := decodeRejected(m.Header, m.Data, m.Sequence)
	if !ok {
		return event.Rejected{}, fmt.Errorf("rejected request %d was not written by Penstock", seq)
	}
	return r, nil
}

// DropRejected deletes one rejected request. It is no error that it is gone.
func (b *Broker) DropRejected(ctx context.Context, seq uint64) error {
	stream, err := b.admin.js.Stream(ctx, rejectedStream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", rejectedStream, err)
	}
	err = stream.DeleteMsg(ctx, seq)
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return fmt.Errorf("delete rejected request %d: %w", seq, err)
	}
	return nil
}

// PublishLate stores the event of a request that arrived at e.Received, unless
// it is stored already. The dedupe window may have forgotten what came in at
// that time; then the stream itself is asked.
func (b *Broker) PublishLate(ctx context.Context, e event.Event) (event.Receipt, error) {
	since := e.Received.Add(-b.o.Config.DedupeWindow)
	if time.Since(e.Received) > b.o.Config.DedupeWindow/2 {
		seq, err := b.findEvent(ctx, e, since)
		if err != nil {
			return event.Receipt{}, fmt.Errorf("look for event: %w", err)
		}
		if seq != 0 {
			return event.Receipt{Seq: seq, Duplicate: true}, nil
		}
	}
	return b.Publish(ctx, e)
}

// findEvent returns the sequence of the stored event with e's dedupe id, 0
// for none.
func (b *Broker) findEvent(ctx context.Context, e event.Event, since time.Time) (seq uint64, err error) {
	want := event.DedupeID(e.Source, e.ID)
	_, err = b.read(ctx, reading{stream: EventsStream, filter: e.Subject, since: since},
		func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
			if seq == 0 && first(m.Headers(), hdrMsgID) == want {
				seq = md.Sequence.Stream
			}
			return seq == 0
		})
	return seq, err
}

func decodeRejected(h nats.Header, body []byte, seq uint64) (event.Rejected, bool) {
	r := event.Rejected{
		Seq: seq, Source: first(h, hdrSource), Cause: first(h, hdrCause), Reason: first(h, hdrReason),
		Hint: first(h, hdrHint), Header: http.Header{}, Body: body,
	}
	var err error
	if r.Received, err = time.Parse(time.RFC3339Nano, first(h, hdrReceived)); err != nil || r.Source == "" {
		return event.Rejected{}, false
	}
	r.Size, _ = strconv.Atoi(first(h, hdrSize))
	for name, values := range h {
		if request, ok := strings.CutPrefix(name, hdrRequestPrefix); ok {
			r.Header[request] = values
		}
	}
	return r, true
}
