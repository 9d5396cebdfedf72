package router

import (
	"fmt"
	"strings"
)

// maxPattern bounds a pattern: a subject has at most 200 bytes, its source's
// prefix of up to 64 and "unknown." come on top, with their dots.
const maxPattern = 200 + 64 + 1 + len(unknown) + 1

// Pattern is a subject pattern with NATS wildcards: "*" stands for exactly one
// token, ">" for one or more at the end. Patterns are comparable with ==. The
// zero Pattern matches nothing.
type Pattern struct{ text string }

// everything is the pattern that matches every subject.
var everything = Pattern{">"}

// ParsePattern reads a pattern. Its error names the token that is wrong and
// what would be right.
func ParsePattern(s string) (Pattern, error) {
	if s == "" {
		return Pattern{}, fmt.Errorf(`pattern is empty; ">" matches every subject`)
	}
	if len(s) > maxPattern {
		return Pattern{}, fmt.Errorf("pattern %.40q... has %d bytes; at most %d can match a subject", s, len(s), maxPattern)
	}
	tokens := strings.Split(s, ".")
	for i, t := range tokens {
		if what := tokenMistake(t, i == len(tokens)-1); what != "" {
			return Pattern{}, fmt.Errorf("pattern %q: token %d %s", s, i+1, what)
		}
	}
	return Pattern{s}, nil
}

// tokenMistake says what is wrong with a token and what would be right, or "".
func tokenMistake(t string, last bool) string {
	switch {
	case t == "":
		return "is empty; tokens are separated by single dots, with none at either end"
	case t == "*" || t == ">" && last:
		return ""
	case t == ">":
		return `is ">", which may only be the last; use "*" for exactly one token`
	}
	for _, r := range t {
		switch {
		case tokenRune(r):
		case r == '*' || r == '>':
			return fmt.Sprintf(`%q mixes a wildcard with text; a wildcard is a whole token, "*" for exactly one`, t)
		case r == '/':
			return fmt.Sprintf(`%q contains "/"; subjects have "." in its place`, t)
		default:
			return fmt.Sprintf("%q contains %q; tokens are letters, digits, _ and -, any other byte is written ~XX", t, r)
		}
	}
	return ""
}

func tokenRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '~'
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Match reports whether NATS would deliver subject to a subscription of p:
// "orders.>" matches "orders.paid", not "orders". It knows nothing of
// "unknown."; a Table does. It does not allocate.
func (p Pattern) Match(subject string) bool {
	if p.text == "" || subject == "" {
		return false
	}
	pat, more := p.text, true
	for more {
		var want, have string
		want, pat, more = strings.Cut(pat, ".")
		if want == ">" {
			return true
		}
		var left bool
		have, subject, left = strings.Cut(subject, ".")
		if want != "*" && want != have || more != left {
			return false
		}
	}
	return true
}

// Covers reports whether a matches every subject that b matches.
func Covers(a, b Pattern) bool {
	if a.text == "" || b.text == "" {
		return false
	}
	wide, narrow, more := a.text, b.text, true
	for more {
		var w, n string
		w, wide, more = strings.Cut(wide, ".")
		if w == ">" {
			return true
		}
		var left bool
		n, narrow, left = strings.Cut(narrow, ".")
		if n == ">" || w != "*" && w != n || more != left {
			return false
		}
	}
	return true
}
