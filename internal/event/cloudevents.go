package event

import (
	"strings"
	"unicode/utf8"
)

// MaxAttribute is the length, in bytes, to which CloudEvents attributes are
// cut when they travel as header values. The exact value is in the body.
const MaxAttribute = 256

// cutMark ends a header value that was cut. All of it is printable ASCII, so
// decoding the value leaves it as it is.
const cutMark = "..."

const percentHex = "0123456789ABCDEF"

// HeaderValue returns s as the CloudEvents HTTP binding wants it in a header:
// space, double quote, percent and everything outside printable ASCII become
// %XX for each byte of their UTF-8 encoding; bytes that are not UTF-8 are
// replaced by U+FFFD first, so that the receiver can always decode the value.
// The result never holds CR, LF or any other byte that is unsafe in a header.
//
// A result of more than max bytes is cut between characters, never within a
// %XX sequence or a character, to at most max bytes, the last three of which
// are then "...". A max of 0 or less means no bound. HeaderValue does not
// allocate when s is clean and fits.
func HeaderValue(s string, max int) string {
	if max <= 0 {
		max = int(^uint(0) >> 1)
	}
	clean := cleanPrefix(s)
	if clean == len(s) && len(s) <= max {
		return s
	}
	return encodeHeaderValue(s, clean, max)
}

// cleanPrefix returns how many bytes of s need no encoding.
func cleanPrefix(s string) int {
	for i := range len(s) {
		if !headerSafe(s[i]) {
			return i
		}
	}
	return len(s)
}

func headerSafe(c byte) bool {
	return c >= 0x21 && c <= 0x7E && c != '"' && c != '%'
}

// encodeHeaderValue encodes s, whose first clean bytes need no encoding. It
// stops as soon as max is passed, so that a huge s costs no more than max.
func encodeHeaderValue(s string, clean, max int) string {
	var b strings.Builder
	fits := 0 // the longest whole-character prefix of b that leaves room for the mark
	if clean > max {
		clean = max + 1 // enough to see that it has to be cut
	}
	b.WriteString(s[:clean])
	if room := max - len(cutMark); room > 0 {
		fits = min(clean, room)
	}
	for _, r := range s[clean:] {
		if b.Len() > max {
			break
		}
		writeEncoded(&b, r)
		if b.Len() <= max-len(cutMark) {
			fits = b.Len()
		}
	}
	if b.Len() <= max {
		return b.String()
	}
	if max < len(cutMark) {
		return cutMark[:max]
	}
	return b.String()[:fits] + cutMark
}

func writeEncoded(b *strings.Builder, r rune) {
	if r < utf8.RuneSelf && headerSafe(byte(r)) {
		b.WriteByte(byte(r))
		return
	}
	var buf [utf8.UTFMax]byte
	for _, c := range buf[:utf8.EncodeRune(buf[:], r)] {
		b.WriteByte('%')
		b.WriteByte(percentHex[c>>4])
		b.WriteByte(percentHex[c&0xF])
	}
}
