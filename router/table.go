// Package router decides which sinks want an event and what becomes of it
// when a sink fails: the table of routes, the policy that judges failures, the
// gate that holds a sick sink back, and the worker that puts them together.
// It reads no queue and acknowledges nothing; package broker does.
package router

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/router/rules"
)

// Table is a compiled set of routes. It does not change, and is safe for
// concurrent use.
//
// A pattern matches an event when it matches the event's subject, or the
// subject without its "unknown" ("unknown.brand.made" as "brand.made",
// "<prefix>.unknown.brand.made" as "<prefix>.brand.made"), so that a type that
// enters the catalogue later changes no rule. What could not be read,
// "unknown.malformed", is of no type: only ">" and patterns that say "unknown"
// match it.
type Table struct {
	routes   []route
	sinks    []string       // by number, in the order of the file
	numbers  map[string]int // name to number
	fallback []int          // sinks of what no route matched
	prefixes []string
	root     node
	cache    cache[outlook]
	version  string
	language *rules.Language // nil when no route has an expression
}

// route is one rule. What it asks beyond its patterns is asked of the routes
// that the index found, in order.
type route struct {
	name      string
	patterns  []Pattern
	sinks     []int
	when      *rules.Condition // nil: always true
	transform *rules.Transform // nil: the body as it is
	// What says whether expressions of two tables are the same; see identity.
	whenID, transformID string
}

// outlook is what a subject alone decides.
type outlook struct {
	choices choices
	// routes are those with a pattern that matches, in order.
	routes []int32
}

// choices holds for each sink which rule decided: the route's number, or
// byDefault, or nobody, or undecided when a condition has to be asked.
type choices []int32

const (
	nobody    = -1
	byDefault = -2
	undecided = -3
)

// Compile builds the table of a configuration. Its error is a
// config.Mistakes with everything that is wrong.
func Compile(c *config.Config) (*Table, error) {
	t := &Table{numbers: make(map[string]int, len(c.Sinks))}
	for i, s := range c.Sinks {
		t.sinks = append(t.sinks, s.Name)
		t.numbers[s.Name] = i
	}
	for _, s := range c.Sources {
		if s.SubjectPrefix != "" {
			t.prefixes = append(t.prefixes, s.SubjectPrefix)
		}
	}
	var mistakes config.Mistakes
	for i, r := range c.Routes {
		mistakes = append(mistakes, t.addRoute(r, fmt.Sprintf("routes[%d]", i))...)
	}
	fallback, wrong := t.resolve(c.Default, "default")
	t.fallback = fallback
	if mistakes = append(mistakes, wrong...); len(mistakes) > 0 {
		return nil, mistakes
	}
	t.version = version(c)
	return t, nil
}

// addRoute compiles one route and puts its patterns into the index.
func (t *Table) addRoute(c config.Route, path string) config.Mistakes {
	r := route{name: c.Name}
	var mistakes config.Mistakes
	for i, ref := range c.Match {
		// An event type may be given as it is sent.
		p, err := ParsePattern(strings.ReplaceAll(ref.Name, "/", "."))
		if err != nil {
			mistakes = append(mistakes, config.Mistake{Pos: ref.Pos, Path: fmt.Sprintf("%s.match[%d]", path, i), What: err.Error()})
			continue
		}
		r.patterns = append(r.patterns, p)
		t.root.insert(p, len(t.routes))
	}
	sinks, wrong := t.resolve(c.To, path+".to")
	r.sinks = sinks
	mistakes = append(mistakes, wrong...)
	mistakes = append(mistakes, t.addExpressions(&r, c)...)
	t.routes = append(t.routes, r)
	return mistakes
}

// CheckExpressions returns a check of when and transform of routes, for
// loading a configuration. The function is safe for concurrent use.
func CheckExpressions() func(*config.Route) config.Mistakes {
	language := sync.OnceValues(rules.New)
	return func(r *config.Route) config.Mistakes {
		if r.When.IsZero() && r.Transform.IsZero() {
			return nil
		}
		l, err := language()
		if err != nil {
			return config.Mistakes{{Path: "routes", What: err.Error()}}
		}
		_, ms := l.Condition(r.When)
		_, more := l.Transform(r.Transform)
		return append(ms, more...)
	}
}

// addExpressions compiles what a route says besides its names.
func (t *Table) addExpressions(r *route, c config.Route) (mistakes config.Mistakes) {
	if c.When.IsZero() && c.Transform.IsZero() {
		return nil
	}
	if t.language == nil {
		var err error
		if t.language, err = rules.New(); err != nil {
			return config.Mistakes{c.When.Errorf("", err.Error(), "")}
		}
	}
	var wrong config.Mistakes
	r.when, mistakes = t.language.Condition(c.When)
	r.transform, wrong = t.language.Transform(c.Transform)
	r.whenID, r.transformID = identity(c.When), identity(c.Transform)
	return append(mistakes, wrong...)
}

// resolve turns names of sinks into their numbers.
func (t *Table) resolve(refs []config.Ref, path string) ([]int, config.Mistakes) {
	var numbers []int
	var mistakes config.Mistakes
	for i, ref := range refs {
		n, ok := t.numbers[ref.Name]
		if !ok {
			mistakes = append(mistakes, config.Mistake{
				Pos:  ref.Pos,
				Path: fmt.Sprintf("%s[%d]", path, i),
				What: fmt.Sprintf("there is no sink %q", ref.Name),
				Hint: t.known(),
			})
			continue
		}
		numbers = append(numbers, n)
	}
	return numbers, mistakes
}

func (t *Table) known() string {
	if len(t.sinks) == 0 {
		return "no sink is defined under sinks"
	}
	return "defined are " + strings.Join(t.sinks, ", ")
}

// compute finds the routes that match a subject and lets them choose.
func (t *Table) compute(subject string) outlook {
	set := newRouteSet(len(t.routes))
	tokens := strings.Split(subject, ".")
	at := unknownAt(t.prefixes, subject, tokens)
	switch {
	case at < 0:
		t.root.match(tokens, -1, set)
	case len(tokens) == at+2 && tokens[at+1] == "malformed":
		t.root.match(tokens, at, set)
	default:
		t.root.match(tokens, -1, set)
		t.root.match(slices.Delete(tokens, at, at+1), -1, set)
	}
	return t.settle(set)
}

// settle gives each sink to the first of the routes that names it, and to the
// default sinks what no route wanted, as far as no condition has to be asked.
func (t *Table) settle(matched routeSet) outlook {
	o := outlook{choices: make(choices, len(t.sinks)), routes: make([]int32, 0, matched.size())}
	for i := range o.choices {
		o.choices[i] = nobody
	}
	sure := false
	matched.each(func(i int) {
		o.routes = append(o.routes, int32(i))
		sure = sure || t.routes[i].when == nil
		for _, sink := range t.routes[i].sinks {
			switch {
			case o.choices[sink] != nobody:
			case t.routes[i].when != nil:
				o.choices[sink] = undecided
			default:
				o.choices[sink] = int32(i)
			}
		}
	})
	if sure { // something matched
		return o
	}
	for _, sink := range t.fallback {
		switch {
		case len(o.routes) == 0:
			o.choices[sink] = byDefault
		case o.choices[sink] == nobody:
			o.choices[sink] = undecided
		}
	}
	return o
}

// unknownAt returns the index of the token that says that the type is not in
// the catalogue: the first, or the one after a source's prefix. It is -1 when
// there is none, or nothing comes after it.
func unknownAt(prefixes []string, subject string, tokens []string) int {
	if len(tokens) > 1 && tokens[0] == unknown {
		return 0
	}
	for _, prefix := range prefixes {
		rest, ok := strings.CutPrefix(subject, prefix+".")
		if ok && strings.HasPrefix(rest, unknown+".") {
			return strings.Count(prefix, ".") + 1
		}
	}
	return -1
}

// Patterns returns the patterns of all routes that name the sink, each once,
// in order; for a default sink just ">", as anything may end there. None: no
// route names it.
func (t *Table) Patterns(sink string) []Pattern {
	n, ok := t.numbers[sink]
	if !ok {
		return nil
	}
	if slices.Contains(t.fallback, n) {
		return []Pattern{everything}
	}
	var out []Pattern
	for _, r := range t.routes {
		if !slices.Contains(r.sinks, n) {
			continue
		}
		for _, p := range r.patterns {
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// Filters returns the filters of the sink's consumer; see the function Filters.
func (t *Table) Filters(sink string) []string { return Filters(t.Patterns(sink), t.prefixes) }
