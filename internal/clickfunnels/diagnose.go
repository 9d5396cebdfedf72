package clickfunnels

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Cause is why a request was refused, in one word, for metrics and lists.
type Cause string

// The causes.
const (
	CauseUnsigned     Cause = "unsigned"      // a header is missing
	CauseMalformed    Cause = "malformed"     // a header has not the right form
	CauseNoSecret     Cause = "no_secret"     // nothing to verify with
	CauseBadSignature Cause = "bad_signature" // matches no secret
	CauseReencoded    Cause = "reencoded"     // matches another form of the same JSON
	CauseStale        Cause = "stale"         // the timestamp is too far away
	CauseClock        Cause = "clock_skew"    // and always as far
	CauseOther        Cause = "other"         // such as a wrong URL token
)

// Diagnosis is what is most likely wrong with a refused request.
type Diagnosis struct {
	Cause Cause
	// Hint says what would be right; empty when the error says it all.
	Hint string
}

// Refused timestamps are steady when the last steadyCount differ by at most
// steadyWithin: a clock is wrong by the same all the time, while what is held
// up or replayed differs.
const (
	steadyCount  = 3
	steadyWithin = 30 * time.Second
)

// skews are the last few skews of requests whose signature was right. The zero
// value is ready.
type skews struct {
	mu   sync.Mutex
	last [steadyCount]time.Duration
	n    int
}

// note adds one and returns the skew that all of them have, if they do.
func (s *skews) note(skew time.Duration) (steady time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[s.n%steadyCount] = skew
	s.n++
	if s.n < steadyCount {
		return 0, false
	}
	low, high := s.last[0], s.last[0]
	for _, d := range s.last {
		low, high = min(low, d), max(high, d)
	}
	return low + (high-low)/2, high-low <= steadyWithin
}

// least returns the one of the last few that is nearest to 0, once there are as many.
func (s *skews) least() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	best := s.last[0]
	for _, d := range s.last {
		if d.Abs() < best.Abs() {
			best = d
		}
	}
	return best, s.n >= steadyCount
}

// CauseOf is the cause that an error of Verify tells by itself, cheaply.
func CauseOf(err error) Cause {
	var stale *StaleError
	switch {
	case errors.As(err, &stale):
		return CauseStale
	case errors.Is(err, ErrNoSecret):
		return CauseNoSecret
	case errors.Is(err, ErrNoSignature), errors.Is(err, ErrNoTimestamp):
		return CauseUnsigned
	case errors.Is(err, ErrDuplicateHeader), errors.Is(err, ErrMalformedSignature), errors.Is(err, ErrMalformedTimestamp):
		return CauseMalformed
	case errors.Is(err, ErrBadSignature):
		return CauseBadSignature
	}
	return CauseOther
}

// Diagnose says why Verify refused a request with err. It remembers the skew
// of stale ones, so it should be called once for each. It may take several
// times as long as Verify: it tries what a proxy could have done to the body.
func (s *Source) Diagnose(err error, h http.Header, body []byte) Diagnosis {
	var stale *StaleError
	if errors.As(err, &stale) {
		return s.diagnoseStale(stale)
	}
	cause := CauseOf(err)
	if cause == CauseBadSignature {
		return s.diagnoseSignature(h, body)
	}
	return Diagnosis{Cause: cause}
}

func (s *Source) diagnoseStale(stale *StaleError) Diagnosis {
	skew, ok := s.skews.note(stale.Skew)
	if !ok {
		return Diagnosis{CauseStale, "the request was held up on its way, or replayed; penstock rejected accept --ignore-age takes it in"}
	}
	return Diagnosis{CauseClock, fmt.Sprintf("the last %d signed requests were all about %d s off: this machine's clock is wrong; "+
		"set it (NTP), then penstock rejected accept --ignore-age", steadyCount, skew/time.Second)}
}

// diagnoseSignature tells a changed body from a wrong secret, where it can.
func (s *Source) diagnoseSignature(h http.Header, body []byte) Diagnosis {
	const proxy = "make the proxy pass the body on byte for byte"
	signed, err := readHeaders(h)
	if err != nil {
		return Diagnosis{Cause: CauseBadSignature}
	}
	for _, form := range originals(body) {
		if s.signedBy(&signed, form) {
			return Diagnosis{CauseReencoded, "the secret is right, but a proxy on the way has re-encoded the body; " + proxy}
		}
	}
	switch {
	case len(body) == 0:
		return Diagnosis{CauseReencoded, "the body is empty, which ClickFunnels never sends: a proxy on the way may have dropped it; " + proxy}
	case !json.Valid(body):
		return Diagnosis{CauseBadSignature, "the body is not JSON, so it may not come from ClickFunnels, or a proxy has changed it"}
	case !isCompact(body):
		return Diagnosis{CauseReencoded, "the body is not in the compact form in which ClickFunnels sends JSON: a proxy on the way may have re-encoded it; " + proxy}
	}
	return Diagnosis{CauseBadSignature, "wrong secret, most likely: each ClickFunnels endpoint has its own; " +
		"set this one's, then penstock rejected accept takes in what was refused meanwhile"}
}

func (s *Source) signedBy(signed *signedHeaders, body []byte) bool {
	good := 0
	for _, k := range s.keys {
		good |= k.check(signed, body)
	}
	return good == 1
}

// originals are the forms in which ClickFunnels may have sent the JSON of
// body: compact, and with or without the escapes of which its framework is
// fond. None of them is body itself.
func originals(body []byte) [][]byte {
	var compact, escaped bytes.Buffer
	if json.Compact(&compact, body) != nil {
		return nil
	}
	json.HTMLEscape(&escaped, compact.Bytes())
	plain := compact.Bytes()
	for _, e := range [][2]string{{`\u003c`, "<"}, {`\u003e`, ">"}, {`\u0026`, "&"}, {`\/`, "/"}} {
		plain = bytes.ReplaceAll(plain, []byte(e[0]), []byte(e[1]))
	}
	var out [][]byte
	for _, form := range [][]byte{compact.Bytes(), escaped.Bytes(), plain} {
		if !bytes.Equal(form, body) {
			out = append(out, form)
		}
	}
	return out
}

// isCompact reports that valid JSON has no blank outside of strings.
func isCompact(body []byte) bool {
	var b bytes.Buffer
	return json.Compact(&b, body) == nil && b.Len() == len(body)
}
