package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
)

// FuzzCondition: whatever is written as a condition and whatever a body holds,
// reading and asking end in an answer or in an error with a place.
func FuzzCondition(f *testing.F) {
	for _, seed := range [][2]string{
		{`money(data.total_amount) >= 100`, `{"data":{"total_amount":"149.00"}}`},
		{`data.?a.orValue("").matches("^[a-z]+$") && "x" in data.tags`, `{"data":{"a":"b","tags":["x"]}}`},
		{`data.s.replace("", data.s) + data.s == ""`, `{"data":{"s":"aaaa"}}`},
		{`data.list.map(i, i.n).filter(n, n > 1).size() == 0`, `{"data":{"list":[{"n":1e400},{"n":-0.0}]}}`},
		{`"%s %d %.3f".format([data.a, 1, 2.5]) != ""`, `{"data":{"a":{"b":[null,true]}}}`},
		{`cel.bind(x, timestamp(data.at), x < now && date(x) != "")`, `{"data":{"at":"2026-11-24T11:00:00Z"}}`},
		{`regex.replace(data.a, "(a*)", "\\1\\1") == event.id`, `{"data":{"a":"aaaa"}}`},
		{"data.a == 1 &&\n  dta.b", `[`},
		{`event.id == "e1" && (event.id in ["e2", "e1"] || !(1 > 2)) && headers["x-y"] != ""`, `{}`},
		{`(event.id == "e1" || data.a == 1) && true || "x" in headers && !has(headers.z)`, `{"data":{"a":1}}`},
		{`((((`, ``}, {`event.typ`, `{}`}, {`a.b.c`, `{}`}, {`1/0 == 1`, `{}`},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	l := mustLanguage(f)
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		n, err := config.NodeFrom("penstock.yaml", quoted(text))
		if err != nil {
			return // not YAML
		}
		c, ms := l.Condition(n.Get("x"))
		for _, m := range ms {
			if m.Pos.Line < 1 || m.Pos.Column < 1 || m.What == "" {
				t.Errorf("a mistake without a place or a word: %+v", m)
			}
		}
		tr, _ := l.Transform(n.Get("x"))
		in := NewInput(&event.Event{ID: "e1", Body: body}, now)
		var told *Error
		if c != nil {
			is, err := c.Eval(t.Context(), in)
			if err != nil && !errors.As(err, &told) {
				t.Errorf("%v is not an Error", err)
			}
			facts := l.Facts(n.Get("x"))
			if needed, asks := facts.Needs["id"]; err == nil && (facts.Never && is || facts.Always && !is || is && asks && !slices.Contains(needed, "e1")) {
				t.Errorf("%q is %t, which cannot be by %+v", text, is, facts)
			}
			c.Explain(t.Context(), in)
		}
		if tr != nil {
			if _, err := tr.Apply(t.Context(), in); err != nil && !errors.As(err, &told) {
				t.Errorf("%v is not an Error", err)
			}
		}
	})
}

// FuzzDecode: a body is read as encoding/json reads it, and refused when
// encoding/json refuses it.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.5e+3,{"b":null,"a":true,"a":false}],"c":"d\u00e4\n\"\\","":{}}`, ` [ ] `, `"\ud800"`, "\"\xff\"", "\"a\xc3\xa4\"", `0`, `-0.0`,
		`{"a":1}{`, `[1,]`, ``, `nul`, `"a`, "\t{\r\n}", `[[[[[[]]]]]]`, `1 2`, `"\"`, `{"a" : "b" , "c" : [ 1 , 2 ] }`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeJSON(body)
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var want any
		if !json.Valid(body) {
			if err == nil {
				t.Errorf("read as %v, want an error", got)
			}
			return
		}
		if wrong := d.Decode(&want); wrong != nil {
			t.Fatal(wrong)
		}
		if err != nil && len(body) < maxValues {
			if bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) <= maxDepth {
				t.Errorf("refused: %v", err)
			}
			return
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}
