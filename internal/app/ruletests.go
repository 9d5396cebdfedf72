package app

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/router"
)

// testID is the id of a test's event that has none.
const testID = "test"

// TestResult is what came of a test of rules.
type TestResult struct {
	Name string
	Pos  config.Pos
	// Failures say what is not as expected, each one or more lines; none: it passed.
	Failures []string
	// Took is how long it took.
	Took time.Duration
}

// Coverage is what tests have looked at.
type Coverage struct {
	// Routes are all, and Unmatched those that matched in no test.
	Routes, Unmatched []string
	// Types are the event types of the catalogue that a route's subjects
	// match, and Untested those that no test has sent.
	Types, Untested []string
}

// RuleTests runs tests of rules and remembers what they have looked at. It is
// not safe for concurrent use.
type RuleTests struct {
	trials  *Trials
	matched map[string]bool
	types   map[string]bool
}

// NewRuleTests returns a runner for the routes of t.
func NewRuleTests(t *Trials) *RuleTests {
	return &RuleTests{trials: t, matched: map[string]bool{}, types: map[string]bool{}}
}

// Run runs one test.
func (r *RuleTests) Run(ctx context.Context, test config.Test) TestResult {
	start := time.Now()
	result := TestResult{Name: test.Name, Pos: test.Pos}
	now := test.Event.Now.Time
	if now.IsZero() {
		now = start
	}
	e, err := r.event(test.Event, now)
	if err != nil {
		result.Failures = []string{fmt.Sprintf("%s: %v", test.Event.Pos, err)}
		return result
	}
	r.types[e.Subject] = true
	trial := r.trials.Try(ctx, &e, now)
	for _, route := range trial.Routes {
		if route.Matched {
			r.matched[route.Name] = true
		}
	}
	result.Failures = slices.Concat(r.sinks(test.Expect, trial), r.transforms(test.Expect.Transform, trial))
	result.Took = time.Since(start)
	return result
}

// event makes the event of a test.
func (r *RuleTests) event(t config.TestEvent, now time.Time) (event.Event, error) {
	o := clickfunnels.SampleOptions{Version: t.Version, ID: t.ID, Now: now}
	if o.ID == "" {
		o.ID = testID
	}
	if !t.Data.IsZero() {
		o.Set = append(o.Set, clickfunnels.Assignment{Path: "data", Value: string(t.Data.JSON())})
	}
	if !t.Set.IsZero() && t.Set.Shape() != config.Mapping {
		return event.Event{}, fmt.Errorf("set needs a mapping of paths to values, as in {data.total_amount: \"49.00\"}")
	}
	for _, path := range t.Set.Keys() {
		o.Set = append(o.Set, clickfunnels.Assignment{Path: path, Value: string(t.Set.Get(path).JSON())})
	}
	body, err := r.trials.Sample(t.Type.Name, o)
	if err != nil {
		return event.Event{}, err
	}
	return r.trials.Decode(t.Source, body, now)
}

// sinks compares who gets the event.
func (r *RuleTests) sinks(x config.Expect, trial router.Trial) (failures []string) {
	var known []string
	for _, s := range r.trials.config.Sinks {
		known = append(known, s.Name)
	}
	for _, ref := range slices.Concat(x.Sinks, x.NotSinks) {
		if slices.Contains(known, ref.Name) {
			continue
		}
		hint := "there are " + strings.Join(known, ", ")
		if near := config.Nearest(ref.Name, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		failures = append(failures, fmt.Sprintf("%s: there is no sink %q; %s", ref.Pos, ref.Name, hint))
	}
	if len(failures) > 0 {
		return failures
	}
	var got, failed []string
	for _, s := range trial.Sinks {
		if s.Err != nil {
			failed = append(failed, s.Sink)
			failures = append(failures, fmt.Sprintf("%s: %v", s.Sink, s.Err))
			continue
		}
		got = append(got, s.Sink)
	}
	for _, ref := range x.Sinks {
		if !slices.Contains(got, ref.Name) && !slices.Contains(failed, ref.Name) {
			failures = append(failures, fmt.Sprintf("%s does not get it%s", ref.Name, whyNot(ref.Name, trial)))
		}
	}
	if x.Sinks != nil && len(x.Sinks) == 0 && len(got) > 0 {
		failures = append(failures, "no sink should get it, but these do: "+strings.Join(got, ", "))
	}
	for _, ref := range x.NotSinks {
		if at := slices.IndexFunc(trial.Sinks, func(s router.SinkAnswer) bool { return s.Sink == ref.Name && s.Err == nil }); at >= 0 {
			failures = append(failures, fmt.Sprintf("%s gets it, by %s", ref.Name, byWhat(trial.Sinks[at].Decision)))
		}
	}
	return failures
}

func byWhat(d router.Decision) string {
	if d.Default {
		return "default"
	}
	return "route " + d.Route
}

// whyNot says of every route that names a sink why it did not match.
func whyNot(sink string, trial router.Trial) string {
	var b strings.Builder
	for _, r := range trial.Routes {
		if r.Matched || !slices.Contains(r.Sinks, sink) {
			continue
		}
		if !r.Subject {
			fmt.Fprintf(&b, "\nroute %s: the subject matches none of %s", r.Name, strings.Join(r.Patterns, ", "))
			continue
		}
		for _, c := range r.Clauses {
			fmt.Fprintf(&b, "\nroute %s: %s is not true", r.Name, c.Text)
			for _, s := range c.Seen {
				fmt.Fprintf(&b, "\n  %s = %s", s.Path, s.Value)
			}
		}
	}
	if b.Len() == 0 {
		return ": no route names it"
	}
	return b.String()
}

// transforms compares the bodies that sinks get.
func (r *RuleTests) transforms(want config.Node, trial router.Trial) (failures []string) {
	if !want.IsZero() && want.Shape() != config.Mapping {
		return []string{want.Errorf("", "needs a mapping", "write {sink: {key: value}}").String()}
	}
	for _, sink := range want.Keys() {
		at := slices.IndexFunc(trial.Sinks, func(s router.SinkAnswer) bool { return s.Sink == sink && s.Err == nil })
		if at < 0 {
			failures = append(failures, fmt.Sprintf("%s: %s does not get the event", want.Get(sink).Pos(), sink))
			continue
		}
		if lines := bodyChanges(&trial.Sinks[at], want.Get(sink).JSON()); len(lines) > 0 {
			failures = append(failures, sink+" gets another body\n  "+strings.Join(lines, "\n  "))
		}
	}
	return failures
}

// bodyChanges says in which values what a sink gets is not what is wanted. What
// variables of the file went into is compared and not shown.
func bodyChanges(a *router.SinkAnswer, want []byte) (lines []string) {
	list, more, note := router.BodyChanges(a.Event.Body, want)
	if note != "" {
		return []string{"it is not JSON"}
	}
	fit := map[string]string{}
	shown, _, _ := router.BodyChanges(a.Shown, want)
	for _, c := range shown {
		fit[c.Path] = c.Before
	}
	for _, c := range list {
		got, known := c.Before, true
		if a.Hidden {
			got, known = fit[c.Path]
		}
		switch {
		case !known:
			got = strconv.Quote(router.Hidden)
		case got == "":
			got = "nothing"
		}
		if c.After == "" {
			c.After = "nothing"
		}
		lines = append(lines, fmt.Sprintf("%s: got %s, want %s", c.Path, got, c.After))
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more values", more))
	}
	if a.Hidden && len(lines) > 0 {
		lines = append(lines, "(*** is not shown: a variable of the file is part of it)")
	}
	return lines
}

// Coverage returns what the tests that ran have looked at.
func (r *RuleTests) Coverage() Coverage {
	var c Coverage
	for _, route := range r.trials.table.Routes() {
		c.Routes = append(c.Routes, route.Name)
		if !r.matched[route.Name] {
			c.Unmatched = append(c.Unmatched, route.Name)
		}
	}
	for _, prefix := range prefixesOf(r.trials.config) {
		for _, entry := range r.trials.catalog.Entries() {
			subject, known := r.trials.catalog.Canonical(entry.Type)
			subject = prefix + subject
			if !known || !r.trials.table.Routed(subject) || slices.Contains(c.Types, subject) {
				continue
			}
			c.Types = append(c.Types, subject)
			if !r.types[subject] {
				c.Untested = append(c.Untested, subject)
			}
		}
	}
	return c
}
