package rules

import "testing"

// What looks at nothing of an event is evaluated at load, but not at any price.
func TestFactsAreBounded(t *testing.T) {
	t.Parallel()
	const ten = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
	l := mustLanguage(t)
	for _, tt := range []struct {
		when          string
		always, never bool
	}{
		{ten + ".all(a, a >= 0)", true, false},
		{ten + ".exists(a, a > 9)", false, true},
		{ten + ".all(a, " + ten + ".all(b, " + ten + ".all(c, " + ten + ".all(d, a + b + c + d >= 0))))", false, false},
	} {
		if f := l.Facts(node(t, quoted(tt.when))); f.Always != tt.always || f.Never != tt.never {
			t.Errorf("%s: always %t, never %t; want %t, %t", tt.when, f.Always, f.Never, tt.always, tt.never)
		}
	}
}
