package rules

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// makeDoubles makes doubles of the whole numbers that stand beside an amount,
// as in money(data.total_amount) == 49: CEL would refuse them.
func makeDoubles(root ast.Expr) {
	literals := ast.NewExprFactory()
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		args := operands(e)
		if len(args) != 2 || !isAmount(args[0]) && !isAmount(args[1]) {
			return
		}
		for _, arg := range args {
			if n, ok := literal(arg).(types.Int); ok {
				arg.SetKindCase(literals.NewLiteral(arg.ID(), types.Double(n)))
			}
		}
	}))
}

// operands are those of an operator of numbers.
func operands(e ast.Expr) []ast.Expr {
	if e.Kind() != ast.CallKind {
		return nil
	}
	switch e.AsCall().FunctionName() {
	case operators.Equals, operators.NotEquals, operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Negate:
		return e.AsCall().Args()
	}
	return nil
}

// isAmount reports what is a double by its form.
func isAmount(e ast.Expr) bool {
	if e.Kind() == ast.CallKind {
		switch name := e.AsCall().FunctionName(); name {
		case "money", "double":
			return !e.AsCall().IsMemberFunction()
		case operators.Equals, operators.NotEquals:
			return false
		}
	}
	for _, part := range operands(e) {
		if isAmount(part) {
			return true
		}
	}
	return false
}

func literal(e ast.Expr) any {
	if e.Kind() == ast.LiteralKind {
		return e.AsLiteral()
	}
	return nil
}

// unwanted finds what CEL takes but no rule means.
func unwanted(tree *ast.AST, text string) findings {
	var out findings
	add := func(id int64, f finding) {
		f.at = offset(text, tree.SourceInfo().GetStartLocation(id))
		out = append(out, f)
	}
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.StructKind:
			add(e.ID(), finding{what: "makes a " + e.AsStruct().TypeName(), hint: "write a map, as in {'id': event.id}"})
		case ast.ListKind:
			for _, i := range e.AsList().OptionalIndices() {
				if item := e.AsList().Elements()[i]; tree.GetType(item.ID()).Kind() == types.DynKind {
					add(item.ID(), neverOptional())
				}
			}
		case ast.MapKind:
			for _, entry := range e.AsMap().Entries() {
				if v := entry.AsMapEntry(); v.IsOptional() && tree.GetType(v.Value().ID()).Kind() == types.DynKind {
					add(v.Value().ID(), neverOptional())
				}
			}
		case ast.CallKind:
			if s, id := orderedText(e.AsCall()); id != 0 {
				add(id, finding{
					what: fmt.Sprintf(`compares with the text %q letter by letter, so that "98.00" is more than "100.00"`, s),
					hint: "leave the quotes out: a text such as \"98.00\" is taken for a number beside a number", order: true,
				})
			}
		}
	}))
	return out
}

func neverOptional() finding {
	return finding{what: "is always there, so that ? has no meaning", hint: "ask for the field with a ?, as in data.?name"}
}

// orderedText finds a number between quotes whose order is asked for.
func orderedText(c ast.CallExpr) (string, int64) {
	switch c.FunctionName() {
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		for _, arg := range c.Args() {
			if s, ok := literal(arg).(types.String); ok && plainDecimal(string(s)) {
				return string(s), arg.ID()
			}
		}
	}
	return "", 0
}

// looksAtEvent reports that an expression is not the same for every event.
func looksAtEvent(root ast.Expr) bool {
	known := map[string]bool{}
	for _, v := range variables() {
		known[v.name] = true
	}
	found := false
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		found = found || e.Kind() == ast.IdentKind && (known[e.AsIdent()] || strings.HasPrefix(e.AsIdent(), standIn))
	}))
	return found
}
