package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock/penstock/config"
)

// TestAdviceIsBounded: a hostile file of patterns costs no more than reading it.
// Without the bound this takes minutes, and the test run ends it.
func TestAdviceIsBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(minimal + "  - match: [")
	for i := range 30_000 {
		fmt.Fprintf(&b, "a.b%d, ", i)
	}
	b.WriteString("'*.x']\n    to: log\n")
	o := testOptions()
	o.Advice = true
	if cfg, ms := config.Parse("x.yaml", []byte(b.String()), o); cfg == nil || len(ms.Fatal()) > 0 {
		t.Error("the file is good, but for its length")
	}
}

// TestAdviceIsAskedFor: serve, which does not ask, stays quiet.
func TestAdviceIsAskedFor(t *testing.T) {
	t.Parallel()
	text := []byte(minimal + "  - {match: contact.created, to: log}\n")
	o := testOptions()
	if _, ms := config.Parse("x.yaml", text, o); len(ms) > 0 {
		t.Errorf("without advice:\n%v", ms)
	}
	o.Advice = true
	if _, ms := config.Parse("x.yaml", text, o); len(ms) != 2 || len(ms.Fatal()) > 0 {
		t.Errorf("with advice, want the secret in clear and the route that adds nothing:\n%v", ms)
	}
}
