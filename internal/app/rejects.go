package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/penstock/penstock/ingress"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/internal/telemetry"
)

// The bounds of what is kept of refused requests. Whoever knows the address
// can send some, so they bound what that costs.
const (
	rejectsPerSecond = 10
	// rejectsMost bounds how many of one source are kept within the ring's
	// time; the server remembers the hash of each in memory.
	rejectsMost = 50_000
	// rejectsQueued and rejectsQueuedBytes bound those that are not stored yet.
	rejectsQueued      = 64
	rejectsQueuedBytes = 16 << 20
	// rejectsStore bounds the storing of one.
	rejectsStore = 5 * time.Second
	// rejectsQuiet is the least time between two lines about one source.
	rejectsQuiet = 10 * time.Second
)

// The outcomes of keeping, for metrics.
const (
	ringKept     = "kept"
	ringRepeated = "repeated"
	ringOverflow = "overflow"
	ringFailed   = "failed"
)

// keptHeaders are those that a request needs to be verified and read later.
func keptHeaders() []string {
	return []string{clickfunnels.SignatureHeader, clickfunnels.TimestampHeader, "Content-Type", "Traceparent"}
}

// rejects keeps refused requests, beside the path on which they are answered.
type rejects struct {
	keep      func(context.Context, event.Rejected) (bool, error)
	telemetry func() *telemetry.Telemetry
	log       *slog.Logger
	sources   atomic.Pointer[map[string]*rejectSource]
	queue     chan rejection
	bytes     atomic.Int64 // in the queue
}

// rejection is a refused request that is to be kept.
type rejection struct {
	event.Rejected
	from *rejectSource
	err  error
}

// rejectSource is what is known of one source's refused requests.
type rejectSource struct {
	*clickfunnels.Source
	second, ring *rate.Limiter

	mu                       sync.Mutex
	logged                   time.Time
	kept, repeated, overflow int // since then
}

func newRejects(b *broker.Broker, sources map[string]*clickfunnels.Source, t func() *telemetry.Telemetry, log *slog.Logger) *rejects {
	r := &rejects{keep: b.KeepRejected, telemetry: t, log: log, queue: make(chan rejection, rejectsQueued)}
	r.sources.Store(&map[string]*rejectSource{})
	r.use(sources)
	return r
}

// use keeps the refused requests of other sources from now on. One of a known
// name goes on where it was with its bounds.
func (r *rejects) use(sources map[string]*clickfunnels.Source) {
	before, next := *r.sources.Load(), map[string]*rejectSource{}
	for name, s := range sources {
		next[name] = &rejectSource{
			Source: s, second: rate.NewLimiter(rejectsPerSecond, rejectsPerSecond),
			ring: rate.NewLimiter(rate.Every(broker.RejectedAge/rejectsMost), rejectsMost),
		}
		if b := before[name]; b != nil {
			next[name].second, next[name].ring = b.second, b.ring
		}
	}
	r.sources.Store(&next)
}

// note is ingress.Options.Rejected. It does not block, and copies only what
// will be kept.
func (r *rejects) note(x ingress.Rejection) {
	s := (*r.sources.Load())[x.Source]
	if s == nil || !clickfunnels.WellFormed(x.Header) {
		r.count(x.Source, clickfunnels.CauseOf(x.Err), "")
		return
	}
	if r.bytes.Load() > rejectsQueuedBytes || !s.second.Allow() || !s.ring.Allow() {
		r.overflow(s, x.Source, x.Err)
		return
	}
	j := rejection{from: s, err: x.Err, Rejected: event.Rejected{
		Source: x.Source, Reason: x.Err.Error(), Received: x.Received, Header: http.Header{},
		Body: bytes.Clone(x.Body), Size: len(x.Body),
	}}
	for _, name := range keptHeaders() {
		if values := x.Header[name]; len(values) == 1 {
			j.Header[name] = []string{values[0]}
		}
	}
	r.bytes.Add(int64(j.Size))
	select {
	case r.queue <- j:
	default:
		r.bytes.Add(-int64(j.Size))
		r.overflow(s, x.Source, x.Err)
	}
}

func (r *rejects) overflow(s *rejectSource, source string, err error) {
	cause := clickfunnels.CauseOf(err)
	r.count(source, cause, ringOverflow)
	s.mu.Lock()
	s.overflow++
	s.mu.Unlock()
	r.tell(s, source, clickfunnels.Diagnosis{Cause: cause}, err, time.Now())
}

// count counts a refused request, and what became of it where it was to be
// kept.
func (r *rejects) count(source string, cause clickfunnels.Cause, outcome string) {
	t := r.telemetry()
	if t == nil {
		return
	}
	t.Rejected(source, string(cause))
	if outcome != "" {
		t.RejectedRing(source, outcome)
	}
}

// run stores what note took on until ctx is done, and then what is left.
func (r *rejects) run(ctx context.Context) error {
	for {
		select {
		case j := <-r.queue:
			r.store(j)
			continue
		default:
		}
		select {
		case j := <-r.queue:
			r.store(j)
		case <-ctx.Done():
			if len(r.queue) == 0 { // nobody notes any more
				return nil
			}
		}
	}
}

func (r *rejects) store(j rejection) {
	defer r.bytes.Add(-int64(j.Size))
	d := j.from.Diagnose(j.err, j.Header, j.Body)
	j.Cause, j.Hint = string(d.Cause), d.Hint
	ctx, cancel := context.WithTimeout(context.Background(), rejectsStore)
	defer cancel()
	kept, err := r.keep(ctx, j.Rejected)
	outcome := ringRepeated
	j.from.mu.Lock()
	switch {
	case err != nil:
		outcome = ringFailed
	case kept:
		outcome = ringKept
		j.from.kept++
	default:
		j.from.repeated++
	}
	j.from.mu.Unlock()
	r.count(j.Source, d.Cause, outcome)
	if err != nil {
		r.log.Warn("a refused request could not be kept", "source", j.Source, "err", err)
	}
	r.tell(j.from, j.Source, d, j.err, time.Now())
}

// tell says, not too often, that requests are refused, and what would help.
func (r *rejects) tell(s *rejectSource, source string, d clickfunnels.Diagnosis, why error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.logged) < rejectsQuiet {
		return
	}
	attrs := []any{"source", source, "cause", string(d.Cause), "err", why,
		"kept", s.kept, "kept_before", s.repeated, "not_kept", s.overflow, "look", "penstock rejected ls"}
	if d.Hint != "" {
		attrs = append(attrs, "hint", d.Hint)
	}
	r.log.Warn("signed requests fail verification and are kept", attrs...)
	s.logged, s.kept, s.repeated, s.overflow = now, 0, 0, 0
}

// rejectedStore is what the admin API may do with rejected requests.
type rejectedStore struct {
	*broker.Broker
	app *App
}

// AcceptRejected verifies a rejected request with today's secrets, as if it
// had just come at the time it did, and stores its event, once. With ignoreAge
// a timestamp that was too far from our clock is no objection. Only after the
// event is stored is the request deleted from the ring, so that a crash
// between the two makes the next try a duplicate.
func (s rejectedStore) AcceptRejected(ctx context.Context, seq uint64, ignoreAge bool) (event.Acceptance, error) {
	r, err := s.RejectedRequest(ctx, seq)
	if err != nil {
		return event.Acceptance{}, err
	}
	source := s.app.now().sources[r.Source]
	if source == nil {
		return event.Acceptance{}, fmt.Errorf("this process has no source %q to verify with: it has no role ingress, or the source is not configured any more", r.Source)
	}
	out := event.Acceptance{Request: r}
	if why := source.Verify(r.Header, r.Body, r.Received); why != nil {
		var stale *clickfunnels.StaleError
		old := errors.As(why, &stale)
		if !old {
			out.Hint = source.Diagnose(why, r.Header, r.Body).Hint
		} else {
			out.Hint = "accept it with --ignore-age if that is right"
		}
		if !old || !ignoreAge {
			out.Outcome, out.Why = event.StillRefused, why.Error()
			out.Request.Body = nil
			return out, nil
		}
		out.Hint = ""
	}
	e := source.Decode(r.Header, r.Body, r.Received)
	receipt, err := publisher{app: s.app, store: s.PublishLate}.Publish(ctx, e)
	if err != nil {
		return event.Acceptance{}, fmt.Errorf("accept rejected request %d: %w", seq, err)
	}
	out.Outcome = event.AcceptedNow
	if receipt.Duplicate {
		out.Outcome = event.AcceptedBefore
	}
	e.Seq, e.Body, out.Request.Body = receipt.Seq, nil, nil
	out.Event = e
	if err := s.DropRejected(ctx, seq); err != nil {
		return out, fmt.Errorf("its event is stored as %d, but it is still in the ring: %w; accepting it again is safe", receipt.Seq, err)
	}
	return out, nil
}
