package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of one file. They are far above what a person writes, and keep a
// hostile or broken file from costing more than a moment.
const (
	maxFileBytes = 4 << 20
	maxDepth     = 32
	maxValues    = 50_000
)

type kind uint8

const (
	scalar kind = iota
	mapping
	sequence
)

// value is one value of the file with aliases and merge keys resolved. A value
// used through an alias is a copy, so that it may differ in path and variables.
type value struct {
	kind kind
	null bool
	// raw is the scalar as written and may be shown; text has its variables
	// filled in, may be a secret, and is never shown.
	raw, text       string
	line, col       int
	keyLine, keyCol int      // of the key that holds it; 0 outside a mapping
	keys            []string // of a mapping, parallel to vals
	vals            []*value // of a mapping or sequence
	// tag is a scalar's type in YAML, "!!int".
	tag string
	// unresolved: text holds a placeholder, so what is wrong with it is not
	// the file's fault, or was reported already.
	unresolved bool
	written    written // of a scalar
}

func (v *value) get(key string) *value {
	if v == nil || v.kind != mapping {
		return nil
	}
	for i, k := range v.keys {
		if k == key {
			return v.vals[i]
		}
	}
	return nil
}

// parseYAML reads the one document of a file. The root is nil when the text is
// not YAML; an empty file is an empty mapping.
func parseYAML(file string, data []byte) (root *value, ms Mistakes) {
	defer func() {
		if recover() != nil { // the YAML library gave up in a way it did not foresee
			root, ms = nil, Mistakes{{Pos: Pos{File: file}, What: "cannot be read as YAML"}}
		}
	}()
	if len(data) > maxFileBytes {
		return nil, Mistakes{{Pos: Pos{File: file}, What: fmt.Sprintf("is larger than %s", Size(maxFileBytes))}}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	b := &builder{file: file, data: data, open: map[*yaml.Node]bool{}, said: map[said]bool{}}
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return &value{kind: mapping, line: 1, col: 1}, nil
	case err != nil:
		return nil, Mistakes{syntaxMistake(file, data, err)}
	}
	root = b.build(doc.Content[0], "", 0)
	if b.values >= maxValues {
		return nil, b.ms
	}
	if root.null {
		root = &value{kind: mapping, line: root.line, col: root.col}
	}
	switch err := dec.Decode(&next); {
	case err == nil:
		b.mistake(&next, "", "holds more than one document", "keep one; a folder of files is merged")
	case !errors.Is(err, io.EOF):
		return nil, append(b.ms, syntaxMistake(file, data, err))
	}
	return root, b.ms
}

var (
	yamlLine  = regexp.MustCompile(`^line (\d+): `)
	noAnchor  = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
	yamlWords = regexp.MustCompile(`^[^\n` + "`" + `]{1,80}`)
	// fromParser are the messages whose line the library counts from 0.
	fromParser = regexp.MustCompile(`^(did not find expected (<|node content|'|key)|found (duplicate|incompatible YAML|undefined tag))`)
)

// syntaxMistake gives an error of the YAML library our form. It never quotes
// the file: a secret that begins with * and has no quotes reads as an alias.
func syntaxMistake(file string, data []byte, err error) Mistake {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	m := Mistake{Pos: Pos{File: file}, Hint: "values with special characters need quotes"}
	if at := yamlLine.FindStringSubmatch(text); at != nil {
		m.Pos.Line, _ = strconv.Atoi(at[1]) // digits, by the pattern
		text = text[len(at[0]):]
	}
	if fromParser.MatchString(text) {
		m.Pos.Line++
	}
	if m.Pos.Line > 0 { // what is missing at the end is said of the last line
		last := 1 + bytes.Count(bytes.TrimRight(data, "\n"), []byte("\n"))
		m.Pos.Line, m.Pos.Column = min(m.Pos.Line, last), 1
	}
	if tabIndented(data, m.Pos.Line) {
		m.Hint = "indent with spaces, not tabs"
	}
	if at := noAnchor.FindStringSubmatch(text); at != nil {
		m.Pos.Line, m.Pos.Column = find(data, "*"+at[1])
		text, m.Hint = "unknown anchor", "a value that begins with * needs quotes"
	}
	m.What = "not valid YAML: " + yamlWords.FindString(text)
	if m.Pos.Column < 2 { // else the anchor was found
		explain(&m, data, text)
	}
	return m
}

// explain gives a mistake the place and the reason of the first suspect in the
// text that the library can mean. Its line is that of a scalar, or that in which
// the mapping or the list begins that is wrong somewhere.
func explain(m *Mistake, data []byte, text string) {
	deep, letters, begins := strings.Contains(text, "exceeded max depth"), notText.MatchString(text), fromParser.MatchString(text)
	for _, s := range suspects(data) {
		near := m.Pos.Line == 0 || s.line >= m.Pos.Line-1 && (begins || s.line <= m.Pos.Line) || s.open && s.line <= m.Pos.Line
		if deep == (s.what == tooDeep) && (deep || letters == badLetter.MatchString(s.what) && (letters || near)) {
			m.Pos.Line, m.Pos.Column, m.What, m.Hint = s.line, s.col, "not valid YAML: "+s.what, s.hint
			return
		}
	}
	if m.Pos.Line == 0 {
		return
	}
	m.Pos.Column = firstLetter(data, m.Pos.Line)
	switch {
	case strings.HasPrefix(text, "did not find expected key"), strings.HasPrefix(text, "did not find expected '-'"):
		m.Hint = "indent the line as those it belongs to; values with special characters need quotes"
	case strings.HasPrefix(text, "could not find expected ':'"):
		m.Hint = "write a colon and a blank after a key"
	}
}

var (
	notText   = regexp.MustCompile(`UTF-8|control characters|UTF-16`)
	badLetter = regexp.MustCompile(`UTF-8|control character`)
)

// firstLetter is the column of the first letter of a line.
func firstLetter(data []byte, line int) int {
	lines := bytes.Split(data, []byte("\n"))
	if line > len(lines) {
		return 1
	}
	return 1 + len(lines[line-1]) - len(bytes.TrimLeft(lines[line-1], " "))
}

// find returns the line and column where word first stands, counted from 1.
func find(data []byte, word string) (line, column int) {
	before, _, ok := strings.Cut(string(data), word)
	if !ok {
		return 0, 0
	}
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:])
}

// tabIndented reports a tab at the start of the line or its neighbours: the
// library often blames the line before or after.
func tabIndented(data []byte, line int) bool {
	lines := bytes.Split(data, []byte("\n"))
	for i := max(0, line-2); i <= line && i < len(lines); i++ {
		if bytes.HasPrefix(bytes.TrimLeft(lines[i], " "), []byte("\t")) {
			return true
		}
	}
	return false
}

type builder struct {
	file   string
	data   []byte
	values int
	open   map[*yaml.Node]bool // collections being built, to find one inside itself
	said   map[said]bool
	ms     Mistakes
}

// said keeps a mistake in an anchor from being repeated for every alias.
type said struct {
	pos  Pos
	what string
}

func (b *builder) mistake(y *yaml.Node, path, what, hint string) {
	s := said{Pos{b.file, y.Line, y.Column}, what}
	if b.said[s] {
		return
	}
	b.said[s] = true
	b.ms = append(b.ms, Mistake{Pos: Pos{b.file, y.Line, y.Column}, Path: path, What: what, Hint: hint})
}

// broken stands for a value that was reported already.
func broken(y *yaml.Node) *value {
	return &value{line: y.Line, col: y.Column, unresolved: true}
}

func (b *builder) build(y *yaml.Node, path string, depth int) *value {
	b.values++
	switch {
	case b.values == maxValues:
		b.mistake(y, path, fmt.Sprintf("more than %d values, aliases counted each time", maxValues), "use fewer aliases")
		return broken(y)
	case b.values > maxValues:
		return broken(y)
	case depth > maxDepth:
		b.mistake(y, path, fmt.Sprintf("nested more than %d deep", maxDepth), "")
		return broken(y)
	case b.open[y]:
		b.mistake(y, path, "contains itself through an alias", "")
		return broken(y)
	}
	v := &value{line: y.Line, col: y.Column}
	if y.Style&yaml.TaggedStyle != 0 && !plainTag(y.Tag) {
		b.mistake(y, path, "tags are not supported", "put quotes around a value that begins with !, or remove the tag")
		return broken(y)
	}
	switch y.Kind {
	case yaml.AliasNode:
		v = b.build(y.Alias, path, depth+1)
		v.line, v.col, v.written = y.Line, y.Column, written{}
	case yaml.MappingNode:
		b.open[y] = true
		b.mapping(v, y, path, depth)
		delete(b.open, y)
	case yaml.SequenceNode:
		b.open[y] = true
		v.kind = sequence
		for i, item := range y.Content {
			v.vals = append(v.vals, b.build(item, fmt.Sprintf("%s[%d]", path, i), depth+1))
		}
		delete(b.open, y)
	default:
		v.raw, v.text, v.null = y.Value, y.Value, y.Tag == "!!null"
		v.tag = y.Tag
		v.written = written{b.data, y.Style, y.Anchor != ""}
	}
	return v
}

func plainTag(tag string) bool {
	switch tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq":
		return true
	}
	return false
}

func (b *builder) mapping(v *value, y *yaml.Node, path string, depth int) {
	v.kind = mapping
	seen := map[string]*yaml.Node{}
	var merged []*value
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, val := y.Content[i], y.Content[i+1]
		if key.Kind == yaml.ScalarNode && key.Tag == "!!merge" {
			merged = append(merged, b.merge(val, path, depth)...)
			continue
		}
		if key.Kind != yaml.ScalarNode {
			b.mistake(key, path, "a key must be a plain word", "")
			continue
		}
		at := join(path, key.Value)
		if first, ok := seen[key.Value]; ok {
			b.mistake(key, at, fmt.Sprintf("given twice, first in line %d", first.Line), "remove one")
			continue
		}
		seen[key.Value] = key
		child := b.build(val, at, depth+1)
		child.keyLine, child.keyCol = key.Line, key.Column
		v.keys, v.vals = append(v.keys, key.Value), append(v.vals, child)
	}
	v.absorb(merged)
}

// merge returns the mappings that a merge key names, first one first.
func (b *builder) merge(y *yaml.Node, path string, depth int) []*value {
	v := b.build(y, path, depth+1)
	from := []*value{v}
	if v.kind == sequence {
		from = v.vals
	}
	for _, m := range from {
		if m.kind != mapping && !m.unresolved {
			b.mistake(y, join(path, "<<"), "needs a mapping or a list of mappings", "<<: *name")
			return nil
		}
	}
	return from
}

// absorb adds the keys of merged mappings that v does not have.
func (v *value) absorb(merged []*value) {
	if len(merged) == 0 {
		return
	}
	have := map[string]bool{}
	for _, k := range v.keys {
		have[k] = true
	}
	for _, m := range merged {
		for i, k := range m.keys {
			if !have[k] {
				have[k] = true
				v.keys, v.vals = append(v.keys, k), append(v.vals, m.vals[i])
			}
		}
	}
}

// join appends a key to a path, quoted and cut when it is not a plain word.
func join(path, key string) string {
	if path == "" {
		return show(key)
	}
	return path + "." + show(key)
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./<-]{1,64}$`)

// show returns a word of the file for a message: bare when it is plain,
// otherwise quoted, and never long.
func show(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return quote(word)
}

func quote(word string) string {
	if r := []rune(word); len(r) > 40 {
		word = string(r[:40]) + "..."
	}
	return strconv.Quote(word)
}
