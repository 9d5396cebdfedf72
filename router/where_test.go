package router

import (
	"errors"
	"testing"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
)

func TestWhere(t *testing.T) {
	t.Parallel()
	e := &event.Event{ID: "one", Subject: "orders.paid", Body: []byte(`{"data":{"total":7}}`)}
	for text, want := range map[string]struct{ holds, fails bool }{
		`data.total > 5`:                 {true, false},
		`event.id == "two"`:              {false, false},
		`data.nothing.at.all == 1`:       {false, true},
		`event.subject.startsWith("or")`: {true, false},
	} {
		w, err := ParseWhere(text)
		if err != nil {
			t.Fatalf("ParseWhere(%q): %v", text, err)
		}
		if ok, err := w.Holds(t.Context(), e); ok != want.holds || (err != nil) != want.fails {
			t.Errorf("%s: %t, %v; want %+v", text, ok, err, want)
		}
	}
	for text, column := range map[string]int{`data.total >`: 13, `nobody == 1`: 1, `1 + 1`: 1, ``: 1} {
		_, err := ParseWhere(text)
		var ms config.Mistakes
		if !errors.As(err, &ms) || ms[0].Pos.Column != column {
			t.Errorf("ParseWhere(%q) = %v, want a mistake at column %d", text, err, column)
		}
	}
}

func TestMatchAny(t *testing.T) {
	t.Parallel()
	patterns := func(texts ...string) (out []Pattern) {
		for _, s := range texts {
			p, err := ParsePattern(s)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, p)
		}
		return out
	}
	for _, tt := range []struct {
		patterns []Pattern
		subject  string
		want     bool
	}{
		{nil, "a.b", true},
		{patterns("a.>"), "a.b", true},
		{patterns("b.>", "*.b"), "a.b", true},
		{patterns("b.>"), "a.b", false},
		{patterns("brand.>"), "unknown.brand.new", true},
		{patterns("shop.brand.>"), "shop.unknown.brand.new", true},
	} {
		if got := MatchAny(tt.patterns, []string{"shop"}, tt.subject); got != tt.want {
			t.Errorf("MatchAny(%v, %q) = %t", tt.patterns, tt.subject, got)
		}
	}
}
