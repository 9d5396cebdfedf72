package router

import (
	"slices"
	"strings"
)

// maxFilters bounds the filters of one consumer: beyond it the server's work
// for every message outweighs what the filters save.
const maxFilters = 16

// Too many patterns are widened: cut to maxDepth tokens, then to fewer and
// fewer. Finding out which cover each other takes quadratic time, so beyond
// maxCompared they are cut without asking.
const (
	maxDepth    = 8
	maxCompared = 256
)

// unknown is the token before the subject of a type that the catalogue does
// not list.
const unknown = "unknown"

// Filters returns the subject filters for a consumer that is to see everything
// that a Table with these patterns matches, and as little else as possible.
// As a pattern also matches what is under "unknown." (and, for a source with a
// prefix, under "<prefix>.unknown."), each comes in those forms too. No filter
// covers another, there are at most 16, and the order is stable. No patterns
// give no filters, which a server reads as everything: see Subscription.
func Filters(patterns []Pattern, prefixes []string) []string {
	patterns = distinct(patterns)
	for depth := maxDepth; depth >= 0; depth-- {
		if len(patterns) <= maxCompared {
			if all := normalise(withUnknown(patterns, prefixes)); len(all) <= maxFilters {
				return texts(all)
			}
		}
		patterns = cutAll(patterns, depth)
	}
	return texts([]Pattern{everything})
}

// withUnknown adds to the patterns the forms that match what they match when
// its type is not in the catalogue.
func withUnknown(patterns []Pattern, prefixes []string) []Pattern {
	all := slices.Clone(patterns)
	for _, p := range patterns {
		all = append(all, Pattern{unknown + "." + p.text})
		for _, prefix := range prefixes {
			if v, ok := p.underPrefix(prefix); ok {
				all = append(all, v)
			}
		}
	}
	return all
}

func texts(ps []Pattern) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.text
	}
	return out
}

// underPrefix returns the form of p that matches "<prefix>.unknown.<rest>"
// where p matches "<prefix>.<rest>". There is none when p cannot match
// anything under prefix, or ends in ">" within it and so matches already.
func (p Pattern) underPrefix(prefix string) (Pattern, bool) {
	if prefix == "" {
		return Pattern{}, false
	}
	rest, more := p.text, true
	for want := range strings.SplitSeq(prefix, ".") {
		var have string
		have, rest, more = strings.Cut(rest, ".")
		if !more || have != "*" && have != want {
			return Pattern{}, false
		}
	}
	return Pattern{prefix + "." + unknown + "." + rest}, true
}

// distinct returns the patterns sorted, each once.
func distinct(ps []Pattern) []Pattern {
	ps = slices.Clone(ps)
	slices.SortFunc(ps, func(a, b Pattern) int { return strings.Compare(a.text, b.text) })
	return slices.Compact(ps)
}

// normalise sorts the patterns and drops each that another one covers.
func normalise(ps []Pattern) []Pattern {
	ps = distinct(ps)
	var out []Pattern
	for _, p := range ps {
		covered := slices.ContainsFunc(ps, func(q Pattern) bool { return q != p && Covers(q, p) })
		if !covered {
			out = append(out, p)
		}
	}
	return out
}

func cutAll(ps []Pattern, depth int) []Pattern {
	out := make([]Pattern, len(ps))
	for i, p := range ps {
		out[i] = p.cut(depth)
	}
	return distinct(out)
}

// cut replaces everything after the first depth tokens by ">".
func (p Pattern) cut(depth int) Pattern {
	end := 0
	for range depth {
		i := strings.IndexByte(p.text[end:], '.')
		if i < 0 {
			return p
		}
		end += i + 1
	}
	return Pattern{p.text[:end] + ">"}
}
