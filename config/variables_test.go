package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestVariables(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "penstock.yaml")
	const text = "a: ${ONE} and ${TWO:-2}\n# ${COMMENT}\nb: [\"${TWO}\", '$${DOLLAR}', '${THREE:-}', '${', '${THREE:-3}']\nc: {d: \"${ONE}\"}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []Variable{{Name: "ONE"}, {Name: "TWO"}, {Name: "THREE", Default: true}}
	if d := cmp.Diff(want, Variables([]string{"none.yaml", file}), cmpopts.IgnoreFields(Variable{}, "Pos")); d != "" {
		t.Errorf("variables (-want +got):\n%s", d)
	}
}

func TestTextNodeHasPlaces(t *testing.T) {
	t.Parallel()
	n := TextNode("where", "a == 1 &&\n  é == b: c")
	if m := n.ErrorAt(12, "is wrong", ""); m.Pos != (Pos{"where", 2, 3}) || n.Text() != "a == 1 &&\n  é == b: c" {
		t.Errorf("a mistake at its 13th letter is at %v", m.Pos)
	}
}
