package rules

import (
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
)

// hide finds out which parts of an expression hold variables of the file: those
// that are others with names in place of the values. Nothing of these parts may
// be shown, nor of what is made of them.
func (e *expression) hide(env *cel.Env, src source) {
	filled, issues := env.Parse(src.node.Text())
	named, more := env.Parse(src.text)
	if issues.Err() != nil || more.Err() != nil {
		return // all is hidden
	}
	e.hidden = map[int64]bool{}
	e.named, e.source = named, src
	hide(filled.NativeRep().Expr(), named.NativeRep().Expr(), e.hidden)
}

// shows reports that a part of the expression may be shown.
func (e *expression) shows(id int64) bool {
	return !e.filled || e.named != nil && id != 0 && !e.hidden[id]
}

// hide notes the parts of a that are not as in b, and all that hold such parts.
func hide(a, b ast.Expr, hidden map[int64]bool) bool {
	within, of := children(a), children(b)
	if !alike(a, b) || len(within) != len(of) {
		hideAll(a, hidden)
		return true
	}
	found := false
	for i := range within {
		if hide(within[i], of[i], hidden) {
			found = true
		}
	}
	switch {
	case found && a.Kind() == ast.ComprehensionKind:
		hideAll(a, hidden) // its variables carry the values to all of its parts
	case found:
		hidden[a.ID()] = true
	}
	return found
}

func hideAll(a ast.Expr, hidden map[int64]bool) {
	hidden[a.ID()] = true
	for _, part := range children(a) {
		hideAll(part, hidden)
	}
}

// alike compares two parts without what is within them.
func alike(a, b ast.Expr) bool {
	if a.Kind() != b.Kind() {
		return false
	}
	switch a.Kind() {
	case ast.LiteralKind:
		x, y := a.AsLiteral(), b.AsLiteral()
		return x.Type() == y.Type() && x.Value() == y.Value()
	case ast.IdentKind:
		return a.AsIdent() == b.AsIdent() && !strings.HasPrefix(a.AsIdent(), standIn)
	case ast.SelectKind:
		return a.AsSelect().FieldName() == b.AsSelect().FieldName() && a.AsSelect().IsTestOnly() == b.AsSelect().IsTestOnly()
	case ast.CallKind:
		return a.AsCall().FunctionName() == b.AsCall().FunctionName() && a.AsCall().IsMemberFunction() == b.AsCall().IsMemberFunction()
	case ast.ListKind:
		return slices.Equal(a.AsList().OptionalIndices(), b.AsList().OptionalIndices())
	case ast.ComprehensionKind:
		x, y := a.AsComprehension(), b.AsComprehension()
		return x.IterVar() == y.IterVar() && x.IterVar2() == y.IterVar2() && x.AccuVar() == y.AccuVar()
	case ast.MapKind:
		return true
	}
	return false
}

// children are all parts of a part.
func children(x ast.Expr) []ast.Expr {
	switch x.Kind() {
	case ast.SelectKind:
		return []ast.Expr{x.AsSelect().Operand()}
	case ast.ComprehensionKind:
		c := x.AsComprehension()
		return []ast.Expr{c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()}
	}
	return parts(x)
}
