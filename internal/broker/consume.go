package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/internal/delivery"
)

// A pull that finds nothing stays open at the server for half a minute, so that
// an idle sink costs little and a new event waits for nothing. When two
// heartbeats are missed the pull is lost and made again.
const pullHeartbeat = time.Second

// Consume hands the sink's events to h until ctx is done and every attempt
// has ended, or the drain timeout is over. What was fetched but not attempted
// is given back to the queue.
func (b *Broker) Consume(ctx context.Context, s delivery.Subscription, h delivery.Handler) error {
	c := &consumption{
		b: b, sub: s, h: h, ledger: b.ledger(s.Sink),
		log:     b.o.Logger.With("sink", s.Sink),
		touched: map[*item]struct{}{},
	}
	fetching, stop := context.WithCancel(ctx)
	defer stop()
	if s.Closing != nil {
		ended := make(chan struct{})
		var closing sync.WaitGroup
		defer closing.Wait()
		defer close(ended)
		closing.Go(func() {
			select {
			case <-s.Closing:
				stop()
			case <-ended:
			}
		})
	}
	if err := c.setUp(fetching); err != nil {
		if fetching.Err() != nil {
			return nil
		}
		return err
	}
	return c.run(ctx, fetching)
}

// consumption is the reading of one sink's two lanes. Its fetchers pull up to
// a window of messages ahead, its workers make the attempts.
type consumption struct {
	b      *Broker
	sub    delivery.Subscription
	h      delivery.Handler
	log    *slog.Logger
	ledger *retryLedger
	lanes  lanes
	early  atomic.Pointer[early]

	main, retry chan *item

	mu      sync.Mutex
	touched map[*item]struct{} // handed out to us and not settled yet
}

// item is one message on its way through a consumption.
type item struct {
	msg     jetstream.Msg
	lane    delivery.Lane
	open    context.Context // done when it must not be attempted any more
	window  *window
	attempt delivery.Attempt
	seq     uint64    // in the retry stream
	began   time.Time // of the attempt
}

func (c *consumption) setUp(ctx context.Context) error {
	return retrying(ctx, c.log, "set up queue", untilProvisioned, func() error {
		l, err := c.b.ensureNewest(ctx, c.sub)
		if err != nil {
			return err
		}
		c.lanes = lanes{}
		// The lanes fetch over the router's own connection.
		if c.lanes.main, err = c.b.router.js.Consumer(ctx, EventsStream, l.main.CachedInfo().Name); err != nil {
			return err
		}
		if c.lanes.retry, err = c.b.router.js.Consumer(ctx, retryStream, l.retry.CachedInfo().Name); err != nil {
			return err
		}
		if err := c.setEarly(l.main); err != nil {
			return err
		}
		return c.b.countRetries(ctx, c.sub.Sink)
	})
}

// run starts fetchers and workers and waits for them. The attempts under way
// when fetching ends may finish; when it ended because process has, within the
// drain timeout.
func (c *consumption) run(process, ctx context.Context) error {
	attempts, cancel := drainContext(process, c.b.o.DrainTimeout)
	defer cancel()
	n := windowSize(c.sub)
	c.main, c.retry = make(chan *item, n), make(chan *item, n)

	var fetchers, others errgroup.Group
	fetchers.Go(func() error { defer close(c.main); return c.fetch(ctx, delivery.Main, c.window(n), c.main) })
	fetchers.Go(func() error { defer close(c.retry); return c.fetch(ctx, delivery.Retry, c.window(n), c.retry) })
	if c.sub.Batch > 0 {
		others.Go(func() error { c.spread(ctx, attempts); return nil })
	} else {
		for range c.sub.Concurrency {
			others.Go(func() error { c.work(ctx, attempts); return nil })
		}
	}
	touching, stopTouching := context.WithCancel(context.Background())
	var touch sync.WaitGroup
	touch.Go(func() { c.touch(touching) })
	touch.Go(func() { c.recount(touching) })

	err := errors.Join(fetchers.Wait(), others.Wait())
	stopTouching()
	touch.Wait()
	return err
}

// windowSize is how far ahead of the workers a lane fetches: enough that a
// pull carries many messages, and few enough to hold in memory; of batches two.
func windowSize(s delivery.Subscription) int {
	if s.Batch > 0 {
		return 2 * s.Batch
	}
	return min(max(4*s.Concurrency, 64), 512)
}

// window is a lane's, bounded in bytes as well when batches are.
func (c *consumption) window(n int) *window {
	w := newWindow(n)
	if c.sub.BatchBytes > 0 {
		w.most, w.typical = 2*c.sub.BatchBytes, typicalSize
	}
	return w
}

// drainContext is done when the attempts must end: timeout after ctx is.
func drainContext(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(timeout, cancel)
		context.AfterFunc(out, func() { t.Stop() })
	})
	return out, func() { stop(); cancel() }
}

// fetch pulls one lane until ctx is done.
func (c *consumption) fetch(ctx context.Context, lane delivery.Lane, w *window, out chan<- *item) error {
	wait := fetchBackoff()
	for ctx.Err() == nil {
		room, err := w.acquire(ctx)
		if err != nil {
			return nil
		}
		n, open, err := c.h.Admit(ctx, lane, room)
		if err != nil {
			return nil
		}
		w.release(room - n)
		got, err := c.pull(ctx, open, lane, n, w, out)
		c.h.Return(n - got)
		w.release(n - got)
		if err == nil || ctx.Err() != nil || open.Err() != nil {
			wait.Reset()
			continue
		}
		if err := c.recover(ctx, lane, err, wait.NextBackOff()); err != nil {
			return err
		}
	}
	return nil
}

func fetchBackoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
}

// pull makes one pull of up to n messages and passes them on. It returns how
// many it passed on.
func (c *consumption) pull(ctx, open context.Context, lane delivery.Lane, n int, w *window, out chan<- *item) (got int, err error) {
	pulling, cancel := joinContext(ctx, open)
	defer cancel()
	batch, err := c.consumer(lane).Fetch(n, jetstream.FetchHeartbeat(pullHeartbeat), jetstream.FetchContext(pulling))
	if err != nil {
		return 0, err
	}
	for m := range batch.Messages() {
		it := &item{msg: m, lane: lane, open: open, window: w}
		c.hold(it)
		w.took(len(m.Data()))
		out <- it // never blocks: the window bounds what is in it
		got++
	}
	err = batch.Error()
	if errors.Is(err, nats.ErrTimeout) || pulling.Err() != nil {
		err = nil
	}
	return got, err
}

// joinContext is done when either is.
func joinContext(ctx, open context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(open, cancel)
	return out, func() { stop(); cancel() }
}

func (c *consumption) consumer(lane delivery.Lane) jetstream.Consumer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lane == delivery.Retry {
		return c.lanes.retry
	}
	return c.lanes.main
}

// recover waits out a failed pull, and makes the consumers again when they are gone.
func (c *consumption) recover(ctx context.Context, lane delivery.Lane, err error, wait time.Duration) error {
	if errors.Is(err, nats.ErrNoResponders) && c.gone(ctx, lane) {
		err = jetstream.ErrConsumerNotFound
	}
	if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) {
		c.log.Warn("queue of the sink was deleted, making it again", "lane", lane)
		if err := c.remake(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		return nil
	}
	c.log.Warn("fetch failed, trying again", "lane", lane, "err", err, "in", wait.Round(time.Millisecond))
	_ = pause(ctx, wait)
	return nil
}

// gone reports that a lane's consumer is not there any more. One that was
// deleted between two pulls answers the next one as a server does that has no
// leader: not at all.
func (c *consumption) gone(ctx context.Context, lane delivery.Lane) bool {
	_, err := c.consumer(lane).Info(ctx)
	return errors.Is(err, jetstream.ErrConsumerNotFound)
}

func (c *consumption) remake(ctx context.Context) error {
	return retrying(ctx, c.log, "make queue again", untilProvisioned, func() error {
		l, err := c.b.ensureNewest(ctx, c.sub)
		if err != nil {
			return err
		}
		main, err := c.b.router.js.Consumer(ctx, EventsStream, l.main.CachedInfo().Name)
		if err != nil {
			return err
		}
		retry, err := c.b.router.js.Consumer(ctx, retryStream, l.retry.CachedInfo().Name)
		if err != nil {
			return err
		}
		if err := c.setEarly(l.main); err != nil {
			return err
		}
		c.mu.Lock()
		c.lanes = lanes{main: main, retry: retry}
		c.mu.Unlock()
		return nil
	})
}

// retrying does f until it succeeds, ctx is done, or again says of its error
// that trying again is no use: an asset that is somebody else's stays so.
func retrying(ctx context.Context, log *slog.Logger, what string, again func(error) bool, f func() error) error {
	wait := fetchBackoff()
	for {
		err := f()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if !again(err) {
			return err
		}
		d := wait.NextBackOff()
		log.Warn(what+" failed, trying again", "err", err, "in", d.Round(time.Millisecond))
		if pause(ctx, d) != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// untilProvisioned is transient for a running process: what is missing may be
// provisioned while it runs, and its other sinks go on.
func untilProvisioned(err error) bool { return transient(err) || errors.Is(err, errNotProvisioned) }

// codeNoPeers is JetStream's "no suitable peers for placement": of a cluster
// that is starting, not all nodes are there yet.
const codeNoPeers jetstream.ErrorCode = 10005

// transient reports that the server may answer otherwise a little later.
func transient(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code >= 500 || api.ErrorCode == codeNoPeers
	}
	for _, e := range []error{context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrConnectionReconnecting,
		nats.ErrDisconnected, nats.ErrReconnectBufExceeded, jetstream.ErrJetStreamNotEnabled, jetstream.ErrNoStreamResponse} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// hold and forget keep the set of messages that touch says are being worked on.
func (c *consumption) hold(it *item) {
	c.mu.Lock()
	c.touched[it] = struct{}{}
	c.mu.Unlock()
}

func (c *consumption) forget(it *item) {
	c.mu.Lock()
	delete(c.touched, it)
	c.mu.Unlock()
}

// touch tells the server that we still work on what we have, so that it hands
// it to nobody else.
func (c *consumption) touch(ctx context.Context) {
	t := time.NewTicker(c.b.o.ackWait / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		c.mu.Lock()
		for it := range c.touched {
			// An error means that the connection is down; then nobody is asked to wait.
			_ = it.msg.InProgress()
		}
		c.mu.Unlock()
	}
}

// recountEvery is how often what waits for a retry is counted anew.
const recountEvery = 30 * time.Second

// recount corrects the ledger: a retry that this process scheduled may be
// settled by another, and two copies of a delivery, which a crash can leave,
// become one retry.
func (c *consumption) recount(ctx context.Context) {
	t := time.NewTicker(recountEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if c.b.retriesAddUp(ctx) {
			continue
		}
		if err := c.b.countRetries(ctx, c.sub.Sink); err != nil && ctx.Err() == nil {
			c.log.Warn("retries not counted, trying again", "err", err, "in", recountEvery)
		}
	}
}
