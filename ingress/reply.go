package ingress

import (
	"net/http"
	"strconv"
	"time"
	"unicode/utf16"

	"github.com/labstack/echo/v4"

	"github.com/penstock/penstock/internal/event"
)

// reply is what became of one request. It is a refusal when it says what is
// wrong; receive writes the other kind itself.
type reply struct {
	status     int
	outcome    string
	bytes      int    // of the body, as far as it was read
	what, hint string // for the sender; the hint says what would be right
	retryAfter string // seconds
	allow      string // the methods, with a 405
	closes     bool   // close the connection after the answer
	cause      error  // for our log only
}

func (r reply) refused() bool { return r.what != "" }

// maxReason bounds the texts of an answer, which senders keep.
const maxReason = 300

// linger is how long a connection stays for the rest of a refused body: closed
// at once, it would be reset before the sender has read why.
const linger = time.Second

// jsonType is shared by all answers: a header's slice of our own would cost an
// allocation each.
var jsonType = []string{echo.MIMEApplicationJSON}

// writeRefusal answers with no, unless there was an answer already.
func writeRefusal(w *echo.Response, no reply) {
	if w.Committed {
		return
	}
	h := w.Header()
	if no.retryAfter != "" {
		h.Set("Retry-After", no.retryAfter)
	}
	if no.allow != "" {
		h.Set("Allow", no.allow)
	}
	if no.closes {
		h.Set("Connection", "close")
	}
	writeJSON(w, no.status, appendRefusal(nil, no.what, no.hint))
	if no.closes {
		// The server reads what is left of a body before it closes; a sender
		// that sends nothing more must not keep it waiting. Not every writer
		// has deadlines, and one without has no connection to free either.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(linger))
	}
}

// writeJSON answers with body. A sender that has gone gets nothing, which is
// no fault of ours: the error of writing is not looked at.
func writeJSON(w *echo.Response, status int, body []byte) {
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// appendAccepted appends the answer for a stored event. It is written by hand
// because it is written for every event, and in ASCII because senders store it.
func appendAccepted(dst []byte, id, subject string, r event.Receipt) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendString(dst, id)
	dst = append(dst, `,"subject":`...)
	dst = appendString(dst, subject)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, r.Seq, 10)
	dst = append(dst, `,"duplicate":`...)
	dst = strconv.AppendBool(dst, r.Duplicate)
	return append(dst, '}')
}

func appendRefusal(dst []byte, what, hint string) []byte {
	dst = append(dst, `{"error":`...)
	dst = appendString(dst, clip(what))
	if hint != "" {
		dst = append(dst, `,"hint":`...)
		dst = appendString(dst, clip(hint))
	}
	return append(dst, '}')
}

// clip cuts s to maxReason bytes; appendString repairs a rune cut in two.
func clip(s string) string {
	if len(s) <= maxReason {
		return s
	}
	return s[:maxReason-3] + "..."
}

// appendString appends s as a JSON string of ASCII only.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r >= ' ' && r < 0x7f:
			dst = append(dst, byte(r))
		case r <= 0xffff: // an invalid byte is ranged over as U+FFFD
			dst = appendEscape(dst, r)
		default:
			high, low := utf16.EncodeRune(r)
			dst = appendEscape(appendEscape(dst, high), low)
		}
	}
	return append(dst, '"')
}

func appendEscape(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
