package clickfunnels

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The headers of a signed request, in canonical form.
const (
	SignatureHeader = "X-Webhook-Clickfunnels-Signature"
	TimestampHeader = "X-Webhook-Clickfunnels-Timestamp"
)

// Tolerance is how far a timestamp may be from our clock, either way. The
// sender makes a new timestamp for every attempt, so retries are never stale.
const Tolerance = 600 * time.Second

// maxTimestampDigits holds seconds until the year 5138 and refuses
// milliseconds, which have 13.
const maxTimestampDigits = 11

// Why a request is refused, besides StaleError. The texts hold nothing of the
// request and no secret.
var (
	ErrNoSignature = errors.New("no " + SignatureHeader + " header: the sender does not sign, " +
		"or a proxy on the way drops it; for senders that do not sign set url_token")
	ErrNoTimestamp        = errors.New("no " + TimestampHeader + " header beside the signature: a proxy on the way may drop it")
	ErrDuplicateHeader    = errors.New("signature or timestamp header sent more than once: exactly one of each is right")
	ErrMalformedSignature = errors.New(SignatureHeader + " is not 64 lower-case hex digits")
	ErrMalformedTimestamp = errors.New(TimestampHeader + " is not Unix time in whole seconds")
	ErrBadSignature       = errors.New("signature matches no configured secret: copy the secret of this very endpoint " +
		"(Workspace Settings > Webhooks), as it stands, without decoding it")
	ErrNoSecret = errors.New("no secret is configured for this source, so no signature can be verified: set secrets")
)

// StaleError is a request whose signature is right but whose timestamp is too
// far from our clock.
type StaleError struct {
	// Skew is our clock minus the timestamp: positive for a timestamp in the past.
	Skew time.Duration
}

func (e *StaleError) Error() string {
	skew, side := e.Skew, "behind"
	if skew < 0 {
		skew, side = -skew, "ahead of"
	}
	return fmt.Sprintf("signature is right, but the timestamp is %d s %s our clock; at most %d s are accepted: "+
		"set this machine's clock (NTP), unless the request was held up or replayed",
		skew/time.Second, side, Tolerance/time.Second)
}

// Verify implements ingress.Source. It checks the raw body against every
// secret, in constant time, and then the timestamp against now: a *StaleError
// means that all but the age is right. The other errors are those above.
func (s *Source) Verify(h http.Header, body []byte, now time.Time) error {
	if len(s.keys) == 0 {
		return ErrNoSecret
	}
	signed, err := readHeaders(h)
	if err != nil {
		return err
	}
	good := 0
	for _, k := range s.keys { // every one, so that the time taken tells nothing
		good |= k.check(&signed, body)
	}
	if good == 0 {
		return ErrBadSignature
	}
	s.clock.note(time.Duration(clampSeconds(now.Unix()-signed.seconds)) * time.Second)
	return fresh(signed.seconds, now)
}

// Skew is our clock minus the timestamps of requests whose signature was right:
// the least of the last few, either way, since any one may have been held up on
// its way. It is false before there were as many.
func (s *Source) Skew() (time.Duration, bool) { return s.clock.least() }

// clampSeconds bounds seconds to what a Duration holds.
func clampSeconds(n int64) int64 {
	const limit = int64(math.MaxInt64 / time.Second)
	return max(-limit, min(n, limit))
}

func fresh(seconds int64, now time.Time) error {
	skew := now.Unix() - seconds
	if -int64(Tolerance/time.Second) <= skew && skew <= int64(Tolerance/time.Second) {
		return nil
	}
	return &StaleError{Skew: time.Duration(clampSeconds(skew)) * time.Second}
}

// WellFormed reports whether h carries exactly one signature and one timestamp
// and both have the right form, so that it may well come from ClickFunnels.
func WellFormed(h http.Header) bool {
	_, err := readHeaders(h)
	return err == nil
}

// signedHeaders is what the two headers say.
type signedHeaders struct {
	sum       [sha256.Size]byte
	timestamp string // as received: this text is signed, not the number
	seconds   int64
}

func readHeaders(h http.Header) (signedHeaders, error) {
	var out signedHeaders
	sigs, stamps := h[SignatureHeader], h[TimestampHeader]
	switch {
	case len(sigs) == 0:
		return out, ErrNoSignature
	case len(stamps) == 0:
		return out, ErrNoTimestamp
	case len(sigs) > 1, len(stamps) > 1:
		return out, ErrDuplicateHeader
	case !decodeHex(&out.sum, sigs[0]):
		return out, ErrMalformedSignature
	}
	var ok bool
	if out.seconds, ok = decodeSeconds(stamps[0]); !ok {
		return out, ErrMalformedTimestamp
	}
	out.timestamp = stamps[0]
	return out, nil
}

// decodeHex reads exactly 64 digits; upper case is refused, because the sender
// never writes it.
func decodeHex(out *[sha256.Size]byte, s string) bool {
	if len(s) != 2*sha256.Size {
		return false
	}
	for i := range out {
		high, okHigh := hexDigit(s[2*i])
		low, okLow := hexDigit(s[2*i+1])
		if !okHigh || !okLow {
			return false
		}
		out[i] = high<<4 | low
	}
	return true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

func decodeSeconds(s string) (int64, bool) {
	if s == "" || len(s) > maxTimestampDigits {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// key makes the signatures of one secret. Its secret lives only inside the
// hashes, so printing a key shows nothing.
type key struct {
	pool sync.Pool // of *mac
}

// mac is a hash with room for what goes in and comes out, so that checking a
// request allocates nothing.
type mac struct {
	hash hash.Hash
	in   [maxTimestampDigits + 1]byte
	out  [sha256.Size]byte
}

func newKey(secret string) *key {
	k := &key{}
	k.pool.New = func() any { return &mac{hash: hmac.New(sha256.New, []byte(secret))} }
	return k
}

// check returns 1 when signed holds this key's signature of body, else 0.
func (k *key) check(signed *signedHeaders, body []byte) int {
	m := k.pool.Get().(*mac)
	defer k.pool.Put(m)
	m.hash.Reset()
	m.hash.Write(append(append(m.in[:0], signed.timestamp...), '.'))
	m.hash.Write(body)
	return subtle.ConstantTimeCompare(m.hash.Sum(m.out[:0]), signed.sum[:])
}

// Sign returns the two headers with which ClickFunnels would send body at the
// given time from an endpoint with this secret.
func Sign(secret string, at time.Time, body []byte) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(stamp + "."))
	m.Write(body)
	return http.Header{
		SignatureHeader: {hex.EncodeToString(m.Sum(nil))},
		TimestampHeader: {stamp},
	}
}
