package delivery

import (
	"errors"
	"time"

	"github.com/penstock/penstock/internal/event"
)

// ErrNoDeadLetter says that there is none with that sequence (any more).
var ErrNoDeadLetter = errors.New("no such dead letter")

// DeadLetter is a delivery that was given up, and why.
type DeadLetter struct {
	// Seq names the dead letter.
	Seq  uint64
	Sink string
	// Event is the event; its Body is nil in a list.
	Event event.Event
	// Died is when it was given up.
	Died time.Time
	// Attempts were made, the first at First (zero when there was none).
	Attempts int
	First    time.Time
	// Generation counts how often it was retried from dead letters before.
	Generation int
	Class      Class
	Reason     string
	// Status is the HTTP status of the last answer, 0 if there was none.
	Status int
}

// DeadFilter selects dead letters. The zero filter selects all.
type DeadFilter struct {
	Sink  string
	Class Class
	Since time.Time
	// After is the sequence of the last one already seen.
	After uint64
	// Limit is the most to return, at least 1.
	Limit int
}
