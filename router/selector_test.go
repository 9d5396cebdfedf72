package router

import (
	"slices"
	"testing"
)

func TestSelector(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		patterns []string
		subject  string
		want     bool
	}{
		"no pattern takes everything":             {nil, "orders.invoice.paid", true},
		"no pattern takes what is malformed":      {nil, "unknown.malformed", true},
		"one of two":                              {[]string{"contact.>", "*.invoice.paid"}, "orders.invoice.paid", true},
		"none of two":                             {[]string{"contact.>", "*.invoice.paid"}, "orders.invoice.failed", false},
		"what the catalogue did not list":         {[]string{"brand.>"}, "unknown.brand.made", true},
		"that of a source with a prefix":          {[]string{"eu.brand.>"}, "eu.unknown.brand.made", true},
		"what is malformed is of no type":         {[]string{"malformed"}, "unknown.malformed", false},
		"what is malformed, asked for by its own": {[]string{"unknown.>"}, "unknown.malformed", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := NewSelector(tt.patterns, []string{"eu"})
			if err != nil {
				t.Fatalf("NewSelector(%q): %v", tt.patterns, err)
			}
			if got := s.Match(tt.subject); got != tt.want {
				t.Errorf("%q selects %s: %t, want %t", tt.patterns, tt.subject, got, tt.want)
			}
			covered := slices.ContainsFunc(s.Filters(), func(f string) bool { return Pattern{f}.Match(tt.subject) })
			if tt.want && !covered {
				t.Errorf("filters %q of %q do not let %s through", s.Filters(), tt.patterns, tt.subject)
			}
		})
	}
	if _, err := NewSelector([]string{"a..b"}, nil); err == nil {
		t.Error("NewSelector takes a pattern with an empty token")
	}
}
