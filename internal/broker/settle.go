package broker

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/penstock/penstock/internal/delivery"
)

// work makes the attempts of both lanes until both are closed.
func (c *consumption) work(ctx, attempts context.Context) {
	for it := range c.items() {
		c.end(ctx, attempts, it)
	}
}

// spread hands each message to a goroutine of its own, for handlers that wait
// for one another. The windows bound how many there are, and none is kept for
// messages that do not come.
func (c *consumption) spread(ctx, attempts context.Context) {
	var handlers sync.WaitGroup
	for it := range c.items() {
		handlers.Go(func() { c.end(ctx, attempts, it) })
	}
	handlers.Wait()
}

// items are the messages of both lanes until both are closed.
func (c *consumption) items() iter.Seq[*item] {
	return func(yield func(*item) bool) {
		main, retry := c.main, c.retry
		for main != nil || retry != nil {
			var it *item
			var ok bool
			select {
			case it, ok = <-main:
				if !ok {
					main = nil
					continue
				}
			case it, ok = <-retry:
				if !ok {
					retry = nil
					continue
				}
			}
			if !yield(it) {
				return
			}
		}
	}
}

// end takes one message to its end and makes room for another.
func (c *consumption) end(ctx, attempts context.Context, it *item) {
	c.one(ctx, attempts, it)
	c.forget(it)
	it.window.settled(len(it.msg.Data()))
}

// one takes one message to its end: attempted and settled, or given back.
func (c *consumption) one(ctx, attempts context.Context, it *item) {
	if ctx.Err() != nil || it.open.Err() != nil {
		c.h.Return(1)
		c.giveBack(it)
		return
	}
	ok, err := c.decode(attempts, it)
	if err != nil {
		c.h.Return(1)
		c.log.Warn("message given back", "err", err)
		c.giveBack(it)
		return
	}
	if !ok {
		c.h.Return(1)
		if it.seq > 0 { // a retry that another one stands for
			c.ledger.settled(it)
		}
		c.ack(it)
		return
	}
	if c.b.erased.has(it.attempt.Event.Seq, it.attempt.Event.ID) {
		c.h.Return(1)
		c.ack(it)
		return
	}
	c.b.step(StepFetched)
	it.began = time.Now()
	it.attempt.Draining = ctx.Done()
	v := c.h.Handle(attempts, it.attempt)
	c.b.step(StepAttempted)
	if err := c.settle(attempts, it, v); err != nil {
		c.log.Warn("delivery not settled, it will be repeated", "seq", it.attempt.Event.Seq, "id", it.attempt.Event.ID, "err", err)
		c.giveBack(it)
	}
}

// decode reads the message into the item's attempt. It reports false for one
// that needs no attempt: not ours, or already scheduled before a crash.
func (c *consumption) decode(ctx context.Context, it *item) (bool, error) {
	md, err := it.msg.Metadata()
	if err != nil {
		return false, fmt.Errorf("read message metadata: %w", err)
	}
	if it.lane == delivery.Retry {
		a, ok := decodeDelivery(it.msg.Headers(), it.msg.Data())
		if !ok {
			c.b.foreign.Add(1)
			return false, nil
		}
		if a.Attempts > 0 {
			// It was due when it was published here; since then it only waited for us.
			a.Held += max(0, time.Since(md.Timestamp))
		}
		it.attempt, it.seq = a, md.Sequence.Stream
		if md.NumDelivered > 1 || c.ledger.inherits(it.seq) {
			return c.unscheduled(ctx, &it.attempt)
		}
		return true, nil
	}
	e, ok := decodeEvent(it.msg.Headers(), it.msg.Subject(), it.msg.Data())
	if !ok {
		c.b.foreign.Add(1)
		return false, nil
	}
	e.Seq = md.Sequence.Stream
	it.attempt = delivery.Attempt{Event: e, Lane: delivery.Main, Early: c.early.Load().is(e.Subject, e.Seq)}
	if md.NumDelivered > 1 {
		return c.unscheduled(ctx, &it.attempt)
	}
	return true, nil
}

// unscheduled reports that no retry waits that already stands for a message
// which was handed out before: then the message is only to be acknowledged.
func (c *consumption) unscheduled(ctx context.Context, a *delivery.Attempt) (bool, error) {
	has, err := c.b.hasRetry(ctx, c.sub.Sink, a.Event.Seq, a.Event.ID, a.Origin)
	return !has, err
}

// settle carries out a verdict. The message is acknowledged only after what
// replaces it is stored at the configured durability.
func (c *consumption) settle(ctx context.Context, it *item, v delivery.Verdict) error {
	next := it.attempt
	if v.Trace != "" {
		next.LastAttempt = v.Trace
	}
	if v.Spent {
		next.Attempts++
		if next.First.IsZero() {
			next.First = it.began
		}
	}
	if c.b.erased.has(next.Event.Seq, next.Event.ID) && v.Action != delivery.Done {
		// Erased while it was attempted: what would be stored now would bring it back.
		v.Action = delivery.Skip
	}
	switch v.Action {
	case delivery.Done, delivery.Skip:
	case delivery.Again:
		if err := c.persist(ctx, "schedule retry", scheduleMsg(c.sub.Sink, &next, v, time.Now())); err != nil {
			return err
		}
		c.ledger.settled(it)
		c.ledger.scheduled(&next)
		c.ack(it)
		return nil
	case delivery.Bury:
		if err := c.persist(ctx, "store dead letter", deadMsg(c.sub.Sink, &next, v)); err != nil {
			return err
		}
	default:
		c.giveBack(it)
		return nil
	}
	c.ledger.settled(it)
	c.ack(it)
	return nil
}

// persist stores m, however long that takes: the delivery cannot go anywhere
// else, and its place in the window holds back new ones meanwhile.
func (c *consumption) persist(ctx context.Context, what string, m *nats.Msg) error {
	wait := fetchBackoff()
	for {
		_, err := c.b.store(ctx, c.b.router.js, m)
		if err == nil {
			c.b.step(StepReplaced)
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		d := wait.NextBackOff()
		c.log.Error(what+" failed, trying again", "err", err, "in", d.Round(time.Millisecond))
		if pause(ctx, d) != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		m.Reply = ""
	}
}

// ack and giveBack do not wait for the server: an acknowledgement that is lost
// repeats the delivery, and one confirmed by the server can be lost as well.
func (c *consumption) ack(it *item) {
	if err := it.msg.Ack(); err != nil {
		c.log.Warn("acknowledgement not sent, the delivery may be repeated", "err", err)
	}
	c.b.step(StepSettled)
}

func (c *consumption) giveBack(it *item) {
	if err := it.msg.Nak(); err != nil {
		c.log.Debug("message not given back, it comes again by itself", "after", c.b.o.ackWait, "err", err)
	}
}

// scheduleMsg is a retry: a full copy of the event that the server puts on the
// sink's due subject when its time has come.
func scheduleMsg(sink string, a *delivery.Attempt, v delivery.Verdict, now time.Time) *nats.Msg {
	h := deliveryHeader(sink, a, 5)
	h.set(hdrSchedule, "@at "+now.Add(v.Delay).UTC().Format(time.RFC3339Nano))
	h.set(hdrTarget, retryDuePrefix+sink)
	setVerdict(h, v)
	return &nats.Msg{Subject: retryAtSubject(sink, a.Event.Seq, a.Event.ID, a.Origin), Header: h.h, Data: a.Event.Body}
}

// deadMsg is a dead letter. Its id makes a repetition after a crash a duplicate.
func deadMsg(sink string, a *delivery.Attempt, v delivery.Verdict) *nats.Msg {
	h := deliveryHeader(sink, a, 4)
	h.set(hdrMsgID, sink+"."+retryKey(a.Event.Seq, a.Event.ID, a.Origin)+"."+strconv.Itoa(a.Generation))
	setVerdict(h, v)
	return &nats.Msg{Subject: deadSubject(sink, a.Event.Subject), Header: h.h, Data: a.Event.Body}
}

func setVerdict(h *header, v delivery.Verdict) {
	h.set(hdrClass, string(v.Class))
	h.set(hdrReason, oneLine(v.Reason))
	if v.Status != 0 {
		h.set(hdrStatus, strconv.Itoa(v.Status))
	}
}
