// Package event holds the one value that travels through Penstock, the subject
// it is published on, and what can go wrong when it is stored. It imports
// nothing of ours: every other package may depend on it.
package event

import (
	"errors"
	"time"
)

// Event is one webhook: the request's bytes, untouched, and what we read from
// them. It is a value; nothing changes it after ingress, and Body must not be
// written to by anybody.
type Event struct {
	// ID is the sender's id as it was sent, or "sha256-" and the first 32 hex
	// digits of the body's hash when the sender gave none that is usable.
	ID string
	// Type is the event type as it was sent, "orders/invoice.paid". It is not
	// safe in a subject, a header or a log line without escaping. Empty when
	// the body could not be read.
	Type string
	// Source names the configured source that verified the request.
	Source string
	// Subject is the NATS subject the event is stored on, made by Subject.
	Subject string
	// APIVersion is the sender's API version, 0 when unknown.
	APIVersion int
	// Received is when the request arrived, by our clock.
	Received time.Time
	// ContentType is the request's Content-Type; empty means application/json.
	ContentType string
	// TraceParent is the W3C trace context of the request, or empty.
	TraceParent string
	// Seq is the event's sequence in the stream; 0 until it is stored.
	Seq uint64
	// Body is the request's body, byte for byte.
	Body []byte
}

// Receipt is what the store answers for an event it keeps.
type Receipt struct {
	// Seq is the stream sequence, of the first copy when Duplicate.
	Seq uint64
	// Duplicate reports that the event was stored before, within the dedupe window.
	Duplicate bool
}

// Errors of storing an event. A Publisher wraps one of these; anything else is
// treated as ErrUnavailable. None of them says that the event was not stored:
// the sender must send again, which is safe because of the dedupe id.
var (
	// ErrFull: the stream or the disk has no room left for new events.
	ErrFull = errors.New("event store is full")
	// ErrBusy: too much is in flight; the same request succeeds a little later.
	ErrBusy = errors.New("event store is busy")
	// ErrUnavailable: the store did not answer, or not in time.
	ErrUnavailable = errors.New("event store is unavailable")
	// ErrTooLarge: the event is larger than the store accepts.
	ErrTooLarge = errors.New("event is too large for the event store")
)
