package rules

import (
	"errors"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// maxMade bounds what one call may make, in bytes. CEL charges for the result
// of a call after it was made, which is too late for those calls that make
// much of little.
const maxMade = 8 << 20

var errMade = errors.New("makes too large a value")

// sizes say at most how large the result of a call would be, by the function's
// name. The arguments may be of any type and number.
func sizes() map[string]func(args []ref.Val) int {
	return map[string]func(args []ref.Val) int{
		operators.Add:   addSize,
		"replace":       replaceSize,
		"regex.replace": regexReplaceSize,
		"join":          joinSize,
		"format":        formatSize,
		"flatten":       flattenSize,
	}
}

// guard is a decorator of plans that refuses a call whose result would be too
// large.
func (l *Language) guard() (cel.ProgramOption, error) {
	guarded := map[string]functions.FunctionOp{}
	for name, size := range sizes() {
		call, err := l.binding(name)
		if err != nil {
			return nil, err
		}
		guarded[name] = func(args ...ref.Val) ref.Val {
			if size(args) > maxMade {
				return types.WrapErr(errMade)
			}
			return call(args...)
		}
	}
	return cel.CustomDecoratorV2(func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		call, ok := i.(interpreter.InterpretableCall)
		if !ok || guarded[call.Function()] == nil {
			return i, nil
		}
		return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), guarded[call.Function()]), nil
	}), nil
}

// binding returns what evaluates a function, whichever of its overloads it is.
func (l *Language) binding(name string) (functions.FunctionOp, error) {
	overloads, err := l.env.Functions()[name].Bindings()
	if err != nil {
		return nil, err
	}
	for _, o := range overloads {
		if o.Operator != name {
			continue
		}
		return func(args ...ref.Val) ref.Val {
			switch {
			case len(args) == 1 && o.Unary != nil:
				return o.Unary(args[0])
			case len(args) == 2 && o.Binary != nil:
				return o.Binary(args[0], args[1])
			case o.Function != nil:
				return o.Function(args...)
			}
			return types.MaybeNoSuchOverloadErr(args[0])
		}, nil
	}
	return nil, errors.New("the function " + name + " cannot be bounded")
}

// text returns an argument that is a string, or "".
func text(args []ref.Val, i int) string {
	if i < len(args) {
		if s, ok := args[i].(types.String); ok {
			return string(s)
		}
	}
	return ""
}

func addSize(args []ref.Val) int { return len(text(args, 0)) + len(text(args, 1)) }

func replaceSize(args []ref.Val) int {
	s, old, by := text(args, 0), text(args, 1), text(args, 2)
	return len(s) + strings.Count(s, old)*len(by)
}

// regexReplaceSize takes every place for a match, and every \1 for all of the text.
func regexReplaceSize(args []ref.Val) int {
	s, by := text(args, 0), text(args, 2)
	return len(s) + (len(s)+1)*len(by) + strings.Count(by, `\`)*len(s)
}

func joinSize(args []ref.Val) int {
	if len(args) == 0 {
		return 0
	}
	n := 0
	for _, item := range items(args[0]) {
		n += 1 + len(text([]ref.Val{item}, 0)) + len(text(args, 1))
		if n > maxMade {
			break
		}
	}
	return n
}

func formatSize(args []ref.Val) int {
	n := len(text(args, 0))
	for _, arg := range args[min(1, len(args)):] {
		n += deepSize(arg, maxMade, 0)
	}
	return n
}

// flattenSize counts the places of a list, about 16 bytes each, at any depth.
func flattenSize(args []ref.Val) int {
	const place = 16
	n := 0
	for _, arg := range args {
		n += listPlaces(arg, maxMade/place, 0)
	}
	return n * place
}

func listPlaces(v ref.Val, most, depth int) int {
	n := 1
	for _, item := range items(v) {
		if n > most || depth > maxDepth {
			return most + 1
		}
		n += listPlaces(item, most-n, depth+1)
	}
	return n
}

// items iterates over a list; anything else has none.
func items(v ref.Val) func(func(int, ref.Val) bool) {
	return func(yield func(int, ref.Val) bool) {
		l, ok := v.(traits.Lister)
		if !ok {
			return
		}
		n, ok := l.Size().(types.Int)
		for i := types.Int(0); ok && i < n; i++ {
			if !yield(int(i), l.Get(i)) {
				return
			}
		}
	}
}

// deepSize is about how many letters a value has when it is written, counted
// up to most.
func deepSize(v ref.Val, most, depth int) int {
	const other = 32 // numbers, times
	n := other
	switch v := v.(type) {
	case types.String:
		return 6*len(v) + 2
	case types.Bytes:
		return 6*len(v) + 2
	case traits.Mapper:
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			n += deepSize(key, most, depth+1)
			if n > most || depth > maxDepth {
				return most + 1
			}
			n += deepSize(v.Get(key), most-n, depth+1)
		}
	case traits.Lister:
		for _, item := range items(v) {
			if n > most || depth > maxDepth {
				return most + 1
			}
			n += deepSize(item, most-n, depth+1)
		}
	}
	return n
}
