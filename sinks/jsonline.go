package sinks

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/event"
)

// What the kinds share that write an event as a line of JSON.

// appendAttributes appends the members that say which event it is.
func appendAttributes(line []byte, e *event.Event) []byte {
	line = append(line, `"id":`...)
	line = appendJSONString(line, e.ID)
	line = append(line, `,"type":`...)
	line = appendJSONString(line, e.Type)
	line = append(line, `,"subject":`...)
	line = appendJSONString(line, e.Subject)
	line = append(line, `,"source":`...)
	return appendJSONString(line, e.Source)
}

// encodeBody adds the body so that nothing of it is lost: JSON as it is, but
// on one line, other text as a string, other bytes as base64.
func encodeBody(b *bytes.Buffer, body []byte) {
	switch {
	case !utf8.Valid(body):
		b.WriteString(`,"body_base64":"`)
		b.Write(base64.StdEncoding.AppendEncode(b.AvailableBuffer(), body))
		b.WriteByte('"')
	case !encodeJSON(b, body):
		b.WriteString(`,"body_text":`)
		b.Write(appendJSONString(b.AvailableBuffer(), string(body)))
	}
}

// encodeJSON adds the body as JSON, or nothing if it is not JSON.
func encodeJSON(b *bytes.Buffer, body []byte) bool {
	const key = `,"body":`
	if !bytes.ContainsAny(body, "\r\n") {
		if !json.Valid(body) {
			return false
		}
		b.WriteString(key)
		b.Write(body)
		return true
	}
	before := b.Len()
	b.WriteString(key)
	if err := json.Compact(b, body); err != nil {
		b.Truncate(before)
		return false
	}
	return true
}

// appendJSONString appends s as a JSON string. Control characters, those
// above ASCII included, are escaped so that a line does no harm to a terminal.
func appendJSONString(b []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ', r >= 0x7F && r < 0xA0, r == '\u2028', r == '\u2029':
			b = append(b, '\\', 'u', hexDigits[r>>12], hexDigits[r>>8&0xF], hexDigits[r>>4&0xF], hexDigits[r&0xF])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
