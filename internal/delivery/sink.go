package delivery

import (
	"errors"
	"time"
)

// Errors of changing a sink from outside.
var (
	// ErrNoSink: neither a sink nor a queue of that name is known.
	ErrNoSink = errors.New("no such sink")
	// ErrSinkInUse: the sink is configured, so its queue is not to be deleted.
	ErrSinkInUse = errors.New("the sink is configured")
)

// Pause is a sink's pause that a person asked for.
type Pause struct {
	// Until is its end; zero: when a person ends it.
	Until time.Time
}

// Lasts reports that the pause is not over at now.
func (p Pause) Lasts(now time.Time) bool { return p.Until.IsZero() || now.Before(p.Until) }

// RemovedSink is what is left of a sink that is not configured any more.
type RemovedSink struct {
	Name string
	// Waiting counts the events that it was not handed, Retries the deliveries
	// that wait for their next attempt.
	Waiting, Retries int64
}
