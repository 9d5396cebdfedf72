package config

import (
	"regexp"
	"slices"
	"strings"
)

var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_~-]+$`)

// Bounds of a subject, as the normaliser of subjects keeps them.
const (
	maxTokens       = 16
	maxSubjectBytes = 200
)

func (l *loader) checkRoutes() {
	names := map[string]Pos{}
	for i := range l.cfg.Routes {
		r, n := &l.cfg.Routes[i], l.routes[i]
		if n.val.kind != mapping {
			continue
		}
		if at := n.Get("name"); !at.IsZero() && !at.val.null && !nameForm.MatchString(r.Name) {
			l.check(at.Errorf("", "not a valid name", nameHint))
		}
		if at, ok := names[r.Name]; ok {
			l.check(n.Errorf("name", "has the same name as the route at "+at.String(), "rename one"))
		} else {
			names[r.Name] = r.Pos
		}
		for j, at := range refs(n.Get("match")) {
			r.Match[j].Name = l.pattern(at)
		}
		l.checkTargets(refs(n.Get("to")))
		if l.o.Expressions != nil {
			l.report(l.o.Expressions(r)...) // these know what a placeholder is
		}
	}
	l.checkTargets(refs(l.fallback))
}

// refs returns the parts of a list that decode to a Ref, in order.
func refs(n Node) []Node {
	return slices.DeleteFunc(n.list(), func(n Node) bool { return n.val.kind != scalar || n.val.null })
}

func (l *loader) checkTargets(targets []Node) {
	known := make([]string, len(l.sinks))
	for i, e := range l.sinks {
		known[i] = e.name
	}
	seen := map[string]bool{}
	for _, at := range targets {
		name := at.val.text
		switch {
		case !slices.Contains(known, name):
			l.check(at.Errorf("", "no sink is named "+at.got(), suggestSink(name, known)))
		case seen[name]:
			l.check(at.warnf("", "named twice", "remove one"))
		}
		seen[name] = true
	}
}

func suggestSink(name string, known []string) string {
	switch near := Nearest(name, known); {
	case near != "":
		return "did you mean " + near + "?"
	case len(known) > 0:
		return "known sinks: " + strings.Join(known, ", ")
	}
	return "add it under sinks"
}

// pattern checks one entry of match and returns it as a pattern over subjects.
func (l *loader) pattern(at Node) string {
	entry := at.val.text
	subject := strings.ReplaceAll(entry, "/", ".")
	if strings.ContainsAny(entry, "*>") || entry == "" {
		l.checkPattern(at, subject)
		return subject
	}
	canonical, m := l.canonical(at, entry)
	if canonical != "" {
		subject = canonical
	}
	if l.checkPattern(at, subject) && m != nil {
		l.check(*m)
	}
	return subject
}

// canonical looks a literal up in the catalogue: its subject, and a warning
// when it is unknown or has another spelling there. A source's prefix is put
// aside for that.
func (l *loader) canonical(at Node, entry string) (string, *Mistake) {
	if l.o.Canonical == nil || strings.HasPrefix(entry, "unknown.") || l.extraRoot(entry) {
		return "", nil
	}
	prefix, shown, rest := l.cutPrefix(entry)
	subject, known, near := l.o.Canonical(rest)
	var m Mistake
	switch {
	case !known && near != "":
		m = at.warnf("", "matches no known event type", "did you mean "+shown+near+"?")
	case !known:
		m = at.warnf("", "matches no known event type", "the catalogue lists them")
	case subject != strings.ReplaceAll(rest, "/", "."):
		m = at.warnf("", "is another spelling of "+shown+subject, "events are stored under that; write it so")
	default:
		return prefix + subject, nil
	}
	if subject == "" {
		return "", &m
	}
	return prefix + subject, &m
}

// cutPrefix splits a source's prefix off an entry; shown is how the file
// writes it.
func (l *loader) cutPrefix(entry string) (prefix, shown, rest string) {
	for i, s := range l.cfg.Sources {
		if p := s.SubjectPrefix; p != "" && strings.HasPrefix(entry, p+".") {
			return p + ".", l.sources[i].Get("subject_prefix").val.raw + ".", entry[len(p)+1:]
		}
	}
	return "", "", entry
}

// checkPattern checks a pattern over subjects.
func (l *loader) checkPattern(at Node, pattern string) bool {
	tokens := strings.Split(pattern, ".")
	what, hint := "", ""
	switch {
	case pattern == "":
		what, hint = "empty pattern", "write > to match everything"
	case len(tokens) > maxTokens || len(pattern) > maxSubjectBytes:
		what, hint = "pattern is too long", "no subject has more than 16 words or 200 bytes"
	case tokens[0] == "penstock":
		what, hint = "penstock.> holds no events", "match subjects such as orders.invoice.paid"
	default:
		what, hint = badToken(tokens)
	}
	if what == "" {
		l.warnUnreachable(at, tokens[0])
		return true
	}
	l.check(at.Errorf("", what, hint))
	return false
}

// badToken finds what is wrong with the words of a pattern.
func badToken(tokens []string) (what, hint string) {
	for i, t := range tokens {
		switch {
		case t == "":
			return "pattern has an empty word", "write one dot between words, none at the ends"
		case t == ">" && i < len(tokens)-1:
			return "> is not the last word of the pattern", "use * for one word; > matches all that follow"
		case t == "*" || t == ">" || tokenForm.MatchString(t):
		case strings.ContainsAny(t, "*>"):
			return "wildcard within a word", "* and > stand for whole words: orders.*.paid, orders.>"
		default:
			return "pattern has characters that no subject has", "use letters, digits, _ ~ -, * and >"
		}
	}
	return "", ""
}

// warnUnreachable warns of a first word that no source's subjects have. Only
// prefixes can tell: the words of an unprefixed source are the catalogue's.
func (l *loader) warnUnreachable(at Node, first string) {
	if first == "*" || first == ">" || first == "unknown" || len(l.cfg.Sources) == 0 {
		return
	}
	var prefixes []string
	for i, s := range l.cfg.Sources {
		root, _, _ := strings.Cut(s.SubjectPrefix, ".")
		if s.SubjectPrefix == "" || root == first {
			return
		}
		prefixes = append(prefixes, l.sources[i].Get("subject_prefix").val.raw+".>")
	}
	if !slices.Contains(l.cfg.Broker.ExtraRoots, first) {
		l.check(at.warnf("", "no source publishes such a subject", "every source has a prefix: "+strings.Join(prefixes, ", ")))
	}
}
