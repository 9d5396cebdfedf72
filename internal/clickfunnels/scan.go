package clickfunnels

import (
	"bytes"
	"encoding/json"
)

// maxDepth is how deep arrays and objects may nest: what encoding/json
// accepts, so that whatever we call valid can be read by what comes after us.
const maxDepth = 10000

// envelope is what Decode reads of a body. Raw values are JSON text, nil when
// absent; of a repeated key the last one counts.
type envelope struct {
	id, eventType, version []byte
	data                   bool // data is an object
	attributes             bool // data.attributes is an object
}

// readEnvelope reads body in one pass. ok is false unless body is one valid
// JSON object, by the rules of encoding/json.
func readEnvelope(body []byte) (env envelope, ok bool) {
	s := scanner{b: body}
	if s.peek() != '{' || !s.object(top) || s.peek() != 0 || s.i != len(body) {
		return envelope{}, false
	}
	return s.env, true
}

// level is where in the body an object stands.
type level int

const (
	top level = iota
	inData
	below
)

// scanner validates JSON from b[i] on. Its methods advance i past what they
// read and return false, with i anywhere, when it is not valid.
type scanner struct {
	b     []byte
	i     int
	depth int
	env   envelope
}

// peek skips blanks and returns the next byte, or 0 at the end.
func (s *scanner) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) value(in level) bool {
	switch c := s.peek(); c {
	case '"':
		return s.str()
	case '{':
		return s.object(in)
	case '[':
		return s.array()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

// object reads an object; at the top and in data it notes what it finds.
func (s *scanner) object(at level) bool {
	if s.depth++; s.depth > maxDepth {
		return false
	}
	s.i++
	if s.peek() == '}' {
		return s.leave()
	}
	for {
		key, ok := s.key()
		if !ok || !s.member(at, key) {
			return false
		}
		switch s.peek() {
		case ',':
			s.i++
			s.peek()
		case '}':
			return s.leave()
		default:
			return false
		}
	}
}

// key reads a quoted key and its colon, and returns the text within the quotes.
func (s *scanner) key() ([]byte, bool) {
	start := s.i
	if !s.str() {
		return nil, false
	}
	key := s.b[start+1 : s.i-1]
	if s.peek() != ':' {
		return nil, false
	}
	s.i++
	return key, true
}

// member reads the value of a key.
func (s *scanner) member(at level, key []byte) bool {
	if at == below {
		return s.value(below)
	}
	if bytes.IndexByte(key, '\\') >= 0 {
		key = unescaped(key)
	}
	inside := below
	if at == top && string(key) == "data" {
		inside, s.env.attributes = inData, false
	}
	s.peek()
	start := s.i
	if !s.value(inside) {
		return false
	}
	s.note(at, key, s.b[start:s.i])
	return true
}

func (s *scanner) note(at level, key, raw []byte) {
	if at == inData {
		if string(key) == "attributes" {
			s.env.attributes = raw[0] == '{'
		}
		return
	}
	switch string(key) {
	case "event_id":
		s.env.id = raw
	case "event_type":
		s.env.eventType = raw
	case "api_version":
		s.env.version = raw
	case "data":
		s.env.data = raw[0] == '{'
	}
}

func (s *scanner) array() bool {
	if s.depth++; s.depth > maxDepth {
		return false
	}
	s.i++
	if s.peek() == ']' {
		return s.leave()
	}
	for {
		if !s.value(below) {
			return false
		}
		switch s.peek() {
		case ',':
			s.i++
		case ']':
			return s.leave()
		default:
			return false
		}
	}
}

// leave steps over the closing bracket.
func (s *scanner) leave() bool {
	s.depth--
	s.i++
	return true
}

// str reads a string. Like encoding/json it takes any byte from 0x20 up,
// whether or not they make UTF-8.
func (s *scanner) str() bool {
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		return false
	}
	b := s.b
	for i := s.i + 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			return true
		case c == '\\':
			n := escapeLen(b[i+1:])
			if n == 0 {
				return false
			}
			i += n
		case c < ' ':
			return false
		}
	}
	return false
}

// escapeLen returns how long the escape that follows a backslash is, 0 when it
// is none.
func escapeLen(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1
	case 'u':
		if len(b) < 5 {
			return 0
		}
		for _, c := range b[1:5] {
			if 'A' <= c && c <= 'F' {
				continue
			}
			if _, ok := hexDigit(c); !ok {
				return 0
			}
		}
		return 5
	}
	return 0
}

func (s *scanner) literal(word string) bool {
	if !bytes.HasPrefix(s.b[s.i:], []byte(word)) {
		return false
	}
	s.i += len(word)
	return true
}

func (s *scanner) number() bool {
	if s.at('-') {
		s.i++
	}
	switch {
	case s.at('0'):
		s.i++
	case s.digits() == 0:
		return false
	}
	if s.at('.') {
		s.i++
		if s.digits() == 0 {
			return false
		}
	}
	if s.at('e') || s.at('E') {
		s.i++
		if s.at('+') || s.at('-') {
			s.i++
		}
		return s.digits() > 0
	}
	return true
}

func (s *scanner) at(c byte) bool { return s.i < len(s.b) && s.b[s.i] == c }

// digits steps over digits and returns how many there were.
func (s *scanner) digits() int {
	start := s.i
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i - start
}

// text returns the string that a raw, valid JSON value is; ok is false when it
// is not a string.
func text(raw []byte) (value string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	inner := raw[1 : len(raw)-1]
	for _, c := range inner {
		if c == '\\' || c >= 0x80 {
			return string(unescaped(inner)), true
		}
	}
	return string(inner), true
}

// unescaped reads the text between the quotes of a valid JSON string as
// encoding/json does, bytes that are not UTF-8 included.
func unescaped(inner []byte) []byte {
	quoted := make([]byte, 0, len(inner)+2)
	quoted = append(append(append(quoted, '"'), inner...), '"')
	var out string
	if err := json.Unmarshal(quoted, &out); err != nil {
		return nil // not reached: the scanner has accepted it
	}
	return []byte(out)
}
