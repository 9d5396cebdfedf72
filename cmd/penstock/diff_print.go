package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/penstock/penstock/internal/delivery"
)

// diffPage is what diff says, before it is laid out.
type diffPage struct {
	title, intro string
	columns      []delivery.Effect
	sinks        [][]string
	routes       [][]string
	summary      []string
	details      []string // lines
}

func newDiffPage(files string, d delivery.Difference) diffPage {
	p := diffPage{
		title:   fmt.Sprintf("rules %s (running) and %s (%s)", d.Running, d.Proposed, printable(files)),
		intro:   diffIntro(d),
		columns: diffColumns(d),
	}
	if d.Events == 0 { // of nothing there is nothing to say
		return p
	}
	p.addSinks(d.Sinks)
	p.addRoutes(d.Routes)
	if d.Partial {
		p.summary[0] = "so far " + p.summary[0]
	}
	for _, s := range d.Sinks {
		for _, r := range s.Routes {
			p.addDetails(s.Name, r)
		}
	}
	for _, r := range d.Routes {
		if covered(r, d.Sinks) {
			p.addErrors(r)
		}
	}
	return p
}

// covered reports that a route's condition cannot be evaluated for events which
// other routes bring to its sinks, so that no sink tells of it.
func covered(r delivery.RouteDifference, sinks []delivery.SinkDifference) bool {
	told := uint64(0)
	for _, s := range sinks {
		for _, by := range s.Routes {
			if by.Name == r.Name && by.Default == r.Default {
				told = max(told, by.Counts.Error)
			}
		}
	}
	return r.Counts.Error > told
}

// diffIntro says which events were looked at.
func diffIntro(d delivery.Difference) string {
	text := "tried on " + count(int(d.Events), "event")
	if d.Events == 0 && !d.Partial {
		text = "no event is selected: this says nothing about the new rules"
	} else if !d.First.IsZero() {
		text += fmt.Sprintf(" stored from %s to %s", formatTime(d.First), formatTime(d.Last))
	}
	if d.Foreign > 0 {
		text += fmt.Sprintf("; %s that somebody else published", count(int(d.Foreign), "message"))
	}
	if d.Partial {
		text += fmt.Sprintf("\nPARTIAL: it was stopped; about %d were selected", d.Selected)
	}
	return text
}

// diffColumns are the changes that have a column: those that are rare only
// where there are any.
func diffColumns(d delivery.Difference) []delivery.Effect {
	var sum delivery.EffectCounts
	for _, s := range d.Sinks {
		sum.Add(s.Counts)
	}
	for _, r := range d.Routes {
		sum.Add(r.Counts)
	}
	var out []delivery.Effect
	for change := range delivery.Effects {
		rare := change == delivery.WouldWork || change == delivery.StillFails
		if !rare || *sum.Of(change) > 0 {
			out = append(out, change)
		}
	}
	return out
}

// row is a line of a table.
func (p *diffPage) row(name string, c delivery.EffectCounts) []string {
	row := []string{name}
	for _, change := range p.columns {
		n := *c.Of(change)
		if n == 0 {
			row = append(row, "-")
			continue
		}
		row = append(row, strconv.FormatUint(n, 10))
	}
	return row
}

func (p *diffPage) head(first string) []string {
	row := []string{first}
	for _, change := range p.columns {
		row = append(row, change.String())
	}
	return row
}

// addSinks adds a line for every sink, and below it one for every route by
// which something changes.
func (p *diffPage) addSinks(sinks []delivery.SinkDifference) {
	changed := 0
	for _, s := range sinks {
		name := printable(s.Name)
		switch {
		case s.Standing != "":
			name += " (" + s.Standing + ")"
		case s.KindNow != "":
			name += fmt.Sprintf(" (%s, now %s)", printable(s.Kind), printable(s.KindNow))
		}
		p.sinks = append(p.sinks, p.row(name, s.Counts))
		if s.Counts.Any() {
			changed++
		}
		for _, r := range s.Routes {
			if r.Counts.Any() {
				p.sinks = append(p.sinks, p.row("  by "+routeTitle(r), r.Counts))
			}
		}
	}
	p.summary = append(p.summary, fmt.Sprintf("%d of %s would see a change", changed, count(len(sinks), "sink")))
	if changed == 0 {
		p.summary[0] = "no sink would see a change"
	}
}

// addRoutes adds a line for every route that changes.
func (p *diffPage) addRoutes(routes []delivery.RouteDifference) {
	same := 0
	for _, r := range routes {
		switch {
		case r.Counts.Any() || r.Standing != "":
			name := routeTitle(r)
			if r.Default {
				name = "no route (default)"
			}
			p.routes = append(p.routes, p.row(name, r.Counts))
		case !r.Default:
			same++
		}
	}
	if len(p.routes) == 0 {
		p.summary = append(p.summary, "every route matches what it matches now")
	} else if same > 0 {
		p.summary = append(p.summary, count(same, "other route")+" would match the same")
	}
}

func routeTitle(r delivery.RouteDifference) string {
	name := printable(r.Name)
	switch {
	case r.Standing != "":
		name += " (" + r.Standing + ")"
	case r.NameNow != "":
		name += " (now " + printable(r.NameNow) + ")"
	}
	return name
}

// addDetails names the examples of a sink.
func (p *diffPage) addDetails(sink string, r delivery.RouteDifference) {
	for change := range delivery.Effects {
		var examples []delivery.EffectExample
		for _, e := range r.Examples {
			if e.Effect == change.String() {
				examples = append(examples, e)
			}
		}
		if len(examples) == 0 {
			continue
		}
		p.details = append(p.details, fmt.Sprintf("%s, %s by %s: %s", printable(sink), change, routeTitle(r), shownOf(len(examples), *r.Counts.Of(change))))
		p.addExamples(examples)
	}
}

// shownOf says how many events there are, and how many of them follow.
func shownOf(shown int, all uint64) string {
	text := count(int(all), "event")
	if uint64(shown) < all {
		text += fmt.Sprintf(", the first %d", shown)
	}
	return text
}

// addErrors names the examples of a route's condition that cannot be evaluated:
// another route may cover it, so that no sink's tell of it.
func (p *diffPage) addErrors(r delivery.RouteDifference) {
	var examples []delivery.EffectExample
	for _, e := range r.Examples {
		if e.Effect == delivery.WouldFail.String() {
			examples = append(examples, e)
		}
	}
	if len(examples) > 0 {
		p.details = append(p.details, fmt.Sprintf("route %s, error: %s", routeTitle(r), shownOf(len(examples), r.Counts.Error)))
		p.addExamples(examples)
	}
}

// addExamples writes events, with what there is to say of each. A reason that
// several share is said once.
func (p *diffPage) addExamples(examples []delivery.EffectExample) {
	said := ""
	for _, e := range examples {
		p.details = append(p.details, fmt.Sprintf("  %s  %s", printable(e.ID), printable(e.Subject)))
		reason := e.Error
		if e.Place != "" {
			reason = e.Place + ": " + reason
		}
		if reason != "" && reason != said {
			p.details = append(p.details, "    "+printable(reason))
		}
		said = reason
		for _, v := range e.Values {
			line := "    " + printable(v.Path)
			if v.Before+v.After != "" {
				line += fmt.Sprintf(": %s -> %s", printable(cmp.Or(v.Before, "none")), printable(cmp.Or(v.After, "none")))
			}
			p.details = append(p.details, line)
		}
		if e.More > 0 {
			p.details = append(p.details, fmt.Sprintf("    and %s more", count(e.More, "value")))
		}
		if e.Note != "" {
			p.details = append(p.details, "    ("+printable(e.Note)+")")
		}
	}
}

// text lays the page out for a terminal.
func (p diffPage) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", p.title, p.intro)
	table := func(first string, rows [][]string) {
		if len(rows) == 0 {
			return
		}
		fmt.Fprintln(&b)
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, strings.ToUpper(strings.Join(p.head(first), "\t")))
		for _, row := range rows {
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
		_ = w.Flush() // into memory
	}
	table("sink", p.sinks)
	table("route", p.routes)
	if len(p.details) > 0 {
		fmt.Fprintf(&b, "\n%s\n", strings.Join(p.details, "\n"))
	}
	if len(p.summary) > 0 {
		fmt.Fprintf(&b, "\n%s\n", strings.Join(p.summary, "; "))
	}
	return b.String()
}

// markdown lays the page out for a pull request.
func (p diffPage) markdown() string {
	var b strings.Builder
	said := append([]string{strings.ReplaceAll(p.intro, "\n", " ")}, p.summary...)
	fmt.Fprintf(&b, "**%s** %s.\n", upperFirst(p.title), strings.Join(said, "; "))
	table := func(first string, rows [][]string) {
		if len(rows) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n| %s |\n|---|%s\n", strings.Join(p.head(first), " | "), strings.Repeat("---:|", len(p.columns)))
		for _, row := range rows {
			name := strings.ReplaceAll(strings.ReplaceAll(row[0], "|", `\|`), "  by ", "&emsp;by ")
			fmt.Fprintf(&b, "| %s | %s |\n", name, strings.Join(row[1:], " | "))
		}
	}
	table("sink", p.sinks)
	table("route", p.routes)
	if len(p.details) > 0 {
		details := strings.ReplaceAll(strings.Join(p.details, "\n"), "```", "'''")
		fmt.Fprintf(&b, "\n<details><summary>Examples</summary>\n\n```text\n%s\n```\n\n</details>\n", details)
	}
	return b.String()
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
