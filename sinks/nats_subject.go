package sinks

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/penstock/penstock/internal/event"
)

const (
	// maxNATSSubject keeps a subject far below the server's bound for a line of
	// its protocol, past which it closes the connection.
	maxNATSSubject = 1024
	maxNATSToken   = 256
)

// rawFields are the values of e as they are.
func rawFields(e *event.Event, sink string) natsFields {
	return natsFields{Subject: e.Subject, Type: e.Type, Source: e.Source, ID: e.ID, APIVersion: e.APIVersion, Sink: sink}
}

// subjectFields are the values of e as words of a subject: Subject and Type
// may be several, the others are one each.
func subjectFields(e *event.Event, sink string) natsFields {
	f := natsFields{
		Subject: e.Subject, Source: subjectToken(e.Source), ID: subjectToken(e.ID), APIVersion: e.APIVersion, Sink: subjectToken(sink),
	}
	if checkSubject(e.Subject) != nil {
		f.Subject = event.Malformed
	}
	var ok bool
	if f.Type, ok = event.Subject(e.Type); !ok {
		f.Type = event.Malformed
	}
	return f
}

// subjectToken makes one word of s. Bytes that a word cannot have become ~XX;
// what would be too long becomes its hash.
func subjectToken(s string) string {
	if s == "" {
		return "none"
	}
	clean := 0
	for clean < len(s) && plainInSubject(s[clean]) {
		clean++
	}
	if clean == len(s) && len(s) <= maxNATSToken {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; plainInSubject(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "~%02X", c)
		}
	}
	if b.Len() <= maxNATSToken {
		return b.String()
	}
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + hex.EncodeToString(sum[:16])
}

func plainInSubject(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// renderSubject fills in the template and checks what comes of it.
func renderSubject(t *natsTemplate, f natsFields) (string, error) {
	s, err := t.render(f)
	if err != nil {
		return "", err
	}
	return s, checkSubject(s)
}

// checkSubject says why s is no subject to publish on.
func checkSubject(s string) error {
	if len(s) > maxNATSSubject {
		return fmt.Errorf("is %d bytes long, more than %d", len(s), maxNATSSubject)
	}
	first, _, _ := strings.Cut(s, ".")
	switch {
	case first == "penstock":
		return errors.New("penstock.> is Penstock's own")
	case strings.HasPrefix(s, "$") || strings.HasPrefix(first, "_INBOX"):
		return fmt.Errorf("%s.> is the server's own", first)
	}
	for token := range strings.SplitSeq(s, ".") {
		if token == "" {
			return errors.New("has an empty word")
		}
		for i := range len(token) {
			if c := token[i]; c <= ' ' || c == '*' || c == '>' || c >= 0x7F {
				return fmt.Errorf("has %q, which no subject may have", c)
			}
		}
	}
	return nil
}

// covers reports that a NATS pattern matches a subject.
func covers(pattern, subject string) bool {
	for {
		p, patternRest, morePattern := strings.Cut(pattern, ".")
		s, subjectRest, moreSubject := strings.Cut(subject, ".")
		switch {
		case p == ">":
			return true
		case p != "*" && p != s, morePattern != moreSubject:
			return false
		case !morePattern:
			return true
		}
		pattern, subject = patternRest, subjectRest
	}
}
