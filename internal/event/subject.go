package event

import "strings"

// Bounds of a subject that Subject makes. What a source puts before it (its
// prefix, UnknownPrefix) is not counted, so that a type which becomes known
// later keeps its subject.
const (
	MaxSubjectBytes  = 200
	MaxSubjectTokens = 16
)

const (
	// UnknownPrefix comes before the subject of a type whose root no catalogue
	// lists.
	UnknownPrefix = "unknown."
	// Malformed is the subject of events whose type cannot be read or cannot
	// become a subject. No type ends there by its name: "unknown/malformed"
	// has an unlisted root and becomes "unknown.unknown.malformed".
	Malformed = UnknownPrefix + "malformed"
)

// maxPrefixBytes bounds a source's subject prefix.
const maxPrefixBytes = 64

const upperHex = "0123456789ABCDEF"

// Subject makes the NATS subject of an event type: '/' becomes '.', case is
// kept, and every byte that is not an ASCII letter, a digit, '_' or '-' is
// written as ~XX, so that two types share a subject only when they differ in
// '/' against '.'. It is the only maker of subjects. ok is false, and subject
// empty, when the type is empty, has an empty token, or exceeds
// MaxSubjectTokens or MaxSubjectBytes.
func Subject(eventType string) (subject string, ok bool) {
	size, slashes, ok := measure(eventType)
	switch {
	case !ok:
		return "", false
	case size > len(eventType):
		return escape(eventType, size), true
	case slashes:
		return strings.ReplaceAll(eventType, "/", "."), true
	}
	return eventType, true
}

// measure returns how long the subject of eventType is, whether it holds a
// slash, and whether it keeps the bounds.
func measure(eventType string) (size int, slashes, ok bool) {
	if len(eventType) > MaxSubjectBytes {
		return 0, false, false
	}
	tokens, start := 1, 0
	for i := range len(eventType) {
		switch c := eventType[i]; {
		case c == '/', c == '.':
			if i == start {
				return 0, false, false
			}
			slashes = slashes || c == '/'
			tokens++
			start = i + 1
			size++
		case plain(c):
			size++
		default:
			size += 3
		}
	}
	ok = start < len(eventType) && tokens <= MaxSubjectTokens && size <= MaxSubjectBytes
	return size, slashes, ok
}

func escape(eventType string, size int) string {
	var b strings.Builder
	b.Grow(size)
	for i := range len(eventType) {
		switch c := eventType[i]; {
		case c == '/', c == '.':
			b.WriteByte('.')
		case plain(c):
			b.WriteByte(c)
		default:
			b.WriteByte('~')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String()
}

// plain reports whether c stands for itself in a subject.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// Unescape undoes the ~XX escapes of Subject, for people to read; it cannot
// know which dots were slashes. The result may hold any byte: quote it before
// it reaches a terminal. What is not an escape stays as it is.
func Unescape(subject string) string {
	if strings.IndexByte(subject, '~') < 0 {
		return subject
	}
	var b strings.Builder
	b.Grow(len(subject))
	for i := 0; i < len(subject); i++ {
		if c, ok := unescaped(subject[i:]); ok {
			b.WriteByte(c)
			i += 2
			continue
		}
		b.WriteByte(subject[i])
	}
	return b.String()
}

// unescaped returns the byte that the escape at the start of s stands for.
func unescaped(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '~' {
		return 0, false
	}
	high, low := strings.IndexByte(upperHex, s[1]), strings.IndexByte(upperHex, s[2])
	if high < 0 || low < 0 {
		return 0, false
	}
	return byte(high<<4 | low), true
}

// DedupeID is the id by which the store knows an event again: the source's
// name, a colon, and the event's id. A UUID counts in lower case and without
// dashes, because senders write the same one both ways. Any other id counts as
// it is: taking the dashes out of order-1-11 and order-11-1 would make one
// event of two, and lose the second.
func DedupeID(source, id string) string {
	var b strings.Builder
	b.Grow(len(source) + 1 + len(id))
	b.WriteString(source)
	b.WriteByte(':')
	if !isUUID(id) {
		b.WriteString(id)
		return b.String()
	}
	for i := range len(id) {
		c := id[i]
		if c == '-' {
			continue
		}
		if 'A' <= c && c <= 'F' {
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// isUUID reports that id is 32 hex digits, with dashes anywhere or none.
func isUUID(id string) bool {
	digits := 0
	for i := range len(id) {
		switch c := id[i]; {
		case c == '-':
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
			digits++
		default:
			return false
		}
	}
	return digits == 32
}

// ValidPrefix reports whether prefix may stand before every subject of a
// source: tokens of ASCII letters, digits, '_' and '-' joined by dots, at most
// 64 bytes, and a first token that is neither one of ours ("unknown",
// "penstock") nor starts with '_', as the subjects of NATS itself do. An empty
// prefix is not valid; it means that there is none.
func ValidPrefix(prefix string) bool {
	if len(prefix) > maxPrefixBytes || strings.IndexByte(prefix, '/') >= 0 {
		return false
	}
	subject, ok := Subject(prefix)
	if !ok || subject != prefix || prefix[0] == '_' {
		return false
	}
	root, _, _ := strings.Cut(prefix, ".")
	return !Reserved(root)
}

// Reserved reports whether root is a first token that only Penstock itself
// publishes under, so that no catalogue and no prefix may claim it.
func Reserved(root string) bool {
	return root == "penstock" || root+"." == UnknownPrefix
}
