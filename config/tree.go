package config

import (
	"bytes"
	"encoding/json"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What decodes a part of the file whose shape it does not know beforehand
// reads it with the methods here.

// Shape is what a Node is.
type Shape int

// The shapes. Null is a key without a value, and a part that is not there.
const (
	Null Shape = iota
	Scalar
	Mapping
	List
)

// Shape returns what n is.
func (n Node) Shape() Shape {
	switch {
	case n.val == nil, n.val.null && !n.val.unresolved:
		return Null
	case n.val.kind == mapping:
		return Mapping
	case n.val.kind == sequence:
		return List
	}
	return Scalar
}

// Items returns the items of a list, and nil for anything else.
func (n Node) Items() []Node {
	if n.Shape() != List {
		return nil
	}
	return n.list()
}

// Scalar returns a scalar as JSON has it: a bool, a json.Number or a string,
// its variables filled in; nil for anything else. Numbers that JSON cannot
// write (0x10, .inf) are strings.
func (n Node) Scalar() any {
	if n.Shape() != Scalar {
		return nil
	}
	text := n.val.text
	switch n.val.tag {
	case "!!bool":
		return strings.EqualFold(text, "true")
	case "!!int", "!!float":
		if json.Valid([]byte(text)) {
			return json.Number(text)
		}
	}
	return text
}

// word is the text of a key's value, or "" when it has no single one.
func (n Node) word(key string) string {
	if v := n.val.get(key); v != nil && v.kind == scalar {
		return v.text
	}
	return ""
}

// place is where the text of a scalar begins, and how its lines go on.
type place struct {
	line, col int
	// block: the lines of the text are the lines of the file, each indented.
	block bool
}

// textPlace finds where the text of y begins in the lines of its file.
func textPlace(y *yaml.Node, lines [][]byte) place {
	switch {
	case y.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		return place{line: y.Line, col: y.Column + 1}
	case y.Style&yaml.LiteralStyle == 0:
		return place{line: y.Line, col: y.Column}
	}
	for i := y.Line; i < len(lines); i++ { // lines counts from 0: the one after y's
		if rest := bytes.TrimLeft(lines[i], " "); len(bytes.TrimSpace(rest)) > 0 {
			return place{line: y.Line + 1, col: 1 + len(lines[i]) - len(rest), block: true}
		}
	}
	return place{line: y.Line, col: y.Column}
}

// Within is the place of a line and a column of a scalar's text, both counted
// from 1, for messages about a language inside YAML. Where the text is not
// laid out in the file as it is (folded lines, variables before the column),
// it is as near as can be told.
func (n Node) Within(line, col int) Pos {
	at := n.Pos()
	if n.val == nil || n.val.kind != scalar {
		return at
	}
	first := n.val.first
	switch {
	case first.line != 0 && first.block:
		at.Line, at.Column = first.line+line-1, first.col+col-1
	case first.line != 0 && line == 1 && n.val.raw == n.val.text:
		at.Line, at.Column = first.line, first.col+col-1
	}
	return at
}
