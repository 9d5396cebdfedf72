package rules

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// planner replaces the parts of a plan by those that pay for what they do,
// before they do it.
type planner struct {
	prices    map[string]price
	overloads map[string]*functions.Overload // by their ids and by the functions' names
	attrs     interpreter.AttributeFactory
}

// newPlanner needs a price for each function of the language.
func newPlanner(env *cel.Env) (*planner, error) {
	p := &planner{prices: prices(), overloads: map[string]*functions.Overload{}}
	p.attrs = interpreter.NewAttributeFactory(env.Container, env.CELTypeAdapter(), env.CELTypeProvider())
	for name, f := range env.Functions() {
		if _, ok := p.prices[name]; !ok {
			return nil, fmt.Errorf("the function %s has no price", name)
		}
		overloads, err := f.Bindings()
		if err != nil {
			return nil, fmt.Errorf("bind %s: %w", name, err)
		}
		for _, o := range overloads {
			p.overloads[o.Operator] = o
		}
	}
	return p, nil
}

// decorate is an option of a program. It comes before what optimises plans,
// which then finds nothing that it knows but literals.
func (p *planner) decorate() cel.ProgramOption {
	return cel.CustomDecoratorV2(func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		switch i := i.(type) {
		case *call, *attribute, *made, interpreter.InterpretableConst:
			return i, nil
		case interpreter.InterpretableAttribute:
			return &attribute{i, p.attrs}, nil
		case interpreter.InterpretableConstructor:
			return p.constructor(i), nil
		case interpreter.InterpretableCall:
			return p.call(i)
		}
		return i, nil
	})
}

// attribute is a variable with the fields that are looked up in it.
type attribute struct {
	interpreter.InterpretableAttribute
	attrs interpreter.AttributeFactory
}

// Exec implements interpreter.InterpretableV2.
func (a *attribute) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	m := meterOf(frame)
	m.spend(1)
	return m.produced(a.InterpretableAttribute.Exec(frame))
}

// Eval implements interpreter.Interpretable.
func (a *attribute) Eval(vars interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(vars, a.Exec)
}

// Resolve implements interpreter.Attribute.
func (a *attribute) Resolve(vars interpreter.Activation) (any, error) {
	m := meterOf(vars)
	m.spend(1)
	v, err := a.InterpretableAttribute.Resolve(vars)
	switch v := v.(type) {
	case string:
		m.spend(len(v) / unitTouched)
	case ref.Val:
		m.produced(v)
	}
	if err != nil {
		m.spend(costError)
	}
	return v, err
}

// Qualify implements interpreter.Qualifier: the attribute is the key by which
// something is looked up in obj.
func (a *attribute) Qualify(vars interpreter.Activation, obj any) (any, error) {
	q, err := a.key(vars)
	if err != nil {
		return nil, err
	}
	return q.Qualify(vars, obj)
}

// QualifyIfPresent implements interpreter.Qualifier.
func (a *attribute) QualifyIfPresent(vars interpreter.Activation, obj any, presenceOnly bool) (any, bool, error) {
	q, err := a.key(vars)
	if err != nil {
		return nil, false, err
	}
	return q.QualifyIfPresent(vars, obj, presenceOnly)
}

func (a *attribute) key(vars interpreter.Activation) (interpreter.Qualifier, error) {
	v, err := a.Resolve(vars)
	if err != nil {
		return nil, err
	}
	return a.attrs.NewQualifier(nil, a.ID(), v, a.IsOptional())
}

// produced pays for a value that a part gives to the next: each of these may
// look at all of a text once, to compare it or to look it up.
func (m *meter) produced(v ref.Val) ref.Val {
	switch v := v.(type) {
	case types.String:
		m.spend(len(v) / unitTouched)
	case types.Bytes:
		m.spend(len(v) / unitTouched)
	case *types.Err:
		m.spend(costError)
	}
	return v
}

// made is a list or a map that an expression spells out.
type made struct {
	interpreter.InterpretableConstructor
	units int
}

// constructor leaves a literal alone, which CEL makes once.
func (p *planner) constructor(i interpreter.InterpretableConstructor) interpreter.InterpretableV2 {
	parts := i.InitVals()
	literal := true
	for _, part := range parts {
		if _, ok := part.(interpreter.InterpretableConst); !ok {
			literal = false
		}
	}
	if literal {
		return i
	}
	units := 2 + len(parts)
	if i.Type() == types.MapType {
		units = costEntry * (1 + len(parts)/2)
	}
	return &made{i, units}
}

// Exec implements interpreter.InterpretableV2.
func (l *made) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	m := meterOf(frame)
	m.spend(l.units)
	v := l.InterpretableConstructor.Exec(frame)
	m.weigh(v)
	return v
}

// Eval implements interpreter.Interpretable.
func (l *made) Eval(vars interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(vars, l.Exec)
}

// call is a call of a function or an operator. It does what the calls of CEL
// do, but pays before.
type call struct {
	id        int64
	args      []interpreter.InterpretableV2
	price     price // nil: a unit
	invoke    func(m *meter, args []ref.Val) ref.Val
	nonStrict bool
}

func (p *planner) call(i interpreter.InterpretableCall) (interpreter.InterpretableV2, error) {
	name := i.Function()
	c := &call{id: i.ID(), args: i.Args(), price: p.prices[name]}
	if _, ok := p.prices[name]; !ok {
		return nil, fmt.Errorf("the function %s has no price", name)
	}
	if invoke := special(name); invoke != nil {
		c.invoke = invoke
	} else {
		o := p.overloads[i.OverloadID()]
		if o == nil {
			o = p.overloads[name]
		}
		c.invoke, c.nonStrict = bound(name, i.OverloadID(), o), o != nil && o.NonStrict
	}
	if name == "matches" || strings.HasPrefix(name, "regex.") {
		c.invoke = checkedRegex(c.invoke)
	}
	return p.constant(c, name)
}

// special are the operators that pay as they go.
func special(name string) func(m *meter, args []ref.Val) ref.Val {
	switch name {
	case operators.Equals:
		return func(m *meter, args []ref.Val) ref.Val { return types.Bool(m.same(args[0], args[1])) }
	case operators.NotEquals:
		return func(m *meter, args []ref.Val) ref.Val { return types.Bool(!m.same(args[0], args[1])) }
	case operators.In, operators.OldIn, "in":
		return func(m *meter, args []ref.Val) ref.Val { return m.in(args[0], args[1]) }
	case "cel.@mapInsert":
		return func(_ *meter, args []ref.Val) ref.Val { return insert(args) }
	case operators.Less:
		return compared(func(order types.Int) bool { return order < 0 })
	case operators.LessEquals:
		return compared(func(order types.Int) bool { return order <= 0 })
	case operators.Greater:
		return compared(func(order types.Int) bool { return order > 0 })
	case operators.GreaterEquals:
		return compared(func(order types.Int) bool { return order >= 0 })
	}
	return nil
}

// bound is how CEL calls a function: by what is bound to it, or else by what
// the first argument itself does.
func bound(name, overload string, o *functions.Overload) func(*meter, []ref.Val) ref.Val {
	return func(_ *meter, args []ref.Val) ref.Val {
		if o != nil && (o.OperandTrait == 0 || len(args) > 0 && args[0].Type().HasTrait(o.OperandTrait)) {
			switch {
			case len(args) == 1 && o.Unary != nil:
				return o.Unary(args[0])
			case len(args) == 2 && o.Binary != nil:
				return o.Binary(args[0], args[1])
			case o.Function != nil:
				return o.Function(args...)
			}
		}
		if len(args) > 0 {
			if r, ok := args[0].(traits.Receiver); ok && args[0].Type().HasTrait(traits.ReceiverType) {
				return r.Receive(name, overload, args[1:])
			}
		}
		return types.NewErr("no such overload: %s", name)
	}
}

// ID implements interpreter.Interpretable.
func (c *call) ID() int64 { return c.id }

// Eval implements interpreter.Interpretable.
func (c *call) Eval(vars interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(vars, c.Exec)
}

// Exec implements interpreter.InterpretableV2.
func (c *call) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	args := make([]ref.Val, len(c.args))
	for i, arg := range c.args {
		args[i] = arg.Exec(frame)
		if !c.nonStrict && types.IsUnknownOrError(args[i]) {
			return args[i]
		}
	}
	return c.do(meterOf(frame), args)
}

func (c *call) do(m *meter, args []ref.Val) ref.Val {
	m.spend(1)
	if c.price != nil {
		var first [3]ref.Val
		copy(first[:], args)
		c.price(m, first[0], first[1], first[2])
	}
	return types.LabelErrNode(c.id, m.produced(c.invoke(m, args)))
}

// in asks whether a list holds a value, or a map a key.
func (m *meter) in(v, within ref.Val) ref.Val {
	list, ok := within.(traits.Lister)
	if !ok {
		if c, ok := within.(traits.Container); ok {
			return c.Contains(v)
		}
		return types.NewErr("no such overload: in")
	}
	for i := range count(list) {
		if m.same(v, list.Get(types.Int(i))) {
			return types.True
		}
	}
	return types.False
}

// insert puts an entry, or all of a map, into a map. Called as CEL calls it, it
// would first copy all keys of the map to look at the type of one.
func insert(args []ref.Val) ref.Val {
	into, ok := args[0].(traits.Mapper)
	if !ok {
		return types.MaybeNoSuchOverloadErr(args[0])
	}
	if len(args) == 3 {
		return types.InsertMapKeyValue(into, args[1], args[2])
	}
	more, ok := args[1].(traits.Mapper)
	if !ok {
		return types.MaybeNoSuchOverloadErr(args[1])
	}
	var out ref.Val = into
	for it := more.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		out = types.InsertMapKeyValue(out.(traits.Mapper), key, more.Get(key))
		if types.IsError(out) {
			return out
		}
	}
	return out
}
