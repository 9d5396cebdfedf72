package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/router"
)

const (
	// shareSize is how many events a worker of a comparison takes at a time:
	// few, so that it often lets others have its place.
	shareSize = 128
	// crowdedPause is how long a worker waits while deliveries need its place.
	crowdedPause = 5 * time.Millisecond
)

// ruleDiffs compares rules for the admin API.
type ruleDiffs struct {
	app     *App
	catalog *clickfunnels.Catalog
}

var _ console.Rules = ruleDiffs{}

// Diff implements console.Rules.
func (r ruleDiffs) Diff(ctx context.Context, q console.DiffQuery, progress func(console.SearchProgress, func() delivery.Difference)) (delivery.Difference, error) {
	c, then, err := proposedRules(q.Rules)
	if err != nil {
		return delivery.Difference{}, err
	}
	now, err := (&history{app: r.app}).table()
	if err != nil {
		return delivery.Difference{}, err
	}
	query, wanted, err := r.query(c, q)
	if err != nil {
		return delivery.Difference{}, err
	}
	sweep, err := r.app.broker.Sweep(ctx, query)
	if err != nil {
		return delivery.Difference{}, err
	}
	defer sweep.Close(ctx)
	job := &ruleDiff{
		comparison: router.NewComparison(now, then, q.Examples), sweep: sweep, wanted: wanted, source: q.Source,
		crowded: r.app.delivering, progress: progress, kinds: [2]map[string]string{sinkKindsOf(r.app.conf()), sinkKindsOf(c)},
		allRead: make(chan struct{}), log: r.app.log.With("part", "rules"),
	}
	return job.run(ctx)
}

// proposedRules compiles what was sent. The command has done so before, so that
// mistakes only come of another version of it, or of something else.
func proposedRules(set config.RuleSet) (*config.Config, *router.Table, error) {
	c, err := set.Config()
	if err != nil {
		return nil, nil, &console.RulesError{What: err.Error()}
	}
	t, err := router.Compile(c)
	if err != nil {
		return nil, nil, &console.RulesError{What: err.Error(), Hint: "use the penstock command of the server's version"}
	}
	return c, t, nil
}

// query is what has to be read, and which subjects of that are wanted; nil: all.
func (r ruleDiffs) query(c *config.Config, q console.DiffQuery) (broker.SweepQuery, func(string) bool, error) {
	query := broker.SweepQuery{Since: q.Since, Until: q.Until, Limit: q.Limit}
	if err := r.knownSource(c, q.Source); err != nil || len(q.Match) == 0 {
		return query, nil, err
	}
	kept := keptEvents{a: r.app, catalog: r.catalog}
	var patterns []string
	for _, text := range q.Match {
		patterns = append(patterns, kept.subject(text))
	}
	sel, err := router.NewSelector(patterns, kept.prefixes())
	if err != nil {
		return query, nil, &console.PatternError{Err: err}
	}
	query.Filters = sel.Filters()
	return query, sel.Match, nil
}

// knownSource refuses a source of which there can be no events.
func (r ruleDiffs) knownSource(c *config.Config, source string) error {
	var known []string
	for _, s := range slices.Concat(r.app.conf().Sources, c.Sources) {
		if !slices.Contains(known, s.Name) {
			known = append(known, s.Name)
		}
	}
	if source == "" || slices.Contains(known, source) {
		return nil
	}
	return &console.RulesError{What: fmt.Sprintf("there is no source %q", source), Hint: "there are " + strings.Join(known, ", ")}
}

func sinkKindsOf(c *config.Config) map[string]string {
	kinds := map[string]string{}
	for _, s := range c.Sinks {
		kinds[s.Name] = s.Kind
	}
	return kinds
}

// delivering reports that attempts are being made.
func (a *App) delivering() bool {
	return slices.ContainsFunc(a.workers(), func(w *router.Worker) bool { return w.State().Running > 0 })
}

// ruleDiff is one comparison at work: one goroutine reads, and as many as there
// are processors look at what it reads.
type ruleDiff struct {
	comparison *router.Comparison
	sweep      *broker.Sweep
	wanted     func(subject string) bool // nil: all
	source     string                    // "": all
	crowded    func() bool
	progress   func(console.SearchProgress, func() delivery.Difference)
	kinds      [2]map[string]string // of the sinks, now and then
	allRead    chan struct{}        // closed when nothing more will be read
	log        *slog.Logger

	mu   sync.Mutex
	seen seen
}

// seen is what a comparison has read.
type seen struct {
	read, foreign uint64
	first, last   time.Time
}

// run looks at everything, or at what it can until ctx ends.
func (d *ruleDiff) run(ctx context.Context) (delivery.Difference, error) {
	shares := make(chan []broker.SweptEvent, runtime.GOMAXPROCS(0))
	var comparers []*router.Comparer
	g, gctx := errgroup.WithContext(ctx)
	for i := range runtime.GOMAXPROCS(0) {
		c := d.comparison.NewComparer()
		comparers = append(comparers, c)
		g.Go(func() error { return d.work(gctx, c, shares, i > 0) })
	}
	found := func() delivery.Difference { return d.difference(comparers, true) }
	g.Go(func() error {
		defer close(d.allRead)
		defer close(shares)
		return d.read(gctx, shares, found)
	})
	err := g.Wait()
	if ctx.Err() != nil { // whatever it was that noticed
		return d.difference(comparers, true), nil
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return delivery.Difference{}, err
	}
	return d.difference(comparers, false), err
}

// read hands out what it reads, in small shares.
func (d *ruleDiff) read(ctx context.Context, shares chan<- []broker.SweptEvent, found func() delivery.Difference) error {
	for {
		part, err := d.sweep.Next(ctx)
		if err != nil || len(part) == 0 {
			return err
		}
		for share := range slices.Chunk(part, shareSize) {
			select {
			case shares <- share:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if d.progress != nil {
			d.mu.Lock()
			read := d.seen.read
			d.mu.Unlock()
			d.progress(console.SearchProgress{Searched: read, Total: d.sweep.Total()}, found)
		}
	}
}

// work looks at shares until there are no more. One that yields waits while
// deliveries are made: these come first, and the comparison goes on in the
// worker that does not.
func (d *ruleDiff) work(ctx context.Context, c *router.Comparer, shares <-chan []broker.SweptEvent, yields bool) (err error) {
	defer func() {
		if r := recover(); r != nil { // a bug of ours must not end the deliveries
			d.log.Error("comparison of rules panicked", "what", fmt.Sprintf("%T", r), "stack", string(debug.Stack()))
			err = errors.New("a mistake of ours; the log of the server says more")
		}
	}()
	for share := range shares {
		for _, m := range share {
			d.look(c, m)
		}
		d.note(share)
		runtime.Gosched()
		for yields && d.crowded() && d.wait(ctx) { // let deliveries go first
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// wait waits a little, and reports whether there is anything left to wait for:
// what is read already is looked at in any case.
func (d *ruleDiff) wait(ctx context.Context) bool {
	t := time.NewTimer(crowdedPause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-d.allRead:
	case <-ctx.Done():
	}
	return false
}

// look compares one event, as of when it was stored: so it does not matter
// when the comparison is made.
func (d *ruleDiff) look(c *router.Comparer, m broker.SweptEvent) {
	e, ok := m.Event()
	if !ok {
		d.mu.Lock()
		d.seen.foreign++
		d.mu.Unlock()
		return
	}
	if d.source != "" && e.Source != d.source || d.wanted != nil && !d.wanted(e.Subject) {
		return
	}
	c.Look(&e, m.Stored)
}

// note counts what was read.
func (d *ruleDiff) note(share []broker.SweptEvent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen.read += uint64(len(share))
	if at := share[0].Stored; d.seen.first.IsZero() || at.Before(d.seen.first) {
		d.seen.first = at
	}
	if at := share[len(share)-1].Stored; at.After(d.seen.last) {
		d.seen.last = at
	}
}

// difference is what was found. The command is told the kinds of sinks, too.
func (d *ruleDiff) difference(comparers []*router.Comparer, partial bool) delivery.Difference {
	out := d.comparison.Difference(comparers)
	d.mu.Lock()
	defer d.mu.Unlock()
	out.Selected, out.Foreign, out.Partial = d.sweep.Total(), d.seen.foreign, partial
	out.First, out.Last = d.seen.first.UTC(), d.seen.last.UTC()
	for i := range out.Sinks {
		s := &out.Sinks[i]
		now, then := d.kinds[0][s.Name], d.kinds[1][s.Name]
		switch {
		case s.Standing == delivery.Removed:
			s.Kind = now
		case s.Standing == "" && now != then:
			s.Kind, s.KindNow = then, now
		default:
			s.Kind = then
		}
	}
	return out
}
