// Package delivery is the vocabulary of outcomes: what one attempt was, what
// its failure means, and what becomes of the event next. Sinks classify
// errors, the router judges them, the broker settles the verdict.
package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/penstock/penstock/internal/event"
)

// Class says whose fault a failed attempt is, and with that what is done next.
type Class string

// The classes of failure. The strings appear in metrics, records and pages.
const (
	// Ours: a template, condition or transform of ours failed; to dead letters at once.
	Ours Class = "ours"
	// Rejected: the receiver says this event will never be accepted; to dead letters at once.
	Rejected Class = "rejected"
	// Refused: the receiver refuses us (401, 403, 404, 3xx, other 4xx); retried, counts for hold.
	Refused Class = "refused"
	// Failed: the receiver failed (5xx, timeout, connection lost); retried, counts for hold.
	Failed Class = "sink"
	// Throttled: the receiver asks for a pause (429); the whole sink waits, no attempt is spent.
	Throttled Class = "throttled"
	// Network: the receiver could not be reached (DNS, TLS); retried, counts for hold.
	Network Class = "network"
	// Expired: the event outlived the retention before the sink took it. Used in dead letters only.
	Expired Class = "expired"
)

// Error is a failed attempt with its class. Its text never holds a secret.
type Error struct {
	Class Class
	// Status is the HTTP status of the answer, 0 if there was none.
	Status int
	// RetryAfter is the pause the receiver asked for, 0 if it asked for none.
	RetryAfter time.Duration
	// Response is the start of the answer's body, at most 1 KiB.
	Response []byte
	Err      error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Fail gives err a class. A nil err stays nil.
func Fail(class Class, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Class: class, Err: err}
}

// Permanent marks err as one that no retry will change. A nil err stays nil.
func Permanent(err error) error { return Fail(Rejected, err) }

// RetryAfter marks err as a request to pause the whole sink for d.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &Error{Class: Throttled, RetryAfter: d, Err: err}
}

// ClassOf returns the class of err; an unclassified error is Failed, so that
// it is retried. The class of a nil error is "".
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return Failed
}

// Lane is one of the two queues of a sink.
type Lane string

// The lanes. Both share the sink's concurrency, rate and hold.
const (
	Main  Lane = "main"
	Retry Lane = "retry"
)

// History is what happened to a delivery before the attempt at hand.
type History struct {
	// Attempts counts the attempts made before, 0 on the first.
	Attempts int
	// First is when the first attempt was made; zero before it.
	First time.Time
	// Held is how long the delivery was due but waited since its first
	// attempt, because its sink was held, paused or busy. It does not count
	// towards giving up.
	Held time.Duration
	// Generation counts how often the delivery came back from dead letters.
	Generation int
	// Origin is "" for a delivery by the routes, or "replay/<job>" or
	// "redrive/<dead letter sequence>": those bypass matching.
	Origin string
	// LastAttempt is the trace context of the attempt before, to be linked to;
	// "" when there was none or nobody followed it.
	LastAttempt string
}

// Attempt is one try of delivering one event to one sink.
type Attempt struct {
	Event event.Event
	Lane  Lane
	// Early: the event was stored before the sink had a pattern for it, so
	// that the sink does not get it, whatever its routes say now.
	Early bool
	// Draining is closed when the queue hands out no more, so that waiting for
	// others is of no use; nil: never.
	Draining <-chan struct{}
	History
}

// Action is what becomes of a delivery after an attempt.
type Action int

// The actions. The zero Action is Defer, so that a forgotten verdict repeats
// an event and never loses one.
const (
	// Defer: no attempt was made (shutting down, held); hand the event out again.
	Defer Action = iota
	// Done: delivered.
	Done
	// Skip: no route names the sink for this event; settled without an attempt.
	Skip
	// Again: try again after Delay.
	Again
	// Bury: give up; to the sink's dead letters.
	Bury
)

var actions = [...]string{"defer", "done", "skip", "again", "bury"}

func (a Action) String() string {
	if a < 0 || int(a) >= len(actions) {
		return "unknown"
	}
	return actions[a]
}

// Verdict is the judgement on one attempt.
type Verdict struct {
	Action Action
	// Delay is the wait before the next attempt, with Again.
	Delay time.Duration
	// Spent reports that an attempt was made and counts; a throttled one does not.
	Spent bool
	// Class and Reason say why, with Again and Bury. Reason holds no secret
	// and is at most 512 bytes of one line.
	Class  Class
	Reason string
	// Status is the HTTP status of the failed answer, 0 if there was none.
	Status int
	// Trace is the trace context of the attempt, "" when nobody follows it.
	Trace string
}

// Handler makes the attempts of one sink. A queue calls it for both lanes.
// All methods may be called concurrently.
type Handler interface {
	// Admit blocks until the sink may take deliveries of the lane and returns
	// how many of at most max (≥ 1) the queue may fetch, with a context that
	// is done when what was fetched must not be handed out any more (the sink
	// was held). Every admitted delivery is either handed to Handle or given
	// back with Return. It fails only when ctx is done.
	Admit(ctx context.Context, lane Lane, max int) (n int, open context.Context, err error)
	// Return gives back n admitted deliveries that the queue did not have.
	Return(n int)
	// Handle makes one attempt and judges it. It returns Defer when ctx is
	// done or the sink was held in the meantime.
	Handle(ctx context.Context, a Attempt) Verdict
}
