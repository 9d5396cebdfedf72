package config

import (
	"fmt"
	"path/filepath"
	"slices"
)

// Node is a part of the file that somebody else decodes, with its place. The
// zero Node is a part that is not there. A Node may be used concurrently.
type Node struct {
	File string
	Path string
	val  *value
	docs *secretFiles
	// also are keys that stand beside this mapping's own but were taken out
	// of it; they are offered when a key is misspelt.
	also []string
}

// NodeFrom parses text as if it were the file, for tests of what decodes
// Nodes. Variables are not expanded. The error is a Mistakes.
func NodeFrom(file, text string) (Node, error) {
	root, ms := parseYAML(file, []byte(text))
	if len(ms) > 0 {
		return Node{}, ms
	}
	return Node{File: file, val: root, docs: &secretFiles{}}, nil
}

// IsZero reports that the part is not in the file.
func (n Node) IsZero() bool { return n.val == nil }

// Pos is where to look: the value, or its key when the value begins on
// another line or is missing.
func (n Node) Pos() Pos {
	v := n.val
	switch {
	case v == nil:
		return Pos{File: n.File}
	case v.keyLine != 0 && (v.kind != scalar && v.line > v.keyLine || v.null && v.raw == ""):
		return Pos{n.File, v.keyLine, v.keyCol}
	}
	return Pos{n.File, v.line, v.col}
}

// Get returns the value of a key of a mapping. Its IsZero is true when n has no
// such key or is no mapping.
func (n Node) Get(key string) Node {
	return Node{File: n.File, Path: join(n.Path, key), val: n.val.get(key), docs: n.docs}
}

// Keys returns the keys of a mapping in the order of the file, and nil for
// anything else.
func (n Node) Keys() []string {
	if n.val == nil || n.val.kind != mapping {
		return nil
	}
	return slices.Clone(n.val.keys)
}

// Unresolved reports that the part, or anything within it, holds a variable
// or a secret file without a value, so that a placeholder stands there.
func (n Node) Unresolved() bool {
	var any func(v *value) bool
	any = func(v *value) bool {
		return v != nil && (v.unresolved || slices.ContainsFunc(v.vals, any))
	}
	return any(n.val)
}

// Errorf returns a mistake at the place of a key's value, or at the Node when
// it has no such key or key is "". Neither text is a format: what says what is
// wrong, hint what would be right, and neither may hold a secret.
func (n Node) Errorf(key, what, hint string) Mistake {
	at := n
	if key != "" {
		at = n.Get(key)
	}
	m := Mistake{Pos: at.Pos(), Path: at.Path, What: what, Hint: hint}
	if at.IsZero() {
		m.Pos = n.Pos()
	}
	return m
}

// warnf is Errorf for what is worth saying but works.
func (n Node) warnf(key, what, hint string) Mistake {
	m := n.Errorf(key, what, hint)
	m.Warning = true
	return m
}

// keyErrorf is a mistake at the key itself.
func (n Node) keyErrorf(key, what, hint string) Mistake {
	m := n.Errorf(key, what, hint)
	if at := n.Get(key); !at.IsZero() {
		m.Pos = at.keyPos()
	}
	return m
}

// keyPos is where the key of a value stands.
func (n Node) keyPos() Pos { return Pos{n.File, n.val.keyLine, n.val.keyCol} }

// hasNull reports a key without a value, which is said elsewhere.
func (n Node) hasNull(key string) bool { v := n.val.get(key); return v != nil && v.null }

// list returns the items of a sequence, or a scalar as the only one.
func (n Node) list() []Node {
	switch {
	case n.val == nil:
		return nil
	case n.val.kind == scalar:
		return []Node{n}
	case n.val.kind != sequence:
		return nil
	}
	out := make([]Node, len(n.val.vals))
	for i, v := range n.val.vals {
		out[i] = Node{File: n.File, Path: fmt.Sprintf("%s[%d]", n.Path, i), val: v, docs: n.docs}
	}
	return out
}

// split takes the given keys out of a mapping.
func (n Node) split(keys []string) (taken, rest Node) {
	a, b := *n.val, *n.val
	a.keys, a.vals, b.keys, b.vals = nil, nil, nil, nil
	for i, k := range n.val.keys {
		if slices.Contains(keys, k) {
			a.keys, a.vals = append(a.keys, k), append(a.vals, n.val.vals[i])
		} else {
			b.keys, b.vals = append(b.keys, k), append(b.vals, n.val.vals[i])
		}
	}
	taken, rest = n, n
	taken.val, rest.val, rest.also = &a, &b, keys
	return taken, rest
}

// got describes a value for "needs x, got y", as it is written in the file.
func (n Node) got() string {
	switch {
	case n.val.kind == mapping:
		return "a mapping"
	case n.val.kind == sequence:
		return "a list"
	case n.val.raw == "":
		return "nothing"
	}
	return quote(n.val.raw)
}

// needsParts is the mistake of a single value where parts are needed. It is
// not shown: it may be the secret that should stand in a part.
func (n Node) needsParts(what, hint string) Mistakes {
	got := n.got()
	if n.val.kind == scalar && n.val.raw != "" {
		n.docs.noteUnread(n)
		got = "a single value"
	}
	return Mistakes{n.Errorf("", fmt.Sprintf("needs %s, got %s", what, got), hint)}
}

// needs is the mistake of a value of the wrong type.
func (n Node) needs(what, hint string) Mistakes {
	return Mistakes{n.Errorf("", fmt.Sprintf("needs %s, got %s", what, n.got()), hint)}
}

// abs resolves a path of the file against the folder the file is in.
func (n Node) abs(path string) string {
	if filepath.IsAbs(path) || n.File == "" {
		return path
	}
	return filepath.Join(filepath.Dir(n.File), path)
}

// TextNode is a single value that does not stand in a file, such as an
// expression on a command line; name is what messages call it.
func TextNode(name, text string) Node {
	v := &value{kind: scalar, raw: text, text: text, line: 1, col: 1, tag: "!!str", written: written{file: []byte(text)}}
	return Node{File: name, val: v, docs: &secretFiles{}}
}
