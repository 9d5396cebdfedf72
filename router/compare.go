package router

import (
	"slices"
	"strings"
	"sync"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/router/rules"
)

// The two sides of a comparison.
const (
	running = iota
	proposed
	sides
)

// none is the number of what there is not.
const none = -1

// Comparison says what other rules would make of events than those in force,
// by the semantics of a Table. Expressions that are the same in both are
// evaluated once. It is safe for concurrent use; what is looked at is counted by
// Comparers.
type Comparison struct {
	sides      [sides]side
	conditions []*rules.Condition
	transforms []*rules.Transform
	sinks      []jointSink
	routes     []jointRoute // the last is what no route matches
	examples   int
	plans      plans
}

// side is one of the tables, with its parts numbered as both are.
type side struct {
	table *Table
	// Of each route the number of its condition, its transform and itself; none
	// for a condition or a transform that it does not have.
	when, transform, route []int
	// sink is the number of each sink of the table.
	sink []int
}

// jointSink is a sink by its name, and its number in each table or none.
type jointSink struct {
	name    string
	numbers [sides]int
}

// jointRoute is a route of both tables, or of one.
type jointRoute struct {
	number  int // in the comparison
	names   [sides]string
	numbers [sides]int
}

// NewComparison compares a table with the one that runs. At most examples
// events are named of each change of each route and sink.
func NewComparison(now, then *Table, examples int) *Comparison {
	c := &Comparison{examples: examples}
	c.sides[running].table, c.sides[proposed].table = now, then
	c.joinSinks()
	c.joinRoutes()
	c.joinExpressions()
	return c
}

// joinSinks numbers the sinks: those of the new table, then those that are
// only in the running one.
func (c *Comparison) joinSinks() {
	numbers := map[string]int{}
	for _, s := range []int{proposed, running} {
		for i, name := range c.sides[s].table.sinks {
			n, known := numbers[name]
			if !known {
				n = len(c.sinks)
				numbers[name] = n
				c.sinks = append(c.sinks, jointSink{name, [sides]int{none, none}})
			}
			c.sinks[n].numbers[s] = i
			c.sides[s].sink = append(c.sides[s].sink, n)
		}
	}
}

// joinRoutes finds which routes are the same one: those that say the same,
// and of the others those with the same name. A route without a name has that
// of its place, which says nothing when one was put before it.
func (c *Comparison) joinRoutes() {
	now, then := c.sides[running].table, c.sides[proposed].table
	partner := partners(now, then)
	c.sides[running].route = make([]int, len(now.routes))
	joined := make([]bool, len(now.routes))
	for i := range then.routes {
		r := jointRoute{number: i, numbers: [sides]int{partner[i], i}}
		r.names[proposed] = then.routes[i].name
		if j := partner[i]; j != none {
			r.names[running], joined[j] = now.routes[j].name, true
			c.sides[running].route[j] = len(c.routes)
		}
		c.sides[proposed].route = append(c.sides[proposed].route, len(c.routes))
		c.routes = append(c.routes, r)
	}
	for j := range now.routes {
		if !joined[j] {
			c.sides[running].route[j] = len(c.routes)
			c.routes = append(c.routes, jointRoute{number: len(c.routes), numbers: [sides]int{j, none}, names: [sides]string{now.routes[j].name, ""}})
		}
	}
	c.routes = append(c.routes, jointRoute{
		number: len(c.routes), names: [sides]string{unmatchedName, unmatchedName}, numbers: [sides]int{none, none},
	})
}

// partners returns for each new route the running one that it is, or none.
func partners(now, then *Table) []int {
	says, saysNow := then.says(), now.says()
	partner := slices.Repeat([]int{none}, len(then.routes))
	taken := make([]bool, len(now.routes))
	for _, key := range []func(name, says string) string{
		func(name, says string) string { return name + "\n" + says },
		func(_, says string) string { return says },
		func(name, _ string) string { return name },
	} {
		free := map[string][]int{} // running routes that are no partner yet, in order
		for j := range now.routes {
			if k := key(now.routes[j].name, saysNow[j]); !taken[j] {
				free[k] = append(free[k], j)
			}
		}
		for i := range then.routes {
			k := key(then.routes[i].name, says[i])
			if list := free[k]; partner[i] == none && len(list) > 0 {
				partner[i], taken[list[0]] = list[0], true
				free[k] = list[1:]
			}
		}
	}
	return partner
}

// unmatchedName stands for what no route matches.
const unmatchedName = "default"

// says is what each route says but for its name.
func (t *Table) says() []string {
	out := make([]string, len(t.routes))
	for i, r := range t.routes {
		var b strings.Builder
		for _, p := range r.patterns {
			b.WriteString(p.text + "\n")
		}
		b.WriteString("\n" + strings.Join(t.names(r.sinks), "\n") + "\n" + r.whenID + r.transformID)
		out[i] = b.String()
	}
	return out
}

// joinExpressions numbers the expressions. Of those that are in both tables it
// keeps the new one, for its place in the file.
func (c *Comparison) joinExpressions() {
	conditions, transforms := map[string]int{}, map[string]int{}
	for _, s := range []int{proposed, running} {
		side := &c.sides[s]
		for i := range side.table.routes {
			when, transform := none, none
			if r := &side.table.routes[i]; r.when != nil {
				when = number(conditions, r.whenID, &c.conditions, r.when)
			}
			if r := &side.table.routes[i]; r.transform != nil {
				transform = number(transforms, r.transformID, &c.transforms, r.transform)
			}
			side.when, side.transform = append(side.when, when), append(side.transform, transform)
		}
	}
}

// number is the number of a thing in a list of different ones.
func number[T any](numbers map[string]int, id string, list *[]T, thing T) int {
	n, known := numbers[id]
	if !known {
		n = len(*list)
		numbers[id] = n
		*list = append(*list, thing)
	}
	return n
}

// plan is what a subject decides for a comparison.
type plan struct {
	routes     [sides][]int32 // that match, in order
	conditions []int          // to be asked
	sinks      []sinkPlan     // that may get it
	joint      []jointRoute   // routes that match in either table, by their numbers there
}

// sinkPlan is what may bring an event to a sink.
type sinkPlan struct {
	sink     int
	routes   [sides][]int32 // those of the plan that name it
	fallback [sides]bool
}

// mostPlanned bounds the plans that are remembered, in numbers that they hold.
// A stream of made-up subjects must not grow memory.
const mostPlanned = 8 << 20

// plans remembers plans by subject. The zero plans is ready.
type plans struct {
	mu   sync.RWMutex
	kept map[string]*plan
	size int
}

// plan returns the plan of a subject, from memory where it can. It leaves that
// of the tables alone: old events must not fill the running one's.
func (c *Comparison) plan(subject string) *plan {
	c.plans.mu.RLock()
	p := c.plans.kept[subject]
	c.plans.mu.RUnlock()
	if p != nil {
		return p
	}
	p = c.makePlan(subject)
	c.plans.mu.Lock()
	defer c.plans.mu.Unlock()
	if size := p.size(); c.plans.size+size <= mostPlanned {
		if c.plans.kept == nil {
			c.plans.kept = map[string]*plan{}
		}
		c.plans.size += size
		c.plans.kept[strings.Clone(subject)] = p
	}
	return p
}

// size is about how many numbers the plan holds.
func (p *plan) size() int {
	const itself = 64
	n := itself + len(p.routes[running]) + len(p.routes[proposed]) + len(p.conditions) + 8*len(p.joint)
	for _, sp := range p.sinks {
		n += itself/4 + len(sp.routes[running]) + len(sp.routes[proposed])
	}
	return n
}

func (c *Comparison) makePlan(subject string) *plan {
	p := &plan{}
	asked, at := map[int]bool{}, map[int]int{}
	for s := range c.sides {
		side := &c.sides[s]
		p.routes[s] = side.table.compute(subject).routes
		for _, r := range p.routes[s] {
			if when := side.when[r]; when != none && !asked[when] {
				asked[when] = true
				p.conditions = append(p.conditions, when)
			}
			n := side.route[r]
			i, there := at[n]
			if !there {
				i = len(p.joint)
				at[n] = i
				p.joint = append(p.joint, jointRoute{number: n, numbers: [sides]int{none, none}})
			}
			p.joint[i].numbers[s] = int(r)
		}
	}
	for i := range c.sinks {
		sp := sinkPlan{sink: i}
		for s := range c.sides {
			c.namers(&sp, s, p.routes[s])
		}
		if len(sp.routes[running])+len(sp.routes[proposed]) > 0 || sp.fallback[running] || sp.fallback[proposed] {
			p.sinks = append(p.sinks, sp)
		}
	}
	return p
}

// namers fills in what of one table may bring an event to the sink.
func (c *Comparison) namers(sp *sinkPlan, s int, matching []int32) {
	n := c.sinks[sp.sink].numbers[s]
	if n == none {
		return
	}
	t := c.sides[s].table
	for _, r := range matching {
		if slices.Contains(t.routes[r].sinks, n) {
			sp.routes[s] = append(sp.routes[s], r)
		}
	}
	sp.fallback[s] = slices.Contains(t.fallback, n)
}

// Difference puts together what Comparers have counted. They may go on
// meanwhile.
func (c *Comparison) Difference(counted []*Comparer) delivery.Difference {
	sum := newTally(c)
	for _, one := range counted {
		one.mu.Lock()
		sum.merge(one.tally)
		one.mu.Unlock()
	}
	return sum.difference()
}
