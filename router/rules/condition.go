package rules

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/penstock/penstock/config"
)

// expression is one expression of the file, ready to be evaluated. It is safe
// for concurrent use.
type expression struct {
	language *Language
	checked  *cel.Ast
	program  cel.Program
	loops    bool
	shown    string // as written, variables not filled in
	name     string // when, transform.total
	pos      config.Pos
	// unset: a variable in it has no value, so that it is not compiled.
	unset bool
	// filled: variables were filled in, so that only what shows allows may be
	// shown of it.
	filled bool
	hidden map[int64]bool
	named  *cel.Ast // with names in place of the variables; nil: not known
	source source
}

// Condition is a compiled condition of a route. It is safe for concurrent use.
type Condition struct{ expression }

// Condition compiles a condition. It returns nil and no mistake when there is
// none. One with a variable that has no value compiles, and fails for every
// event.
func (l *Language) Condition(n config.Node) (*Condition, config.Mistakes) {
	if n.IsZero() {
		return nil, nil
	}
	e, ms := l.compile(n, "when")
	if len(ms) > 0 {
		return nil, ms
	}
	if t := e.checked.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, config.Mistakes{n.ErrorAt(0, "needs a condition, got "+aType(t.String()), "compare it with something, as in "+example(t))}
	}
	return &Condition{*e}, nil
}

// example is a condition that a value of the type may be part of.
func example(t *cel.Type) string {
	if t.IsExactType(cel.StringType) {
		return `... == "paid"`
	}
	return "... > 100"
}

// Eval asks the condition. Its error says which expression could not be
// evaluated and why; it never holds what variables of the file stand for.
func (c *Condition) Eval(ctx context.Context, in *Input) (bool, error) {
	in.meter.reset()
	out, err := c.eval(ctx, in)
	if err != nil {
		return false, err
	}
	if b, ok := out.(types.Bool); ok {
		return bool(b), nil
	}
	return false, c.fail(fmt.Sprintf("is %s, neither true nor false", aType(out.Type().TypeName())))
}

// String returns the condition as it is written.
func (e *expression) String() string { return e.shown }

func (e *expression) eval(ctx context.Context, in *Input) (out ref.Val, err error) {
	if e.unset {
		return nil, e.fail("a variable in it has no value")
	}
	if e.loops {
		out, _, err = e.program.ContextEval(ctx, in)
	} else {
		out, _, err = e.program.Eval(in)
	}
	if err == nil {
		return out, nil
	}
	if in.err != nil {
		return nil, e.fail(in.err.Error())
	}
	if ctx.Err() != nil {
		return nil, &Error{text: e.name + ": interrupted", why: "interrupted", pos: e.pos, cause: ctx.Err()}
	}
	return nil, e.fail(e.reason(err))
}

// reason says why an evaluation failed. CEL quotes what a part was given, so
// nothing is said of those that hold variables.
func (e *expression) reason(err error) string {
	var at *types.Err
	if e.filled && !isTooMuch(err) && (!errors.As(err, &at) || !e.shows(at.NodeID())) {
		return "cannot be evaluated for this event; the part that holds a variable is not shown"
	}
	return explainError(err)
}

// Error is an expression that could not be evaluated for an event.
type Error struct {
	text  string
	why   string // the end of text
	pos   config.Pos
	cause error
}

func (e *Error) Error() string { return e.text }

// Pos is where the expression stands in the file.
func (e *Error) Pos() config.Pos { return e.pos }

// Unwrap returns why an evaluation was interrupted, if it was.
func (e *Error) Unwrap() error { return e.cause }

func (e *expression) fail(why string) error {
	return &Error{text: fmt.Sprintf("%s: %s: %s", e.name, e.excerpt(), why), why: why, pos: e.pos}
}

// excerpt is the expression for a message.
func (e *expression) excerpt() string {
	const most = 120
	s := strings.Join(strings.Fields(e.shown), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

// isTooMuch reports an evaluation that was ended by its meter.
func isTooMuch(err error) bool {
	var cancelled interpreter.EvalCancelledError
	return errors.As(err, &cancelled)
}

const tooMuchWork = "is too much work for this event"

// explainError says what an error of CEL means for the one who wrote the rule.
func explainError(err error) string {
	if isTooMuch(err) {
		return tooMuchWork
	}
	text := err.Error()
	if key, ok := strings.CutPrefix(text, "no such key: "); ok {
		return fmt.Sprintf("there is no %s; ask has(...) first, or write .?%s with orValue", short(key), short(key))
	}
	if strings.Contains(text, "no such overload") {
		return "cannot work with these types (" + short(text) + "); double(...) and money(...) make numbers of strings"
	}
	return strings.Join(strings.Fields(cut(text, 200)), " ")
}

// cut shortens a text to that many characters.
func cut(s string, most int) string {
	n := 0
	for i := range s {
		if n == most {
			return s[:i] + "..."
		}
		n++
	}
	return s
}
