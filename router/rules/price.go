package rules

import (
	"math/bits"
	"strings"

	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// price pays for a call before it is made, by the sizes of its first three
// arguments, which may be of any type; those that are missing are nil.
type price func(m *meter, a, b, c ref.Val)

// prices are those of the functions, by name. A function without one cannot be
// called: New refuses it.
func prices() map[string]price {
	table := map[string]price{
		operators.Add: addPrice, operators.In: inPrice, operators.OldIn: inPrice, "in": inPrice,

		"size": containsPrice, "contains": containsPrice, "startsWith": readPrice, "endsWith": readPrice, "trim": readPrice,
		"bool": textPrice, "bytes": textPrice, "double": textPrice, "duration": textPrice, "int": textPrice, "string": textPrice,
		"timestamp": textPrice, "uint": textPrice, "base64.decode": textPrice, "base64.encode": textPrice, "strings.quote": textPrice,
		"money":  textPrice,
		"charAt": runesPrice, "substring": runesPrice, "lowerAscii": runesPrice, "upperAscii": runesPrice,
		"indexOf": searchPrice, "lastIndexOf": searchPrice,
		"split": splitPrice, "replace": replacePrice, "join": joinPrice, "format": formatPrice,

		"distinct": distinctPrice, "flatten": flattenPrice, "slice": listPrice, "lists.range": rangePrice, "optional.unwrap": listPrice,
		"unwrapOpt": listPrice, "math.@max": listPrice, "math.@min": listPrice,
		"sort": sortPrice, "@sortByAssociatedKeys": sortPrice,
		"reverse":       func(m *meter, a, b, c ref.Val) { runesPrice(m, a, b, c); listPrice(m, a, b, c) },
		"sets.contains": setPrice, "sets.equivalent": setPrice, "sets.intersects": setPrice,
		"hasAll": setPrice, "hasAny": setPrice, "hasExactly": setPrice, "hasOnly": setPrice,
		"hasValue": func(m *meter, _, b, _ ref.Val) {
			if b != nil {
				m.weigh(b)
			}
		},
		"cel.@mapInsert": insertPrice,

		"matches": regexPrice, "regex.extract": regexPrice, "regex.extractAll": regexAllPrice, "regex.replace": regexReplacePrice,
	}
	for _, name := range []string{"Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "FullYear", "Hours", "Milliseconds", "Minutes", "Month", "Seconds"} {
		table["get"+name] = zonePrice
	}
	table["date"] = zonePrice
	for _, name := range constantTime() {
		table[name] = nil
	}
	return table
}

// constantTime are the functions whose work does not depend on what they get.
func constantTime() []string {
	names := []string{
		operators.LogicalNot, operators.Negate, operators.NotStrictlyFalse, "__not_strictly_false__",
		operators.Modulo, operators.Multiply, operators.Divide, operators.Subtract,
		operators.Equals, operators.NotEquals, // which pay as they go
		operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
		operators.LogicalAnd, operators.LogicalOr, operators.Conditional, operators.Index, operators.OptIndex, operators.OptSelect,
		"dyn", "type", "days", "first", "last", "value", "or", "orValue", "optional.none", "optional.of", "optional.ofNonZeroValue",
		"cel.@block", // no expression can name it
	}
	for _, name := range strings.Fields("abs bitAnd bitNot bitOr bitShiftLeft bitShiftRight bitXor ceil floor isFinite isInf isNaN round sign sqrt trunc") {
		names = append(names, "math."+name)
	}
	return names
}

// addPrice pays for what is joined. A list that a macro builds grows in place,
// by what was weighed when it was put into the list that is added.
func addPrice(m *meter, a, b, _ ref.Val) {
	m.spend((length(a) + length(b)) / unitMade)
	if _, ok := a.(traits.MutableLister); ok {
		m.spend(2 + 2*count(b))
		return
	}
	if _, ok := a.(traits.Lister); ok {
		m.weigh(a)
		m.weigh(b)
	}
}

// inPrice pays for the look at a map; a list pays as it is gone through.
func inPrice(m *meter, a, _, _ ref.Val) { m.spend(length(a) / unitRead) }

// containsPrice is that of a search in the worst case, or of counting
// characters, which is slower than a look.
func containsPrice(m *meter, a, b, _ ref.Val) { m.spend((length(a) + length(b)) / unitMade) }

func readPrice(m *meter, a, b, _ ref.Val) { m.spend((length(a) + length(b)) / unitRead) }

// textPrice is that of functions that make a few times their text, if only in
// the error that it is none of theirs.
func textPrice(m *meter, a, _, _ ref.Val) { m.spend(4 * length(a) / unitMade) }

// runesPrice is that of functions that make a list of the characters.
func runesPrice(m *meter, a, b, _ ref.Val) { m.spend(6 * (length(a) + length(b)) / unitMade) }

// searchPrice is that of a search that begins anew at each character.
func searchPrice(m *meter, a, b, _ ref.Val) {
	runesPrice(m, a, b, nil)
	m.spend(length(a) * length(b) / unitRead)
}

func text(v ref.Val) string { s, _ := v.(types.String); return string(s) }

func splitPrice(m *meter, a, b, _ ref.Val) {
	m.spend((length(a) + length(b)) / unitMade)
	m.spend(2 * (1 + strings.Count(text(a), text(b))))
}

func replacePrice(m *meter, a, b, c ref.Val) {
	m.spend((length(a) + length(b)) / unitMade)
	m.spend(2 * (length(a) + strings.Count(text(a), text(b))*length(c)) / unitMade)
}

func joinPrice(m *meter, a, b, _ ref.Val) {
	m.spend(count(a) * (2 + length(b)/unitMade))
	m.weigh(a)
}

// formatPrice takes each letter for the six that it may need when it is quoted.
func formatPrice(m *meter, a, b, _ ref.Val) {
	m.spend(length(a) / unitMade)
	for range 8 {
		m.weigh(b)
	}
}

// distinctPrice is that of each item compared to each.
func distinctPrice(m *meter, a, _, _ ref.Val) {
	m.spend(count(a) * m.weight(a) / 4)
}

// weight pays for a value as weigh does, and returns what that was.
func (m *meter) weight(v ref.Val) int {
	before := m.left
	m.weigh(v)
	return before - m.left
}

func flattenPrice(m *meter, a, _, _ ref.Val) {
	m.weigh(a)
	m.weigh(a)
}

func listPrice(m *meter, a, _, _ ref.Val) { m.spend(count(a)) }

func rangePrice(m *meter, a, _, _ ref.Val) {
	n, _ := a.(types.Int)
	m.spend(int(min(max(n, 0), maxRange)))
}

// sortPrice is that of each key compared as often as halves of the list have halves.
func sortPrice(m *meter, a, b, _ ref.Val) {
	keys := a
	if b != nil {
		keys = b
	}
	m.spend(count(a))
	m.spend(2 * bits.Len(uint(count(keys))) * m.weight(keys))
}

// setPrice is that of each item of the one compared to each of the other.
func setPrice(m *meter, a, b, _ ref.Val) {
	x, y := m.weight(a), m.weight(b)
	m.spend(2 * min(count(a)*y, count(b)*x))
}

// insertPrice is that of an entry, or of all of a map, put into a map that a
// macro builds, and of the copy of that map in the end.
func insertPrice(m *meter, a, b, c ref.Val) {
	if _, ok := a.(traits.MutableMapper); !ok {
		m.weigh(a)
		m.spend(costEntry * count(a))
	}
	m.weigh(b)
	if c == nil {
		m.spend(2 * costEntry * count(b))
		return
	}
	m.weigh(c)
	m.spend(2 * costEntry)
}

func zonePrice(m *meter, _, b, _ ref.Val) {
	if b != nil {
		m.spend(costZone + length(b)/unitMade)
	}
}
