package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/router"
)

const (
	// routingEvery is how often what is recorded is looked at, and how late
	// queues let less through when they may.
	routingEvery = 2 * time.Second
	// announcedFor is how long an announcement is believed: who made it and
	// has not recorded by then is gone.
	announcedFor = 10 * time.Second
	// announceGap is how long another may take to see an announcement.
	announceGap = 50 * time.Millisecond
	// announceLimit bounds the recording after an announcement, well within that.
	announceLimit = 5 * time.Second
	// forgetAfter is routing.forgetAfter of a process that is no test.
	forgetAfter = time.Minute
	// doubtLimit bounds the asking whether a record was made whose answer was
	// lost. A store that is silent for so long has stopped the process already.
	doubtLimit = time.Minute
	// lookGap is the least time between two looks for the sake of an event.
	lookGap = 10 * time.Millisecond
)

// routing keeps the router by what is recorded with the queue: each event is
// routed by the routes that were in force when it was stored, by every process
// that delivers. See docs/decisions/0022-reload.md.
type routing struct {
	broker *broker.Broker
	router *router.Router
	log    *slog.Logger
	// shared: other processes may record and deliver too.
	shared bool
	// sinks sets whose events are kept beside those of the file.
	sinks func(recorded []string)

	// horizon is the sequence up to which it is known what routes events.
	horizon atomic.Uint64
	// other is when another process was seen to have put its routes in force, in
	// nanoseconds; 0: none has.
	other atomic.Int64

	mu     sync.Mutex // held for every look and every change
	known  broker.Routing
	tables map[string]*router.Table // by version
	looked time.Time
	// forgetAfter is how long all sinks have to have settled what earlier routes
	// are for before those are forgotten: a kill takes the server's idea of what
	// is settled back, and what it says just after a start may be too much.
	forgetAfter time.Duration
	samples     []sample
	// announced is the announcement seen last, and since when.
	announced string
	since     time.Time
	own       string // our latest announcement
}

func newRouting(b *broker.Broker, r *router.Router, shared bool, sinks func([]string), log *slog.Logger) *routing {
	return &routing{broker: b, router: r, shared: shared, sinks: sinks, log: log, tables: map[string]*router.Table{}, forgetAfter: forgetAfter}
}

// open takes up what is recorded at a start. Routes of the file that are not
// the ones in force come into force for what is stored from now on, like by a
// reload. prepare is called when the queues have to let through what both routes
// want.
func (g *routing) open(ctx context.Context, file *config.Config, prepare func() error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	table := g.router.Table()
	g.tables[table.Version()] = table
	have, err := g.broker.Routing(ctx)
	if err != nil {
		return err
	}
	text, err := file.Routing()
	if err != nil {
		return fmt.Errorf("write routes: %w", err)
	}
	switch n := len(have.Eras); {
	case n == 0:
		have.Eras = []broker.Era{{Version: table.Version(), Text: text}}
	case have.Eras[n-1].Version == table.Version():
		g.follow(have)
		return prepare()
	default:
		era, sinks := broker.Era{From: have.Last + 1, Version: table.Version(), Text: text}, rosterOf(file, nil)
		g.follow(entered(have, era, sinks))
		if err := prepare(); err != nil {
			return err
		}
		_, err = g.announce(ctx)
		if broker.NotProvisioned(err) {
			g.log.Warn("the routes of the file are not in force: others are recorded with the queue", "why", err)
			g.follow(have)
			return nil
		}
		if err != nil {
			return err
		}
		if err := prepare(); err != nil { // another may have narrowed the queues since
			return errors.Join(err, g.withdraw(ctx))
		}
		if have, err = g.broker.Routing(ctx); err != nil {
			return errors.Join(err, g.withdraw(ctx))
		}
		era.From = have.Last + 1
		have = entered(have, era, sinks)
		g.log.Info("the routes of the file are others than before; they route events stored from now on",
			"rules", table.Version(), "before", have.Eras[len(have.Eras)-2].Version, "from_sequence", era.From)
		if err := g.record(ctx, func(r broker.Routing) broker.Routing { return entered(r, era, sinks) }); err != nil {
			return err
		}
		g.follow(have)
		return nil
	}
	if err := prepare(); err != nil {
		return err
	}
	first := have
	if err := g.broker.EditRouting(ctx, func(r broker.Routing) broker.Routing {
		if len(r.Eras) == 0 {
			r.Eras = first.Eras
		}
		return r
	}); broker.NotProvisioned(err) {
		g.log.Warn("the routes of the file are in force in this process, and no others know", "why", err)
	} else if err != nil {
		return err
	}
	g.follow(have)
	return nil
}

// announce has the other processes wait for what follows: no other records,
// and none lets a queue let less through. The record cannot be compared and
// swapped, so who has announced looks again after a moment whether another has.
func (g *routing) announce(ctx context.Context) (broker.Routing, error) {
	r, err := g.broker.Routing(ctx)
	if !g.shared || err != nil {
		return r, err
	}
	var word [8]byte
	_, _ = rand.Read(word[:]) // crypto/rand never fails
	own := hex.EncodeToString(word[:])
	for {
		if r.Announced != g.announced {
			g.announced, g.since = r.Announced, time.Now()
		}
		if r.Announced == "" || time.Since(g.since) > announcedFor {
			if _, err := g.broker.Announce(ctx, own); err != nil {
				return broker.Routing{}, err
			}
			g.announced, g.since, g.own = own, time.Now(), own
		}
		if err := sleep(ctx, announceGap); err != nil {
			return broker.Routing{}, errors.New("another process is changing the routes; try again")
		}
		if r, err = g.broker.Routing(ctx); err != nil || r.Announced == own {
			return r, err
		}
	}
}

// record ends an announcement.
func (g *routing) record(ctx context.Context, edit func(broker.Routing) broker.Routing) error {
	if g.shared && time.Since(g.since) > announceLimit {
		return errors.New("the event store took too long to take the new routes; try again")
	}
	return g.broker.EditRouting(ctx, edit)
}

// recorded is record for an era. An error would say nothing of whether it was
// recorded: the answer may have come too late, and the next process would take
// for routed by the era what this one goes on to route by the one before. With
// a store of our own we ask again until it is, while nothing is routed; of a
// shared one the record is looked at before the next event is.
func (g *routing) recorded(ctx context.Context, era broker.Era, sinks roster) error {
	edit := func(r broker.Routing) broker.Routing { return entered(r, era, sinks) }
	err := g.record(ctx, edit)
	if err == nil || g.shared || broker.NotProvisioned(err) {
		return err
	}
	doubt, cancel := context.WithTimeout(context.WithoutCancel(ctx), doubtLimit)
	defer cancel()
	for {
		g.log.Warn("the event store did not answer whether it has the new routes, asking again", "err", err)
		again, done := context.WithTimeout(doubt, announceLimit)
		err = g.broker.EditRouting(again, edit)
		done()
		if err == nil || sleep(doubt, announceGap) != nil {
			return err
		}
	}
}

// change has the queues let through what is wanted from now on too, and then
// applies c under a record of its routes, whose text is given. present are
// the sinks of this process so far.
func (g *routing) change(ctx context.Context, c router.Change, text []byte, present []string) (from uint64, retired []router.Retired, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	version := c.Table.Version()
	g.tables[version] = c.Table
	if version == g.router.Table().Version() {
		c.Late = readPast(g.known)
		if err := g.broker.Prepare(ctx, g.router.Plan(c)); err != nil {
			return 0, nil, err
		}
		retired, err = g.router.Apply(c)
		return 0, retired, err
	}
	ctx, cancel := context.WithTimeout(ctx, announceLimit)
	defer cancel()
	sinks := rosterOf(c.Config, present)
	have, err := g.announce(ctx)
	if err == nil {
		c.Late = sinks.come(have)
		err = g.broker.Prepare(ctx, g.router.Plan(c))
	}
	if err == nil { // the new routes are for what comes after the queues let it through
		have, err = g.broker.Routing(ctx)
	}
	if err != nil {
		return 0, nil, errors.Join(err, g.withdraw(ctx))
	}
	c.Last, c.Late = have.Last, sinks.come(have)
	c.Record = func(seq uint64) error {
		from = seq
		era := broker.Era{From: seq, Version: version, Text: text}
		have = entered(have, era, sinks)
		return g.recorded(ctx, era, sinks)
	}
	if retired, err = g.router.Apply(c); err != nil {
		return 0, nil, errors.Join(err, g.withdraw(ctx))
	}
	g.known = have
	g.sinks(recordedSinks(have))
	return from, retired, nil
}

// withdraw takes back our announcement, if there is one.
func (g *routing) withdraw(ctx context.Context) error {
	if !g.shared {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceLimit)
	defer cancel()
	own := g.own
	err := g.broker.EditRouting(ctx, func(r broker.Routing) broker.Routing {
		if own != "" && r.Announced == own {
			r.Announced = ""
		}
		return r
	})
	if broker.NotProvisioned(err) {
		return nil
	}
	return err
}

// follow makes the router route by what is recorded.
func (g *routing) follow(r broker.Routing) {
	g.known = r
	var eras []router.Era
	for _, e := range r.Eras {
		t := g.table(e)
		if t == nil { // what is not known any more is routed by what came after
			continue
		}
		eras = append(eras, router.Era{From: e.From, Table: t})
	}
	if len(eras) == 0 {
		return
	}
	g.router.Follow(eras, readPast(r))
	g.sinks(recordedSinks(r))
}

// table is that of an era, or nil.
func (g *routing) table(e broker.Era) *router.Table {
	if t := g.tables[e.Version]; t != nil {
		return t
	}
	if e.Text == nil {
		return nil
	}
	c, err := config.ParseRouting(e.Text, nil)
	var t *router.Table
	if err == nil {
		t, err = router.Compile(c)
	}
	if err != nil {
		g.log.Error("recorded routes cannot be used; what they route is routed by later ones", "rules", e.Version, "err", err)
		return nil
	}
	g.tables[e.Version] = t.Named(e.Version)
	return g.tables[e.Version]
}

// wait is router.Options.Known: it returns when everything is known that may
// be recorded for an event stored as seq.
func (g *routing) wait(ctx context.Context, seq uint64) error {
	for seq > g.horizon.Load() {
		if err := g.look(ctx, seq); err != nil {
			g.log.Warn("it is not known which routes are in force, asking again", "err", err)
		}
		if seq <= g.horizon.Load() {
			break
		}
		if err := sleep(ctx, lookGap); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// look reads the record and follows it. Many may wait for one look.
func (g *routing) look(ctx context.Context, seq uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if seq <= g.horizon.Load() {
		return nil
	}
	if err := sleep(ctx, lookGap-time.Since(g.looked)); err != nil {
		return nil
	}
	g.looked = time.Now()
	r, err := g.broker.Routing(ctx)
	if err != nil {
		return err
	}
	g.take(r)
	return nil
}

// take follows what was read, and knows what is stored so far unless somebody
// is about to record something.
func (g *routing) take(r broker.Routing) {
	if r.Announced != g.announced {
		g.announced, g.since = r.Announced, time.Now()
	}
	if !sameEras(r, g.known) && len(r.Eras) > 0 {
		last := r.Eras[len(r.Eras)-1].Version
		if before := g.router.Table().Version(); last != before {
			g.log.Info("another process has put other routes in force; they route events stored from then on",
				"rules", last, "before", before, "from_sequence", r.Eras[len(r.Eras)-1].From)
			g.other.Store(time.Now().UnixNano())
		}
		g.follow(r)
	}
	if r.Announced == "" || time.Since(g.since) > announcedFor {
		g.horizon.Store(max(g.horizon.Load(), r.Last))
	}
}

// otherSince is when another process was seen to have put its routes in force
// last; zero when none has.
func (g *routing) otherSince() time.Time {
	if n := g.other.Load(); n != 0 {
		return time.Unix(0, n).UTC()
	}
	return time.Time{}
}

func sameEras(a, b broker.Routing) bool {
	return slices.EqualFunc(a.Eras, b.Eras, func(x, y broker.Era) bool { return x.From == y.From && x.Version == y.Version })
}

// keep has the events of all sinks kept that are known now.
func (g *routing) keep() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sinks(recordedSinks(g.known))
}
