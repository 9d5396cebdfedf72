package config

import (
	"slices"
	"strings"
)

// Facts are what is known of a condition without an event.
type Facts struct {
	// Always and Never report that the condition is true, or false, whatever
	// the event is.
	Always, Never bool
	// Needs has, for attributes of the event (type, not event.type), the values
	// of which it must have one for the condition to be true. An empty list: no
	// value will do.
	Needs map[string][]string
	// Literals are the values with which attributes are compared.
	Literals []Literal
	// Headers are the names of headers that it looks at.
	Headers []Literal
}

// Literal is a value that stands in an expression.
type Literal struct {
	// Attribute is what it is compared with.
	Attribute, Value string
	// Offset is where it stands, in characters from 0.
	Offset int
}

// TypeFacts are what a catalogue has of an event type as it is sent.
type TypeFacts struct {
	Known bool
	// Subject is where its events are stored, a source's prefix aside.
	Subject string
	// Versions are the API versions in which it is sent.
	Versions []int
	// Nearest is the type that was most likely meant when it is not known, or "".
	Nearest string
}

// keptHeaders are those that expressions see.
var keptHeaders = []string{"content-type", "traceparent"}

// facts are those of a route's condition, and advice about what stands in it and
// in the transform.
func (l *loader) facts(r *rule) Facts {
	if l.o.Facts == nil {
		return Facts{}
	}
	when := r.Get("when")
	f := l.o.Facts(when)
	for _, literal := range f.Literals {
		l.adviseLiteral(when, literal)
	}
	l.adviseHeaders(when, f.Headers)
	l.adviseTransformHeaders(r.Get("transform"), 0)
	return f
}

func (l *loader) adviseTransformHeaders(n Node, depth int) {
	switch {
	case n.IsZero() || l.o.Facts == nil || depth > maxDepth:
	case n.Shape() == Mapping:
		for _, key := range n.Keys() {
			l.adviseTransformHeaders(n.Get(key), depth+1)
		}
	case n.Shape() == List:
		for _, item := range n.list() {
			l.adviseTransformHeaders(item, depth+1)
		}
	default:
		l.adviseHeaders(n, l.o.Facts(n).Headers)
	}
}

func (l *loader) adviseHeaders(n Node, names []Literal) {
	for _, name := range names {
		if slices.Contains(keptHeaders, name.Value) {
			continue
		}
		hint := "only " + strings.Join(keptHeaders, " and ") + " are kept"
		if low := strings.ReplaceAll(strings.ToLower(name.Value), "_", "-"); slices.Contains(keptHeaders, low) {
			hint = `write headers["` + low + `"]`
		}
		l.warnAt(n, name.Offset, "there is no header "+show(name.Value), hint)
	}
}

func (l *loader) warnAt(n Node, offset int, what, hint string) {
	m := n.ErrorAt(offset, what, hint)
	m.Warning = true
	l.check(m)
}

// adviseLiteral warns of a value that no event has.
func (l *loader) adviseLiteral(when Node, lit Literal) {
	what, hint := "", ""
	switch lit.Attribute {
	case "source":
		what, hint = l.aboutSource(lit.Value)
	case "type":
		what, hint = l.aboutType(lit.Value)
	case "subject":
		what, hint = l.aboutSubject(lit.Value)
	case "api_version":
		if !slices.Contains([]string{"0", "1", "2"}, lit.Value) {
			what, hint = "there is no API version "+lit.Value, "it is 1 or 2, and 0 when it is not known"
		}
	}
	if what != "" {
		l.warnAt(when, lit.Offset, what, hint)
	}
}

func (l *loader) aboutSource(name string) (what, hint string) {
	var known []string
	for _, e := range l.sources {
		known = append(known, e.name)
	}
	if len(known) == 0 || slices.Contains(known, name) {
		return "", ""
	}
	hint = "known sources: " + strings.Join(known, ", ")
	if near := Nearest(name, known); near != "" {
		hint = "did you mean " + near + "?"
	}
	return "no source is named " + quote(name), hint
}

func (l *loader) aboutType(name string) (what, hint string) {
	if l.o.Type == nil || l.extraRoot(strings.ReplaceAll(name, "/", ".")) {
		return "", ""
	}
	switch f := l.o.Type(name); {
	case f.Known && slices.Equal(f.Versions, []int{1}) && !l.takesUnsigned():
		return show(name) + " is sent in API version 1 only", onlyV1Hint
	case f.Known:
	case f.Nearest != "":
		return show(name) + " is no known event type", "did you mean " + f.Nearest + "?"
	default:
		return show(name) + " is no known event type", "the catalogue lists them"
	}
	return "", ""
}

const onlyV1Hint = "it needs an endpoint of version 1, or the step of a workflow, which needs a source with an url_token"

func (l *loader) aboutSubject(name string) (what, hint string) {
	if l.o.Canonical == nil || strings.HasPrefix(name, "unknown.") || l.extraRoot(name) {
		return "", ""
	}
	_, shown, rest := l.cutPrefix(name)
	switch subject, known, near := l.o.Canonical(rest); {
	case known && subject != rest:
		return show(name) + " is no subject", "write " + shown + subject
	case known:
		return "", ""
	case near != "":
		return show(name) + " is no known subject", "did you mean " + shown + near + "?"
	}
	return show(name) + " is no known subject", "the catalogue lists them"
}

// adviseNever warns of a condition that is true for no event that the patterns
// match, and reports whether it is so.
func (l *loader) adviseNever(r *rule, f Facts) bool {
	what, hint := "", ""
	switch {
	case f.Never:
		what, hint = "is false for every event", "put it right, or remove the route"
	case len(f.Needs) > 0:
		what, hint = l.unmet(r, f.Needs)
	}
	if what != "" {
		l.warnAt(r.Get("when"), 0, what, hint)
	}
	return what != ""
}

// unmet says why no event that the patterns match meets what a condition needs.
func (l *loader) unmet(r *rule, needs map[string][]string) (what, hint string) {
	for _, attribute := range []string{"type", "source", "subject", "api_version", "id"} {
		if values, needed := needs[attribute]; needed && len(values) == 0 {
			return "is never true: event." + attribute + " has one value", "join what excludes each other with ||"
		}
	}
	patterns := make([]string, 0, len(r.patterns))
	for _, p := range r.patterns {
		if !wellFormed(p.Name) {
			return "", ""
		}
		patterns = append(patterns, p.Name)
	}
	if len(patterns) == 0 || l.o.Type == nil || l.o.Survey == nil {
		return "", ""
	}
	subjects, known := l.subjectsOf(needs)
	if !known {
		return l.unmetVersion(patterns, needs["api_version"])
	}
	subjects = slices.DeleteFunc(subjects, func(s string) bool {
		return !slices.ContainsFunc(patterns, func(p string) bool { return covers(p, s) })
	})
	if len(subjects) == 0 {
		return "is never true: match names none of the events that it asks for", "widen match, or change the condition"
	}
	return l.unmetVersion(subjects, needs["api_version"])
}

// subjectsOf are the subjects of the events that a condition asks for by type or
// by subject; not known when it does not, or the catalogue does not have one.
func (l *loader) subjectsOf(needs map[string][]string) (subjects []string, known bool) {
	if wanted := needs["subject"]; len(wanted) > 0 {
		return wanted, !slices.ContainsFunc(wanted, func(s string) bool { return strings.HasPrefix(s, "unknown.") })
	}
	for _, name := range needs["type"] {
		f := l.o.Type(name)
		if !f.Known {
			return nil, false
		}
		for _, prefix := range l.prefixes() {
			subjects = append(subjects, strings.TrimPrefix(prefix+"."+f.Subject, "."))
		}
	}
	return subjects, len(subjects) > 0
}

// unmetVersion says that no event under the patterns is sent in a version that a
// condition asks for.
func (l *loader) unmetVersion(patterns, wanted []string) (what, hint string) {
	if len(wanted) == 0 || slices.Contains(wanted, "0") {
		return "", ""
	}
	sent := []string{}
	for _, p := range patterns {
		for _, prefix := range l.prefixes() {
			rest, ok := below(p, prefix)
			if !ok {
				continue
			}
			s := l.o.Survey(rest)
			if s.Types == 0 || len(s.Versions) == 0 {
				return "", ""
			}
			for _, v := range s.Versions {
				sent = append(sent, string(rune('0'+v)))
			}
		}
	}
	if len(sent) == 0 || slices.ContainsFunc(wanted, func(v string) bool { return slices.Contains(sent, v) }) {
		return "", ""
	}
	slices.Sort(sent)
	return "is never true: what match names is sent in API version " + strings.Join(slices.Compact(sent), " and ") + " only", "change the version, or match"
}
