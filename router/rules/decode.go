package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep the values of a body are nested.
const maxDepth = 200

// maxValues bounds how many values a body holds: each takes up to a hundred
// bytes when it is decoded, and as few as two in the body.
const maxValues = 300_000

// decodeJSON reads one JSON value as encoding/json does into an any, with
// numbers as they are written. It is most of what a condition costs, and so is
// not left to encoding/json beyond the check: as all texts are parts of one
// copy of the body, it allocates less than half as often.
func decodeJSON(body []byte) (any, error) {
	if !json.Valid(body) {
		var v json.RawMessage
		return nil, notJSON(json.Unmarshal(body, &v))
	}
	d := decoder{rest: string(body)}
	return d.value(0)
}

// notJSON says where a body is not JSON, and nothing of what it holds.
func notJSON(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("the body is not JSON, at byte %d", syntax.Offset)
	}
	return errors.New("the body is not JSON")
}

// decoder reads JSON that is valid. rest is what has not been read.
type decoder struct {
	rest   string
	values int
	none   map[string]any // stands for all objects without a key
}

func (d *decoder) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("the body is nested more than %d deep", maxDepth)
	}
	if d.values++; d.values > maxValues {
		return nil, fmt.Errorf("the body has more than %d values", maxValues)
	}
	switch d.peek() {
	case '{':
		return d.object(depth)
	case '[':
		return d.array(depth)
	case '"':
		return d.text()
	case 't':
		d.skip(len("true"))
		return true, nil
	case 'f':
		d.skip(len("false"))
		return false, nil
	case 'n':
		d.skip(len("null"))
		return nil, nil
	}
	end := strings.IndexAny(d.rest, ",]} \t\r\n")
	if end < 0 {
		end = len(d.rest)
	}
	number := json.Number(d.rest[:end])
	d.skip(end)
	return number, nil
}

// peek returns the next byte that is no white space.
func (d *decoder) peek() byte {
	for i := range len(d.rest) {
		if c := d.rest[i]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			d.skip(i)
			return c
		}
	}
	return 0
}

func (d *decoder) skip(n int) { d.rest = d.rest[n:] }

func (d *decoder) object(depth int) (any, error) {
	d.skip(1)
	if d.peek() == '}' {
		d.skip(1)
		if d.none == nil {
			d.none = map[string]any{}
		}
		return d.none, nil
	}
	m := map[string]any{}
	for d.peek() != '}' {
		key, err := d.text()
		if err != nil {
			return nil, err
		}
		d.peek()
		d.skip(1) // the colon
		if m[key], err = d.value(depth + 1); err != nil {
			return nil, err
		}
		if d.peek() == ',' {
			d.skip(1)
		}
	}
	d.skip(1)
	return m, nil
}

func (d *decoder) array(depth int) (any, error) {
	a := []any{}
	d.skip(1)
	for d.peek() != ']' {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
		if d.peek() == ',' {
			d.skip(1)
		}
	}
	d.skip(1)
	return a, nil
}

// text reads a string. One without escapes is a part of the body.
func (d *decoder) text() (string, error) {
	d.peek()
	plain, end := true, 1
	for ; d.rest[end] != '"'; end++ {
		switch c := d.rest[end]; {
		case c == '\\':
			plain = false
			end++
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	quoted := d.rest[:end+1]
	d.skip(end + 1)
	if text := quoted[1:end]; plain || !strings.Contains(text, `\`) && utf8.ValidString(text) {
		return text, nil
	}
	var s string
	if err := json.Unmarshal([]byte(quoted), &s); err != nil {
		return "", errors.New("the body is not JSON")
	}
	return s, nil
}
