package rules

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
)

// compile reads one expression. name says what it is for in messages.
func (l *Language) compile(n config.Node, name string) (*expression, config.Mistakes) {
	switch text := n.Text(); {
	case n.IsZero() || n.Shape() != config.Scalar && n.Shape() != config.List && n.Shape() != config.Mapping:
		return nil, config.Mistakes{n.Errorf("", "has no value", "write an expression or remove the key")}
	case n.Shape() != config.Scalar:
		return nil, config.Mistakes{n.Errorf("", "needs an expression, got several values", "write it between quotes, as in \"data.total > 100\"")}
	case strings.TrimSpace(text) == "" && n.Unresolved():
		e := &expression{language: l, name: name, pos: n.Pos(), unset: true} // what is wrong is told already
		return e, l.build(e, l.env, "true").placed(read(n))
	case strings.TrimSpace(text) == "":
		return nil, config.Mistakes{n.Errorf("", "is empty", "write an expression or remove the key")}
	}
	src := read(n)
	e := &expression{language: l, shown: n.Raw(), name: name, filled: src.filled(), pos: n.Pos()}
	if !e.filled {
		return e, l.build(e, l.env, src.text).placed(src)
	}
	return e, l.compileFilled(e, src)
}

// compileFilled compiles an expression with variables of the file. Mistakes are
// those that it also has with names in place of their values, which can be told.
func (l *Language) compileFilled(e *expression, src source) config.Mistakes {
	var declared []cel.EnvOption
	for _, v := range src.variables {
		declared = append(declared, cel.Variable(v.name, cel.DynType))
	}
	env, err := l.env.Extend(declared...)
	if err != nil {
		return config.Mistakes{src.node.Errorf("", "cannot be checked", "")}
	}
	var wrong findings
	if e.unset = src.node.Unresolved(); !e.unset {
		if wrong = l.build(e, env, src.node.Text()); len(wrong) == 0 {
			e.hide(env, src)
			return nil
		}
	}
	named := *e
	if ms := l.build(&named, env, src.text).placed(src); len(ms) > 0 {
		return ms
	}
	if e.unset {
		e.checked = named.checked
		return nil
	}
	what, hint := "is no expression once its variables are filled in", `put quotes around strings, as in data.source == "${NAME}"`
	switch {
	case wrong[0].order:
		what, hint = "compares with a number between quotes, letter by letter", "leave the quotes out, as in data.total_amount >= ${NAME}"
	case wrong[0].constant:
		what, hint = "has a variable whose value is wrong for every event", wrong[0].hint
	}
	return config.Mistakes{src.mistake(src.variable(), what, hint)}
}

// finding is what is wrong at a letter of a text, counted in characters.
type finding struct {
	at         int
	what, hint string
	order      bool // of texts where that of numbers is meant
	constant   bool // a value is wrong
}

type findings []finding

// placed gives the findings their places in the file.
func (f findings) placed(src source) config.Mistakes {
	var out config.Mistakes
	seen := map[string]bool{}
	for _, one := range f {
		m := src.mistake(one.at, one.what, one.hint)
		if !seen[m.String()] {
			out = append(out, m)
		}
		seen[m.String()] = true
	}
	return out
}

// build reads, checks and plans a text, for e.
func (l *Language) build(e *expression, env *cel.Env, text string) findings {
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		return l.findings(text, issues)
	}
	makeDoubles(parsed.NativeRep().Expr())
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		return l.findings(text, issues)
	}
	if wrong := unwanted(checked.NativeRep(), text); len(wrong) > 0 {
		return wrong
	}
	program, err := l.programIn(env, checked)
	var constant *constantError
	if errors.As(err, &constant) {
		at := offset(text, checked.NativeRep().SourceInfo().GetStartLocation(constant.id))
		return findings{{at: at, what: constant.what, hint: constant.hint, constant: true}}
	}
	if err != nil {
		return findings{{what: cut(err.Error(), 200)}}
	}
	e.checked, e.program, e.loops = checked, program, loops(checked.NativeRep().Expr())
	if e.loops && !looksAtEvent(checked.NativeRep().Expr()) {
		in := NewInput(&event.Event{}, time.Time{})
		in.meter.reset()
		if _, _, err := program.Eval(in); isTooMuch(err) {
			return findings{{what: "is too much work for any event", hint: "go through fewer values"}}
		}
	}
	return nil
}

// findings puts what CEL says into our words.
func (l *Language) findings(text string, issues *cel.Issues) findings {
	var out findings
	nested := false
	for _, e := range issues.Errors() {
		at := offset(text, e.Location)
		if strings.Contains(e.Message, "comprehension exceeds nesting limit") {
			if nested {
				continue // said of each loop that is too deep, and of those within
			}
			nested = true
		}
		what, hint, back := l.translate(e.Message, text, at)
		out = append(out, finding{at: at - back, what: what, hint: hint})
		if strings.HasPrefix(e.Message, "Syntax error") { // what follows comes of it
			break
		}
	}
	return out
}

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	overload   = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)
	eventField = regexp.MustCompile(`^event\.\??(\w+)`)
	badSyntax  = regexp.MustCompile(`^Syntax error: (.*)$`)
	unexpected = regexp.MustCompile(`(?:mismatched|extraneous|no viable alternative at) input '(.*?)'`)
	missing    = regexp.MustCompile(`missing ('.*?')`)
)

// translate says what is wrong, what would be right, and how many characters
// before the place that CEL gives it begins: it points behind a function's name.
func (l *Language) translate(message, text string, at int) (what, hint string, back int) {
	letters := []rune(text)
	at = min(at, len(letters))
	before, rest := string(letters[:at]), string(letters[at:])
	if m := undeclared.FindStringSubmatch(message); m != nil {
		if name := called(before, rest, m[1]); name != "" {
			what, hint = l.unknownFunction(m[1])
			return what, hint, len(name)
		}
		what, hint = l.unknownName(m[1], rest)
		return what, hint, 0
	}
	if m := overload.FindStringSubmatch(message); m != nil {
		what, hint = noOverload(m[1], m[2])
		return what, hint, len(called(before, rest, m[1]))
	}
	if m := badSyntax.FindStringSubmatch(message); m != nil {
		what, hint = syntaxError(m[1], before)
		return what, hint, 0
	}
	switch {
	case strings.Contains(message, "invalid argument to has() macro"):
		return "has() needs a field, as in has(data.order)", "", 0
	case strings.Contains(message, "comprehension exceeds nesting limit"):
		return fmt.Sprintf("goes through lists within lists more than %d deep", maxLoops), "join lists of lists by flatten() first, or do with fewer", 0
	}
	return cut(strings.Join(strings.Fields(message), " "), 200), "", 0
}

// called returns the name of a function as it stands before its parenthesis.
func called(before, rest, name string) string {
	if !strings.HasPrefix(rest, "(") {
		return ""
	}
	if strings.HasSuffix(before, name) {
		return name
	}
	if last := name[strings.LastIndexByte(name, '.')+1:]; strings.HasSuffix(before, last) {
		return last
	}
	return ""
}

// functions are the names of those that an expression can call, macros too.
func (l *Language) functions() []string {
	names := []string{"has", "all", "exists", "exists_one", "map", "filter", "sortBy", "optMap", "optFlatMap", "transformList", "transformMap"}
	for f := range l.env.Functions() {
		if strings.Trim(f, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.") == "" {
			names = append(names, f)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (l *Language) unknownFunction(name string) (what, hint string) {
	what = "there is no function " + short(name)
	known := l.functions()
	if near := config.Nearest(name, known); near != "" {
		return what, "did you mean " + near + "?"
	}
	byLast := map[string]string{} // regex.extract by extract
	for _, f := range known {
		if i := strings.LastIndexByte(f, '.'); i >= 0 {
			byLast[f[i+1:]] = f
		}
	}
	if near := config.Nearest(name, slices.Sorted(maps.Keys(byLast))); near != "" {
		return what, "did you mean " + byLast[near] + "?"
	}
	return what, "there are size, has, contains, startsWith, endsWith, matches, lowerAscii, exists, money, date, days and more"
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
	known := append([]string{varData, varBody, varHeaders, varNow, varEvent}, l.functions()...)
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
		hint = "write the number without quotes, or make one of the string with money(...)"
		if name == "==" || name == "!=" {
			hint = "write the number between quotes, or make one of the string with money(...)"
		}
	}
	if types == "(double, int)" || types == "(int, double)" {
		hint = "write the whole number with a point, as in 49.0, or make one of it with double(...)"
	}
	return what, hint
}

// words are what other languages write, and how it is written here.
func words() map[string]string {
	return map[string]string{
		"and": "write && for and", "or": "write || for or", "not": "write ! before what must not be, as in !has(data.x)",
		"is": "compare with ==, as in data.x == null", "<>": "write != for not equal",
		"contains": `call it, as in data.name.contains("x")`, "startsWith": `call it, as in data.name.startsWith("x")`,
		"endsWith": `call it, as in data.name.endsWith("x")`, "matches": `call it, as in data.name.matches("^x")`,
		"like": `write data.name.contains("x") or data.name.matches("^x")`, "between": "write data.x >= 1 && data.x <= 2",
	}
}

func syntaxError(text, before string) (what, hint string) {
	if m := unexpected.FindStringSubmatch(text); m != nil {
		if m[1] == "<EOF>" {
			return "ends too early", "something is missing at the end"
		}
		if m[1] == "=" {
			return `"=" is not an operator`, "compare with =="
		}
		var ok bool
		hint, ok = words()[m[1]]
		if !ok {
			hint, ok = words()[strings.ToLower(m[1])]
		}
		if fields := strings.Fields(before); !ok && len(fields) > 0 {
			hint = words()[strings.ToLower(strings.TrimLeft(fields[len(fields)-1], "(!"))]
		}
		return fmt.Sprintf("does not expect %q here", short(m[1])), hint
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
	before, _, _ = strings.Cut(text, " expecting ")
	return cut(before, 120), ""
}

// aType is the name of a type with its article.
func aType(name string) string {
	if name != "" && strings.ContainsRune("aeiou", rune(name[0])) {
		return "an " + name
	}
	return "a " + name
}
