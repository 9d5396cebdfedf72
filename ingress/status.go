package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/penstock/penstock/internal/event"
)

// The outcomes of a request, as Observe gets them.
const (
	OutcomeAccepted     = "accepted"     // 202: stored
	OutcomeDuplicate    = "duplicate"    // 202: was stored before
	OutcomeUnauthorized = "unauthorized" // 401: neither signature nor token is right
	OutcomeTooLarge     = "too_large"    // 413
	OutcomeBusy         = "busy"         // 429: too much in flight, here or in the store
	OutcomeFull         = "full"         // 507: the store has no room left
	OutcomeUnavailable  = "unavailable"  // 503: the store did not answer
	OutcomeBadRequest   = "bad_request"  // 400, 408, 415: the body did not arrive, or not as it must
	OutcomeMethod       = "method"       // 405: not a POST
	OutcomeNotFound     = "not_found"    // 404: no such path
	OutcomePanic        = "panic"        // 500: a mistake of ours
)

// failures says how a failure of storing is answered. The first row whose
// error matches wins; the last matches everything.
var failures = []struct {
	cause error
	reply reply
}{
	{event.ErrFull, reply{status: http.StatusInsufficientStorage, outcome: OutcomeFull, retryAfter: "60",
		what: "the event store is full", hint: "send the event again later; it was not taken"}},
	{event.ErrBusy, reply{status: http.StatusTooManyRequests, outcome: OutcomeBusy, retryAfter: "1",
		what: "too many events at once", hint: "send the event again in a second"}},
	{event.ErrTooLarge, reply{status: http.StatusRequestEntityTooLarge, outcome: OutcomeTooLarge,
		what: "the event is larger than the store takes", hint: "the store's limit must be raised by who runs it"}},
	{nil, reply{status: http.StatusServiceUnavailable, outcome: OutcomeUnavailable, retryAfter: "5",
		what: "the event store does not answer", hint: "send the event again later; that is safe even if it was stored"}},
}

// unstored answers for an event that the publisher did not confirm. The cause
// is for the log: the sender learns nothing of what is behind us.
func unstored(err error, bytes int) reply {
	for _, f := range failures {
		if f.cause == nil || errors.Is(err, f.cause) {
			f.reply.cause, f.reply.bytes = err, bytes
			return f.reply
		}
	}
	panic("the last row matches everything")
}

// tooBusy is the answer when the gate is closed.
var tooBusy = reply{status: http.StatusTooManyRequests, outcome: OutcomeBusy, retryAfter: "1",
	what: "too many requests at once", hint: "send the event again in a second"}

// notNow is the answer while somebody has stopped the intake for a moment.
var notNow = reply{status: http.StatusServiceUnavailable, outcome: OutcomeUnavailable, retryAfter: "5",
	what: "webhooks are not taken at the moment", hint: "send the event again in a few seconds; it was not taken"}

// compressed refuses a body that we would have to unpack: the signature is
// over the bytes before that, and no sender we know compresses.
var compressed = reply{status: http.StatusUnsupportedMediaType, outcome: OutcomeBadRequest,
	what: "the body is compressed", hint: "send it without Content-Encoding: it is verified and stored byte for byte"}

// tooLarge closes the connection, or the rest of the body would have to be
// read before the answer.
func (s *Server) tooLarge() reply {
	return reply{status: http.StatusRequestEntityTooLarge, outcome: OutcomeTooLarge, closes: true,
		what: fmt.Sprintf("the body is larger than %d bytes", s.options.Server.MaxBody),
		hint: "raise server.max_body if such events are wanted"}
}

// unread answers for a body that did not arrive whole.
func (s *Server) unread(err error) reply {
	no := reply{status: http.StatusBadRequest, outcome: OutcomeBadRequest, closes: true, cause: err}
	switch {
	case errors.Is(err, errTooLarge):
		return s.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		no.status = http.StatusRequestTimeout
		no.what = fmt.Sprintf("the request did not arrive within %s", s.options.ReadTimeout)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, context.Canceled):
		no.what = "the body ended before its length"
	default:
		no.what = "the body could not be read"
	}
	no.hint = "nothing was stored; send the event again"
	return no
}

// unauthorized passes on the source's reason, which holds no secret. An error
// may know better than we do what would help.
func unauthorized(err error, bytes int) reply {
	no := reply{status: http.StatusUnauthorized, outcome: OutcomeUnauthorized, bytes: bytes, what: err.Error(),
		hint: "compare the secret configured here with the one the sender shows for this webhook"}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		no.hint = h.Hint()
	}
	return no
}
