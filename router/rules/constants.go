package rules

import (
	"errors"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// constantError is a call that fails whatever the event is, found when the
// expression is planned.
type constantError struct {
	id   int64 // the part of the expression that is wrong
	what string
	hint string
}

func (e *constantError) Error() string { return e.what }

// maxFolded bounds the work of making a constant when an expression is planned.
const maxFolded = 20_000

// constant makes a call once, if all that it needs is in the expression, and
// looks at those arguments that are: each event would fail by a wrong one.
func (p *planner) constant(c *call, name string) (interpreter.InterpretableV2, error) {
	args := make([]ref.Val, len(c.args))
	known := 0
	for i, arg := range c.args {
		if literal, ok := arg.(interpreter.InterpretableConst); ok {
			args[i] = literal.Value()
			known++
		}
	}
	if known == 0 || c.nonStrict || strings.Contains(name, "@") && name != "@in" {
		return c, nil
	}
	if err := c.known(name, args); err != nil || known < len(args) {
		return c, err
	}
	v := folded(c, args)
	if v == nil {
		return c, nil
	}
	if err, ok := v.(*types.Err); ok {
		return nil, &constantError{c.blamed(), constantFault(name, args, err), constantHint(name)}
	}
	return interpreter.NewConstValue(c.id, v), nil
}

// folded is the result of a call, or nil when it is left to each evaluation.
func folded(c *call, args []ref.Val) (v ref.Val) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(interpreter.EvalCancelledError); !ok {
				panic(r)
			}
			v = nil
		}
	}()
	return c.do(&meter{left: maxFolded}, args)
}

// constantFault is what is wrong with a constant.
func constantFault(name string, args []ref.Val, err error) string {
	s, ok := args[0].(types.String)
	switch {
	case ok && name == "duration":
		return quotedShort(string(s)) + " is no duration"
	case ok && name == "timestamp":
		return quotedShort(string(s)) + " is no time"
	}
	return explainError(err)
}

// blamed is the argument to point at: the only one, or else the call.
func (c *call) blamed() int64 {
	if len(c.args) == 1 {
		return c.args[0].ID()
	}
	return c.id
}

// known looks at the arguments that are in the expression, and makes of them
// what each event would else need anew.
func (c *call) known(name string, args []ref.Val) error {
	if len(args) < 2 {
		return nil
	}
	s, ok := args[1].(types.String)
	if !ok {
		return nil
	}
	var err error
	switch {
	case name == "matches":
		var r *matcher
		if r, err = newMatcher(string(s)); err == nil {
			c.price = r.price
			c.invoke = r.invoke
		}
	case strings.HasPrefix(name, "regex."):
		_, err = regexSize(string(s))
	case name == "date":
		var place *time.Location
		if place, err = zone(string(s)); err == nil {
			c.price = nil
			c.invoke = func(_ *meter, args []ref.Val) ref.Val { return day(args[0], place) }
		}
	case strings.HasPrefix(name, "get"):
		if types.IsError(c.invoke(nil, []ref.Val{types.Timestamp{Time: time.Unix(0, 0)}, s})) {
			err = errors.New("unknown time zone " + quotedShort(string(s)))
		}
	}
	if err == nil {
		return nil
	}
	return &constantError{c.args[1].ID(), err.Error(), constantHint(name)}
}

// constantHint is what would be right.
func constantHint(name string) string {
	switch {
	case name == "matches" || strings.HasPrefix(name, "regex."):
		return `regular expressions are those of RE2; a backslash before a character takes it as it is, as in r"\["`
	case name == "date" || strings.HasPrefix(name, "get"):
		return `write it as "Europe/Berlin" or "UTC"`
	case name == "timestamp":
		return `write it as timestamp("2026-11-24T12:00:00Z")`
	case name == "duration":
		return `write it as duration("90s") or duration("1h30m")`
	case name == "money":
		return `write it as money("49.00")`
	}
	return ""
}
