package router

import (
	"context"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/router/rules"
)

// RouteInfo is a route as it is configured.
type RouteInfo struct {
	Name     string
	Patterns []string
	// When is the condition as it is written, or empty.
	When  string
	Sinks []string
	// Transforms reports that the route has a transform.
	Transforms bool
}

// RouteAnswer is what a route said to an event.
type RouteAnswer struct {
	RouteInfo
	// Subject reports that one of the patterns matches.
	Subject bool
	// Matched reports that the route matched.
	Matched bool
	// Clauses are the parts of the condition that are not true, and Err is why
	// the condition could not be evaluated, if that is why it did not match.
	Clauses []rules.Clause
	Err     error
}

// Hidden stands for a value that must not be shown.
const Hidden = rules.Hidden

// SinkAnswer is what a sink gets. Event is what it is handed, unless Err.
type SinkAnswer struct {
	Decision
	Event event.Event
	// Transformed reports that the body is the route's transform's.
	Transformed bool
	// Hidden reports that variables of the file are part of the body, so that it
	// must not be shown. Shown is the body that may be: the constant Hidden
	// stands in it for what they went into.
	Hidden bool
	Shown  []byte
}

// Trial is what the routes make of an event.
type Trial struct {
	Routes []RouteAnswer
	Sinks  []SinkAnswer
}

// Routes returns all routes, in the order of the file.
func (t *Table) Routes() []RouteInfo {
	out := make([]RouteInfo, len(t.routes))
	for i := range t.routes {
		out[i] = t.info(i)
	}
	return out
}

// Defaults returns the sinks of what no route matched.
func (t *Table) Defaults() []string { return t.names(t.fallback) }

func (t *Table) info(i int) RouteInfo {
	r := &t.routes[i]
	info := RouteInfo{Name: r.name, Sinks: t.names(r.sinks), Transforms: r.transform != nil}
	for _, p := range r.patterns {
		info.Patterns = append(info.Patterns, p.String())
	}
	if r.when != nil {
		info.When = r.when.String()
	}
	return info
}

func (t *Table) names(numbers []int) []string {
	out := make([]string, len(numbers))
	for i, n := range numbers {
		out[i] = t.sinks[n]
	}
	return out
}

// Routed reports that a pattern of some route matches the subject.
func (t *Table) Routed(subject string) bool { return len(t.outlook(subject).routes) > 0 }

// Try asks every route about an event as of now and makes what each sink would
// be handed, delivering nothing.
func (t *Table) Try(ctx context.Context, e *event.Event, now time.Time) Trial {
	var trial Trial
	q := question{table: t, event: e, now: now, answers: map[int32]answer{}}
	o := t.outlook(e.Subject)
	for i := range t.routes {
		trial.Routes = append(trial.Routes, q.tryRoute(ctx, int32(i), slices.Contains(o.routes, int32(i))))
	}
	for sink := range t.sinks {
		d, choice := q.decide(ctx, sink)
		if !d.Wanted() {
			continue
		}
		a := SinkAnswer{Decision: d}
		if d.Err == nil {
			var err error
			a.Event, choice, err = q.shape(ctx, sink, choice)
			a.Decision = t.decision(sink, choice)
			a.Err, a.Shown = err, a.Event.Body
			if err == nil && choice >= 0 {
				a.show(ctx, t.routes[choice].transform, q.in())
			}
		}
		trial.Sinks = append(trial.Sinks, a)
	}
	return trial
}

// show says what of the body may be shown.
func (a *SinkAnswer) show(ctx context.Context, t *rules.Transform, in *rules.Input) {
	a.Transformed, a.Shown = t != nil, a.Event.Body
	if t == nil || !t.Secret() {
		return
	}
	a.Hidden = true
	if a.Shown, a.Err = t.Show(ctx, in); a.Err != nil {
		a.Event, a.Transformed = event.Event{}, false
	}
}

func (q *question) tryRoute(ctx context.Context, r int32, subject bool) RouteAnswer {
	a := RouteAnswer{RouteInfo: q.table.info(int(r)), Subject: subject}
	if !subject {
		return a
	}
	said := q.ask(ctx, r)
	a.Matched, a.Err = said.matched, said.err
	if when := q.table.routes[r].when; when != nil && !a.Matched {
		a.Clauses = when.Explain(ctx, q.in())
	}
	return a
}
