package router

import (
	"slices"
	"strings"
)

// Selector selects subjects by patterns outside of any route, under the rules
// of a Table: a pattern also matches what is under "unknown.". The zero
// Selector selects nothing.
type Selector struct {
	patterns []Pattern
	prefixes []string
}

// NewSelector reads patterns; none select everything. The prefixes are those
// of the sources, the longest first.
func NewSelector(patterns, prefixes []string) (Selector, error) {
	s := Selector{prefixes: prefixes}
	if len(patterns) == 0 {
		s.patterns = []Pattern{everything}
	}
	for _, text := range patterns {
		p, err := ParsePattern(text)
		if err != nil {
			return Selector{}, err
		}
		s.patterns = append(s.patterns, p)
	}
	return s, nil
}

// Filters returns filters for a consumer that is to see everything that s
// matches; see the function Filters.
func (s Selector) Filters() []string { return Filters(s.patterns, s.prefixes) }

// Match reports whether s selects the subject.
func (s Selector) Match(subject string) bool {
	tokens := strings.Split(subject, ".")
	at := unknownAt(s.prefixes, subject, tokens)
	if s.any(subject) {
		return true
	}
	malformed := at >= 0 && len(tokens) == at+2 && tokens[at+1] == "malformed"
	return at >= 0 && !malformed && s.any(strings.Join(slices.Delete(tokens, at, at+1), "."))
}

func (s Selector) any(subject string) bool {
	return slices.ContainsFunc(s.patterns, func(p Pattern) bool { return p.Match(subject) })
}
