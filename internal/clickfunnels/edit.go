package clickfunnels

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Assignment sets one value of a sample.
type Assignment struct {
	// Path names the value: keys and array indexes from 0, joined by dots, as
	// in "data.line_items.0.quantity". Missing keys are added; an index that
	// equals the array's length appends.
	Path string
	// Value is JSON; what is not JSON is taken as a string.
	Value string
}

// ParseAssignment reads "path=value".
func ParseAssignment(s string) (Assignment, error) {
	path, value, found := strings.Cut(s, "=")
	if !found || path == "" {
		return Assignment{}, fmt.Errorf("%q is not an assignment; write path=value, as in data.id=98", s)
	}
	return Assignment{Path: path, Value: value}, nil
}

// Check refuses a path that has an empty step.
func (a Assignment) Check() error {
	if slices.Contains(strings.Split(a.Path, "."), "") {
		return fmt.Errorf("%q is not a path: a step of it is empty; write one dot between steps, as in data.total_amount", a.Path)
	}
	return nil
}

// raw returns the value as JSON text.
func (a Assignment) raw() []byte {
	if json.Valid([]byte(a.Value)) {
		return []byte(a.Value)
	}
	return []byte(quote(a.Value))
}

// apply returns body, valid JSON, with the value at the path replaced. All
// other bytes stay as they are.
func (a Assignment) apply(body []byte) ([]byte, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	start, end, value, err := locate(body, strings.Split(a.Path, "."), a.raw())
	if err != nil {
		return nil, fmt.Errorf("set %s: %w", a.Path, err)
	}
	return slices.Concat(body[:start], value, body[end:]), nil
}

// locate returns which bytes of body to replace with what, so that the value
// at path becomes value.
func locate(body []byte, path []string, value []byte) (start, end int, replacement []byte, err error) {
	s := scanner{b: body}
	for n, step := range path {
		switch s.peek() {
		case '{':
			if !s.toMember(step) {
				return s.i, s.i, s.newMember(step, nest(path[n+1:], value)), nil
			}
		case '[':
			found, err := s.toElement(step)
			if err != nil {
				return 0, 0, nil, err
			}
			if !found {
				return s.i, s.i, s.newElement(nest(path[n+1:], value)), nil
			}
		case 'n': // null becomes an object
			return s.i, s.i + len("null"), nest(path[n:], value), nil
		default:
			return 0, 0, nil, fmt.Errorf("%s is neither an object nor an array", strings.Join(path[:n], "."))
		}
	}
	s.peek()
	start = s.i
	s.value(below)
	return start, s.i, value, nil
}

// valueAt returns the value at path of body, which must have it.
func valueAt(body []byte, path ...string) []byte {
	start, end, _, _ := locate(body, path, nil)
	return body[start:end]
}

// toMember moves to the value of the key, or else to where a new member
// belongs: before the first key that PostgreSQL's jsonb would put after it.
func (s *scanner) toMember(key string) bool {
	s.i++
	insert := -1
	for s.peek() != '}' {
		start := s.i
		k, _ := s.key()
		if string(k) == key {
			return true
		}
		if insert < 0 && jsonbLess(key, string(k)) {
			insert = start
		}
		s.value(below)
		if s.peek() == ',' {
			s.i++
		}
	}
	if insert >= 0 {
		s.i = insert
	}
	return false
}

// jsonbLess is the order of keys in PostgreSQL's jsonb: shorter ones first.
func jsonbLess(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

// newMember is the text of a member to insert at i.
func (s *scanner) newMember(key string, value []byte) []byte {
	return s.separated(slices.Concat([]byte(quote(key)), []byte(":"), value))
}

// toElement moves to the element with the index, or else to the end of the array.
func (s *scanner) toElement(index string) (bool, error) {
	want, err := strconv.Atoi(index)
	if err != nil || want < 0 {
		return false, fmt.Errorf("%q is not an index into an array", index)
	}
	s.i++
	n := 0
	for ; s.peek() != ']'; n++ {
		if n == want {
			return true, nil
		}
		s.value(below)
		if s.peek() == ',' {
			s.i++
		}
	}
	if want > n {
		return false, fmt.Errorf("index %d is beyond the array's %d elements", want, n)
	}
	return false, nil
}

// newElement is the text of an element to insert at i, the array's end.
func (s *scanner) newElement(value []byte) []byte { return s.separated(value) }

// separated puts the commas around an item that is inserted at i: one after it
// when it comes before another, else one before it unless it is the only one.
func (s *scanner) separated(item []byte) []byte {
	if s.b[s.i] != '}' && s.b[s.i] != ']' {
		return append(item, ',')
	}
	before := bytes.TrimRight(s.b[:s.i], " \t\r\n")
	if c := before[len(before)-1]; c == '{' || c == '[' {
		return item
	}
	return append([]byte{','}, item...)
}

// nest wraps value in one object per step.
func nest(path []string, value []byte) []byte {
	for _, step := range slices.Backward(path) {
		value = slices.Concat([]byte("{"), []byte(quote(step)), []byte(":"), value, []byte("}"))
	}
	return value
}
