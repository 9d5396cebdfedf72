package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"

	"github.com/penstock/penstock/config"
)

// compile reads one expression. name says what it is for in messages.
func (l *Language) compile(n config.Node, name string) (*expression, config.Mistakes) {
	switch text := n.Text(); {
	case n.IsZero() || n.Shape() != config.Scalar && n.Shape() != config.List && n.Shape() != config.Mapping:
		return nil, config.Mistakes{n.Errorf("", "has no value", "write an expression or remove the key")}
	case n.Shape() != config.Scalar:
		return nil, config.Mistakes{n.Errorf("", "needs an expression, got several values", "write it between quotes, as in \"data.total > 100\"")}
	case strings.TrimSpace(text) == "":
		return nil, config.Mistakes{n.Errorf("", "is empty", "write an expression or remove the key")}
	}
	filled := n.Raw() != n.Text()
	checked, issues := l.env.Compile(n.Text())
	if issues.Err() != nil && filled { // CEL quotes what may be a secret
		return nil, config.Mistakes{n.Errorf("", "is no expression once its variables are filled in", `put quotes around strings, as in data.source == "${NAME}"`)}
	}
	if issues.Err() != nil {
		return nil, l.mistakes(n, issues)
	}
	program, err := l.program(checked)
	if err != nil && filled {
		return nil, config.Mistakes{n.Errorf("", "cannot be evaluated for any event", "")}
	}
	if err != nil {
		return nil, config.Mistakes{n.ErrorAt(0, cut(err.Error(), 200), "")}
	}
	return &expression{
		language: l, checked: checked, program: program, loops: loops(checked.NativeRep().Expr()), shown: n.Raw(), name: name, filled: filled, pos: n.Pos(),
	}, nil
}

// mistakes puts what CEL says into our words, at their places.
func (l *Language) mistakes(n config.Node, issues *cel.Issues) config.Mistakes {
	var out config.Mistakes
	seen := map[string]bool{}
	for _, e := range issues.Errors() {
		at := offset(n.Text(), e.Location)
		what, hint := l.translate(e.Message, n.Text(), at)
		m := n.ErrorAt(at, what, hint)
		if !seen[m.String()] {
			out = append(out, m)
		}
		seen[m.String()] = true
		if strings.HasPrefix(e.Message, "Syntax error") { // what follows comes of it
			break
		}
	}
	return out
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

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	overload   = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)
	eventField = regexp.MustCompile(`^event\.\??(\w+)`)
	badSyntax  = regexp.MustCompile(`^Syntax error: (.*)$`)
	unexpected = regexp.MustCompile(`(?:mismatched|extraneous|no viable alternative at) input '(.*?)'`)
	missing    = regexp.MustCompile(`missing ('.*?')`)
)

// translate says what is wrong, and what would be right.
func (l *Language) translate(message, text string, at int) (what, hint string) {
	rest := []rune(text)
	rest = rest[min(at, len(rest)):]
	if m := undeclared.FindStringSubmatch(message); m != nil {
		return l.unknownName(m[1], string(rest))
	}
	if m := overload.FindStringSubmatch(message); m != nil {
		return noOverload(m[1], m[2])
	}
	if m := badSyntax.FindStringSubmatch(message); m != nil {
		return syntaxError(m[1])
	}
	if strings.Contains(message, "invalid argument to has() macro") {
		return "has() needs a field, as in has(data.order)", ""
	}
	return cut(strings.Join(strings.Fields(message), " "), 200), ""
}

func (l *Language) unknownName(name, rest string) (what, hint string) {
	var attributes []string
	for _, v := range variables() {
		if a, ok := strings.CutPrefix(v.name, "event."); ok {
			attributes = append(attributes, a)
		}
	}
	if name == varEvent || strings.HasPrefix(name, "event.") {
		m := eventField.FindStringSubmatch(rest)
		switch {
		case m == nil:
			return "event is not a value by itself", "write event. and one of " + strings.Join(attributes, ", ")
		case slices.Contains(attributes, m[1]):
			return "event." + m[1] + " is always there", "leave has() or the ? out"
		}
		return "event has no " + m[1], didYouMean(m[1], attributes, "it has "+strings.Join(attributes, ", "))
	}
	known := []string{varData, varBody, varHeaders, varNow, varEvent, "has"}
	for f := range l.env.Functions() {
		if strings.Trim(f, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.") == "" {
			known = append(known, f)
		}
	}
	slices.Sort(known[6:])
	return "there is no " + short(name), didYouMean(name, known, "there are data, body, headers, now and event")
}

func didYouMean(word string, known []string, otherwise string) string {
	if near := config.Nearest(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	return otherwise
}

// noOverload says which operation does not fit which types.
func noOverload(function, types string) (what, hint string) {
	name := strings.Trim(function, "_")
	if strings.HasPrefix(function, "@") || name == "" {
		name = function
	}
	what = fmt.Sprintf("%s does not work with %s", strings.ReplaceAll(name, "_", " "), types)
	if strings.Contains(types, "string") && (strings.Contains(types, "int") || strings.Contains(types, "double")) {
		hint = "make a number of the string with double(...) or money(...), or write the number between quotes"
	}
	return what, hint
}

func syntaxError(text string) (what, hint string) {
	if m := unexpected.FindStringSubmatch(text); m != nil {
		if m[1] == "<EOF>" {
			return "ends too early", "something is missing at the end"
		}
		if m[1] == "=" {
			return `"=" is not an operator`, "compare with =="
		}
		return fmt.Sprintf("does not expect %q here", short(m[1])), ""
	}
	if m := missing.FindStringSubmatch(text); m != nil {
		return "lacks " + m[1] + " here", ""
	}
	if strings.Contains(text, "token recognition error at: '= ") || strings.HasSuffix(text, "token recognition error at: '='") {
		return `"=" is not an operator`, "compare with =="
	}
	if strings.Contains(text, "token recognition error") {
		return "has a character or a quote that does not belong here", "strings stand between single or double quotes"
	}
	before, _, _ := strings.Cut(text, " expecting ")
	return cut(before, 120), ""
}

// aType is the name of a type with its article.
func aType(name string) string {
	if name != "" && strings.ContainsRune("aeiou", rune(name[0])) {
		return "an " + name
	}
	return "a " + name
}
