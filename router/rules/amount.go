package rules

import (
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// numeric is the value of a text that is a plain decimal, such as "49.00": the
// form in which senders write amounts. It is exact when it is whole.
func numeric(v ref.Val) (ref.Val, bool) {
	s, ok := v.(types.String)
	if !ok || !plainDecimal(string(s)) {
		return nil, false
	}
	s = types.String(strings.TrimSpace(string(s)))
	if n, err := strconv.ParseInt(string(s), 10, 64); err == nil {
		return types.Int(n), true
	}
	f, err := strconv.ParseFloat(string(s), 64)
	return types.Double(f), err == nil
}

// plainDecimal: not "1e3", "NaN", "+1", ".5" or "1,000".
func plainDecimal(s string) bool {
	const most = 40
	if len(s) > 2*most {
		return false
	}
	digits := strings.TrimPrefix(strings.TrimSpace(s), "-")
	return digits != "" && len(digits) <= most && strings.Trim(digits, "0123456789.") == "" &&
		strings.Trim(digits, ".") == digits && strings.Count(digits, ".") <= 1
}

func isNumber(v ref.Val) bool {
	switch v.(type) {
	case types.Int, types.Uint, types.Double:
		return true
	}
	return false
}

// asNumbers gives two operands as they are compared: a text beside a number is
// that number, if it is a plain decimal.
func asNumbers(a, b ref.Val) (ref.Val, ref.Val) {
	if isNumber(a) {
		if n, ok := numeric(b); ok {
			return a, n
		}
	} else if isNumber(b) {
		if n, ok := numeric(a); ok {
			return n, b
		}
	}
	return a, b
}

// same is ==, where "49.00" is 49. Within lists and maps it is not.
func (m *meter) same(a, b ref.Val) bool { return m.equal(asNumbers(a, b)) }

// compared is <, <=, > and >=, by what is asked of the order of two values.
func compared(holds func(order types.Int) bool) func(m *meter, args []ref.Val) ref.Val {
	return func(m *meter, args []ref.Val) ref.Val {
		a, b := asNumbers(args[0], args[1])
		c, ok := a.(traits.Comparer)
		if !ok {
			return noOrder(a, b)
		}
		switch order := c.Compare(b).(type) {
		case types.Int:
			return types.Bool(holds(order))
		case *types.Err:
			if isNumber(a) && isNumber(b) { // NaN
				return order
			}
			return noOrder(a, b)
		default:
			return order
		}
	}
}

// noOrder says why two values have none.
func noOrder(a, b ref.Val) ref.Val {
	text, number := a, b
	if isNumber(a) {
		text, number = b, a
	}
	if s, ok := text.(types.String); ok && isNumber(number) {
		return types.NewErr("the text %s is not a number such as \"49.00\"", quotedShort(string(s)))
	}
	return types.NewErr("no such overload: %s compared with %s", a.Type().TypeName(), b.Type().TypeName())
}

// quotedShort quotes a text for a message, cut before it is quoted.
func quotedShort(s string) string { return short(strconv.Quote(cut(s, 60))) }
