package router

import (
	"math/rand/v2"
	"time"

	"github.com/penstock/penstock/config"
)

// State names what a sink's gate is doing.
type State string

// The states of a gate. The strings appear in metrics and pages.
const (
	// Open: deliveries flow, up to the sink's concurrency.
	Open State = "open"
	// Held: the sink is judged down; nothing flows until the next probe.
	Held State = "held"
	// Probing: one delivery may find out whether the sink is back.
	Probing State = "probing"
	// SlowStart: the sink is back; every success doubles what may flow.
	SlowStart State = "slow-start"
	// Throttled: the sink asked for a pause.
	Throttled State = "throttled"
	// Paused: a person paused the sink.
	Paused State = "paused"
)

const (
	// relapse is how many failures in a row end a slow start: a sink that has
	// just been down is judged sooner than one that has been well.
	relapse = 3
	// probeJitter is the share of a probe interval that is random, both ways,
	// so that sinks held by one outage are not probed in step.
	probeJitter = 0.1
)

// HoldState is how a sink's gate stands.
type HoldState struct {
	State State
	// Since is when the state began.
	Since time.Time
	// Failures counts the consecutive failures that speak against the sink.
	Failures int
	// NextProbe is when the sink is tried again, while Held or Throttled.
	NextProbe time.Time
	// LastError is the last failure that speaks against the sink: one line, no secret.
	LastError string
	// Reason says what else keeps deliveries back, or is empty.
	Reason string
	// Held is how long the sink was held, throttled or paused, all told.
	Held time.Duration
	// Running is the number of attempts being made, Limit how many may be.
	Running, Limit int
}

// outcome is what an attempt says about the sink, not about the event.
type outcome int

const (
	silent  outcome = iota // nothing: it never got there, or was cut off by us
	healthy                // the sink answered for itself, with yes or no
	sick                   // the sink failed, refused us or was out of reach
	busy                   // the sink asked for a pause
)

// enter moves the gate to a state. Attempts of earlier states no longer count.
func (g *gate) enter(s State, limit int, now time.Time) {
	g.state, g.since, g.limit = s, now, limit
	g.epoch++
	g.changed(now)
}

// changed follows a change of state or of paused.
func (g *gate) changed(now time.Time) {
	if g.blocked() && g.heldSince.IsZero() {
		g.heldSince = now
	}
	if !g.blocked() && !g.heldSince.IsZero() {
		g.held += now.Sub(g.heldSince)
		g.heldSince = time.Time{}
	}
	if g.closed() {
		g.shut()
	}
	g.broadcast()
	g.changes = append(g.changes, g.snapshot(now))
}

// closed reports that no attempt may begin.
func (g *gate) closed() bool { return g.paused || g.state == Held || g.state == Throttled }

// blocked reports that deliveries wait for the sink.
func (g *gate) blocked() bool { return g.closed() || g.state == Probing }

// advance makes the moves that time makes.
func (g *gate) advance(now time.Time) {
	if g.paused || now.Before(g.until) {
		return
	}
	switch g.state {
	case Held:
		g.enter(Probing, 1, now)
	case Throttled:
		g.recover(1, now)
	}
}

// recover lets up to limit deliveries flow, and opens the gate when that is
// all there may be.
func (g *gate) recover(limit int, now time.Time) {
	switch {
	case limit >= g.slots:
		g.interval = 0
		g.enter(Open, g.slots, now)
	case g.state == SlowStart:
		g.limit = limit
		g.broadcast()
	default:
		g.enter(SlowStart, limit, now)
	}
}

// succeeded takes in a sign of life.
func (g *gate) succeeded(now time.Time) {
	g.failures = 0
	if g.state == Probing || g.state == SlowStart {
		g.recover(2*g.limit, now)
	}
}

// failed takes in a failure that speaks against the sink.
func (g *gate) failed(now time.Time) {
	g.failures++
	enough := g.hold.Failures
	switch g.state {
	case Probing:
		enough = 1
	case SlowStart:
		enough = min(enough, relapse)
		g.limit = 1
	}
	if g.hold.Failures > 0 && g.failures >= enough {
		g.holdBack(now)
	}
}

// holdBack holds the sink until the next probe: the further away, the more
// probes have failed since the gate was open.
func (g *gate) holdBack(now time.Time) {
	g.interval = min(max(2*g.interval, g.hold.Probe), max(g.hold.ProbeMax, g.hold.Probe))
	g.until = now.Add(time.Duration(float64(g.interval) * (1 + probeJitter*(2*rand.Float64()-1))))
	g.enter(Held, 0, now)
}

// throttle leaves the sink alone for d. It answered, so it is not down.
func (g *gate) throttle(d time.Duration, now time.Time) {
	g.failures = 0
	g.until = now.Add(d)
	g.enter(Throttled, 0, now)
}

// pause stops the gate until resume.
func (g *gate) pause() {
	g.mu.Lock()
	defer g.unlock()
	if g.paused {
		return
	}
	now := time.Now()
	g.paused, g.pausedSince = true, now
	g.changed(now)
}

// resume undoes pause. A sink that was well starts slowly, as what has
// gathered comes all at once; one that was held still is.
func (g *gate) resume() {
	g.mu.Lock()
	defer g.unlock()
	if !g.paused {
		return
	}
	now := time.Now()
	g.paused = false
	if g.state == Open || g.state == SlowStart {
		g.state = Open
		g.recover(1, now)
		return
	}
	g.changed(now)
}

// reconfigure takes over other settings and keeps how the gate stands: what is
// paused stays so. A sink that is held is tried at once, as the change may be
// its cure.
func (g *gate) reconfigure(before, now config.Sink, batches bool) {
	g.mu.Lock()
	defer g.unlock()
	g.hold, g.batches = now.Hold, batches
	if before.Rate != now.Rate {
		g.rate = limiter(now.Rate)
	}
	if g.slots = max(now.Concurrency, 1); g.state == Open || g.limit > g.slots {
		g.limit = g.slots
	}
	if g.state == Held {
		g.until, g.interval = time.Now(), 0
	}
	g.broadcast()
}

// status returns how the gate stands.
func (g *gate) status() HoldState {
	g.mu.Lock()
	defer g.unlock()
	now := time.Now()
	g.advance(now)
	return g.snapshot(now)
}

func (g *gate) snapshot(now time.Time) HoldState {
	s := HoldState{
		State: g.state, Since: g.since, Failures: g.failures, LastError: g.lastError,
		Held: g.held, Running: g.running, Limit: g.limit,
	}
	if g.state == Held || g.state == Throttled {
		s.NextProbe = g.until
	}
	if !g.heldSince.IsZero() {
		s.Held += now.Sub(g.heldSince)
	}
	if g.paused {
		s.State, s.Since, s.Limit, s.NextProbe = Paused, g.pausedSince, 0, time.Time{}
	}
	return s
}
