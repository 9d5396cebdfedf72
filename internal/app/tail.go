package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/router"
)

const (
	// statesEvery is how often a tail looks how the sinks stand.
	statesEvery = 500 * time.Millisecond
	// rewritten is how much later than what it tells of a record is stored that
	// an erasure has stored anew: that is no news.
	rewritten = 10 * time.Minute
	// verdicts is how many events a tail remembers whether it wants them.
	verdicts = 4096
)

// tails follows what happens in the streams, where every process puts it: what
// all replicas accept and deliver is there, nothing on the path of an event
// waits for a reader or even asks whether there is one, and a reader who was
// away goes on where it was. The states of sinks are only those of this process.
type tails struct{ app *App }

var _ console.Tails = (*tails)(nil)

// Follow implements console.Tails.
func (t *tails) Follow(ctx context.Context, q console.TailFilter) (func(context.Context, console.Emit) error, error) {
	f := &follower{app: t.app, q: q, lines: q.AfterLines, seen: map[uint64]bool{}}
	for _, text := range q.Match {
		p, err := router.ParsePattern(strings.ReplaceAll(text, "/", "."))
		if err != nil {
			return nil, &console.PatternError{Err: err}
		}
		f.patterns = append(f.patterns, p)
	}
	f.prefixes = (&history{app: t.app}).prefixes()
	if q.Where != "" {
		var err error
		if f.where, err = router.ParseWhere(q.Where); err != nil {
			return nil, whereError(err)
		}
	}
	var err error
	f.events, f.records = q.AfterEvents, q.AfterRecords
	if !q.Resumed {
		// From here on, and not from when the readers are set up.
		if f.events, f.records, err = t.app.broker.Since(ctx, q.Since); err != nil {
			return nil, err
		}
	}
	return f.run, nil
}

// whereError is the first mistake of a condition.
func whereError(err error) error {
	var ms config.Mistakes
	if !errors.As(err, &ms) || len(ms) == 0 {
		return err
	}
	return &console.WhereError{Line: ms[0].Pos.Line, Column: ms[0].Pos.Column, What: ms[0].What, Hint: ms[0].Hint}
}

// follower is one tail.
type follower struct {
	app      *App
	q        console.TailFilter
	patterns []router.Pattern
	prefixes []string
	where    *router.Where

	accepting liveness // of what is accepted

	mu sync.Mutex
	// events and records are the sequences up to which everything was told,
	// lines how many records of the next batch were.
	events, records uint64
	lines           int
	seen            map[uint64]bool // whether where holds, by sequence
	noted           bool            // that where could not be evaluated was told
}

func (f *follower) run(ctx context.Context, emit console.Emit) error {
	g, ctx := errgroup.WithContext(ctx)
	events, records := broker.Follow{After: f.events}, broker.Follow{After: f.records}
	// Not live: what is live may be left out, and this says where to go on.
	if err := emit(console.TailLine{ID: f.id(), Kind: console.TailFollowing, At: time.Now().UTC()}, false); err != nil {
		return err
	}
	if err := f.hints(emit); err != nil {
		return err
	}
	f.accepting, events.CaughtUp = f.newLiveness()
	if f.q.Accepts {
		events.Bodies = f.where != nil
		if len(f.patterns) > 0 {
			events.Filters = router.Filters(f.patterns, f.prefixes)
		}
		g.Go(func() error { return f.accepts(ctx, events, emit) })
	}
	if f.q.Deliveries {
		g.Go(func() error { return f.deliveries(ctx, records, emit) })
		g.Go(func() error { return f.states(ctx, emit) })
	}
	return g.Wait()
}

// hints tells of patterns that no type of the catalogue fits, for who waits for
// what never comes. It is no mistake: senders invent types.
func (f *follower) hints(emit console.Emit) error {
	if f.q.Resumed {
		return nil
	}
	for _, text := range f.q.Match {
		pattern := strings.ReplaceAll(text, "/", ".")
		bare := pattern
		for _, prefix := range f.prefixes {
			bare = strings.TrimPrefix(bare, prefix+".")
		}
		s := survey(f.app.catalog, bare)
		if s.Types > 0 {
			continue
		}
		note := fmt.Sprintf("no type of the catalogue matches %q", text)
		if s.Nearest != "" {
			note += fmt.Sprintf("; did you mean %q?", strings.TrimSuffix(pattern, bare)+s.Nearest)
		}
		if err := emit(console.TailLine{Kind: console.TailNote, At: time.Now().UTC(), Note: note}, false); err != nil {
			return err
		}
	}
	return nil
}

// liveness is closed with the end of the past.
type liveness chan struct{}

func (f *follower) newLiveness() (l liveness, caughtUp func()) {
	l = make(liveness)
	caughtUp = sync.OnceFunc(func() { close(l) })
	if !f.q.Resumed && f.q.Since.IsZero() {
		caughtUp()
	}
	return l, caughtUp
}

func (l liveness) live() bool {
	select {
	case <-l:
		return true
	default:
		return false
	}
}

func (f *follower) accepts(ctx context.Context, from broker.Follow, emit console.Emit) error {
	return f.app.broker.FollowEvents(ctx, from, func(e broker.StoredEvent) error {
		if !router.MatchAny(f.patterns, f.prefixes, e.Subject) {
			return nil
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.events = e.Seq
		if ok, err := f.wants(ctx, &e.Event, e.Seq, emit); err != nil || !ok {
			return err
		}
		w := wireEvent(e.Event)
		return emit(console.TailLine{
			ID: f.id(), Kind: console.TailAccepted, At: e.Stored.UTC(), Seq: e.Seq, EventID: e.ID, Subject: e.Subject, Event: &w,
		}, f.accepting.live())
	})
}

// id is where the reader is. f.mu is held.
func (f *follower) id() string { return console.TailID(f.events, f.records, f.lines) }

// wants reports that the condition holds for an event. f.mu is held.
func (f *follower) wants(ctx context.Context, e *event.Event, seq uint64, emit console.Emit) (bool, error) {
	if f.where == nil {
		return true, nil
	}
	ok, err := f.where.Holds(ctx, e)
	if err != nil && !f.noted && ctx.Err() == nil {
		f.noted = true
		return false, emit(console.TailLine{
			Kind: console.TailNote, At: time.Now().UTC(), Seq: seq, Subject: e.Subject,
			Note: "where cannot be evaluated for an event, which is left out, as all like it will be: " + err.Error(),
		}, false)
	}
	if len(f.seen) >= verdicts {
		clear(f.seen)
	}
	f.seen[seq] = ok
	return ok, nil
}

func (f *follower) deliveries(ctx context.Context, from broker.Follow, emit console.Emit) error {
	skip := f.q.AfterLines
	live, caughtUp := f.newLiveness()
	from.CaughtUp = caughtUp
	return f.app.broker.FollowRecords(ctx, from, func(b broker.RecordBatch) error {
		for i := range b.Records {
			if i < skip {
				continue
			}
			if err := f.record(ctx, &b, i, live.live(), emit); err != nil {
				return err
			}
		}
		skip = 0
		f.mu.Lock()
		defer f.mu.Unlock()
		f.records, f.lines = b.Seq, 0
		return nil
	})
}

// record tells of the record with that number of a batch.
func (f *follower) record(ctx context.Context, b *broker.RecordBatch, i int, live bool, emit console.Emit) error {
	r := &b.Records[i]
	end := r.Start.Add(r.Took)
	if r.Kind != delivery.Attempted || b.Stored.Sub(end) > rewritten || !router.MatchAny(f.patterns, f.prefixes, r.Subject) {
		return nil
	}
	if err := f.afterAccept(ctx, r.Seq); err != nil {
		return err
	}
	if ok, err := f.wantsRecord(ctx, r, emit); err != nil || !ok {
		return err
	}
	a := wireAttempt(*r)
	a.Start, a.Next = utcTime(a.Start), utcTime(a.Next)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = i + 1
	if f.lines == len(b.Records) {
		f.records, f.lines = b.Seq, 0
	}
	return emit(console.TailLine{
		ID: f.id(), Kind: kindOf(r.Action), At: end.UTC(), Seq: r.Seq, EventID: r.EventID, Subject: r.Subject, Sink: r.Sink, Attempt: &a,
	}, live)
}

// afterAccept waits until a past event was told before what became of it.
func (f *follower) afterAccept(ctx context.Context, seq uint64) error {
	for f.q.Accepts && !f.accepting.live() {
		f.mu.Lock()
		told := f.events >= seq
		f.mu.Unlock()
		if told {
			return nil
		}
		select {
		case <-f.accepting:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

func utcTime(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

func kindOf(a delivery.Action) string {
	switch a {
	case delivery.Done:
		return console.TailDelivered
	case delivery.Bury:
		return console.TailDead
	case delivery.Skip:
		return console.TailSkipped
	case delivery.Defer:
		return console.TailInterrupted
	}
	return console.TailRetry
}

// wantsRecord asks the condition about a record's event, which is read when it
// is not known already. One that is gone is not wanted.
func (f *follower) wantsRecord(ctx context.Context, r *delivery.Record, emit console.Emit) (bool, error) {
	if f.where == nil {
		return true, nil
	}
	f.mu.Lock()
	ok, known := f.seen[r.Seq]
	f.mu.Unlock()
	if known {
		return ok, nil
	}
	e, err := f.app.broker.Event(ctx, r.Seq)
	if errors.Is(err, delivery.ErrNoEvent) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read event %d: %w", r.Seq, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wants(ctx, &e.Event, r.Seq, emit)
}

// states tells when a sink of this process is held, throttled, paused or open
// again.
func (f *follower) states(ctx context.Context, emit console.Emit) error {
	t := time.NewTicker(statesEvery)
	defer t.Stop()
	last := map[string]string{}
	for first := true; ; first = false {
		for _, w := range f.app.workers() {
			name, h := w.Sink().Name, w.State()
			state := coarse(h.State)
			if before, known := last[name]; before == state || !known && state == string(router.Open) {
				last[name] = state
				continue
			}
			last[name] = state
			line := console.TailLine{Kind: console.TailSink, At: time.Now().UTC(), Sink: name, State: state, Until: utcTime(h.NextProbe), Note: h.LastError}
			if state == string(router.Open) {
				line.Note = ""
			}
			if !first {
				line.At = utcTime(h.Since)
			}
			if err := emit(line, true); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// coarse leaves out what passes within a hold.
func coarse(s router.State) string {
	switch s {
	case router.Probing:
		s = router.Held
	case router.SlowStart:
		s = router.Open
	}
	return string(s)
}
