package rules

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"

	"github.com/penstock/penstock/config"
)

// Facts says what is known of an expression without an event. It is empty for
// one that does not compile. What variables of the file stand for is not part
// of it: the same file has other values elsewhere.
func (l *Language) Facts(n config.Node) config.Facts {
	if n.Shape() != config.Scalar || strings.TrimSpace(n.Text()) == "" {
		return config.Facts{}
	}
	checked, issues := l.env.Compile(n.Text())
	if issues.Err() != nil {
		return config.Facts{}
	}
	f := reader{language: l, info: checked.NativeRep().SourceInfo(), raw: n.Raw(), filled: n.Raw() != n.Text()}
	root := checked.NativeRep().Expr()
	var out config.Facts
	if !f.filled {
		known, is := f.value(root)
		out.Always, out.Never = known && is, known && !is
	}
	out.Needs = f.needs(root)
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(x ast.Expr) {
		out.Literals = append(out.Literals, f.literals(x)...)
		out.Headers = append(out.Headers, f.header(x)...)
	}))
	return out
}

// reader reads one checked expression.
type reader struct {
	language *Language
	info     *ast.SourceInfo
	raw      string
	filled   bool
}

// value is what a condition is for every event, if that is known.
func (f *reader) value(x ast.Expr) (known, is bool) {
	if x.Kind() == ast.CallKind {
		switch c := x.AsCall(); c.FunctionName() {
		case operators.LogicalAnd:
			return f.joined(c.Args(), false)
		case operators.LogicalOr:
			return f.joined(c.Args(), true)
		case operators.LogicalNot:
			known, is = f.value(c.Args()[0])
			return known, !is
		}
	}
	return f.constant(x)
}

// joined is the value of parts of which one that is decisive decides, whatever
// the others are.
func (f *reader) joined(parts []ast.Expr, decisive bool) (known, is bool) {
	all := true
	for _, part := range parts {
		known, is := f.value(part)
		if known && is == decisive {
			return true, decisive
		}
		all = all && known
	}
	return all, !decisive
}

// constantWork bounds what is made of an expression that looks at nothing of an
// event. One that takes more is not known.
const constantWork = maxWork / 100

// constant evaluates what looks at nothing of the event.
func (f *reader) constant(x ast.Expr) (known, is bool) {
	looks := false
	ast.PostOrderVisit(x, ast.NewExprVisitor(func(part ast.Expr) { looks = looks || isVariable(part) }))
	if looks {
		return false, false
	}
	text, err := parser.Unparse(x, f.info)
	if err != nil {
		return false, false
	}
	checked, issues := f.language.env.Compile(text)
	if issues.Err() != nil {
		return false, false
	}
	program, err := f.language.program(checked)
	if err != nil {
		return false, false
	}
	out, _, err := program.Eval(map[string]any{meterName: &meter{left: constantWork}})
	b, ok := out.(types.Bool)
	return err == nil && ok, bool(b)
}

func isVariable(x ast.Expr) bool {
	return x.Kind() == ast.IdentKind && slices.ContainsFunc(variables(), func(v variable) bool { return v.name == x.AsIdent() })
}

// needs are the values of which attributes must have one for the condition to
// be true, as far as it says so by == and in.
func (f *reader) needs(x ast.Expr) map[string][]string {
	if x.Kind() != ast.CallKind {
		return nil
	}
	switch c := x.AsCall(); c.FunctionName() {
	case operators.LogicalAnd:
		out := map[string][]string{}
		for _, part := range c.Args() {
			for attribute, values := range f.needs(part) {
				if have, there := out[attribute]; there {
					values = both(have, values)
				}
				out[attribute] = values
			}
		}
		return out
	case operators.LogicalOr:
		out := f.needs(c.Args()[0])
		for _, part := range c.Args()[1:] {
			more := f.needs(part)
			maps.DeleteFunc(out, func(attribute string, _ []string) bool { _, there := more[attribute]; return !there })
			for attribute := range out {
				out[attribute] = append(out[attribute], more[attribute]...)
			}
		}
		return out
	case operators.Equals, operators.In:
		attribute, found, complete := f.compared(c)
		if attribute == "" || !complete {
			return nil
		}
		values := []string{}
		for _, l := range found {
			values = append(values, l.Value)
		}
		return map[string][]string{attribute: values}
	}
	return nil
}

// both are the values of both lists.
func both(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(v string) bool { return !slices.Contains(b, v) })
}

// literals are the values with which an expression compares an attribute.
func (f *reader) literals(x ast.Expr) []config.Literal {
	if x.Kind() != ast.CallKind {
		return nil
	}
	switch c := x.AsCall(); c.FunctionName() {
	case operators.Equals, operators.NotEquals, operators.In:
		_, found, _ := f.compared(c)
		return found
	}
	return nil
}

// compared reads a comparison of an attribute of the event with literals.
// complete reports that all are known.
func (f *reader) compared(c ast.CallExpr) (attribute string, found []config.Literal, complete bool) {
	if len(c.Args()) != 2 {
		return "", nil, false
	}
	a, b := c.Args()[0], c.Args()[1]
	if c.FunctionName() != operators.In && !isVariable(a) {
		a, b = b, a
	}
	if !isVariable(a) || !strings.HasPrefix(a.AsIdent(), varEvent+".") {
		return "", nil, false
	}
	attribute = strings.TrimPrefix(a.AsIdent(), varEvent+".")
	values := []ast.Expr{b}
	if c.FunctionName() == operators.In {
		if b.Kind() != ast.ListKind {
			return "", nil, false
		}
		values = b.AsList().Elements()
	}
	complete = true
	for _, v := range values {
		text, ok := f.literal(v)
		if complete = complete && ok; ok {
			found = append(found, config.Literal{Attribute: attribute, Value: text, Offset: f.offset(v)})
		}
	}
	return attribute, found, complete
}

// literal is the value of a literal as text. One that a variable may have put
// there is none.
func (f *reader) literal(x ast.Expr) (string, bool) {
	if x.Kind() != ast.LiteralKind {
		return "", false
	}
	switch v := x.AsLiteral().(type) {
	case types.String:
		s := string(v)
		return s, !f.filled || strings.Contains(f.raw, `"`+s+`"`) || strings.Contains(f.raw, "'"+s+"'")
	case types.Int:
		return strconv.FormatInt(int64(v), 10), !f.filled
	case types.Double:
		return strconv.FormatFloat(float64(v), 'g', -1, 64), !f.filled
	}
	return "", false
}

// header is the name of a header that an expression looks at.
func (f *reader) header(x ast.Expr) []config.Literal {
	isHeaders := func(x ast.Expr) bool { return x.Kind() == ast.IdentKind && x.AsIdent() == varHeaders }
	switch x.Kind() {
	case ast.SelectKind:
		if s := x.AsSelect(); isHeaders(s.Operand()) {
			return []config.Literal{{Attribute: varHeaders, Value: s.FieldName(), Offset: f.offset(s.Operand())}}
		}
	case ast.CallKind:
		args := x.AsCall().Args()
		switch x.AsCall().FunctionName() {
		case operators.Index, operators.OptIndex, operators.OptSelect:
		case operators.In:
			args = []ast.Expr{args[1], args[0]}
		default:
			return nil
		}
		if name, ok := f.literal(args[1]); ok && isHeaders(args[0]) {
			return []config.Literal{{Attribute: varHeaders, Value: name, Offset: f.offset(args[0])}}
		}
	}
	return nil
}

// offset is where a part begins, in characters.
func (f *reader) offset(x ast.Expr) int {
	at, _ := f.info.GetOffsetRange(x.ID())
	return int(at.Start)
}
