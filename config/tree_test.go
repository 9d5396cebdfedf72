package config

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithin(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text      string
		line, col int
		want      Pos
	}{
		"plain":           {"a: one two", 1, 5, Pos{"f", 1, 8}},
		"quoted":          {"a: 'one two'", 1, 5, Pos{"f", 1, 9}},
		"block":           {"a: |\n    one\n    two", 2, 2, Pos{"f", 3, 6}},
		"block after gap": {"a: |\n\n  one\n  two", 2, 1, Pos{"f", 3, 3}},
		"folded":          {"a: >\n  one\n  two", 1, 5, Pos{"f", 3, 3}},
		"next line":       {"a:\n  one two", 1, 5, Pos{"f", 2, 7}},
		"not in the file": {"b: x", 1, 1, Pos{"f", 0, 0}},
		"not a scalar":    {"a: [x]", 1, 1, Pos{"f", 1, 4}},
		"escaped break":   {"a: \"one\\ntwo\"", 2, 1, Pos{"f", 1, 10}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, err := NodeFrom("f", tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := n.Get("a").Within(tt.line, tt.col); got != tt.want {
				t.Errorf("Within(%d, %d) = %v, want %v", tt.line, tt.col, got, tt.want)
			}
		})
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	n, err := NodeFrom("f", "a: {text: 'true', on: true, n: 10, f: 1.50, hex: 0x10, none: , word: yes}\nb: [1, x]")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"text": "true", "on": true, "n": json.Number("10"), "f": json.Number("1.50"), "hex": "0x10", "none": nil, "word": "yes",
	}
	got := map[string]any{}
	for _, key := range n.Get("a").Keys() {
		got[key] = n.Get("a").Get(key).Scalar()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scalars (-want +got):\n%s", diff)
	}
	shapes := []Shape{n.Get("a").Shape(), n.Get("b").Shape(), n.Get("b").Items()[1].Shape(), n.Get("c").Shape(), n.Get("a").Get("none").Shape()}
	if diff := cmp.Diff([]Shape{Mapping, List, Scalar, Null, Null}, shapes); diff != "" {
		t.Errorf("shapes (-want +got):\n%s", diff)
	}
}

func TestKindsChangeDefaults(t *testing.T) {
	t.Parallel()
	const text = "sources: {s: {kind: x, secrets: a}}\nroutes: [{match: '>', to: [slow, own, plain]}]\n" +
		"sinks: {slow: {kind: slow}, own: {kind: slow, rate: 5/s}, plain: {kind: plain}}"
	c, ms := Parse("f", []byte(text), Options{SinkDefaults: map[string]func(*Sink){
		"slow": func(s *Sink) { s.Rate = Rate{PerSecond: 1, Burst: 1} },
	}})
	if len(ms.Fatal()) > 0 {
		t.Fatal(ms)
	}
	got := map[string]Rate{}
	for _, s := range c.Sinks {
		got[s.Name] = s.Rate
	}
	want := map[string]Rate{"slow": {1, 1}, "own": {5, 5}, "plain": {}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rates (-want +got):\n%s", diff)
	}
}
