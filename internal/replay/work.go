package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// work is a job at work: one goroutine for each of its sinks, so that one that
// is down keeps no other waiting.
type work struct {
	m       *Manager
	source  Source
	limiter *rate.Limiter
	ended   chan struct{}
	halt    context.CancelFunc
	halted  context.Context

	saving sync.Mutex // one save at a time
	mu     sync.Mutex
	job    delivery.Job
	// unsaved were handed over since the last save, which was at saved.
	unsaved int
	saved   time.Time
	// lanes are the sinks that there is something left for, waiting those of
	// them that are not given anything, and why.
	lanes   int
	waiting map[string]string
	as      delivery.JobState // how it is to end, when somebody stops it
}

func newWork(m *Manager, s Source, j delivery.Job) *work {
	w := &work{m: m, source: s, job: j, ended: make(chan struct{}), waiting: map[string]string{}, lanes: len(j.Positions), limiter: rate.NewLimiter(rate.Inf, 1)}
	if j.Rate > 0 {
		// A burst of a tenth of a second keeps a fast job from handing over one by one.
		w.limiter = rate.NewLimiter(rate.Limit(j.Rate), max(1, min(MaxRepeated, int(math.Ceil(j.Rate/10)))))
	}
	w.halted, w.halt = context.WithCancel(context.Background())
	return w
}

// stop makes the job end as a state.
func (w *work) stop(as delivery.JobState) {
	w.mu.Lock()
	if w.as == "" {
		w.as = as
	}
	w.mu.Unlock()
	w.halt()
}

func (w *work) status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Status{Job: w.job}
	s.Positions = maps.Clone(w.job.Positions)
	if w.lanes > 0 && len(w.waiting) == w.lanes { // otherwise some sink goes on
		for _, why := range w.waiting {
			s.Waiting = why
		}
	}
	return s
}

// run works until the job is done, stopped or failed, and saves how it ended.
func (w *work) run(ctx context.Context) {
	defer w.halt()
	log := w.m.log.With("job", w.job.ID)
	log.Info("job begins", "what", describe(w.job.Selection), "selected", w.job.Selected, "done", w.job.Published)
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.halted, cancel)()
	g, gctx := errgroup.WithContext(working)
	for sink, after := range w.status().Positions {
		g.Go(func() error { return w.lane(gctx, sink, after) })
	}
	err := g.Wait()
	if errors.Is(err, delivery.ErrJobTaken) {
		log.Warn("job goes on in another process", "err", err)
		return
	}
	st := w.conclude(working, err)
	// What was done is saved even though the process stops.
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancelLast()
	if err := w.save(last); err != nil {
		log.Error("job not saved; when resumed it repeats what it did since it was", "err", err)
	}
	log.Info("job ends", "state", st.State, "published", st.Published, "gone", st.Gone, "note", st.Note)
}

// conclude sets the state in which the job ends.
func (w *work) conclude(working context.Context, err error) delivery.Job {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := &w.job
	clear(w.waiting)
	switch {
	case err == nil:
		j.State = delivery.JobDone
		// What was counted and not met was purged, retried or dropped meanwhile.
		j.Gone = max(j.Gone, j.Selected-j.Published)
	case w.as != "":
		j.State = w.as
	case working.Err() != nil:
		j.State = delivery.JobInterrupted
	default:
		j.State, j.Note = delivery.JobFailed, err.Error()
	}
	return *j
}

// lane hands one sink what is selected for it.
func (w *work) lane(ctx context.Context, sink string, after uint64) error {
	defer w.left(sink)
	next, err := w.source.Open(ctx, w.job.Selection, sink, after)
	if err != nil {
		return err
	}
	for {
		page, err := next(ctx, MaxRepeated)
		if err != nil || len(page) == 0 {
			return err
		}
		for len(page) > 0 {
			n, err := w.take(ctx, len(page))
			if err != nil {
				return err
			}
			if n, err = w.handSome(ctx, sink, page[:n]); err != nil {
				return err
			}
			page = page[n:]
		}
	}
}

// handSome waits until the sink takes deliveries and its lane holds few of
// ours, hands over as many of the events as it may, at least one, and returns
// how many.
func (w *work) handSome(ctx context.Context, sink string, events []event.Event) (int, error) {
	for {
		n, err := w.try(ctx, sink, events)
		if n > 0 || err != nil {
			return n, err
		}
		if err := pause(ctx, lookEvery); err != nil {
			return 0, err
		}
	}
}

// try hands over what the sink takes now. No two jobs do that for one sink at
// a time, so that both together keep the bound.
func (w *work) try(ctx context.Context, sink string, events []event.Event) (int, error) {
	l := w.m.lane(sink)
	l.Lock()
	defer l.Unlock()
	n, why, err := w.look(ctx, sink)
	if err != nil {
		return 0, err
	}
	w.wait(sink, why)
	if n = min(n, len(events)); n <= 0 {
		return 0, nil
	}
	return n, w.hand(ctx, sink, events[:n])
}

// look says how many more deliveries of ours the sink may be given, and why
// there are not more.
func (w *work) look(ctx context.Context, sink string) (n int, why string, err error) {
	gate, why := w.m.o.Gate(sink)
	most := MaxOutstanding
	switch gate {
	case Shut:
		return 0, why, nil
	case OneOnly:
		most = 1
	}
	out, err := w.m.o.Outstanding(ctx, sink)
	if err != nil {
		return 0, "", err
	}
	n = most - out
	if n <= 0 && why == "" {
		why = fmt.Sprintf("sink %s has %d such deliveries waiting", sink, out)
	}
	return n, why, nil
}

// take waits for a token and takes as many as there are, up to n.
func (w *work) take(ctx context.Context, n int) (int, error) {
	if err := w.limiter.Wait(ctx); err != nil {
		return 0, err
	}
	got := 1
	for got < n && w.limiter.Allow() {
		got++
	}
	return got, nil
}

// hand puts events into the sink's lane and notes that it did. When one fails,
// it and what follows are not noted: the job repeats them, which the lane drops.
func (w *work) hand(ctx context.Context, sink string, events []event.Event) error {
	if err := w.saveBefore(ctx, len(events)); err != nil {
		return err
	}
	gone, done := make([]bool, len(events)), make([]bool, len(events))
	// A delivery that is on its way is not cut off by a pause.
	hctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	g, gctx := errgroup.WithContext(hctx)
	g.SetLimit(atOnce)
	for i, e := range events {
		g.Go(func() (err error) {
			gone[i], err = w.source.Hand(gctx, w.job.ID, sink, e)
			done[i] = err == nil
			return err
		})
	}
	err := g.Wait()
	n := 0
	for n < len(events) && done[n] {
		n++
	}
	if n > 0 {
		w.note(sink, events[n-1].Seq, gone[:n])
	}
	return err
}

func (w *work) note(sink string, seq uint64, gone []bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range gone {
		if g {
			w.job.Gone++
		} else {
			w.job.Published++
		}
	}
	w.job.Positions[sink] = seq
}

// saveBefore saves the job when n more would be too many to repeat, or the
// last save is long ago. They count as unsaved from here on.
func (w *work) saveBefore(ctx context.Context, n int) error {
	w.mu.Lock()
	due := w.unsaved > 0 && (w.unsaved+n > MaxRepeated || w.m.o.Now().Sub(w.saved) >= saveEvery)
	w.mu.Unlock()
	if due {
		if err := w.save(ctx); err != nil {
			return err
		}
	}
	w.mu.Lock()
	w.unsaved += n
	w.mu.Unlock()
	return nil
}

func (w *work) save(ctx context.Context) error {
	w.saving.Lock()
	defer w.saving.Unlock()
	w.mu.Lock()
	w.job.Updated = w.m.o.Now().UTC()
	j := w.job
	j.Positions = maps.Clone(w.job.Positions)
	covers := w.unsaved
	w.mu.Unlock()
	if err := w.m.o.Jobs.SaveJob(ctx, &j); err != nil {
		return err
	}
	w.mu.Lock()
	w.job.Revision = j.Revision
	w.unsaved -= covers
	w.saved = w.m.o.Now()
	w.mu.Unlock()
	return nil
}

// wait notes why the sink is not given anything; "": it is.
func (w *work) wait(sink, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if why == "" {
		delete(w.waiting, sink)
	} else {
		w.waiting[sink] = why
	}
}

// left notes that there is nothing left for the sink.
func (w *work) left(sink string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lanes--
	delete(w.waiting, sink)
}

// pause waits d or until ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
