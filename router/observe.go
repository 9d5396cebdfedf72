package router

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// The keys of this package's log lines.
const (
	keySink    = "sink"
	keyEvent   = "event"
	keySubject = "subject"
	keyRoute   = "route"
	keyLane    = "lane"
	keyAttempt = "attempt"
	keyVerdict = "verdict"
	keyClass   = "class"
	keyStatus  = "status"
	keyDelay   = "delay"
	keyTook    = "took"
	keyErr     = "err"
	keyReason  = "reason"
	keyState   = "state"
)

// Observation is one verdict, for metrics and records.
type Observation struct {
	Sink string
	Lane delivery.Lane
	// Event is what was delivered. Whoever keeps it keeps its body.
	Event event.Event
	// Decision says by which route; zero for a replay and when none wants it.
	Decision Decision
	// Rules is the version of the routes in force when the attempt began.
	Rules string
	// History is what came before.
	History delivery.History
	// Start is when the attempt began and Took how long it took; zero when
	// none was made (Skip).
	Start time.Time
	Took  time.Duration
	// Timings say where the time went, as far as the sink measures it.
	Timings delivery.Timings
	// Err is what the attempt ended with.
	Err error
	// Verdict is Defer for an attempt that our own shutdown cut off.
	Verdict delivery.Verdict
}

// tried is what is known of an attempt besides its end.
type tried struct {
	decision Decision
	rules    string
	start    time.Time       // zero: none was made
	took     time.Duration   // 0: until now
	trace    *delivery.Trace // nil: nobody wants to know
	handed   time.Time       // zero: nobody follows
}

// settled tells everybody concerned of a verdict and returns it. ctx is that of
// the followed delivery, if it is followed.
func (w *Worker) settled(ctx context.Context, a *delivery.Attempt, t tried, err error, v delivery.Verdict) delivery.Verdict {
	took := t.took
	if took == 0 && !t.start.IsZero() {
		took = time.Since(t.start)
	}
	if w.tracing != nil {
		w.tracing.Settled(ctx, w.name, t.decision.Route, a, v)
	}
	if w.observe != nil {
		w.observe(Observation{
			Sink: w.name, Lane: a.Lane, Event: a.Event, Decision: t.decision, Rules: t.rules, History: a.History,
			Start: t.start, Took: took, Timings: t.trace.Timings(), Err: err, Verdict: v,
		})
	}
	w.logAttempt(ctx, a, t.decision, took, v)
	return v
}

// logAttempt writes the attempt's line: a failure that is new above debug, so
// that a sink that is down for hours says so now and then.
func (w *Worker) logAttempt(ctx context.Context, a *delivery.Attempt, d Decision, took time.Duration, v delivery.Verdict) {
	level, repeated := slog.LevelDebug, 0
	if v.Action == delivery.Again || v.Action == delivery.Bury {
		var print bool
		if print, repeated = w.repeats.note(v.Action, v.Reason, time.Now()); print {
			level = slog.LevelWarn
		}
	}
	if !w.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String(keyEvent, a.Event.ID), slog.String(keySubject, a.Event.Subject),
		slog.String(keyRoute, d.Route), slog.String(keyLane, string(a.Lane)),
		slog.Int(keyAttempt, a.Attempts+1), slog.String(keyVerdict, v.Action.String()),
		slog.Duration(keyTook, took),
	}
	if v.Class != "" {
		attrs = append(attrs, slog.String(keyClass, string(v.Class)), slog.Int(keyStatus, v.Status),
			slog.Duration(keyDelay, v.Delay), slog.String(keyReason, v.Reason))
	}
	if repeated > 0 {
		attrs = append(attrs, slog.Int("repeated", repeated))
	}
	w.log.LogAttrs(ctx, level, "attempt", attrs...)
}

// stateChanged writes the line of a change of state.
func (w *Worker) stateChanged(s HoldState) {
	attrs := []slog.Attr{slog.String(keyState, string(s.State)), slog.Int("failures", s.Failures)}
	if !s.NextProbe.IsZero() {
		attrs = append(attrs, slog.Time("next_probe", s.NextProbe))
	}
	if s.State == Held {
		attrs = append(attrs, slog.String(keyErr, s.LastError))
	}
	w.log.LogAttrs(context.Background(), slog.LevelInfo, "sink is "+string(s.State), attrs...)
}

const (
	// repeatAfter is how long the same failure is not printed again.
	repeatAfter = time.Minute
	// printGap is the least time between two failures printed.
	printGap = time.Second
)

// repeats counts failures instead of printing every one. The zero value is ready.
type repeats struct {
	mu      sync.Mutex
	action  delivery.Action
	reason  string
	printed time.Time
	silent  int
}

// note takes in a failure and reports whether to print it, and with it how
// many were not printed since the last that was.
func (r *repeats) note(action delivery.Action, reason string, now time.Time) (print bool, before int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := now.Sub(r.printed)
	same := action == r.action && reason == r.reason
	if since < printGap || same && since < repeatAfter {
		r.silent++
		return false, 0
	}
	before = r.silent
	r.action, r.reason, r.printed, r.silent = action, reason, now, 0
	return true, before
}
