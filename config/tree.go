package config

import (
	"encoding/json"
	"strings"
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
