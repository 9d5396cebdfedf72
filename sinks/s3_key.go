package sinks

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/event"
)

// keyTemplate is the name of an object, in parts.
type keyTemplate []keyPart

// keyPart is text, or what is filled in when kind is not empty: the name of a
// placeholder, or "time" with a layout.
type keyPart struct{ kind, text string }

// placeholders are what a key may hold between braces.
var placeholders = []string{"sink", "subject", "source", "first", "last", "id", "ext"}

var (
	bracePattern = regexp.MustCompile(`\{\{\s*(.*?)\s*\}\}`)
	digitPattern = regexp.MustCompile(`\d+`)
)

// layouts are the digits that stand for a part of the time.
var layouts = []string{"2006", "01", "02", "15", "04"}

// maxKeyText bounds the text of a template, since a key has at most 1,024 bytes.
const maxKeyText = 256

// parseKey reads a template, or says what is wrong with it.
func parseKey(text string) (t keyTemplate, what, hint string) {
	rest := text
	for rest != "" {
		at := bracePattern.FindStringSubmatchIndex(rest)
		if at == nil {
			t = t.literal(rest)
			break
		}
		t = t.literal(rest[:at[0]])
		name := rest[at[2]:at[3]]
		if !slices.Contains(placeholders, name) {
			return nil, fmt.Sprintf("%q is not known", "{{"+name+"}}"), "known are " + strings.Join(placeholders, ", ")
		}
		t = append(t, keyPart{kind: name})
		rest = rest[at[1]:]
	}
	switch {
	case !slices.Contains(t, keyPart{kind: "id"}):
		return nil, "names no {{id}}, so that one object could replace another", "add {{id}}"
	case len(text) > maxKeyText:
		return nil, fmt.Sprintf("has %d bytes", len(text)), fmt.Sprintf("it may have %d", maxKeyText)
	case strings.HasPrefix(text, "/"), strings.Contains(text, "//"), slices.ContainsFunc(strings.Split(text, "/"), func(s string) bool { return s == "." || s == ".." }):
		return nil, "has an empty part, . or .. between slashes", "write it as " + defaultBatchKey
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7F }):
		return nil, "has a control character", "use printable characters"
	}
	return t, "", ""
}

// literal adds text, in which digits may stand for the time.
func (t keyTemplate) literal(s string) keyTemplate {
	done := 0
	for _, at := range digitPattern.FindAllStringIndex(s, -1) {
		if layout := s[at[0]:at[1]]; slices.Contains(layouts, layout) {
			if at[0] > done {
				t = append(t, keyPart{text: s[done:at[0]]})
			}
			t = append(t, keyPart{kind: "time", text: layout})
			done = at[1]
		}
	}
	if done < len(s) {
		t = append(t, keyPart{text: s[done:]})
	}
	return t
}

// appendPartition appends what of the key is the event's own. Two events with
// the same may share an object.
func (t keyTemplate) appendPartition(b []byte, e *event.Event) []byte {
	at := e.Received.UTC()
	for _, p := range t {
		switch p.kind {
		case "time":
			b = at.AppendFormat(b, p.text)
		case "subject":
			b = append(b, e.Subject...)
		case "source":
			b = append(b, e.Source...)
		default:
			continue
		}
		b = append(b, 0)
	}
	return b
}

// render returns the name of the object that begins with e.
func (t keyTemplate) render(sink string, e *event.Event, last uint64, id, ext string) string {
	var b strings.Builder
	for _, p := range t {
		switch p.kind {
		case "":
			b.WriteString(p.text)
		case "time":
			b.WriteString(e.Received.UTC().Format(p.text))
		case "sink":
			b.WriteString(escapeKey(sink))
		case "subject":
			b.WriteString(escapeKey(e.Subject))
		case "source":
			b.WriteString(escapeKey(e.Source))
		case "first":
			fmt.Fprintf(&b, "%012d", e.Seq)
		case "last":
			fmt.Fprintf(&b, "%012d", last)
		case "id":
			b.WriteString(escapeKey(id))
		case "ext":
			b.WriteString(ext)
		}
	}
	return b.String()
}

// maxKeyValue bounds one value in a key; a longer one is cut, with its hash at
// the end so that two never become one.
const maxKeyValue = 180

// escapeKey makes a value of an event safe in a key: no slash, no dot at the
// beginning, nothing that a tool reads as a partition. The escapes are those
// of Hive, %2F.
func escapeKey(s string) string {
	const hexDigits = "0123456789ABCDEF"
	if s == "" {
		return "_"
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		plain := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' || c == '.' && i > 0
		if plain {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&0xF]})
	}
	if b.Len() <= maxKeyValue {
		return b.String()
	}
	sum := sha256.Sum256([]byte(s))
	return strings.TrimRight(b.String()[:maxKeyValue-40], "%") + "-" + hex.EncodeToString(sum[:16])
}
