package rules

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"cel.dev/cel-go/common/types"

	"github.com/penstock/penstock/config"
)

// maxOutput bounds the body that a transform makes, in bytes.
const maxOutput = 8 << 20

// Transform makes another body of an event. It is safe for concurrent use.
type Transform struct{ root part }

// part is a value of the body to be made.
type part interface {
	// write appends the value. absent: it is an optional without a value.
	write(ctx context.Context, in *Input, out *bytes.Buffer) (absent bool, err error)
	// secret reports that variables of the file were filled in.
	secret() bool
}

// Transform compiles a transform: an expression, or mappings and lists of
// expressions. It returns nil and no mistake when there is none. An expression
// with a variable that has no value compiles, and fails for every event.
func (l *Language) Transform(n config.Node) (*Transform, config.Mistakes) {
	if n.IsZero() {
		return nil, nil
	}
	root, ms := l.part(n, "transform")
	if len(ms) > 0 {
		return nil, ms
	}
	return &Transform{root}, nil
}

func (l *Language) part(n config.Node, name string) (part, config.Mistakes) {
	var ms config.Mistakes
	switch {
	case n.Shape() == config.Mapping:
		var o object
		for _, key := range n.Keys() {
			p, wrong := l.part(n.Get(key), name+"."+key)
			ms = append(ms, wrong...)
			o = append(o, member{appendString(nil, key), p})
		}
		return o, ms
	case n.Shape() == config.List:
		var a array
		for _, item := range n.Items() {
			p, wrong := l.part(item, name+"[]")
			ms, a = append(ms, wrong...), append(a, p)
		}
		return a, ms
	}
	e, ms := l.compile(n, name)
	return leaf{e}, ms
}

// Apply returns the body that the transform makes of an event: JSON, with the
// keys in the order in which they are written. Its error says which expression
// could not be evaluated and why.
func (t *Transform) Apply(ctx context.Context, in *Input) ([]byte, error) {
	in.meter.reset()
	var out bytes.Buffer
	absent, err := t.root.write(ctx, in, &out)
	if err != nil {
		return nil, err
	}
	if absent {
		return []byte("null"), nil
	}
	return out.Bytes(), nil
}

// Secret reports that variables of the file were filled in, so that the bodies
// it makes may hold what must not be shown.
func (t *Transform) Secret() bool { return t.root.secret() }

func (o object) secret() bool {
	return slices.ContainsFunc(o, func(m member) bool { return m.value.secret() })
}

func (a array) secret() bool { return slices.ContainsFunc(a, part.secret) }

func (l leaf) secret() bool { return l.filled }

// object is a mapping of the file.
type object []member

type member struct {
	key   []byte // as JSON
	value part
}

func (o object) write(ctx context.Context, in *Input, out *bytes.Buffer) (bool, error) {
	out.WriteByte('{')
	first := true
	for _, m := range o {
		before := out.Len()
		if !first {
			out.WriteByte(',')
		}
		out.Write(m.key)
		out.WriteByte(':')
		absent, err := m.value.write(ctx, in, out)
		if err != nil {
			return false, err
		}
		if absent {
			out.Truncate(before)
			continue
		}
		first = false
	}
	out.WriteByte('}')
	return false, nil
}

// array is a list of the file.
type array []part

func (a array) write(ctx context.Context, in *Input, out *bytes.Buffer) (bool, error) {
	out.WriteByte('[')
	first := true
	for _, item := range a {
		before := out.Len()
		if !first {
			out.WriteByte(',')
		}
		absent, err := item.write(ctx, in, out)
		if err != nil {
			return false, err
		}
		if absent {
			out.Truncate(before)
			continue
		}
		first = false
	}
	out.WriteByte(']')
	return false, nil
}

// leaf is an expression of the file.
type leaf struct{ *expression }

func (l leaf) write(ctx context.Context, in *Input, out *bytes.Buffer) (absent bool, err error) {
	defer func() {
		if recover() != nil { // a value of CEL's that we did not foresee must not end the process
			absent, err = false, l.fail("cannot be written as JSON")
		}
	}()
	v, err := l.eval(ctx, in)
	if err != nil {
		return false, err
	}
	if o, ok := v.(*types.Optional); ok {
		if !o.HasValue() {
			return true, nil
		}
		v = o.GetValue()
	}
	e := encoder{out: out, meter: &in.meter}
	if err := e.value(v, l.checked.NativeRep().Expr()); err != nil {
		return false, l.fail(err.Error())
	}
	return false, nil
}

var errLarge = errors.New("makes a body larger than 8MiB")
