package router

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cenkalti/backoff/v4"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

const (
	// maxReason bounds a verdict's reason, in bytes.
	maxReason = 512
	// minPause is the shortest pause of a sink that asked for one, unless its
	// max_interval is shorter still.
	minPause = time.Second
	// minDelay keeps a policy with a jitter of 1 from retrying at once.
	minDelay = time.Millisecond
	// maxDelay keeps the arithmetic of a policy without max_interval in range.
	maxDelay = 365 * 24 * time.Hour
)

// Policy judges the attempts of one sink. It is a value and safe for
// concurrent use.
type Policy struct{ retry config.Retry }

// NewPolicy returns the policy that r describes. A multiplier below 1 counts
// as 1.
func NewPolicy(r config.Retry) Policy {
	r.Multiplier = max(r.Multiplier, 1)
	r.Jitter = min(max(r.Jitter, 0), 1)
	if r.MaxInterval <= 0 || r.MaxInterval > maxDelay {
		r.MaxInterval = maxDelay
	}
	return Policy{r}
}

// Judge decides what becomes of a delivery after an attempt that ended with
// err at now. It depends on nothing but its arguments and the jitter.
//
// Giving up is by age, looked at after a failure: the first failure at which
// MaxAge has passed since the first attempt, time held not counted, is the
// last. So every event gets at least one attempt, and the last attempt may be
// made up to one delay after MaxAge. With a MaxAge of 0 nothing is retried.
//
// A throttled attempt is never the last: the receiver is there, and took no
// offence at the event.
func (p Policy) Judge(err error, h delivery.History, now time.Time) delivery.Verdict {
	if err == nil {
		return delivery.Verdict{Action: delivery.Done, Spent: true}
	}
	v, asked := describe(err)
	switch v.Class {
	case delivery.Ours, delivery.Rejected:
		v.Action, v.Spent = delivery.Bury, true
	case delivery.Throttled:
		v.Action, v.Delay = delivery.Again, p.pause(asked, h.Attempts)
	default:
		v.Spent = true
		if age := p.age(h, now); age >= p.retry.MaxAge {
			v.Action, v.Reason = delivery.Bury, gaveUp(h.Attempts+1, age, v.Reason)
			break
		}
		v.Action, v.Delay = delivery.Again, max(p.delay(h.Attempts), min(asked, p.retry.MaxInterval))
	}
	return v
}

// describe reads class, status and reason from an error, and the pause that
// the receiver asked for.
func describe(err error) (v delivery.Verdict, asked time.Duration) {
	v.Class = delivery.ClassOf(err)
	if v.Class == "" {
		v.Class = delivery.Failed
	}
	var e *delivery.Error
	if errors.As(err, &e) {
		v.Status, asked = e.Status, e.RetryAfter
	}
	v.Reason = oneLine(err.Error())
	return v, asked
}

// age is how long the delivery has been tried, without the time it was held.
func (p Policy) age(h delivery.History, now time.Time) time.Duration {
	if h.Attempts == 0 || h.First.IsZero() {
		return 0
	}
	return now.Sub(h.First) - h.Held
}

func gaveUp(attempts int, age time.Duration, reason string) string {
	times := "attempts"
	if attempts == 1 {
		times = "attempt"
	}
	return oneLine(fmt.Sprintf("gave up after %d %s over %s: %s", attempts, times, age.Round(time.Second), reason))
}

// pause is how long a sink that answered "too many requests" is left alone.
func (p Policy) pause(asked time.Duration, attempts int) time.Duration {
	if asked <= 0 {
		asked = p.delay(attempts)
	}
	return min(max(asked, minPause), p.retry.MaxInterval)
}

// delay is the wait after the failure that followed so many others: growing
// exponentially up to MaxInterval, then spread by the jitter.
func (p Policy) delay(before int) time.Duration {
	b := backoff.ExponentialBackOff{
		InitialInterval:     p.interval(before),
		RandomizationFactor: p.retry.Jitter,
		Multiplier:          p.retry.Multiplier,
		MaxInterval:         p.retry.MaxInterval,
		Clock:               stopped{},
	}
	b.Reset()
	return max(b.NextBackOff(), minDelay)
}

// interval is the delay before jitter. It is computed, not stepped to: the
// count comes from a message and may be in the thousands, and a backoff that
// is asked again and again is state nobody else may share.
func (p Policy) interval(before int) time.Duration {
	d := float64(p.retry.Initial) * math.Pow(p.retry.Multiplier, float64(before))
	if d >= float64(p.retry.MaxInterval) {
		return p.retry.MaxInterval
	}
	return time.Duration(d)
}

// stopped is a clock that stands still: the policy gives up by the delivery's
// age, not by the backoff's.
type stopped struct{}

func (stopped) Now() time.Time { return time.Time{} }

// oneLine makes s one printable line of at most maxReason bytes.
func oneLine(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.ContainsFunc(s, unprintable) {
		s = strings.Join(strings.Fields(strings.Map(printable, s)), " ")
	}
	return cut(s, maxReason)
}

func unprintable(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }

// printable turns white space into spaces and drops what cannot be shown.
func printable(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case unprintable(r):
		return -1
	}
	return r
}

// cut shortens s to at most most bytes, between characters, and marks the cut.
func cut(s string, most int) string {
	const mark = "..."
	if len(s) <= most {
		return s
	}
	end := most - len(mark)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}
