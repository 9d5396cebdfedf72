package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in a file. Line and Column count from 1; the zero Pos is nowhere.
type Pos struct {
	File         string
	Line, Column int
}

func (p Pos) String() string {
	switch {
	case p.File == "" && p.Line == 0:
		return ""
	case p.Line == 0:
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Mistake is one thing that is wrong in a configuration.
type Mistake struct {
	Pos  Pos
	Path string // sinks.crm.timeout
	What string // what is wrong
	Hint string // what would be right; may be empty
	// Warning: worth saying, but the configuration works.
	Warning bool
	// Excerpt is the line of the file at Pos, perhaps cut, for people to see;
	// empty when there is none or when it may hold a secret.
	Excerpt string
}

func (m Mistake) String() string {
	var b strings.Builder
	if p := m.Pos.String(); p != "" {
		b.WriteString(p + ": ")
	}
	if m.Warning {
		b.WriteString("warning: ")
	}
	if m.Path != "" {
		b.WriteString(m.Path + ": ")
	}
	b.WriteString(m.What)
	if m.Hint != "" {
		b.WriteString("; " + m.Hint)
	}
	return b.String()
}

// Mistakes is everything that is wrong, as an error: one line each, by place.
type Mistakes []Mistake

func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

// Fatal returns those that are not warnings.
func (ms Mistakes) Fatal() Mistakes {
	var out Mistakes
	for _, m := range ms {
		if !m.Warning {
			out = append(out, m)
		}
	}
	return out
}

// Sort orders by file, line and column, keeping the order of equals.
func (ms Mistakes) Sort() {
	slices.SortStableFunc(ms, func(a, b Mistake) int { return a.Pos.compare(b.Pos) })
}

// compare orders places by file, line and column.
func (p Pos) compare(o Pos) int {
	return cmp.Or(cmp.Compare(p.File, o.File), cmp.Compare(p.Line, o.Line), cmp.Compare(p.Column, o.Column))
}
