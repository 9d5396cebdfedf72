package rules

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"
)

// Clause is a part of a condition that keeps it from being true.
type Clause struct {
	// Text is the part, written anew by CEL's rules.
	Text string
	// Err is why the part could not be evaluated; nil: it is false.
	Err error
	// Seen are the values of the event that the part looks at.
	Seen []Seen
}

// Seen is a value of an event as an expression saw it.
type Seen struct {
	// Path is as in the expression: data.order.id.
	Path string
	// Value is JSON, cut when it is long; "missing" when there is none.
	Value string
}

// Explain says why the condition is not true for an event: of parts joined by
// && those that are not, of parts joined by || all. It returns nil when the
// condition is true.
func (c *Condition) Explain(ctx context.Context, in *Input) []Clause {
	ok, err := c.Eval(ctx, in)
	if ok && err == nil {
		return nil
	}
	if c.unset || c.filled && c.named == nil { // its parts may be secrets
		return []Clause{{Text: c.excerpt(), Err: err}}
	}
	e := explainer{ctx: ctx, in: in, c: c}
	root := c.checked.NativeRep().Expr()
	if c.filled {
		return e.clauses(root, c.named.NativeRep().Expr())
	}
	return e.clauses(root, root)
}

type explainer struct {
	ctx context.Context
	in  *Input
	c   *Condition
}

// clauses are those of x, which is shown as named is written.
func (e *explainer) clauses(x, named ast.Expr) []Clause {
	if args, shown := joined(x), joined(named); len(args) > 0 && len(args) == len(shown) {
		var out []Clause
		for i, arg := range args {
			out = append(out, e.clauses(arg, shown[i])...)
		}
		return out
	}
	text := e.text(x)
	part := e.part(text)
	if part == nil {
		return nil
	}
	part.filled = !e.c.shows(x.ID())
	ok, err := (&Condition{*part}).Eval(e.ctx, e.in)
	if ok && err == nil {
		return nil
	}
	if e.c.filled {
		text = e.named(named)
		err = shownAs(err, text)
	}
	return []Clause{{Text: text, Err: err, Seen: e.seen(x)}}
}

// shownAs is the error of a part with the part as it may be shown.
func shownAs(err error, text string) error {
	var told *Error
	if !errors.As(err, &told) {
		return err
	}
	return &Error{text: "when: " + cut(text, 120) + ": " + told.why, why: told.why, pos: told.pos, cause: told.cause}
}

// joined are the parts that && or || joins.
func joined(x ast.Expr) []ast.Expr {
	if x.Kind() == ast.CallKind {
		switch x.AsCall().FunctionName() {
		case operators.LogicalAnd, operators.LogicalOr:
			return x.AsCall().Args()
		}
	}
	return nil
}

// named writes a part with its variables as they are written.
func (e *explainer) named(x ast.Expr) string {
	text, err := parser.Unparse(x, e.c.named.NativeRep().SourceInfo())
	if err != nil {
		return e.c.excerpt()
	}
	return e.c.source.shown(strings.Join(strings.Fields(text), " "))
}

// text writes a part of the condition.
func (e *explainer) text(x ast.Expr) string {
	text, err := parser.Unparse(x, e.c.checked.NativeRep().SourceInfo())
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(text), " ")
}

// part compiles a part of the condition, or returns nil when it means nothing
// by itself.
func (e *explainer) part(text string) *expression {
	checked, issues := e.c.language.env.Compile(text)
	if text == "" || issues.Err() != nil {
		return nil
	}
	program, err := e.c.language.program(checked)
	if err != nil {
		return nil
	}
	return &expression{language: e.c.language, checked: checked, program: program, loops: true, shown: text, name: "when"}
}

// seen evaluates the longest paths into the event that a part has.
func (e *explainer) seen(x ast.Expr) []Seen {
	var out []Seen
	had := map[string]bool{}
	var walk func(x ast.Expr)
	add := func(text string) {
		if text != "" && !had[text] {
			had[text] = true
			out = append(out, Seen{text, e.value(text)})
		}
	}
	walk = func(x ast.Expr) {
		switch {
		case isPath(x):
			if e.c.shows(x.ID()) {
				add(e.text(x))
			}
			return
		case isPresence(x):
			if e.c.shows(x.ID()) {
				add(e.text(x.AsSelect().Operand()) + "." + x.AsSelect().FieldName())
			}
			return
		}
		for _, part := range parts(x) {
			walk(part)
		}
	}
	walk(x)
	return out
}

// value is what a path leads to, for people.
func (e *explainer) value(text string) string {
	part := e.part(text)
	if part == nil {
		return "missing"
	}
	e.in.meter.reset() // what the whole condition did is no matter here
	v, err := part.eval(e.ctx, e.in)
	if err != nil {
		return "missing"
	}
	if o, ok := v.(*types.Optional); ok {
		if !o.HasValue() {
			return "missing"
		}
		v = o.GetValue()
	}
	var b bytes.Buffer
	w := encoder{out: &b, meter: &e.in.meter}
	if err := w.value(v, nil); err != nil {
		return aType(v.Type().TypeName())
	}
	return short(b.String())
}

// isPresence reports has() of a field within a path.
func isPresence(x ast.Expr) bool {
	return x.Kind() == ast.SelectKind && x.AsSelect().IsTestOnly() && isPath(x.AsSelect().Operand())
}

// isPath reports a variable, or fields and constant places within one.
func isPath(x ast.Expr) bool {
	switch x.Kind() {
	case ast.IdentKind:
		for _, v := range variables() {
			if v.name == x.AsIdent() {
				return true
			}
		}
	case ast.SelectKind:
		return !x.AsSelect().IsTestOnly() && isPath(x.AsSelect().Operand())
	case ast.CallKind:
		switch c := x.AsCall(); c.FunctionName() {
		case operators.Index, operators.OptIndex, operators.OptSelect:
			return isPath(c.Args()[0]) && c.Args()[1].Kind() == ast.LiteralKind
		}
	}
	return false
}

// parts are the expressions within one. Loops are entered only for what they
// go through: what is within has no value by itself.
func parts(x ast.Expr) []ast.Expr {
	switch x.Kind() {
	case ast.CallKind:
		c := x.AsCall()
		if c.IsMemberFunction() {
			return append([]ast.Expr{c.Target()}, c.Args()...)
		}
		return c.Args()
	case ast.SelectKind:
		return []ast.Expr{x.AsSelect().Operand()}
	case ast.ListKind:
		return x.AsList().Elements()
	case ast.ComprehensionKind:
		return []ast.Expr{x.AsComprehension().IterRange()}
	case ast.MapKind:
		var out []ast.Expr
		for _, entry := range x.AsMap().Entries() {
			out = append(out, entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
		}
		return out
	}
	return nil
}
