package router

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// steady is the default policy without jitter.
func steady() config.Retry {
	return config.Retry{Initial: 5 * time.Second, Multiplier: 3, MaxInterval: time.Hour, MaxAge: 72 * time.Hour}
}

var errDown = errors.New("connection refused")

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	tried := func(n int, ago, held time.Duration) delivery.History {
		return delivery.History{Attempts: n, First: now.Add(-ago), Held: held}
	}
	fail := func(c delivery.Class) error { return delivery.Fail(c, errDown) }
	again := func(c delivery.Class, d time.Duration) delivery.Verdict {
		return delivery.Verdict{Action: delivery.Again, Delay: d, Spent: true, Class: c, Reason: "connection refused"}
	}
	bury := func(c delivery.Class, reason string) delivery.Verdict {
		return delivery.Verdict{Action: delivery.Bury, Spent: true, Class: c, Reason: reason}
	}
	pause := func(d time.Duration) delivery.Verdict {
		return delivery.Verdict{Action: delivery.Again, Delay: d, Class: delivery.Throttled, Reason: "connection refused"}
	}
	answered := func(class delivery.Class, status int, after time.Duration) error {
		return fmt.Errorf("deliver: %w", &delivery.Error{Class: class, Status: status, RetryAfter: after, Err: errors.New("answered")})
	}
	for name, tt := range map[string]struct {
		err  error
		h    delivery.History
		want delivery.Verdict
	}{
		"delivered":                     {nil, tried(3, time.Hour, 0), delivery.Verdict{Action: delivery.Done, Spent: true}},
		"our mistake":                   {fail(delivery.Ours), delivery.History{}, bury(delivery.Ours, "connection refused")},
		"rejected":                      {fail(delivery.Rejected), delivery.History{}, bury(delivery.Rejected, "connection refused")},
		"refused":                       {fail(delivery.Refused), delivery.History{}, again(delivery.Refused, 5*time.Second)},
		"network":                       {fail(delivery.Network), delivery.History{}, again(delivery.Network, 5*time.Second)},
		"failed":                        {fail(delivery.Failed), delivery.History{}, again(delivery.Failed, 5*time.Second)},
		"not classified":                {errDown, delivery.History{}, again(delivery.Failed, 5*time.Second)},
		"an empty class":                {fail(""), delivery.History{}, again(delivery.Failed, 5*time.Second)},
		"second failure":                {errDown, tried(1, time.Minute, 0), again(delivery.Failed, 15*time.Second)},
		"sixth failure":                 {errDown, tried(5, time.Hour, 0), again(delivery.Failed, 1215*time.Second)},
		"seventh reaches the cap":       {errDown, tried(6, time.Hour, 0), again(delivery.Failed, time.Hour)},
		"thousands of failures":         {errDown, tried(50_000, time.Hour, 0), again(delivery.Failed, time.Hour)},
		"just young enough":             {errDown, tried(77, 72*time.Hour-1, 0), again(delivery.Failed, time.Hour)},
		"too old":                       {errDown, tried(77, 72*time.Hour, 0), bury(delivery.Failed, "gave up after 78 attempts over 72h0m0s: connection refused")},
		"old, but it was held":          {errDown, tried(2, 100*time.Hour, 50*time.Hour), again(delivery.Failed, 45*time.Second)},
		"too old even without the hold": {errDown, tried(2, 100*time.Hour, 20*time.Hour), bury(delivery.Failed, "gave up after 3 attempts over 80h0m0s: connection refused")},
		"never tried, however old":      {errDown, delivery.History{Held: -100 * time.Hour}, again(delivery.Failed, 5*time.Second)},
		"throttled":                     {delivery.RetryAfter(errDown, time.Minute), delivery.History{}, pause(time.Minute)},
		"throttled for too short":       {delivery.RetryAfter(errDown, time.Millisecond), delivery.History{}, pause(time.Second)},
		"throttled for too long":        {delivery.RetryAfter(errDown, 48*time.Hour), delivery.History{}, pause(time.Hour)},
		"throttled without saying":      {delivery.RetryAfter(errDown, 0), delivery.History{}, pause(5 * time.Second)},
		"throttled when old":            {delivery.RetryAfter(errDown, time.Minute), tried(9, 100*time.Hour, 0), pause(time.Minute)},
		"503 that asks for more": {answered(delivery.Failed, 503, time.Minute), delivery.History{},
			delivery.Verdict{Action: delivery.Again, Delay: time.Minute, Spent: true, Class: delivery.Failed, Status: 503, Reason: "deliver: answered"}},
		"503 that asks for less": {answered(delivery.Failed, 503, time.Second), delivery.History{},
			delivery.Verdict{Action: delivery.Again, Delay: 5 * time.Second, Spent: true, Class: delivery.Failed, Status: 503, Reason: "deliver: answered"}},
		"503 that asks for a day": {answered(delivery.Failed, 503, 24*time.Hour), delivery.History{},
			delivery.Verdict{Action: delivery.Again, Delay: time.Hour, Spent: true, Class: delivery.Failed, Status: 503, Reason: "deliver: answered"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, NewPolicy(steady()).Judge(tt.err, tt.h, now)); diff != "" {
				t.Errorf("Judge(%v, %+v) (-want +got):\n%s", tt.err, tt.h, diff)
			}
		})
	}
}

func TestJudgeWithoutRetries(t *testing.T) {
	t.Parallel()
	v := NewPolicy(config.Retry{}).Judge(errDown, delivery.History{}, time.Now())
	if v.Action != delivery.Bury || v.Reason != "gave up after 1 attempt over 0s: connection refused" {
		t.Errorf("Judge with a max_age of 0 = %+v, want Bury after one attempt", v)
	}
}

func TestJitterSpreadsWithinItsShare(t *testing.T) {
	t.Parallel()
	r := steady()
	r.Jitter = 0.2
	p := NewPolicy(r)
	lowest, highest := time.Hour, time.Duration(0)
	for range 2000 {
		d := p.Judge(errDown, delivery.History{}, time.Time{}).Delay
		lowest, highest = min(lowest, d), max(highest, d)
	}
	if lowest < 4*time.Second || highest > 6*time.Second+1 {
		t.Errorf("delays from %s to %s, want within 4s to 6s", lowest, highest)
	}
	if lowest > 4200*time.Millisecond || highest < 5800*time.Millisecond {
		t.Errorf("delays from %s to %s use less of 4s to 6s than 2000 draws should", lowest, highest)
	}
}

func TestFullJitterNeverRetriesAtOnce(t *testing.T) {
	t.Parallel()
	p := NewPolicy(config.Retry{Jitter: 1, MaxAge: time.Hour})
	if d := p.Judge(errDown, delivery.History{}, time.Now()).Delay; d < minDelay {
		t.Errorf("delay %s, want at least %s", d, minDelay)
	}
}

func TestThreeDaysOfFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := steady()
		r.Jitter = 0.2
		p, start, h := NewPolicy(r), time.Now(), delivery.History{}
		v := p.Judge(errDown, h, time.Now())
		for v.Action == delivery.Again {
			if h.Attempts == 0 {
				h.First = time.Now()
			}
			h.Attempts++
			time.Sleep(v.Delay)
			v = p.Judge(errDown, h, time.Now())
		}
		took := time.Since(start)
		if took < 72*time.Hour || took > 72*time.Hour+72*time.Minute {
			t.Errorf("gave up after %s, want 72h and at most one delay more", took)
		}
		if h.Attempts < 70 || h.Attempts > 90 {
			t.Errorf("gave up after %d attempts, want about 78", h.Attempts)
		}
	})
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ in, want string }{
		"plain":         {"answered 500", "answered 500"},
		"line breaks":   {"first\r\n\tsecond\n", "first second"},
		"control":       {"a\x00b\x1b[31mc\u2028d", "ab[31mc d"},
		"not UTF-8":     {"a\xffb", "a\uFFFDb"},
		"letters":       {"größer → weiter", "größer → weiter"},
		"long":          {strings.Repeat("x", 600), strings.Repeat("x", 509) + "..."},
		"cut in a rune": {strings.Repeat("x", 508) + "éééé", strings.Repeat("x", 508) + "..."},
	} {
		if got := oneLine(tt.in); got != tt.want || len(got) > maxReason {
			t.Errorf("%s: oneLine(%q) = %q, want %q", name, tt.in, got, tt.want)
		}
	}
}
