package config

import (
	"strings"
	"testing"
	"unicode"
)

// TestPlacesOfLetters: the place of every letter of a scalar is where the file
// has that letter, in every style of YAML. Letters written as escapes are
// where the escape begins.
func TestPlacesOfLetters(t *testing.T) {
	t.Parallel()
	for _, file := range []string{
		"x: a plain one\n",
		"x:   # comment\n  below, and\n  on two  lines\n",
		"x: 'quoted ''twice'' here'\n",
		"x: 'quoted\n\n   over ''lines'''\n",
		`x: "with \"escapes\" \u00e4\x41 and \\ more"` + "\n",
		"x: \"over \\\n   lines\n   and \\t tabs\"\n",
		"x: |\n  literal\n    indented\n\n  end\n",
		"x: |2-   # comment\n    more\n  less\n",
		"x: >-\n\n  folded\n  text\n\n    kept\n",
		"x: &anchor value\ny: *anchor\n",
		"x: &anchor\n  'value'\n",
		"# ä\nx: 'ä ö' # ü\n",
		"{y: 1, x: in a flow, z: 2}\n",
		"\ufeffx: after a mark\n",
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			n, err := NodeFrom("f", file)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimPrefix(file, "\ufeff"), "\n")
			for i, r := range []rune(n.Get("x").Text()) {
				if unicode.IsSpace(r) {
					continue
				}
				pos := n.Get("x").posAt(i)
				if pos.Line < 1 || pos.Line > len(lines) || pos.Column < 1 || pos.Column > len([]rune(lines[pos.Line-1])) {
					t.Fatalf("letter %d %q is at %v, which is not in the file", i, r, pos)
				}
				if at := []rune(lines[pos.Line-1])[pos.Column-1]; at != r && at != '\\' {
					t.Errorf("letter %d %q is at %v, where the file has %q", i, r, pos, at)
				}
			}
		})
	}
}

// TestPlacesOfOtherParts: what is no letter has a place all the same.
func TestPlacesOfOtherParts(t *testing.T) {
	t.Parallel()
	n, err := NodeFrom("f", "x: ab cd\ny: ''\nw: &a q r\nz: *a\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key    string
		offset int
		want   Pos
	}{
		{"x", 2, Pos{"f", 1, 6}}, {"x", 5, Pos{"f", 1, 9}}, {"x", 99, Pos{"f", 1, 9}}, {"x", -1, Pos{"f", 1, 4}},
		{"y", 0, Pos{"f", 2, 4}}, {"w", 2, Pos{"f", 3, 9}}, {"z", 2, Pos{"f", 4, 4}},
	} {
		if got := n.Get(tt.key).posAt(tt.offset); got != tt.want {
			t.Errorf("%s[%d] is at %v, want %v", tt.key, tt.offset, got, tt.want)
		}
	}
}
