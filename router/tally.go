package router

import (
	"slices"

	"github.com/penstock/penstock/internal/delivery"
)

// cellKey says what a cell counts: a sink by a route, or a route.
type cellKey struct{ sink, route int }

// cell counts what would change, with the first events of each change.
type cell struct {
	counts   delivery.EffectCounts
	examples [delivery.Effects][]delivery.EffectExample // by sequence
}

// takes reports that an event is among the first of a change.
func (c *cell) takes(change delivery.Effect, seq uint64, most int) bool {
	have := c.examples[change]
	return len(have) < most || most > 0 && seq < have[len(have)-1].Seq
}

// keep adds an example, in its place.
func (c *cell) keep(change delivery.Effect, e delivery.EffectExample, most int) {
	have := c.examples[change]
	at, _ := slices.BinarySearchFunc(have, e.Seq, func(h delivery.EffectExample, seq uint64) int {
		switch {
		case h.Seq < seq:
			return -1
		case h.Seq > seq:
			return 1
		}
		return 0
	})
	have = slices.Insert(have, at, e)
	c.examples[change] = have[:min(len(have), most)]
}

// tally is what was counted. Which goroutine counted it makes no difference.
type tally struct {
	c      *Comparison
	events uint64
	sinks  map[cellKey]*cell
	routes map[cellKey]*cell
}

func newTally(c *Comparison) *tally {
	return &tally{c: c, sinks: map[cellKey]*cell{}, routes: map[cellKey]*cell{}}
}

// merge adds what another has counted.
func (t *tally) merge(o *tally) {
	t.events += o.events
	mergeCells(t.sinks, o.sinks, t.c.examples)
	mergeCells(t.routes, o.routes, t.c.examples)
}

func mergeCells(into, from map[cellKey]*cell, examples int) {
	for key, c := range from {
		sum := into[key]
		if sum == nil {
			sum = &cell{}
			into[key] = sum
		}
		sum.counts.Add(c.counts)
		for change, list := range c.examples {
			for _, e := range list {
				if at := delivery.Effect(change); sum.takes(at, e.Seq, examples) {
					sum.keep(at, e, examples)
				}
			}
		}
	}
}

// difference tells what was counted. It shares nothing with the tally but
// what does not change.
func (t *tally) difference() delivery.Difference {
	d := delivery.Difference{
		Running: t.c.sides[running].table.Version(), Proposed: t.c.sides[proposed].table.Version(), Events: t.events,
		Sinks: []delivery.SinkDifference{}, Routes: []delivery.RouteDifference{},
	}
	for i, sink := range t.c.sinks {
		s := delivery.SinkDifference{Name: sink.name, Standing: standing(sink.numbers), Routes: []delivery.RouteDifference{}}
		for n := range t.c.routes {
			if c := t.sinks[cellKey{i, n}]; c != nil {
				s.Counts.Add(c.counts)
				s.Routes = append(s.Routes, t.route(n, c))
			}
		}
		d.Sinks = append(d.Sinks, s)
	}
	for n := range t.c.routes {
		d.Routes = append(d.Routes, t.route(n, t.routes[cellKey{route: n}]))
	}
	return d
}

// route tells what a cell counts for a route; nil: nothing.
func (t *tally) route(n int, c *cell) delivery.RouteDifference {
	r := t.c.routes[n]
	d := delivery.RouteDifference{Name: r.names[proposed], NameNow: r.names[running]}
	if d.Default = n == len(t.c.routes)-1; !d.Default {
		d.Standing = standing(r.numbers)
	}
	if d.Name == "" {
		d.Name = d.NameNow
	}
	if d.Name == d.NameNow {
		d.NameNow = ""
	}
	if c != nil {
		d.Counts = c.counts
		for _, list := range c.examples {
			d.Examples = append(d.Examples, list...)
		}
	}
	return d
}

func standing(numbers [sides]int) string {
	switch none {
	case numbers[running]:
		return delivery.Added
	case numbers[proposed]:
		return delivery.Removed
	}
	return ""
}
