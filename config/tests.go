package config

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// testSuffix ends the names of files that hold tests and no configuration.
const testSuffix = "_test.yaml"

// Test says what the routes have to make of an event.
type Test struct {
	Pos Pos
	// Name is what the test is told under; no two have the same.
	Name string `yaml:"name,required" example:"large invoices go to billing"`
	// Event is what is routed.
	Event TestEvent `yaml:"event,required"`
	// Expect is what has to come of it.
	Expect Expect `yaml:"expect" filled:"name sinks, not_sinks or transform"`
	node   Node
}

// At is a part of the test as it is written, such as "event", "set".
func (t Test) At(keys ...string) Node {
	n := t.node
	for _, key := range keys {
		n = n.Get(key)
	}
	return n
}

// TestEvent is a sample of an event type, changed.
type TestEvent struct {
	Pos Pos
	// Type is the event type or its subject.
	Type Ref `yaml:"type,required" example:"orders/invoice.paid"`
	// Source it comes through; without it the first.
	Source string `yaml:"source" example:"clickfunnels"`
	// Version is the API version, 1 or 2; 0 means the highest in which the type is sent.
	Version int `yaml:"version" range:"0..2"`
	// ID is the event's id; without it "test".
	ID string `yaml:"id" example:"order-4711"`
	// Now is when the event arrives, and what rules see as now; without it the
	// time of the test.
	Now TestTime `yaml:"now" example:"2026-01-31T08:00:00Z"`
	// Data replaces the sample's data.
	Data Node `yaml:"data" example:"{total_amount: '149.00'}"`
	// Set then sets single values, by paths; a number between quotes is a string.
	Set Node `yaml:"set" shapes:"object" example:"{data.total_amount: '149.00'}"`
}

// Expect is what a test expects. What is not named is not looked at.
type Expect struct {
	Pos Pos
	// Sinks get the event; an empty list: no sink does.
	Sinks []Ref `yaml:"sinks" example:"[billing]"`
	// NotSinks do not get it.
	NotSinks []Ref `yaml:"not_sinks" example:"[crm]"`
	// Transform has for sinks the body that they get.
	Transform Node `yaml:"transform" shapes:"object" example:"{billing: {total: 149}}"`
}

// TestTime is a time of a test. The zero TestTime is not given.
type TestTime struct{ time.Time }

// DecodeNode reads a time as RFC 3339 writes it.
func (t *TestTime) DecodeNode(n Node) Mistakes {
	at, err := time.Parse(time.RFC3339, n.Text())
	if err != nil {
		return n.needs("a time", "write it as 2026-01-31T08:00:00Z")
	}
	t.Time = at
	return nil
}

// decodeTests reads the section tests. Variables are not filled in: a test is
// the same everywhere.
func (l *loader) decodeTests() {
	names := map[string]Pos{}
	for _, n := range l.tests {
		t := Test{node: n}
		had := len(l.ms)
		l.report(n.Decode(&t)...)
		if first, twice := names[t.Name]; twice && t.Name != "" {
			l.report(n.Errorf("name", "has the same name as the test at "+first.String(), "rename one"))
		}
		names[t.Name] = t.Pos
		if len(l.ms[had:].Fatal()) == 0 {
			l.cfg.Tests = append(l.cfg.Tests, t)
		}
	}
}

// LoadTests reads files that hold tests only: a section tests. It returns
// every mistake at once.
func LoadTests(paths []string) ([]Test, Mistakes) {
	l := newLoader(Options{})
	for _, path := range paths {
		data, err := readFile(path, maxFileBytes)
		if err != nil {
			l.unreadable(path, err)
			continue
		}
		root, ms := parseYAML(path, []byte(data))
		l.report(ms...)
		if root == nil {
			continue
		}
		n := Node{File: path, val: root, docs: l.files}
		for _, key := range n.Keys() {
			if key != "tests" {
				l.report(n.keyErrorf(key, "has no place in a file of tests", "its only key is tests"))
			}
		}
		if n.Get("tests").IsZero() {
			l.report(n.Errorf("", "has no tests", "begin it with tests:"))
			continue
		}
		l.text[path] = strings.Split(strings.TrimPrefix(data, "\ufeff"), "\n")
		l.roots = append(l.roots, n) // what is secret in it is not shown
		l.section(n, "tests")
	}
	l.decodeTests()
	l.ms.Sort()
	l.excerpts(l.ms)
	return l.cfg.Tests, l.ms
}

// TestFiles returns the files of tests beside configuration files: those of
// the same folder whose names end with _test.yaml.
func TestFiles(paths []string) []string {
	var out []string
	for _, path := range paths {
		found, err := filepath.Glob(filepath.Join(globQuote(filepath.Dir(path)), "*"+testSuffix))
		if err != nil {
			continue
		}
		for _, f := range found {
			if !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// globQuote keeps the letters of a folder from being taken for a pattern.
func globQuote(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// JSON returns a part of the file as JSON, keys sorted. What YAML takes for a
// number, true, false or null is one, anything else a string.
func (n Node) JSON() json.RawMessage {
	text, err := json.Marshal(n.plain())
	if err != nil { // never: plain has no other values
		return nil
	}
	return text
}

func (n Node) plain() any {
	switch {
	case n.Shape() == Mapping:
		m := map[string]any{}
		for _, key := range n.val.keys {
			m[key] = n.Get(key).plain()
		}
		return m
	case n.Shape() == List:
		a := []any{}
		for _, item := range n.list() {
			a = append(a, item.plain())
		}
		return a
	case n.val == nil || n.val.null:
		return nil
	}
	quoted := n.val.written.style & (yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle)
	if text := n.val.text; quoted != 0 || !json.Valid([]byte(text)) {
		return text
	}
	return json.RawMessage(n.val.text)
}
