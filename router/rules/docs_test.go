package rules

import (
	"os"
	"strings"
	"testing"
)

// TestConditionsOfThePageCompile: every line of the page's blocks of CEL is a
// condition.
func TestConditionsOfThePageCompile(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, block := range strings.Split(string(page), "```cel\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		for line := range strings.Lines(text) {
			n++
			mustCondition(t, strings.TrimSpace(line))
		}
	}
	if n < 10 {
		t.Errorf("found %d conditions, want 10 at least", n)
	}
}
