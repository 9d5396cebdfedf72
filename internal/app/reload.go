package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/ingress"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/router"
	"github.com/penstock/penstock/sinks"
)

var _ console.Reloader = (*reloads)(nil)

// applyLimit bounds what a reload asks of the event store.
const applyLimit = 25 * time.Second

// versionsLimit bounds what the state of reloads asks of it.
const versionsLimit = 2 * time.Second

// The occasions of a reload, for people.
const (
	byAPI    = "the admin API"
	bySignal = "SIGHUP"
	byFile   = "a change of the files"
)

// Why a process has nothing to reload.
var (
	errNoFiles  = errors.New("this process runs the built-in quick-start, which has no file to read again; start it with -c FILE")
	errMoving   = errors.New("the events are being moved to another store, or were")
	errStopping = errors.New("the process is stopping")
)

// reloads replaces the generation by that of the files. One reload runs at a
// time.
type reloads struct {
	app  *App
	log  *slog.Logger
	turn chan struct{}
	// draining are the sinks that are not in force any more and still deliver.
	draining sync.WaitGroup

	mu       sync.Mutex
	state    console.ReloadState
	watched  []string // the files that were read last
	seen     look     // what they held
	stopping bool
}

func newReloads(a *App) *reloads {
	r := &reloads{app: a, log: a.log.With("part", "reload"), turn: make(chan struct{}, 1)}
	r.state = console.ReloadState{OK: true, LoadedAt: time.Now().UTC()}
	r.watched = a.conf().WatchFiles
	return r
}

// ReloadState implements console.Reloader.
func (r *reloads) ReloadState() console.ReloadState {
	r.mu.Lock()
	s := r.state
	s.Files = append([]string{}, r.watched...)
	r.mu.Unlock()
	s.FileRules = r.app.now().table.Version()
	s.Rules, s.Versions, s.RulesAt = s.FileRules, 1, s.LoadedAt
	if rt := r.app.router; rt != nil {
		s.Rules, s.Versions = rt.Table().Version(), r.versions(rt)
	}
	if g := r.app.routing; g != nil {
		if at := g.otherSince(); at.After(s.RulesAt) {
			s.RulesAt = at
		}
	}
	return s
}

// versions is how many versions of the routes are in use. Those of before are
// kept for a while after everything is delivered, see routing.forgetAfter.
func (r *reloads) versions(rt *router.Router) int {
	kept := rt.Eras()
	if kept < 2 {
		return kept
	}
	ctx, cancel := context.WithTimeout(context.Background(), versionsLimit)
	defer cancel()
	positions, err := r.app.broker.Positions(ctx)
	if err != nil {
		return kept
	}
	settled := map[string]uint64{}
	for sink, p := range positions {
		settled[sink] = p.Settled
	}
	return rt.InUse(settled)
}

// Reload implements console.Reloader.
func (r *reloads) Reload(ctx context.Context, dryRun bool) console.ReloadResult {
	return r.reload(ctx, byAPI, dryRun)
}

// refusal is why a reload changed nothing.
type refusal struct {
	err      error
	hint     string
	mistakes config.Mistakes
	// passing: not the files are at fault, and another try may do.
	passing bool
}

func (r *reloads) reload(ctx context.Context, by string, dryRun bool) console.ReloadResult {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return console.ReloadResult{DryRun: dryRun, Error: "another reload is under way", Hint: "ask again"}
	}
	if by == byFile && r.app.o.Load != nil {
		if _, _, other := r.changed(); !other { // another reload was faster
			return console.ReloadResult{OK: true}
		}
	}
	out := console.ReloadResult{DryRun: dryRun}
	next, warnings, no := r.read(dryRun)
	if no == nil {
		changes := r.app.conf().ChangesTo(next)
		describe(&out, changes)
		no = r.carryOut(ctx, next, changes, dryRun, &out)
	}
	if no != nil {
		out.Error, out.Hint, out.Mistakes = no.err.Error(), no.hint, wireMistakes(no.mistakes)
	} else {
		out.OK, out.Mistakes = true, wireMistakes(warnings)
	}
	if !dryRun {
		r.tell(by, &out, no, warnings)
	}
	if no != nil && no.passing && !dryRun {
		r.forgetSeen() // so that what the files say is tried again
	}
	return out
}

// read loads the files and refuses what a running process cannot take over.
func (r *reloads) read(dryRun bool) (next *config.Config, warnings config.Mistakes, no *refusal) {
	r.mu.Lock()
	stopping := r.stopping
	r.mu.Unlock()
	switch {
	case stopping:
		return nil, nil, &refusal{err: errStopping}
	case r.app.o.Load == nil:
		return nil, nil, &refusal{err: errNoFiles}
	case !dryRun && r.app.intake.Status().State != console.IntakeOpen:
		return nil, nil, &refusal{err: errMoving, hint: "reload when that is over or aborted"}
	}
	next, ms := r.load(dryRun)
	if fatal := ms.Fatal(); len(fatal) > 0 {
		return nil, nil, &refusal{err: errors.New("the configuration has mistakes, and what ran before still does"), mistakes: ms}
	}
	if fixed := r.app.conf().Fixed(next); len(fixed) > 0 {
		return nil, nil, &refusal{
			err:  errors.New("server and broker can only be changed by a restart, and what ran before still does"),
			hint: "put the keys back, or restart the process", mistakes: fixed,
		}
	}
	return next, ms, nil
}

// carryOut builds everything of next and, unless dryRun, puts it in force.
func (r *reloads) carryOut(ctx context.Context, next *config.Config, changes config.Changes, dryRun bool, out *console.ReloadResult) *refusal {
	a, passing := r.app, false
	g, opened, err := a.next(next, a.now())
	if err == nil && a.ingress != nil {
		err = ingress.CheckSources(g.endpoints())
	}
	if err == nil && !dryRun {
		if changes.Empty() && a.inForce(g) {
			a.generation.Store(g) // places in the files may be others
		} else {
			out.FromSeq, err = r.apply(ctx, g, opened)
			passing = err != nil
		}
	}
	if err != nil || dryRun {
		closeSinks(opened, a.log)
	}
	if err == nil && !dryRun {
		err = r.follow(g)
	}
	if err == nil {
		out.Rules = g.table.Version()
		return nil
	}
	var ms config.Mistakes
	if errors.As(err, &ms) {
		err = errors.New("the configuration cannot be built, and what ran before still does")
	}
	return &refusal{err: err, mistakes: ms, passing: passing}
}

// follow tells those of a generation in force who have parts of a configuration
// of their own.
func (r *reloads) follow(g *generation) error {
	a := r.app
	a.telemetry.Configured(a.measured(g.config))
	if a.console == nil || !a.o.has(config.RoleConsole) {
		return nil
	}
	return a.console.SetTokens(console.Credentials(g.config.Server))
}

// inForce reports that the routes of a generation are those by which events
// are routed: another process may have put others in force since.
func (a *App) inForce(g *generation) bool {
	return a.router == nil || a.router.Table().Version() == g.table.Version()
}

// apply puts a generation in force and lets go of what it replaces. It returns
// the sequence from which new routes hold, 0 when they are not new. When it
// fails, all is as before, but that queues may let more through.
func (r *reloads) apply(ctx context.Context, g *generation, opened map[string]sinks.Sink) (from uint64, err error) {
	// Whoever asked may go away: half a change is none.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), applyLimit)
	defer cancel()
	a, present := r.app, r.app.now()
	roots, prefixes := g.subjects(a.catalog)
	if err := a.broker.TakeSubjects(ctx, roots, prefixes); err != nil {
		return 0, fmt.Errorf("prepare for the sources: %w", err)
	}
	// Before there are queues that others must not touch.
	if err := a.broker.AdmitReaders(union(present.sinkNames(), g.sinkNames()), roots, prefixes); err != nil {
		return 0, err
	}
	var retired []router.Retired
	if a.router != nil {
		if from, retired, err = r.route(ctx, present, g, opened); err != nil {
			return 0, err
		}
	}
	a.generation.Store(g)
	if a.ingress != nil {
		a.rejects.use(g.sources)
		if err := a.ingress.Replace(g.endpoints()); err != nil {
			return 0, err // it was checked before
		}
	}
	if a.routing != nil {
		a.routing.keep()
	}
	for _, old := range retired {
		r.draining.Go(func() {
			old.Wait()
			closeSink(old.Name, old.Sink, r.log)
			r.log.Debug("nothing is delivered any more by the sink as it was before", "sink", old.Name)
		})
	}
	return from, nil
}

// route has the queues let through what is wanted from now on, and then puts
// routes and sinks in force.
func (r *reloads) route(ctx context.Context, present, g *generation, opened map[string]sinks.Sink) (uint64, []router.Retired, error) {
	a := r.app
	text, err := g.config.Routing()
	if err != nil {
		return 0, nil, fmt.Errorf("write routes: %w", err)
	}
	c := router.Change{Config: g.config, Table: g.table, Sinks: opened}
	if c.Paused, err = a.pauses.of(ctx, g.config.Sinks); err != nil {
		return 0, nil, err
	}
	// From here on, the events of both are kept.
	a.broker.SetSinks(union(present.sinkNames(), g.sinkNames()))
	from, retired, err := a.routing.change(ctx, c, text, present.sinkNames())
	if err != nil {
		a.routing.keep()
		return 0, nil, err
	}
	return from, retired, nil
}

// keepFor says whose events are kept: those of the sinks of this process and
// of the ones that the recorded routes know.
func (a *App) keepFor(recorded []string) {
	a.broker.SetSinks(union(a.now().sinkNames(), recorded))
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, name := range b {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// tell keeps how a reload went, and says so.
func (r *reloads) tell(by string, out *console.ReloadResult, no *refusal, warnings config.Mistakes) {
	now := time.Now().UTC()
	r.mu.Lock()
	r.state.TriedAt, r.state.By, r.state.OK = now, by, out.OK
	r.state.Error, r.state.Mistakes = out.Error, nil
	if out.OK {
		r.state.LoadedAt = now
	} else {
		r.state.Mistakes = out.Mistakes
	}
	r.mu.Unlock()
	if t := r.app.telemetry; t != nil && out.OK {
		t.Reloaded(now)
	} else if t != nil {
		t.ReloadRefused()
	}
	if no != nil {
		attrs := []any{"by", by, "err", no.err}
		if len(no.mistakes) > 0 {
			attrs = append(attrs, "mistakes", no.mistakes.Error())
		}
		r.log.Error("configuration not reloaded", attrs...)
		return
	}
	for _, w := range warnings {
		r.log.Warn("the configuration works, but", "warning", w.String())
	}
	if !out.Changed {
		r.log.Info("configuration read again, nothing has changed", "by", by)
		return
	}
	attrs := []any{"by", by, "rules", out.Rules}
	for _, d := range []struct {
		what string
		console.NameChanges
	}{{"routes", out.Routes}, {"sinks", out.Sinks}, {"sources", out.Sources}} {
		if text := config.Difference(d.NameChanges).String(); text != "" {
			attrs = append(attrs, d.what, text)
		}
	}
	if out.FromSeq > 0 {
		attrs = append(attrs, "from_sequence", out.FromSeq)
	}
	r.log.Info("configuration reloaded", attrs...)
}

func describe(out *console.ReloadResult, c config.Changes) {
	out.Changed = !c.Empty()
	out.Routes, out.Sinks, out.Sources = wireDifference(c.Routes), wireDifference(c.Sinks), wireDifference(c.Sources)
	out.Default, out.Order, out.Tokens = c.Default, c.Order, c.Tokens
}

func wireDifference(d config.Difference) console.NameChanges {
	filled := func(names []string) []string { return append([]string{}, names...) }
	return console.NameChanges{Added: filled(d.Added), Changed: filled(d.Changed), Removed: filled(d.Removed)}
}

func wireMistakes(ms config.Mistakes) []console.ConfigMistake {
	var out []console.ConfigMistake
	for _, m := range ms {
		severity := "error"
		if m.Warning {
			severity = "warning"
		}
		out = append(out, console.ConfigMistake{
			File: m.Pos.File, Line: m.Pos.Line, Column: m.Pos.Column, Path: m.Path,
			Severity: severity, Message: m.What, Hint: m.Hint, Text: m.String(),
		})
	}
	return out
}

// end lets no more reloads begin, waits for the sinks that are not in force any
// more, and returns those that are, once.
func (r *reloads) end() map[string]sinks.Sink {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	r.mu.Lock()
	first := !r.stopping
	r.stopping = true
	r.mu.Unlock()
	r.draining.Wait()
	if !first {
		return nil
	}
	return r.app.now().sinks
}
