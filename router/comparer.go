package router

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/router/rules"
)

// Comparer looks at events for a Comparison and counts what would change. Its
// memory does not grow with their number. It is one goroutine's; only
// Comparison.Difference may be called meanwhile.
type Comparer struct {
	c *Comparison

	mu    sync.Mutex // of tally
	tally *tally

	// Of the event that is looked at:
	event   *event.Event
	plan    *plan
	input   *rules.Input
	now     time.Time
	answers []answer        // by condition, of those of the plan
	bodies  []shaped        // by transform
	round   uint64          // of the event, to know which bodies are its own
	claimed [sides]bool     // a route matched, or it is not known of one
	alike   map[[2]int]bool // whether two transforms make the same
}

// shaped is what a transform made of an event.
type shaped struct {
	round uint64
	body  []byte
	err   error
}

// NewComparer returns a Comparer that has counted nothing.
func (c *Comparison) NewComparer() *Comparer {
	return &Comparer{
		c: c, tally: newTally(c),
		answers: make([]answer, len(c.conditions)), bodies: make([]shaped, len(c.transforms)), alike: map[[2]int]bool{},
	}
}

// Look counts what would change for an event. Expressions are asked as of now.
// How long it takes is bounded as expressions are. Where both tables choose
// among the same transforms no body is made: what is the same is not told apart
// from what fails in both.
func (m *Comparer) Look(e *event.Event, now time.Time) {
	m.begin(e, now)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tally.events++
	for i := range m.plan.sinks {
		m.lookAtSink(&m.plan.sinks[i])
	}
	for i := range m.plan.joint {
		m.lookAtRoute(&m.plan.joint[i])
	}
	m.lookAtUnmatched()
}

// begin asks the conditions.
func (m *Comparer) begin(e *event.Event, now time.Time) {
	m.event, m.now, m.input = e, now, nil
	m.round++
	clear(m.alike)
	m.plan = m.c.plan(e.Subject)
	for _, n := range m.plan.conditions {
		matched, err := m.c.conditions[n].Eval(context.Background(), m.in())
		m.answers[n] = answer{matched, err}
	}
	for s := range m.claimed {
		m.claimed[s] = false
		for _, r := range m.plan.routes[s] {
			a := m.answer(s, r)
			m.claimed[s] = m.claimed[s] || a.matched || a.err != nil
		}
	}
}

// in is the event as expressions of both tables see it.
func (m *Comparer) in() *rules.Input {
	if m.input == nil {
		m.input = rules.NewInput(m.event, m.now)
	}
	return m.input
}

// answer is what a route said.
func (m *Comparer) answer(s int, r int32) answer {
	when := m.c.sides[s].when[r]
	if when == none {
		return answer{matched: true}
	}
	return m.answers[when]
}

// fate is what becomes of an event for a sink under one table. The zero fate
// is that it does not get it.
type fate struct {
	gets bool
	// route is the number of the route in the comparison that decided.
	route int
	// chain are the transforms of the routes that matched and name the sink,
	// beginning with that one, up to the first that has none: of those that
	// can be made the first counts.
	chain []int32
	err   error
	body  []byte
	// transform made the body; none: it is the event's.
	transform int
}

// fate decides as question.decide does, without making a body.
func (m *Comparer) fate(s int, sp *sinkPlan, room []int32) fate {
	side := &m.c.sides[s]
	f := fate{chain: room[:0]}
	for _, r := range sp.routes[s] {
		a := m.answer(s, r)
		if a.err != nil && f.err == nil && !f.gets {
			f.route, f.err = side.route[r], a.err
		}
		if !a.matched {
			continue
		}
		if !f.gets {
			f.gets, f.route, f.err = true, side.route[r], nil
		}
		f.chain = append(f.chain, r)
		if side.transform[r] == none {
			break
		}
	}
	if !f.gets && f.err == nil && sp.fallback[s] && !m.claimed[s] {
		f.gets, f.route = true, len(m.c.routes)-1
	}
	return f
}

// sameChain reports that both tables would make the same body for a sink,
// whatever it is.
func (m *Comparer) sameChain(a, b *fate) bool {
	if len(a.chain) != len(b.chain) {
		return false
	}
	for i := range a.chain {
		if m.c.sides[running].transform[a.chain[i]] != m.c.sides[proposed].transform[b.chain[i]] {
			return false
		}
	}
	return true
}

// shape makes the body, as question.shape does.
func (m *Comparer) shape(s int, f *fate) {
	if !f.gets {
		return
	}
	side := &m.c.sides[s]
	f.body, f.transform = m.event.Body, none
	var failed error
	for _, r := range f.chain {
		body, err := m.apply(side.transform[r])
		if err == nil {
			f.body, f.transform, f.route = body, side.transform[r], side.route[r]
			return
		}
		if failed == nil {
			failed = err
		}
	}
	if failed != nil {
		f.gets, f.err = false, failed
	}
}

// apply makes the body of a transform, once for an event.
func (m *Comparer) apply(transform int) ([]byte, error) {
	if transform == none {
		return m.event.Body, nil
	}
	made := &m.bodies[transform]
	if made.round != m.round {
		made.round = m.round
		made.body, made.err = m.c.transforms[transform].Apply(context.Background(), m.in())
	}
	return made.body, made.err
}

// lookAtSink counts what would change for a sink.
func (m *Comparer) lookAtSink(sp *sinkPlan) {
	var room [sides][16]int32 // so that nothing is allocated
	now, then := m.fate(running, sp, room[running][:]), m.fate(proposed, sp, room[proposed][:])
	if !now.gets && now.err == nil && !then.gets && then.err == nil {
		return
	}
	change := delivery.AsNow
	if !now.gets || !then.gets || !m.sameChain(&now, &then) {
		m.shape(running, &now)
		m.shape(proposed, &then)
		change = m.change(&now, &then)
	}
	decided := then.route
	if !then.gets && then.err == nil {
		decided = now.route
	}
	m.count(m.tally.sinks, cellKey{sp.sink, decided}, change, &now, &then)
}

// change says what two fates, of which one at least is something, differ in.
func (m *Comparer) change(now, then *fate) delivery.Effect {
	switch {
	case now.err != nil && then.err != nil:
		return delivery.StillFails
	case then.err != nil:
		return delivery.WouldFail
	case now.err != nil:
		return delivery.WouldWork
	case !now.gets:
		return delivery.WouldGain
	case !then.gets:
		return delivery.WouldLose
	case m.same(now, then):
		return delivery.AsNow
	}
	return delivery.WouldTransform
}

// same reports that two bodies are the same JSON, or the same bytes.
func (m *Comparer) same(a, b *fate) bool {
	if a.transform == b.transform || bytes.Equal(a.body, b.body) {
		return true
	}
	key := [2]int{a.transform, b.transform}
	same, known := m.alike[key]
	if !known {
		same = sameJSON(a.body, b.body)
		m.alike[key] = same
	}
	return same
}

// lookAtRoute counts whether a route matches, and what its transform makes.
func (m *Comparer) lookAtRoute(joint *jointRoute) {
	var fates [sides]fate
	var transforms [sides]int
	for s, r := range joint.numbers {
		if r == none {
			continue
		}
		a := m.answer(s, int32(r))
		fates[s] = fate{gets: a.matched, err: a.err, body: m.event.Body, route: joint.number}
		transforms[s] = m.c.sides[s].transform[r]
	}
	now, then := &fates[running], &fates[proposed]
	if !now.gets && now.err == nil && !then.gets && then.err == nil {
		return
	}
	change := delivery.AsNow
	if !now.gets || !then.gets || transforms[running] != transforms[proposed] {
		if now.gets && then.gets {
			for s := range fates {
				f := &fates[s]
				f.transform = transforms[s]
				f.body, f.err = m.apply(f.transform)
				f.gets = f.err == nil
			}
		}
		change = m.change(now, then)
	}
	m.count(m.tally.routes, cellKey{route: joint.number}, change, now, then)
}

// lookAtUnmatched counts what no route matches.
func (m *Comparer) lookAtUnmatched() {
	now, then := fate{gets: !m.claimed[running]}, fate{gets: !m.claimed[proposed]}
	if !now.gets && !then.gets {
		return
	}
	now.transform, then.transform = none, none
	m.count(m.tally.routes, cellKey{route: len(m.c.routes) - 1}, m.change(&now, &then), &now, &then)
}

// count counts the event, and keeps it as an example if it is one of the first.
func (m *Comparer) count(cells map[cellKey]*cell, key cellKey, change delivery.Effect, now, then *fate) {
	c := cells[key]
	if c == nil {
		c = &cell{}
		cells[key] = c
	}
	*c.counts.Of(change)++
	if change == delivery.AsNow || !c.takes(change, m.event.Seq, m.c.examples) {
		return
	}
	e := delivery.EffectExample{Effect: change.String(), Seq: m.event.Seq, ID: strings.Clone(m.event.ID), Subject: strings.Clone(m.event.Subject)}
	switch {
	case then.err != nil:
		e.Place, e.Error = explain(then.err)
	case now.err != nil:
		e.Place, e.Error = explain(now.err)
	case change == delivery.WouldTransform:
		m.showBodies(&e, now, then)
	}
	c.keep(change, e, m.c.examples)
}

// explain says where an expression stands that could not be evaluated, and why.
func explain(err error) (place, text string) {
	var e *rules.Error
	if errors.As(err, &e) && e.Pos() != (config.Pos{}) {
		place = e.Pos().String()
	}
	return place, err.Error()
}

// showBodies says in which values two bodies differ. What variables of a file
// may have put into them is not shown.
func (m *Comparer) showBodies(e *delivery.EffectExample, now, then *fate) {
	e.Values, e.More, e.Note = differences(now.body, then.body)
	for _, f := range []*fate{now, then} {
		if f.transform == none || !m.c.transforms[f.transform].Secret() {
			continue
		}
		e.Note = "values are not shown: a variable of the file is part of the transform"
		for i := range e.Values {
			e.Values[i].Before, e.Values[i].After = "", ""
		}
	}
}
