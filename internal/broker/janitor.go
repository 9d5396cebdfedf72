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

// Shares of the events stream's bytes: above pressureAt the janitor purges
// events before their retention is over, above squeezeAt even those whose ids
// the dedupe window still has to remember.
const (
	pressureAt = 0.80
	squeezeAt  = 0.95
	relieveTo  = 0.75
)

// countingTime outlasts the moment in which the server does not know yet what is
// pending for a consumer.
const countingTime = time.Second

// runJanitor keeps the retention until ctx is done. Its failures are logged:
// what it could not do it does next time, and a stream that fills up meanwhile
// makes the ingress answer 507, which loses nothing.
func (b *Broker) runJanitor(ctx context.Context) error {
	if b.o.JanitorEvery <= 0 {
		<-ctx.Done()
		return nil
	}
	t := time.NewTicker(b.o.JanitorEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := b.tidy(ctx, time.Now()); err != nil && ctx.Err() == nil {
			b.o.Logger.Warn("could not tidy the event store, trying again", "err", err, "in", b.o.JanitorEvery)
		}
	}
}

// tidy purges what has outlived its retention, and under pressure what is
// delivered everywhere. It never purges what a configured sink has not had.
func (b *Broker) tidy(ctx context.Context, now time.Time) error {
	stream, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", EventsStream, err)
	}
	info := stream.CachedInfo()
	st := info.State
	if st.Msgs == 0 {
		return nil
	}
	b.warnFilling(info, now)
	upTo, err := b.expired(ctx, info, now)
	if err != nil {
		return err
	}
	pressed, err := b.pressed(ctx, info, now)
	if err != nil {
		return err
	}
	upTo = max(upTo, pressed)
	if upTo <= st.FirstSeq {
		return nil
	}
	floor, err := b.floor(ctx, info)
	if err != nil {
		return err
	}
	upTo = min(upTo, floor+1)
	if upTo <= st.FirstSeq {
		return nil
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(upTo)); err != nil {
		return fmt.Errorf("purge events before sequence %d: %w", upTo, err)
	}
	if b.o.Purged != nil {
		b.o.Purged(int(upTo-st.FirstSeq), pressed == upTo)
	}
	b.o.Logger.Info("purged delivered events", "first_kept", upTo, "pressure", pressed == upTo)
	return nil
}

// warnAgain is how often a filling store is told of.
const warnAgain = 10 * time.Minute

// warnFilling says in time that webhooks will be answered 507.
func (b *Broker) warnFilling(info *jetstream.StreamInfo, now time.Time) {
	st, limit := info.State, info.Config.MaxBytes
	if limit <= 0 || float64(st.Bytes) < pressureAt*float64(limit) || now.Sub(b.warned) < warnAgain {
		return
	}
	b.warned = now
	b.o.Logger.Warn("the event store fills up; when it is full, webhooks are answered 507 until a sink catches up or broker.max_bytes is raised",
		"used", size(int64(st.Bytes)), "limit", size(limit), "oldest", now.Sub(st.FirstTime).Round(time.Second))
}

// expired returns the first sequence that is still within the retention, after
// having dead-lettered what a sink has not had of the older ones; 0 for none.
func (b *Broker) expired(ctx context.Context, info *jetstream.StreamInfo, now time.Time) (uint64, error) {
	cutoff := now.Add(-b.o.Config.Retention)
	if !info.State.FirstTime.Before(cutoff) {
		return 0, nil
	}
	upTo, err := b.seqAt(ctx, info, cutoff)
	if err != nil {
		return 0, err
	}
	for _, sink := range b.sinks() {
		f, err := b.sinkFloor(ctx, sink, info)
		if err != nil {
			return 0, err
		}
		if f+1 < upTo {
			if err := b.expire(ctx, sink, upTo); err != nil {
				return 0, fmt.Errorf("expire events of sink %s: %w", sink, err)
			}
		}
	}
	return upTo, nil
}

// pressed returns the sequence before which events should go to make room, 0
// for none.
func (b *Broker) pressed(ctx context.Context, info *jetstream.StreamInfo, now time.Time) (uint64, error) {
	st, limit := info.State, float64(info.Config.MaxBytes)
	used := float64(st.Bytes)
	if limit <= 0 || used < pressureAt*limit {
		return 0, nil
	}
	average := used / float64(st.Msgs)
	upTo := st.FirstSeq + uint64((used-relieveTo*limit)/average) + 1
	if used >= squeezeAt*limit {
		return upTo, nil
	}
	known, err := b.seqAt(ctx, info, now.Add(-b.o.Config.DedupeWindow))
	return min(upTo, known), err
}

// seqAt is the sequence of the first message of a stream stored at or after t,
// or the one after the last.
func (b *Broker) seqAt(ctx context.Context, info *jetstream.StreamInfo, t time.Time) (uint64, error) {
	if !info.State.FirstTime.Before(t) {
		return info.State.FirstSeq, nil
	}
	if info.State.LastTime.Before(t) {
		return info.State.LastSeq + 1, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	fail := func(err error) (uint64, error) {
		return 0, fmt.Errorf("find the first message since %s: %w", t.Format(time.RFC3339), err)
	}
	// The client has no call for this; a consumer made for it would need the
	// right to make consumers.
	req := fmt.Appendf(nil, `{"start_time":%q,"next_by_subj":">"}`, t.UTC().Format(time.RFC3339Nano))
	m, err := b.admin.nc.RequestWithContext(ctx, api+"DIRECT.GET."+info.Config.Name, req)
	if err != nil {
		return fail(err)
	}
	switch status := m.Header.Get("Status"); status {
	case "":
	case "404":
		return info.State.LastSeq + 1, nil
	default:
		return fail(fmt.Errorf("%s %s", status, m.Header.Get("Description")))
	}
	seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return fail(err)
	}
	return seq, nil
}

// floor is the sequence up to which every configured sink has settled. Of a
// consumer that was just made the server says for a moment that nothing is
// pending, whatever is: what would be purged by that is asked for twice.
func (b *Broker) floor(ctx context.Context, info *jetstream.StreamInfo) (uint64, error) {
	floor := info.State.LastSeq
	for again := range 2 {
		if again > 0 {
			if err := pause(ctx, countingTime); err != nil {
				return 0, err
			}
		}
		for _, sink := range b.sinks() {
			f, err := b.sinkFloor(ctx, sink, info)
			if err != nil {
				return 0, err
			}
			floor = min(floor, f)
		}
	}
	return floor, nil
}

// sinkFloor is the sequence up to which the sink has settled. info must be
// older than the answer about the consumer, or a new event could be missed.
func (b *Broker) sinkFloor(ctx context.Context, sink string, info *jetstream.StreamInfo) (uint64, error) {
	start := recordedStart(info, sink)
	c, err := b.admin.js.Consumer(ctx, EventsStream, sinkConsumerPrefix+sink)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return start - 1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up queue of sink %s: %w", sink, err)
	}
	return max(consumerFloor(c.CachedInfo(), info.State.LastSeq), start-1), nil
}

// consumerFloor: the server's own acknowledgement floor stays at 0 while a
// filter has matched nothing, so what is pending has to be asked as well.
func consumerFloor(ci *jetstream.ConsumerInfo, last uint64) uint64 {
	switch {
	case ci.NumAckPending > 0:
		return ci.AckFloor.Stream
	case ci.NumPending == 0:
		return last
	}
	return ci.Delivered.Stream
}

func recordedStart(info *jetstream.StreamInfo, sink string) uint64 {
	seq, err := strconv.ParseUint(info.Config.Metadata[startKeyPrefix+sink], 10, 64)
	if err != nil {
		return 1
	}
	return max(seq, 1)
}

// expire moves what the sink has not been handed of the events before upTo to
// its dead letters. What it is busy with is left to it.
func (b *Broker) expire(ctx context.Context, sink string, upTo uint64) error {
	c, err := b.admin.js.Consumer(ctx, EventsStream, sinkConsumerPrefix+sink)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	early, err := newEarly(c.CachedInfo().Config)
	if err != nil {
		return err
	}
	n, done := 0, false
	for !done {
		began := time.Now()
		batch, err := c.FetchNoWait(100)
		if err != nil {
			return err
		}
		done = true
		got := 0
		for m := range batch.Messages() {
			got++
			old, expired, err := b.expireOne(ctx, sink, early, m, upTo)
			if err != nil {
				return err
			}
			if old {
				done = false
			}
			if expired {
				n++
			}
		}
		if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
			return err
		}
		if got == 0 && time.Since(began) >= pullWait {
			info, err := c.Info(ctx)
			if err != nil {
				return err
			}
			done = info.NumPending == 0
		}
	}
	if n > 0 && b.o.Expired != nil {
		b.o.Expired(sink, n)
	}
	if n > 0 {
		b.o.Logger.Error("events outlived broker.retention before the sink took them; they are in its dead letters",
			"sink", sink, "events", n, "retention", b.o.Config.Retention)
	}
	return nil
}

// expireOne reports that m was too old, and that its event went to the dead
// letters for that.
func (b *Broker) expireOne(ctx context.Context, sink string, early *early, m jetstream.Msg, upTo uint64) (old, expired bool, err error) {
	md, err := m.Metadata()
	if err != nil {
		return false, false, fmt.Errorf("read message metadata: %w", err)
	}
	if md.Sequence.Stream >= upTo {
		return false, false, m.Nak()
	}
	e, ok := decodeEvent(m.Headers(), m.Subject(), m.Data())
	if !ok {
		b.foreign.Add(1)
		return true, false, m.Ack()
	}
	if e.Seq = md.Sequence.Stream; early.is(e.Subject, e.Seq) {
		return true, false, m.Ack()
	}
	v := delivery.Verdict{Class: delivery.Expired, Reason: "not delivered within broker.retention (" + b.o.Config.Retention.String() + ")"}
	if _, err := b.store(ctx, b.admin.js, deadMsg(sink, &delivery.Attempt{Event: e}, v)); err != nil {
		return false, false, fmt.Errorf("store dead letter: %w", err)
	}
	// Nobody made an attempt, but who follows the event has to learn its end.
	b.Record(&delivery.Record{
		Seq: e.Seq, EventID: e.ID, Subject: e.Subject, Sink: sink, Start: time.Now(),
		Action: delivery.Bury, Class: v.Class, Error: v.Reason,
	})
	return true, true, m.Ack()
}
