package router

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustPattern(t testing.TB, s string) Pattern {
	t.Helper()
	p, err := ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustPatterns(t testing.TB, ss ...string) []Pattern {
	t.Helper()
	var ps []Pattern
	for _, s := range ss {
		ps = append(ps, mustPattern(t, s))
	}
	return ps
}

func TestParsePatternSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ pattern, want string }{
		"empty":               {"", `pattern is empty; ">" matches every subject`},
		"empty token":         {"orders..paid", "token 2 is empty"},
		"leading dot":         {".paid", "token 1 is empty"},
		"trailing dot":        {"orders.", "token 2 is empty"},
		"rest in the middle":  {"orders.>.paid", `token 2 is ">", which may only be the last; use "*"`},
		"wildcard in a token": {"orders.inv*", `token 2 "inv*" mixes a wildcard with text`},
		"rest in a token":     {"orders.paid>", `token 2 "paid>" mixes a wildcard with text`},
		"double star":         {"**.paid", `token 1 "**" mixes`},
		"event type":          {"orders/invoice.paid", `token 1 "orders/invoice" contains "/"; subjects have "." in its place`},
		"space":               {"orders.invoice paid", `token 2 "invoice paid" contains ' '`},
		"other letters":       {"été", `contains 'é'`},
		"too long":            {strings.Repeat("a", maxPattern+1), "has 274 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParsePattern(tt.pattern)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParsePattern(%q) = %v, want an error with %q", tt.pattern, err, tt.want)
			}
		})
	}
}

func TestPatternMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, subject string
		want             bool
	}{
		{"orders.paid", "orders.paid", true},
		{"orders.paid", "orders.Paid", false},
		{"orders.paid", "orders", false},
		{"orders.paid", "orders.paid.twice", false},
		{"orders.paid", "orders.paidx", false},
		{"*.paid", "orders.paid", true},
		{"*.paid", "orders.invoice.paid", false},
		{"orders.*", "orders", false},
		{"orders.*", "orders.a.b", false},
		{"orders.>", "orders", false},
		{"orders.>", "orders.a", true},
		{"orders.>", "orders.a.b.c", true},
		{"orders.>", "ordersx.a", false},
		{"*.>", "orders", false},
		{"*.>", "orders.a", true},
		{">", "orders", true},
		{">", "a.b.c", true},
		{"*", "a", true},
		{"*", "a.b", false},
		{">", "", false},
		{"brand.>", "unknown.brand.made", false},
	} {
		if got := mustPattern(t, tt.pattern).Match(tt.subject); got != tt.want {
			t.Errorf("pattern %q, Match(%q) = %t, want %t", tt.pattern, tt.subject, got, tt.want)
		}
	}
	if (Pattern{}).Match("orders") {
		t.Error("the zero pattern matches something")
	}
}

func TestPatternMatchDoesNotAllocate(t *testing.T) {
	p := mustPattern(t, "*.invoice.>")
	if n := testing.AllocsPerRun(100, func() { p.Match("orders.invoice.paid") }); n != 0 {
		t.Errorf("Match allocates %v times", n)
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{">", ">", true},
		{">", "*.a", true},
		{"*.>", ">", false},
		{">", "*.>", true},
		{"*.>", "*.*", true},
		{"*.>", "*", false},
		{"orders.>", "orders", false},
		{"orders.>", "orders.*.paid", true},
		{"orders.>", "*.paid", false},
		{"orders.*", "orders.>", false},
		{"orders.*", "orders.paid", true},
		{"orders.paid", "orders.*", false},
		{"orders.paid", "orders.paid", true},
		{"*.paid", "orders.*", false},
	} {
		if got := Covers(mustPattern(t, tt.a), mustPattern(t, tt.b)); got != tt.want {
			t.Errorf("Covers(%q, %q) = %t, want %t", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		patterns, prefixes, want []string
	}{
		"none":                        {nil, nil, []string{}},
		"everything":                  {[]string{">", "orders.>"}, []string{"shop"}, []string{">"}},
		"one, and as unknown":         {[]string{"orders.>"}, nil, []string{"orders.>", "unknown.orders.>"}},
		"a pattern twice":             {[]string{"a", "a"}, nil, []string{"a", "unknown.a"}},
		"covered is dropped":          {[]string{"orders.paid", "orders.>"}, nil, []string{"orders.>", "unknown.orders.>"}},
		"root and below both stay":    {[]string{"orders.>", "orders"}, nil, []string{"orders", "orders.>", "unknown.orders", "unknown.orders.>"}},
		"partial overlap stays":       {[]string{"orders.*", "*.paid"}, nil, []string{"*.paid", "orders.*", "unknown.*.paid", "unknown.orders.*"}},
		"under a prefix":              {[]string{"shop.orders.paid"}, []string{"shop", "other"}, []string{"shop.orders.paid", "shop.unknown.orders.paid", "unknown.shop.orders.paid"}},
		"a prefix of two tokens":      {[]string{"eu.shop.paid"}, []string{"eu.shop"}, []string{"eu.shop.paid", "eu.shop.unknown.paid", "unknown.eu.shop.paid"}},
		"a wildcard reaches a prefix": {[]string{"*.paid"}, []string{"shop"}, []string{"*.paid", "shop.unknown.paid", "unknown.*.paid"}},
		"rest includes unknown":       {[]string{"shop.>"}, []string{"shop"}, []string{"shop.>", "unknown.shop.>"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Filters(mustPatterns(t, tt.patterns...), tt.prefixes)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Filters(%q, %q) (-want +got):\n%s", tt.patterns, tt.prefixes, diff)
			}
		})
	}
}

func TestFiltersBeyondSixteenCollapse(t *testing.T) {
	t.Parallel()
	var deep, wide []string
	for _, r := range "abcdefghijklmnopqrstuvwxyz" {
		deep = append(deep, "orders.invoice."+string(r), "people."+string(r))
		wide = append(wide, string(r)+".made")
	}
	for name, tt := range map[string]struct{ patterns, want []string }{
		"by what they share": {deep, []string{"orders.>", "people.>", "unknown.orders.>", "unknown.people.>"}},
		"no further than due": {append(deep[:4:4], "orders.invoice.q", "orders.invoice.r", "orders.invoice.s", "orders.invoice.t", "orders.invoice.u", "orders.invoice.v", "orders.invoice.w"),
			[]string{"orders.invoice.>", "people.a", "people.b", "unknown.orders.invoice.>", "unknown.people.a", "unknown.people.b"}},
		"nothing shared": {wide, []string{">"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patterns := mustPatterns(t, tt.patterns...)
			got := Filters(patterns, nil)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Filters (-want +got):\n%s", diff)
			}
			slices.Reverse(patterns)
			if diff := cmp.Diff(got, Filters(patterns, nil)); diff != "" {
				t.Errorf("filters depend on the order of the patterns:\n%s", diff)
			}
		})
	}
}

// matchPlainly is what the NATS manual says, token by token.
func matchPlainly(pattern, subject string) bool {
	if subject == "" {
		return false
	}
	want, have := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, w := range want {
		switch {
		case w == ">":
			return len(have) > i
		case i >= len(have), w != "*" && w != have[i]:
			return false
		}
	}
	return len(want) == len(have)
}

func FuzzPattern(f *testing.F) {
	for _, seed := range [][3]string{
		{"orders.>", "orders.*", "orders.paid"},
		{"*.>", ">", "a"},
		{"orders.*.paid", "orders.invoice.*", "unknown.orders.invoice.paid"},
		{"shop.*.paid", "*.orders.paid", "shop.unknown.orders.paid"},
		{"*", "unknown.>", "unknown.malformed"},
		{"a.b", "a..b", "a..b"},
		{"0", strings.Repeat("0", maxPattern), "0"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, as, bs, subject string) {
		a, err := ParsePattern(as)
		if err != nil {
			return
		}
		if got, want := a.Match(subject), matchPlainly(as, subject); got != want {
			t.Fatalf("pattern %q, Match(%q) = %t, want %t", as, subject, got, want)
		}
		b, err := ParsePattern(bs)
		if err != nil {
			return
		}
		if Covers(a, b) && b.Match(subject) && !a.Match(subject) {
			t.Fatalf("%q covers %q, but does not match %q", as, bs, subject)
		}
		if !Covers(a, a) {
			t.Fatalf("%q does not cover itself", as)
		}
		checkFilters(t, []Pattern{a, b}, subject)
	})
}

// checkFilters asserts that the filters let through what a table with the
// patterns matches, and that none covers another.
func checkFilters(t *testing.T, patterns []Pattern, subject string) {
	t.Helper()
	prefixes := []string{"shop", "eu.shop"}
	var filters []Pattern
	for _, text := range Filters(patterns, prefixes) {
		// Longer than a pattern may be written, by what stands before it.
		filters = append(filters, Pattern{text: text})
	}
	through := slices.ContainsFunc(filters, func(p Pattern) bool { return p.Match(subject) })
	if matchesPlainly(patterns, prefixes, subject) && !through {
		t.Fatalf("patterns %q match %q, filters %q do not", patterns, subject, filters)
	}
	for i, p := range filters {
		for j, q := range filters {
			if i != j && Covers(p, q) {
				t.Fatalf("filter %q covers filter %q", p, q)
			}
		}
	}
}
