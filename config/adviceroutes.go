package config

import (
	"slices"
	"strconv"
	"strings"
)

// rule is a route as far as the advice about routes asks.
type rule struct {
	Node
	patterns []Ref
	sinks    []Ref
	// when and transform are as written, in one form; "" for none. A condition
	// that is always true is none.
	when, transform string
	// never: no event meets its condition.
	never bool
}

func (l *loader) rules() []rule {
	out := make([]rule, len(l.cfg.Routes))
	for i, r := range l.cfg.Routes {
		n := l.routes[i]
		out[i] = rule{
			Node: n, patterns: r.Match, sinks: r.To,
			when: oneForm(n.Get("when").val), transform: oneForm(n.Get("transform").val),
		}
		if out[i].when != "" {
			f := l.facts(&out[i])
			if f.Always {
				out[i].when = ""
			}
			out[i].never = l.adviseNever(&out[i], f)
		} else {
			l.adviseTransformHeaders(n.Get("transform"), 0)
		}
	}
	return out
}

// oneForm is a value in one form, however it is laid out, to compare with
// another.
func oneForm(v *value) string {
	if v == nil {
		return ""
	}
	if v.kind == scalar {
		return strconv.Quote(v.raw)
	}
	parts := make([]string, len(v.vals))
	for i, part := range v.vals {
		parts[i] = oneForm(part)
		if v.kind == mapping {
			parts[i] = strconv.Quote(v.keys[i]) + ":" + parts[i]
		}
	}
	if v.kind == mapping {
		slices.Sort(parts)
	}
	return "(" + strings.Join(parts, ",") + ")"
}

// maxCompared is how many patterns are compared with each other, which takes
// quadratic time. It is far above what a person writes.
const maxCompared = 2000

func (l *loader) adviseRoutes() {
	rules, patterns := l.rules(), 0
	for _, r := range rules {
		patterns += len(r.patterns)
	}
	for i, r := range rules {
		l.advisePatterns(r, patterns <= maxCompared)
		if patterns > maxCompared {
			continue
		}
		l.adviseShadow(r, rules[:i])
		l.adviseTransforms(r, rules[:i])
	}
	l.adviseDefault(rules)
	l.adviseSources(rules)
}

// advisePatterns looks at each pattern of a route: whether the catalogue has
// it and, when they are to be compared, whether another one of the route covers
// it.
func (l *loader) advisePatterns(r rule, compare bool) {
	places := refs(r.Get("match"))
	if len(places) != len(r.patterns) {
		return // one could not be read at all
	}
	for i, at := range places {
		p := r.patterns[i].Name
		if !wellFormed(p) {
			continue // said elsewhere
		}
		l.adviseType(at, p)
		if compare {
			l.adviseCovered(at, r.patterns, i)
		}
	}
}

// adviseCovered warns of a pattern that repeats another of the same route.
func (l *loader) adviseCovered(at Node, patterns []Ref, i int) {
	p := patterns[i].Name
	for j, other := range patterns {
		switch {
		case i == j || !wellFormed(other.Name):
		case other.Name == p && j < i:
			l.check(at.warnf("", "is given twice, first at "+other.Pos.String(), "remove one"))
			return
		case other.Name != p && covers(other.Name, p):
			l.check(at.warnf("", "is covered by "+show(other.Name)+" in the same route", "remove one"))
			return
		}
	}
}

// wellFormed reports a pattern that checkPattern has nothing against, its length
// aside.
func wellFormed(pattern string) bool {
	words := strings.Split(pattern, ".")
	what, _ := badToken(words)
	return what == "" && words[0] != "penstock"
}

// adviseType looks a pattern up in the catalogue, once for every source that
// it can match events of.
func (l *loader) adviseType(at Node, pattern string) {
	first, _, _ := strings.Cut(pattern, ".")
	if l.o.Survey == nil || first == "unknown" || l.extraRoot(pattern) {
		return
	}
	literal := !strings.ContainsAny(at.val.text, "*>")
	var asked, found, v1 int
	nearest := ""
	for _, prefix := range l.prefixes() {
		rest, ok := below(pattern, prefix)
		if !ok {
			continue
		}
		asked++
		s := l.o.Survey(rest)
		found += s.Types
		if s.OnlyV1 {
			v1++
		}
		if nearest == "" && s.Nearest != "" {
			nearest = strings.TrimPrefix(prefix+"."+s.Nearest, ".")
		}
	}
	hint := "the catalogue lists them"
	if nearest != "" {
		hint = "did you mean " + nearest + "?"
	}
	switch {
	case asked == 0: // no source publishes it, which is said elsewhere
	case found == 0 && !literal: // of a literal that is said anyway
		l.check(at.warnf("", "matches no known event type", hint))
	case v1 > 0 && literal && !l.takesUnsigned():
		l.check(at.warnf("", "is sent in API version 1 only",
			onlyV1Hint))
	}
}

// prefixes are those of the sources; "" stands for none.
func (l *loader) prefixes() []string {
	var out []string
	for _, s := range l.cfg.Sources {
		out = append(out, s.SubjectPrefix)
	}
	if len(out) == 0 {
		out = []string{""}
	}
	return out
}

// takesUnsigned reports a source for senders that do not sign: those are the
// workflows, the only ones that send in version 1 alone.
func (l *loader) takesUnsigned() bool {
	return slices.ContainsFunc(l.sources, func(e named) bool {
		return !e.Get("url_token").IsZero() && e.Get("url_token").val.raw != "" || !e.Get("url_token_file").IsZero()
	})
}

func (l *loader) extraRoot(pattern string) bool {
	return slices.ContainsFunc(l.cfg.Broker.ExtraRoots, func(root string) bool { return within(pattern, root) })
}

// below returns what a pattern asks of the subjects under a prefix, and
// whether it can match any.
func below(pattern, prefix string) (string, bool) {
	if prefix == "" {
		return pattern, true
	}
	words := strings.Split(pattern, ".")
	for _, want := range strings.Split(prefix, ".") {
		switch {
		case len(words) > 0 && words[0] == ">":
			return ">", true
		case len(words) < 2 || words[0] != "*" && words[0] != want:
			return "", false
		}
		words = words[1:]
	}
	return strings.Join(words, "."), true
}

// covers reports that wide matches every subject that narrow matches.
func covers(wide, narrow string) bool {
	a, b := strings.Split(wide, "."), strings.Split(narrow, ".")
	for i, w := range a {
		switch {
		case w == ">":
			return len(b) > i
		case i >= len(b) || b[i] == ">" || w != "*" && w != b[i]:
			return false
		}
	}
	return len(a) == len(b)
}

// overlap reports that some subject is matched by both patterns.
func overlap(p, q string) bool {
	a, b := strings.Split(p, "."), strings.Split(q, ".")
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == ">" || b[i] == ">":
			return true
		case a[i] != "*" && b[i] != "*" && a[i] != b[i]:
			return false
		}
	}
	return len(a) == len(b)
}

// adviseShadow warns of a route that adds nothing: for every sink and every
// pattern of it, an earlier route is as wide, without a condition or with the
// same one.
func (l *loader) adviseShadow(r rule, earlier []rule) {
	if len(r.patterns) == 0 || len(r.sinks) == 0 || r.never {
		return
	}
	var by Pos
	for _, sink := range r.sinks {
		for _, p := range r.patterns {
			i := slices.IndexFunc(earlier, func(e rule) bool { return (e.when == "" || e.when == r.when) && e.gives(sink.Name, p.Name) })
			if i < 0 {
				return
			}
			by = earlier[i].Pos()
		}
	}
	what, hint := "adds nothing: its sinks get all of its events by an earlier route, at "+by.String(), "remove it, or the earlier one"
	if r.transform != "" {
		what, hint = "is never used: its sinks get all of its events by an earlier route, at "+by.String(), "put it before that one"
	}
	l.check(r.warnf("", what, hint))
}

// gives reports that the route sends a sink whatever the pattern matches.
func (r rule) gives(sink, pattern string) bool {
	return slices.ContainsFunc(r.sinks, func(s Ref) bool { return s.Name == sink }) &&
		slices.ContainsFunc(r.patterns, func(p Ref) bool { return covers(p.Name, pattern) })
}

// adviseTransforms warns of a sink that gets one event's body in the form of
// one of two routes, by their order alone.
func (l *loader) adviseTransforms(r rule, earlier []rule) {
	for _, e := range earlier {
		if e.transform == r.transform || !e.meets(r) {
			continue
		}
		for _, at := range refs(r.Get("to")) {
			if slices.ContainsFunc(e.sinks, func(s Ref) bool { return s.Name == at.val.text }) {
				l.check(at.warnf("", "gets another transform by the route at "+e.Pos().String()+": of an event that both match, the first decides",
					"give both the same transform, or patterns that do not overlap"))
				return
			}
		}
	}
}

// meets reports that one event may match both routes.
func (r rule) meets(o rule) bool {
	return slices.ContainsFunc(r.patterns, func(p Ref) bool {
		return slices.ContainsFunc(o.patterns, func(q Ref) bool { return overlap(p.Name, q.Name) })
	})
}

// adviseDefault warns of a default that no event is left for.
func (l *loader) adviseDefault(rules []rule) {
	if len(l.cfg.Default) == 0 {
		return
	}
	i := slices.IndexFunc(rules, func(r rule) bool {
		return r.when == "" && slices.ContainsFunc(r.patterns, func(p Ref) bool { return p.Name == ">" })
	})
	if i >= 0 {
		l.check(l.fallback.warnf("", "no event gets here: the route at "+rules[i].Pos().String()+" matches everything", "remove it, or narrow that route"))
	}
}

// adviseSources warns of a source whose events go nowhere.
func (l *loader) adviseSources(rules []rule) {
	unread := slices.ContainsFunc(rules, func(r rule) bool { return len(r.patterns) == 0 })
	if len(rules) == 0 || unread || len(l.cfg.Default) > 0 || l.subscribable() {
		return
	}
	for i, s := range l.cfg.Sources {
		used := slices.ContainsFunc(rules, func(r rule) bool {
			return slices.ContainsFunc(r.patterns, func(p Ref) bool { return l.takes(p.Name, s.SubjectPrefix) })
		})
		if !used {
			m := l.sources[i].warnf("", "no route takes its events", "name them in the match of a route, such as "+strings.TrimPrefix(s.SubjectPrefix+".>", "."))
			m.Pos = l.sources[i].key
			l.check(m)
		}
	}
}

// subscribable reports that events may be read without a route.
func (l *loader) subscribable() bool { return l.cfg.Broker.URL != "" || l.cfg.Broker.Listen != "" }

// takes reports that a pattern can match events under a prefix. Those without
// one have first words that are no prefix.
func (l *loader) takes(pattern, prefix string) bool {
	if prefix != "" {
		_, ok := below(pattern, prefix)
		return ok
	}
	return !slices.ContainsFunc(l.cfg.Sources, func(s Source) bool {
		return s.SubjectPrefix != "" && within(pattern, s.SubjectPrefix)
	})
}
