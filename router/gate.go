package router

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// patience is how long a delivery in hand waits for the rate limit before it
// is given back.
const patience = 5 * time.Second

// gate decides how many deliveries of one sink may be fetched and attempted:
// by its concurrency, its rate, and by how the sink is doing (see hold.go).
// It starts no goroutine; time passes when somebody asks.
//
// A delivery is granted by admit, then given back by release or brought inside
// by begin, which lets it run; finish ends both. Free places are granted to
// whichever lane asks, so for a moment two lanes may hold grants for the same
// place: then one waits inside. This way a lane that fetches from an empty
// queue keeps no place from the other. While the gate is open and there is no
// rate, grants are not bounded here but by what the queue keeps in hand.
type gate struct {
	notify func(HoldState) // called without the lock, after every change of state

	mu      sync.Mutex
	hold    config.Hold
	slots   int
	rate    *rate.Limiter // nil: unlimited
	batches bool          // what begins is a batch

	state State // never Paused
	since time.Time
	limit int // attempts at one time in this state
	epoch uint64

	paused      bool
	pausedSince time.Time

	failures  int
	lastError string
	interval  time.Duration // of the last probe; 0 since the gate was open
	until     time.Time     // end of Held or Throttled
	held      time.Duration // all that has ended
	heldSince time.Time     // zero while deliveries flow

	granted int // admitted, neither given back nor inside
	inside  int // in hand: waiting for a place or running
	running int // of those, being attempted

	open    context.Context // done when the gate closes; nil until someone is admitted
	cancel  context.CancelFunc
	wake    chan struct{} // closed at the next change; nil while nobody waits
	changes []HoldState   // not notified yet
}

// newGate returns an open gate.
func newGate(s config.Sink, notify func(HoldState)) *gate {
	g := &gate{hold: s.Hold, slots: max(s.Concurrency, 1), notify: notify, state: Open, since: time.Now()}
	g.limit = g.slots
	g.rate = limiter(s.Rate)
	return g
}

// limiter returns nil for a rate that is unlimited.
func limiter(r config.Rate) *rate.Limiter {
	if r.PerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(r.PerSecond), max(r.Burst, 1))
}

// admit blocks until there is room and grants at most most deliveries, with a
// context that is done when the gate closes. It fails only when ctx is done.
func (g *gate) admit(ctx context.Context, most int) (int, context.Context, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, nil, err
		}
		g.mu.Lock()
		n, wait := g.room(time.Now(), most)
		if n > 0 {
			g.granted += n
			open := g.opened()
			g.unlock()
			return n, open, nil
		}
		wake := g.woken()
		g.unlock()
		await(ctx, wake, wait)
	}
}

// room returns how many deliveries may be fetched now; when none, after what
// time to ask again, 0 meaning when something has changed.
func (g *gate) room(now time.Time, most int) (int, time.Duration) {
	g.advance(now)
	if g.closed() {
		return 0, g.remaining(now)
	}
	if g.state == Open && (g.rate == nil || g.batches) {
		// A healthy sink is fetched for ahead of its places, in pulls as large
		// as the queue likes: asking for one message at a time costs more than
		// delivering it. Of batches neither places nor tokens say how many
		// events fit.
		return most, 0
	}
	n := min(most, g.limit-g.inside, 2*g.limit-g.inside-g.granted)
	if n <= 0 || g.rate == nil || g.batches {
		return n, 0
	}
	// Those inside take their tokens first. One is always granted when there
	// is one, though the other lane may have been granted it too.
	tokens := g.rate.TokensAt(now) - float64(g.inside-g.running)
	if tokens < 1 {
		return 0, g.refill(tokens)
	}
	return min(n, max(1, int(tokens)-g.granted)), 0
}

// remaining is how long the gate stays closed; 0 when only a person knows.
func (g *gate) remaining(now time.Time) time.Duration {
	if g.paused {
		return 0
	}
	return g.until.Sub(now)
}

// refill is how long it takes until there is a token.
func (g *gate) refill(tokens float64) time.Duration {
	d := time.Duration((1 - tokens) / float64(g.rate.Limit()) * float64(time.Second))
	return max(d, time.Millisecond)
}

// release gives back n grants.
func (g *gate) release(n int) {
	g.mu.Lock()
	defer g.unlock()
	g.granted = max(g.granted-n, 0)
	g.broadcast()
}

// begin turns a grant into a delivery inside and waits for a place and a
// token. It returns the epoch that finish wants back; or false, when no
// attempt may be made: the gate is closed, ctx is done, or the token is too
// far away. A batch waits for its token however far away it is, since giving
// its events back would only have them gathered again; its grants were given
// back when the events went into it.
func (g *gate) begin(ctx context.Context, batch bool) (epoch uint64, ok bool) {
	g.mu.Lock()
	defer g.unlock()
	if !batch {
		g.granted = max(g.granted-1, 0)
	}
	g.inside++
	for ctx.Err() == nil {
		now := time.Now()
		g.advance(now)
		wait, ok := g.place(now)
		if ok {
			g.running++
			return g.epoch, true
		}
		if g.closed() || wait > patience && !batch {
			break
		}
		wake := g.woken()
		g.unlock()
		await(ctx, wake, wait)
		g.mu.Lock()
	}
	g.inside--
	g.broadcast()
	return 0, false
}

// place takes a token if an attempt may be made now; if not, it says after
// what time to ask again, 0 meaning when something has changed.
func (g *gate) place(now time.Time) (wait time.Duration, ok bool) {
	if g.closed() || g.running >= g.limit {
		return 0, false
	}
	if g.rate != nil && !g.rate.AllowN(now, 1) {
		return g.refill(g.rate.TokensAt(now)), false
	}
	return 0, true
}

// finish ends an attempt that began in epoch, and the delivery leaves. pause
// is what a busy sink asked for.
func (g *gate) finish(epoch uint64, o outcome, pause time.Duration, reason string) {
	g.mu.Lock()
	defer g.unlock()
	g.running--
	g.inside--
	now := time.Now()
	current := epoch == g.epoch && !g.paused
	switch {
	case o == busy && g.state == Throttled:
		if until := now.Add(pause); until.After(g.until) {
			g.until = until
		}
	case !current:
	case o == busy:
		g.lastError = reason
		g.throttle(pause, now)
	case o == healthy:
		g.succeeded(now)
	case o == sick:
		g.lastError = reason
		g.failed(now)
	}
	g.broadcast()
}

// watch reports that the gate is fully open, and returns a context that is
// done when it closes. Else a batch is not to wait: a probe tells the sooner
// how the sink is, the sooner it is made.
func (g *gate) watch() (closing context.Context, well bool) {
	g.mu.Lock()
	defer g.unlock()
	g.advance(time.Now())
	if g.paused || g.state != Open {
		return nil, false
	}
	return g.opened(), true
}

// opened returns the context that is done when the gate closes.
func (g *gate) opened() context.Context {
	if g.open == nil {
		g.open, g.cancel = context.WithCancel(context.Background())
	}
	return g.open
}

// shut makes that context done.
func (g *gate) shut() {
	if g.open != nil {
		g.cancel()
		g.open, g.cancel = nil, nil
	}
}

// woken returns a channel that is closed at the next change.
func (g *gate) woken() <-chan struct{} {
	if g.wake == nil {
		g.wake = make(chan struct{})
	}
	return g.wake
}

func (g *gate) broadcast() {
	if g.wake != nil {
		close(g.wake)
		g.wake = nil
	}
}

// unlock unlocks and then tells of the changes made meanwhile.
func (g *gate) unlock() {
	changes := g.changes
	g.changes = nil
	g.mu.Unlock()
	for _, c := range changes {
		g.notify(c)
	}
}

// await returns when ctx is done, wake is closed, or d has passed; a d of 0 or
// less never passes.
func await(ctx context.Context, wake <-chan struct{}, d time.Duration) {
	var tick <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		tick = t.C
	}
	select {
	case <-ctx.Done():
	case <-wake:
	case <-tick:
	}
}

// outcomeOf says what an attempt's verdict tells about the sink.
func outcomeOf(v delivery.Verdict) outcome {
	if v.Action == delivery.Done {
		return healthy
	}
	switch v.Class {
	case delivery.Ours:
		return silent
	case delivery.Rejected:
		return healthy
	case delivery.Throttled:
		return busy
	}
	return sick
}
