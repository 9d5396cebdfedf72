package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common"

	"github.com/penstock/penstock/config"
)

// source is an expression as it is written, and as it is without the values of
// its variables: with a name in the place of each.
type source struct {
	node config.Node
	// text has the names; the places of what CEL says of it can be told.
	text string
	// raws are where the letters of text stand in what is written, in
	// characters; one more than it has, for its end.
	raws []int
	// variables are the names with what is written for them: ${NAME}.
	variables []variableOfFile
}

type variableOfFile struct{ name, written string }

// inFile finds what the file fills in: a variable, or a dollar sign.
var inFile = regexp.MustCompile(`\$\$|\$\{[^}]*\}?`)

// standIn is the name that stands for a variable of the file.
const standIn = "variable_of_the_file_"

func read(n config.Node) source {
	s := source{node: n}
	var text strings.Builder
	raw, at := n.Raw(), 0
	expanded := n.Unresolved() || raw != n.Text() // what is no part of a file has no variables
	write := func(part string, moves bool) {
		for _, r := range part {
			text.WriteRune(r)
			s.raws = append(s.raws, at)
			if moves {
				at++
			}
		}
	}
	for raw != "" {
		found := inFile.FindStringIndex(raw)
		if found == nil || !expanded {
			found = []int{len(raw), len(raw)}
		}
		write(raw[:found[0]], true)
		switch written := raw[found[0]:found[1]]; {
		case written == "$$":
			write("$", false)
			at += 2
		case written != "":
			name := fmt.Sprintf("%s%d_", standIn, len(s.variables))
			s.variables = append(s.variables, variableOfFile{name, written})
			write(name, false)
			at += utf8.RuneCountInString(written)
		}
		raw = raw[found[1]:]
	}
	s.raws = append(s.raws, at)
	s.text = text.String()
	return s
}

// filled reports that variables of the file are part of the expression, so
// that what is made of it may hold a secret.
func (s source) filled() bool {
	return len(s.variables) > 0 || s.text != s.node.Text() && !s.node.Unresolved()
}

// shown puts variables as they are written into a text about s.text.
func (s source) shown(text string) string {
	for _, v := range slices.Backward(s.variables) {
		text = strings.ReplaceAll(text, v.name, v.written)
	}
	return text
}

// mistake is one at a letter of s.text, counted in characters.
func (s source) mistake(at int, what, hint string) config.Mistake {
	what, hint = s.shown(what), s.shown(hint)
	if s.text == s.node.Raw() {
		return s.node.ErrorAt(at, what, hint)
	}
	m := s.node.Errorf("", what, hint)
	raw := s.raws[min(max(at, 0), len(s.raws)-1)]
	written := []rune(s.node.Raw())
	before := string(written[:min(raw, len(written))])
	line := 1 + strings.Count(before, "\n")
	m.Pos = s.node.Within(line, 1+utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]))
	return m
}

// variable is the place of the first variable in s.text.
func (s source) variable() int {
	before, _, _ := strings.Cut(s.text, standIn)
	return utf8.RuneCountInString(before)
}

// offset counts a place of a text in characters.
func offset(text string, at common.Location) int {
	n := 0
	for i, line := range strings.SplitAfter(text, "\n") {
		if i+1 >= at.Line() {
			break
		}
		n += len([]rune(line))
	}
	return n + max(at.Column(), 0)
}
