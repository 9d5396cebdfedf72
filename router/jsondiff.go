package router

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/delivery"
)

// The bounds of a difference that is shown.
const (
	mostValues  = 12  // of one example
	mostLetters = 120 // of a value or a path, in bytes
	// exactDigits is up to how many letters two numbers are compared by value.
	exactDigits = 17
)

// sameJSON reports that two bodies hold the same values: the order of keys,
// white space and how a number is written make no difference.
func sameJSON(a, b []byte) bool {
	x, okX := readJSON(a)
	y, okY := readJSON(b)
	return okX && okY && equalValues(x, y)
}

func readJSON(body []byte) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return nil, false
	}
	return v, true
}

func equalValues(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, equalValues)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equalValues)
	case json.Number:
		b, ok := b.(json.Number)
		return ok && equalNumbers(a, b)
	}
	return equalScalars(a, b)
}

// equalScalars compares what is neither a mapping nor a list nor a number.
func equalScalars(a, b any) bool {
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

func equalNumbers(a, b json.Number) bool {
	if a == b || len(a) > exactDigits || len(b) > exactDigits {
		return a == b
	}
	x, errX := a.Float64()
	y, errY := b.Float64()
	return errX == nil && errY == nil && x == y
}

// BodyChanges lists the values in which two bodies differ, in order, by paths
// as expressions write them, and how many more there are. White space, the order
// of keys and how a number is written make no difference. The note says why
// nothing can be listed. Values are cut when they are long, and empty when there
// is none.
func BodyChanges(before, after []byte) (list []delivery.ValueChange, more int, note string) {
	return differences(before, after)
}

// differences lists the values in which two bodies differ, in order, and how
// many more there are. The note says why nothing can be listed.
func differences(before, after []byte) (list []delivery.ValueChange, more int, note string) {
	x, okX := readJSON(before)
	y, okY := readJSON(after)
	if !okX || !okY {
		which := map[bool]string{true: "new", false: "present"}[okX]
		return nil, 0, fmt.Sprintf("the %s body is not JSON; %d bytes now, %d then", which, len(before), len(after))
	}
	var d differ
	d.compare("", x, y)
	return d.list, d.more, ""
}

type differ struct {
	list []delivery.ValueChange
	more int
}

// absent is a value that is not there.
type absent struct{}

func (d *differ) compare(path string, a, b any) {
	if x, ok := a.(map[string]any); ok {
		if y, ok := b.(map[string]any); ok {
			d.compareMaps(path, x, y)
			return
		}
	}
	if x, ok := a.([]any); ok {
		if y, ok := b.([]any); ok {
			for i := range max(len(x), len(y)) {
				d.compare(path+"["+strconv.Itoa(i)+"]", item(x, i), item(y, i))
			}
			return
		}
	}
	if !equalValues(a, b) {
		d.add(path, a, b)
	}
}

func (d *differ) compareMaps(path string, a, b map[string]any) {
	keys := slices.Collect(maps.Keys(a))
	for key := range b {
		if _, both := a[key]; !both {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		d.compare(field(path, key), member(a, key), member(b, key))
	}
}

var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// field is the path of a key, as in an expression.
func field(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

func member(m map[string]any, key string) any {
	if v, ok := m[key]; ok {
		return v
	}
	return absent{}
}

func item(a []any, i int) any {
	if i < len(a) {
		return a[i]
	}
	return absent{}
}

func (d *differ) add(path string, a, b any) {
	if len(d.list) == mostValues {
		d.more++
		return
	}
	if path == "" {
		path = "body"
	}
	d.list = append(d.list, delivery.ValueChange{Path: short(path), Before: written(a), After: written(b)})
}

// written is a value as JSON, "" when it is absent.
func written(v any) string {
	if _, no := v.(absent); no {
		return ""
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil { // never: it was read from JSON
		return ""
	}
	return short(string(bytes.TrimSpace(out.Bytes())))
}

func short(s string) string {
	if len(s) <= mostLetters {
		return s
	}
	n := mostLetters
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
