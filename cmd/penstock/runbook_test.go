package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var commandInCode = regexp.MustCompile("`penstock ([^`]+)`")

// TestRunbookCommandsExist: at three in the morning a command has to be there,
// with its flags.
func TestRunbookCommandsExist(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range commandInCode.FindAllStringSubmatch(string(page), -1) {
		found++
		line, _, _ := strings.Cut(m[1], " > ")
		root, _ := newRoot(process{})
		cmd, rest, err := root.Find(strings.Fields(line))
		if err != nil || !cmd.Runnable() {
			t.Errorf("docs/operations.md: penstock %s: there is no such command: %v", line, err)
			continue
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("docs/operations.md: penstock %s: %v", line, err)
		}
	}
	if found < 20 {
		t.Errorf("docs/operations.md has %d commands, want 20 at least: the page or this test has lost some", found)
	}
}
