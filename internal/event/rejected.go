package event

import (
	"errors"
	"net/http"
	"time"
)

// ErrNoRejected says: there is no rejected request with that sequence (any more).
var ErrNoRejected = errors.New("no such rejected request")

// Rejected is a request that failed verification and was kept, so that a wrong
// secret need not cost events. Nobody knows who sent it.
type Rejected struct {
	// Seq names the request; 0 until it is kept.
	Seq uint64
	// Source names the configured source whose address it came to.
	Source string
	// Cause is one word of a fixed list, Reason the sentence for people, Hint
	// what most likely is wrong, or empty. None of them holds a secret.
	Cause, Reason, Hint string
	// Received is when the request arrived, by our clock.
	Received time.Time
	// Header holds what is needed to verify and read the request, under
	// canonical names.
	Header http.Header
	// Body is the request's body, byte for byte; nil in a list.
	Body []byte
	// Size is the body's length in bytes.
	Size int
}

// RejectedFilter selects rejected requests. The zero filter selects all.
type RejectedFilter struct {
	Source string
	// Since is the time of arrival of the oldest.
	Since time.Time
	// After is the sequence of the last one already seen.
	After uint64
	// Limit is the most to return, at least 1.
	Limit int
}

// The outcomes of accepting a rejected request.
const (
	// AcceptedNow: it verifies now and was stored as an event.
	AcceptedNow = "accepted"
	// AcceptedBefore: its event was stored before.
	AcceptedBefore = "duplicate"
	// StillRefused: it does not verify today either; it is kept.
	StillRefused = "refused"
)

// Acceptance says what became of a rejected request that was to be accepted.
type Acceptance struct {
	Request Rejected
	// Outcome is one of the constants above.
	Outcome string
	// Event is the event, without its body, and with its Seq, unless the
	// request is still refused.
	Event Event
	// Why is why it is still refused, and Hint what most likely is wrong.
	Why, Hint string
}
