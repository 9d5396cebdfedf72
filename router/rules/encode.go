package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// encoder writes values as JSON. Keys of an object that the expression itself
// spells out keep its order; those of any other are sorted, so that the same
// event always makes the same bytes.
//
// What is written is paid for.
type encoder struct {
	out   *bytes.Buffer
	meter *meter
	depth int
}

var errWork = errors.New(tooMuchWork)

// pay pays for n more bytes of output.
func (w *encoder) pay(n int) error {
	switch {
	case w.out.Len()+n > maxOutput:
		return errLarge
	case !w.meter.take(1 + n/unitMade):
		return errWork
	}
	return nil
}

// value writes v, which e made; e is nil when that is not known.
func (w *encoder) value(v ref.Val, e ast.Expr) error {
	w.depth++
	defer func() { w.depth-- }()
	if w.depth > maxDepth {
		return fmt.Errorf("is nested more than %d deep", maxDepth)
	}
	if err := w.pay(length(v)); err != nil {
		return err
	}
	switch v := v.(type) {
	case types.Double:
		return w.double(float64(v))
	case *types.Optional:
		if v.HasValue() {
			return w.value(v.GetValue(), nil)
		}
		return w.native(nil)
	case traits.Mapper:
		return w.object(v, e)
	case traits.Lister:
		return w.list(v, e)
	}
	return w.scalar(v)
}

func (w *encoder) scalar(v ref.Val) error {
	b := w.out.AvailableBuffer()
	switch v := v.(type) {
	case types.Null:
		b = append(b, "null"...)
	case types.Bool:
		b = strconv.AppendBool(b, bool(v))
	case types.Int:
		b = strconv.AppendInt(b, int64(v), 10)
	case types.Uint:
		b = strconv.AppendUint(b, uint64(v), 10)
	case types.String:
		b = appendString(b, string(v))
	case types.Bytes:
		return w.marshal([]byte(v))
	case types.Timestamp:
		b = appendString(b, v.UTC().Format(time.RFC3339Nano))
	case types.Duration:
		b = appendString(b, strconv.FormatFloat(v.Seconds(), 'f', -1, 64)+"s")
	default:
		return fmt.Errorf("%s has no form in JSON", aType(v.Type().TypeName()))
	}
	w.out.Write(b)
	return nil
}

func (w *encoder) double(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("is %v, which has no form in JSON", f)
	}
	return w.marshal(f)
}

// native writes a value of a decoded body as it is: numbers as they were sent.
func (w *encoder) native(v any) error {
	switch v := v.(type) {
	case string:
		return w.text(v)
	case json.Number:
		if err := w.pay(len(v)); err != nil {
			return err
		}
		w.out.WriteString(string(v))
		return nil
	case []any:
		return w.nativeList(v)
	case map[string]any:
		return w.nativeObject(v)
	}
	if err := w.pay(0); err != nil {
		return err
	}
	return w.marshal(v) // true, false, null
}

func (w *encoder) text(s string) error {
	if err := w.pay(len(s)); err != nil {
		return err
	}
	w.out.Write(appendString(w.out.AvailableBuffer(), s))
	return nil
}

func (w *encoder) nativeList(list []any) error {
	if err := w.pay(2); err != nil {
		return err
	}
	w.out.WriteByte('[')
	for i, item := range list {
		if i > 0 {
			w.out.WriteByte(',')
		}
		if err := w.native(item); err != nil {
			return err
		}
	}
	w.out.WriteByte(']')
	return nil
}

func (w *encoder) nativeObject(object map[string]any) error {
	if err := w.pay(2 + len(object)); err != nil {
		return err
	}
	w.out.WriteByte('{')
	for i, key := range slices.Sorted(maps.Keys(object)) {
		if i > 0 {
			w.out.WriteByte(',')
		}
		if err := w.text(key); err != nil {
			return err
		}
		w.out.WriteByte(':')
		if err := w.native(object[key]); err != nil {
			return err
		}
	}
	w.out.WriteByte('}')
	return nil
}

func (w *encoder) marshal(v any) error {
	e := json.NewEncoder(w.out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return errors.New("cannot be written as JSON")
	}
	w.out.Truncate(w.out.Len() - 1) // the line's end
	if w.out.Len() > maxOutput {
		return errLarge
	}
	return nil
}

func (w *encoder) list(l traits.Lister, e ast.Expr) error {
	if native, ok := l.Value().([]any); ok && e == nil {
		return w.native(native)
	}
	var made []ast.Expr
	if e != nil && e.Kind() == ast.ListKind && len(e.AsList().OptionalIndices()) == 0 {
		made = e.AsList().Elements()
	}
	w.out.WriteByte('[')
	i := 0
	for it := l.Iterator(); it.HasNext() == types.True; i++ {
		if i > 0 {
			w.out.WriteByte(',')
		}
		var by ast.Expr
		if i < len(made) {
			by = made[i]
		}
		if err := w.value(it.Next(), by); err != nil {
			return err
		}
	}
	w.out.WriteByte(']')
	return nil
}

// object writes a map: first the keys that the expression spells out.
func (w *encoder) object(m traits.Mapper, e ast.Expr) error {
	if native, ok := m.Value().(map[string]any); ok && (e == nil || e.Kind() != ast.MapKind) {
		return w.native(native)
	}
	if !w.meter.take(costEntry * count(m)) {
		return errWork
	}
	values := map[string]ref.Val{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, err := keyName(key)
		if err != nil {
			return err
		}
		values[name] = m.Get(key)
	}
	order, by := spelled(e)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, ok := by[name]; !ok {
			order = append(order, name)
		}
	}
	w.out.WriteByte('{')
	first := true
	for _, name := range order {
		v, ok := values[name]
		if !ok {
			continue
		}
		if !first {
			w.out.WriteByte(',')
		}
		first = false
		if err := w.text(name); err != nil {
			return err
		}
		w.out.WriteByte(':')
		if err := w.value(v, by[name]); err != nil {
			return err
		}
	}
	w.out.WriteByte('}')
	return nil
}

// spelled returns the keys that a map expression spells out, in order, with
// what makes their values.
func spelled(e ast.Expr) (order []string, by map[string]ast.Expr) {
	by = map[string]ast.Expr{}
	if e == nil || e.Kind() != ast.MapKind {
		return nil, by
	}
	for _, entry := range e.AsMap().Entries() {
		m := entry.AsMapEntry()
		if m.Key().Kind() != ast.LiteralKind {
			continue
		}
		name, err := keyName(m.Key().AsLiteral())
		if _, twice := by[name]; err != nil || twice {
			continue
		}
		order = append(order, name)
		by[name] = m.Value()
	}
	return order, by
}

func keyName(key ref.Val) (string, error) {
	switch k := key.(type) {
	case types.String:
		return string(k), nil
	case types.Int:
		return strconv.FormatInt(int64(k), 10), nil
	case types.Uint:
		return strconv.FormatUint(uint64(k), 10), nil
	case types.Bool:
		return strconv.FormatBool(bool(k)), nil
	}
	return "", fmt.Errorf("%s is no key in JSON", aType(key.Type().TypeName()))
}

// appendString writes a string as JSON does, without escapes for HTML.
func appendString(b []byte, s string) []byte {
	if plain(s) {
		return append(append(append(b, '"'), s...), '"')
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// plain reports a text that stands in JSON as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
