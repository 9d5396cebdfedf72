package ingress

import (
	"context"
	"net/http"
	"time"

	"github.com/penstock/penstock/internal/event"
)

// Source knows how one sender's requests are verified and read. It is safe
// for concurrent use.
type Source interface {
	// Verify checks the request's raw bytes against every secret of the
	// source, in constant time, with now as the clock.
	Verify(h http.Header, body []byte, now time.Time) error
	// Decode reads a verified request. It never fails: what cannot be read
	// becomes an event under unknown.malformed, so that nothing is lost.
	Decode(h http.Header, body []byte, now time.Time) event.Event
}

// Publisher stores events.
type Publisher interface {
	// Publish returns once e is stored at the configured durability, or an
	// error of package event. It may be called concurrently; it keeps no
	// reference to e.Body after it has returned a nil error.
	Publish(ctx context.Context, e event.Event) (event.Receipt, error)
}

// Tracing follows requests. What is followed goes by the context. Its methods
// may be called concurrently and neither block nor fail.
type Tracing interface {
	// Request returns ctx with a request that has just arrived, which it follows.
	Request(ctx context.Context, r *http.Request) context.Context
	// Answered ends what Request began. The route is the path without what may
	// be a token, the outcome one of the Outcome constants.
	Answered(ctx context.Context, source, route string, r *http.Request, outcome string, status int)
}

// Rejection is a request that failed verification.
type Rejection struct {
	// Source is the name of the source whose address it came to.
	Source string
	// Header and Body are the request's own. They may be read until the call
	// that hands them over returns; what is to be kept must be copied.
	Header http.Header
	Body   []byte
	// Received is when its last header had arrived.
	Received time.Time
	// Err says why; it holds no secret.
	Err error
}
