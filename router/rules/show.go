package rules

import (
	"bytes"
	"context"
)

// Hidden stands for a value that must not be shown.
const Hidden = "***"

// Show returns what Apply makes of an event in a form that may be shown: Hidden
// stands for every value whose expression holds a variable of the file. A
// transform that is one expression with a variable is Hidden as a whole.
func (t *Transform) Show(ctx context.Context, in *Input) ([]byte, error) {
	return (&Transform{masked(t.root)}).Apply(ctx, in)
}

// masked returns the part with what holds variables taken out.
func masked(p part) part {
	if !p.secret() {
		return p
	}
	switch p := p.(type) {
	case object:
		out := make(object, len(p))
		for i, m := range p {
			out[i] = member{m.key, masked(m.value)}
		}
		return out
	case array:
		out := make(array, len(p))
		for i, item := range p {
			out[i] = masked(item)
		}
		return out
	}
	return hidden{}
}

// hidden is a value that is not shown.
type hidden struct{}

func (hidden) write(_ context.Context, _ *Input, out *bytes.Buffer) (bool, error) {
	out.Write(appendString(nil, Hidden))
	return false, nil
}

func (hidden) secret() bool { return true }
