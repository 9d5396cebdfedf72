package rules

import (
	"encoding/json"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// maxWork bounds an evaluation: a condition, or a transform with all of its
// expressions. A unit is about 100 ns of work or 16 bytes made, whichever is
// more, so that an evaluation ends within about 100 ms and 16 MiB. CEL has a
// cost of its own, which does not serve: of values whose type is not known at
// load, as all of an event's are, it neither knows the size nor charges for
// what is done with them.
const maxWork = 1_000_000

// What a unit pays for, in bytes.
const (
	unitMade    = 16  // made, or written
	unitRead    = 64  // searched
	unitTouched = 256 // compared or hashed: paid whenever a text is a value of a part
)

// costs of work that does not depend on a size, in units.
const (
	costError = 4   // an error is made and formatted
	costEntry = 12  // an entry of a map
	costZone  = 300 // the rules of a time zone are read
)

// meter counts the work of one evaluation. It is not safe for concurrent use.
type meter struct{ left int }

func (m *meter) reset() { m.left = maxWork }

// take pays for work before it is done. It reports false when there is too
// much; so it does from then on.
func (m *meter) take(units int) bool {
	if units > m.left {
		m.left = -1
		return false
	}
	m.left -= units
	return true
}

// spend is take for the parts of a plan: it ends the evaluation, as the limits
// of CEL itself do.
func (m *meter) spend(units int) {
	if !m.take(units) {
		panic(interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded, Message: "too much work"})
	}
}

// meterName is the variable by which the parts of a plan find the meter. No
// expression can name it.
const meterName = "@meter"

func meterOf(vars interpreter.Activation) *meter {
	if v, ok := vars.ResolveName(meterName); ok {
		if m, ok := v.(*meter); ok {
			return m
		}
	}
	m := &meter{}
	m.reset()
	return m
}

// length is that of a text or of bytes, in bytes; 0 of anything else.
func length(v ref.Val) int {
	switch v := v.(type) {
	case types.String:
		return len(v)
	case types.Bytes:
		return len(v)
	}
	return 0
}

// count is how many values a list or map holds; 0 of anything else.
func count(v ref.Val) int {
	switch v := v.(type) {
	case traits.Lister:
		return int(v.Size().(types.Int))
	case traits.Mapper:
		return int(v.Size().(types.Int))
	}
	return 0
}

// weigh pays for a value as if it were written out. What is put into a list or
// a map is weighed, so that no value is larger than what was paid: lists of
// lists that share their parts grow twofold with every step else.
func (m *meter) weigh(v ref.Val) {
	m.spend(1 + length(v)/unitMade)
	switch v := v.(type) {
	case traits.Mapper:
		m.weighMap(v)
	case traits.Lister:
		m.weighList(v)
	case *types.Optional:
		if v.HasValue() {
			m.weigh(v.GetValue())
		}
	}
}

func (m *meter) weighMap(v traits.Mapper) {
	if native, ok := v.Value().(map[string]any); ok {
		m.weighNative(native)
		return
	}
	for it := v.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		m.weigh(key)
		m.weigh(v.Get(key))
	}
}

func (m *meter) weighList(v traits.Lister) {
	switch list := v.Value().(type) { // one joined of two makes it once, for which was paid
	case []any:
		m.weighNative(list)
	case []ref.Val:
		for _, item := range list {
			m.weigh(item)
		}
	default:
		for i := range count(v) {
			m.weigh(v.Get(types.Int(i)))
		}
	}
}

// weighNative pays for a value of a decoded body.
func (m *meter) weighNative(v any) {
	m.spend(1)
	switch v := v.(type) {
	case string:
		m.spend(len(v) / unitMade)
	case json.Number:
		m.spend(len(v) / unitMade)
	case map[string]any:
		for key, item := range v {
			m.spend(len(key) / unitMade)
			m.weighNative(item)
		}
	case []any:
		for _, item := range v {
			m.weighNative(item)
		}
	case ref.Val:
		m.weigh(v)
	}
}

// equal asks whether two values are equal, as types.Equal does, and pays for
// each pair that is looked at.
func (m *meter) equal(a, b ref.Val) bool {
	m.spend(1 + min(length(a), length(b))/unitRead)
	switch x := a.(type) {
	case traits.Lister:
		y, ok := b.(traits.Lister)
		return ok && m.equalLists(x, y)
	case traits.Mapper:
		y, ok := b.(traits.Mapper)
		return ok && m.equalMaps(x, y)
	case *types.Optional:
		y, ok := b.(*types.Optional)
		if ok && x.HasValue() && y.HasValue() {
			return m.equal(x.GetValue(), y.GetValue())
		}
		return ok && x.HasValue() == y.HasValue()
	}
	return types.Equal(a, b) == types.True
}

func (m *meter) equalLists(a, b traits.Lister) bool {
	x, ok := a.Value().([]any)
	if y, both := b.Value().([]any); ok && both {
		return m.equalNative(x, y)
	}
	if a.Size() != b.Size() {
		return false
	}
	for i := range count(a) {
		if !m.equal(a.Get(types.Int(i)), b.Get(types.Int(i))) {
			return false
		}
	}
	return true
}

func (m *meter) equalMaps(a, b traits.Mapper) bool {
	x, ok := a.Value().(map[string]any)
	if y, both := b.Value().(map[string]any); ok && both {
		return m.equalNative(x, y)
	}
	if a.Size() != b.Size() {
		return false
	}
	m.spend(count(a)) // the iterator copies the keys
	for it := a.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		m.spend(1 + length(key)/unitRead)
		x, _ := a.Find(key)
		y, ok := b.Find(key)
		if !ok || !m.equal(x, y) {
			return false
		}
	}
	return true
}

// equalNative is equal for values of decoded bodies, which it need not convert.
func (m *meter) equalNative(a, b any) bool {
	switch x := a.(type) {
	case string:
		y, ok := b.(string)
		m.spend(1 + min(len(x), len(y))/unitRead)
		return ok && x == y
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		m.spend(1)
		for i := range x {
			if !m.equalNative(x[i], y[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		m.spend(1)
		for key, item := range x {
			m.spend(1 + len(key)/unitRead)
			other, ok := y[key]
			if !ok || !m.equalNative(item, other) {
				return false
			}
		}
		return true
	}
	return m.equal(adapter{}.NativeToValue(a), adapter{}.NativeToValue(b))
}
