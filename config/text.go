package config

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// written is how a scalar stands in the file, to find the place of a letter of
// it. The zero written is unknown.
type written struct {
	file   []byte
	style  yaml.Style
	anchor bool
}

// Text returns a single value with its variables filled in. It may hold a
// secret and must not be shown; see Raw.
func (n Node) Text() string {
	if n.Shape() != Scalar {
		return ""
	}
	return n.val.text
}

// Raw returns a single value as it is written, before its variables are filled
// in. It is fit to be shown.
func (n Node) Raw() string {
	if n.Shape() != Scalar {
		return ""
	}
	return n.val.raw
}

// ErrorAt is Errorf at a letter of a single value, counted from 0 in
// characters of Text. When variables were filled in it is at the value.
func (n Node) ErrorAt(offset int, what, hint string) Mistake {
	m := n.Errorf("", what, hint)
	if n.Shape() == Scalar && n.val.raw == n.val.text {
		m.Pos = n.posAt(offset)
	}
	return m
}

// Within is the place of a line and a column of a single value's text, both
// counted from 1, for messages about a language inside YAML. After a variable
// that was filled in, it is as near as can be told.
func (n Node) Within(line, col int) Pos {
	if n.Shape() != Scalar {
		return n.Pos()
	}
	offset, lines := 0, strings.SplitAfter(n.val.raw, "\n")
	line = min(max(line, 1), len(lines))
	for _, before := range lines[:line-1] {
		offset += utf8.RuneCountInString(before)
	}
	return n.posAt(offset + min(max(col, 1), utf8.RuneCountInString(lines[line-1])) - 1)
}

// KeyErrorf is Errorf at a key of a mapping instead of its value.
func (n Node) KeyErrorf(key, what, hint string) Mistake { return n.keyErrorf(key, what, hint) }

// posAt is the place of a letter of a scalar. However YAML folds, indents and
// quotes a scalar, what it shows of white space and only of that differs from
// the text, so letters are counted without it.
func (n Node) posAt(offset int) Pos {
	v := n.val
	start := Pos{n.File, v.line, v.col}
	if v.written.file == nil {
		return start
	}
	text := []rune(v.raw)
	offset = min(max(offset, 0), len(text))
	back := 0 // how far behind the letter that is looked for a blank stands
	for offset > 0 && (offset == len(text) || unicode.IsSpace(text[offset])) {
		offset--
		back++
	}
	if len(text) == 0 || unicode.IsSpace(text[offset]) {
		return start
	}
	before := 0
	for _, r := range text[:offset] {
		if !unicode.IsSpace(r) {
			before++
		}
	}
	at, ok := v.letter(before)
	if !ok {
		return start
	}
	return Pos{n.File, at.line, at.col + back}
}

// cursor walks through the file, counting lines and columns from 1.
type cursor struct {
	rest      string
	line, col int
}

func (c *cursor) next() rune {
	r, size := utf8.DecodeRuneInString(c.rest)
	c.rest = c.rest[size:]
	if r == '\n' {
		c.line, c.col = c.line+1, 1
	} else {
		c.col++
	}
	return r
}

// word skips to the next white space.
func (c *cursor) word() {
	for c.rest != "" && !unicode.IsSpace(rune(c.rest[0])) {
		c.next()
	}
}

// letter finds the scalar's letter with that number, white space not counted.
func (v *value) letter(number int) (cursor, bool) {
	c := cursor{rest: string(v.written.file), line: 1, col: 1}
	for c.rest != "" && (c.line < v.line || c.line == v.line && c.col < v.col) {
		c.next()
	}
	if v.written.anchor {
		c.word()
		for c.rest != "" && unicode.IsSpace(rune(c.rest[0])) {
			c.next()
		}
	}
	switch style := v.written.style; {
	case style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		for line := c.line; c.rest != "" && c.line == line; {
			c.next()
		}
	case style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		c.next()
	}
	for c.rest != "" {
		at := c
		if r := c.decoded(v.written.style); r < 0 || unicode.IsSpace(r) {
			continue
		}
		if number == 0 {
			return at, true
		}
		number--
	}
	return c, false
}

// decoded reads one letter as its style writes it; -1 stands for none.
func (c *cursor) decoded(style yaml.Style) rune {
	r := c.next()
	switch {
	case style&yaml.SingleQuotedStyle != 0 && r == '\'':
		return c.next() // two stand for one
	case style&yaml.DoubleQuotedStyle != 0 && r == '\\':
		return c.escaped()
	}
	return r
}

// escaped reads what comes after a backslash between double quotes.
func (c *cursor) escaped() rune {
	r := c.next()
	digits := map[rune]int{'x': 2, 'u': 4, 'U': 8}[r]
	if digits == 0 || digits > len(c.rest) {
		if slices.Contains([]rune{'n', 't', 'r', '\t', ' ', '\n', 'v', 'f', 'N', '_', 'L', 'P'}, r) {
			return ' '
		}
		return r
	}
	code, err := strconv.ParseUint(c.rest[:digits], 16, 32)
	for range digits {
		c.next()
	}
	if err != nil {
		return -1
	}
	return rune(code)
}
