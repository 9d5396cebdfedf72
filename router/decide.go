package router

import (
	"context"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/router/rules"
)

// Decision says why a sink gets an event. The zero Decision says that it does not.
type Decision struct {
	// Sink is the sink's name.
	Sink string
	// Route is the first route in order that matched and names the sink;
	// empty when Default.
	Route string
	// Default reports that no route matched and the sink is a default one.
	Default bool
	// Err is why it is not known whether Route matched, and no other route
	// names the sink: the event belongs into the sink's dead letters.
	Err error
}

// Wanted reports that the sink gets the event.
func (d Decision) Wanted() bool { return d.Sink != "" }

// Match decides whether the named sink gets e, and by which route. An unknown
// name gets nothing. Conditions are asked as of now.
func (t *Table) Match(e *event.Event, sink string) Decision {
	n, ok := t.numbers[sink]
	if !ok {
		return Decision{}
	}
	q := question{table: t, event: e}
	d, _ := q.decide(context.Background(), n)
	return d
}

// Sinks returns a decision for every sink that gets e, in the order in which
// the sinks are configured. Every route is looked at, and a sink is named at
// most once, with the first route in order that names it. Conditions are asked
// as of now, each once.
func (t *Table) Sinks(e *event.Event) []Decision {
	var out []Decision
	q := question{table: t, event: e, answers: map[int32]answer{}}
	for sink, choice := range t.outlook(e.Subject).choices {
		if choice == nobody {
			continue
		}
		if d, _ := q.decide(context.Background(), sink); d.Wanted() {
			out = append(out, d)
		}
	}
	return out
}

// outlook returns what the subject decides, from memory where it can.
func (t *Table) outlook(subject string) outlook { return t.cache.get(subject, t.compute) }

// question asks the table about one event. It is not safe for concurrent use.
type question struct {
	table *Table
	event *event.Event
	// now is the time that expressions see; zero until the first is asked.
	now   time.Time
	input *rules.Input // nil until an expression is asked
	// answers are those of the conditions by route; nil: not remembered, for
	// a question about one sink asks each condition at most once or twice.
	answers map[int32]answer
}

type answer struct {
	matched bool
	err     error
}

// in is the event as expressions see it.
func (q *question) in() *rules.Input {
	if q.input == nil {
		if q.now.IsZero() {
			q.now = time.Now()
		}
		q.input = rules.NewInput(q.event, q.now)
	}
	return q.input
}

// decide says whether the sink gets the event, and which route's number or
// other choice that is.
func (q *question) decide(ctx context.Context, sink int) (Decision, int32) {
	o := q.table.outlook(q.event.Subject)
	choice, err := o.choices[sink], error(nil)
	if choice == undecided {
		choice, err = q.choose(ctx, sink, o.routes)
	}
	d := q.table.decision(sink, choice)
	d.Err = err
	return d, choice
}

// choose asks the conditions. Its error comes with the route whose condition
// could not be evaluated.
func (q *question) choose(ctx context.Context, sink int, routes []int32) (choice int32, err error) {
	choice = nobody
	for _, r := range routes {
		if !slices.Contains(q.table.routes[r].sinks, sink) {
			continue
		}
		a := q.ask(ctx, r)
		if a.matched {
			return r, nil
		}
		if a.err != nil && err == nil {
			choice, err = r, a.err
		}
	}
	if err == nil && slices.Contains(q.table.fallback, sink) && !q.matched(ctx, routes) {
		return byDefault, nil
	}
	return choice, err
}

// matched reports that a route matched, or that it is not known of one: such
// an event is nothing for the default sinks.
func (q *question) matched(ctx context.Context, routes []int32) bool {
	return slices.ContainsFunc(routes, func(r int32) bool {
		a := q.ask(ctx, r)
		return a.matched || a.err != nil
	})
}

// ask asks a route's condition.
func (q *question) ask(ctx context.Context, r int32) answer {
	when := q.table.routes[r].when
	if when == nil {
		return answer{matched: true}
	}
	if a, ok := q.answers[r]; ok {
		return a
	}
	var a answer
	a.matched, a.err = when.Eval(ctx, q.in())
	if q.answers != nil {
		q.answers[r] = a
	}
	return a
}

func (t *Table) decision(sink int, choice int32) Decision {
	switch choice {
	case nobody:
		return Decision{}
	case byDefault:
		return Decision{Sink: t.sinks[sink], Default: true}
	}
	return Decision{Sink: t.sinks[sink], Route: t.routes[choice].name}
}

// shape returns the event as a sink gets it by a choice of decide: with the
// body that the route's transform makes. When that cannot be made, the next
// route that matched and names the sink decides; the choice returned says
// which did. The error is the first one, when none is left.
func (q *question) shape(ctx context.Context, sink int, choice int32) (event.Event, int32, error) {
	if choice < 0 {
		return *q.event, choice, nil
	}
	var failed error
	for _, r := range q.table.outlook(q.event.Subject).routes {
		if r < choice || !slices.Contains(q.table.routes[r].sinks, sink) || r != choice && !q.ask(ctx, r).matched {
			continue
		}
		shaped, err := q.apply(ctx, q.table.routes[r].transform)
		if err == nil {
			return shaped, r, nil
		}
		if failed == nil {
			failed = err
		}
	}
	return event.Event{}, choice, failed
}

// transformAgain is the transform for what a sink is sent again, whatever the
// routes say: the first that a route has for the sink; nil when none has.
func (t *Table) transformAgain(sink int) *rules.Transform {
	for i := range t.routes {
		if r := &t.routes[i]; r.transform != nil && slices.Contains(r.sinks, sink) {
			return r.transform
		}
	}
	return nil
}

// simple reports that neither a condition nor a transform has a say in whether
// and how the sink gets what has this subject, and then the choice.
func (t *Table) simple(subject string, sink int) (int32, bool) {
	choice := t.outlook(subject).choices[sink]
	return choice, choice != undecided && (choice < 0 || t.routes[choice].transform == nil)
}

// apply returns the event with the body that a transform makes; nil leaves it
// as it is.
func (q *question) apply(ctx context.Context, t *rules.Transform) (event.Event, error) {
	if t == nil {
		return *q.event, nil
	}
	body, err := t.Apply(ctx, q.in())
	if err != nil {
		return event.Event{}, err
	}
	shaped := *q.event
	shaped.Body, shaped.ContentType = body, "application/json"
	return shaped, nil
}
