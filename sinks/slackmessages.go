package sinks

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
)

//go:embed slack_messages.txt
var slackMessagesText string

// slackMessages are the messages of a sink without a text of its own.
type slackMessages struct {
	exact    map[string]*slackMessageKind
	patterns []*slackMessageKind
}

// slackMessageKind is a line of the table.
type slackMessageKind struct {
	pattern string
	label   string // of one event in a digest, "invoice paid"; "" is made from the subject
	sum     string // key of data that a digest adds up, or ""
	text    *textTemplate
}

// newSlackMessages reads the table. It is ours, so what is wrong in it is an
// error of the program, which its test finds.
func newSlackMessages() (*slackMessages, error) {
	m := &slackMessages{exact: map[string]*slackMessageKind{}}
	var parts strings.Builder
	for line := range strings.Lines(slackMessagesText) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "{{") {
			parts.WriteString(line)
		}
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "{{") {
			continue
		}
		cells := strings.Split(line, "\t")
		if len(cells) != 4 {
			return nil, fmt.Errorf("read the default messages: line %q has %d cells, want 4", line, len(cells))
		}
		text, mistakes := newTemplate(config.Node{}, "default message of "+cells[0], parts.String()+cells[3], true)
		if len(mistakes) > 0 {
			return nil, fmt.Errorf("read the default message of %s: %w", cells[0], mistakes)
		}
		m.add(&slackMessageKind{cells[0], strings.Trim(cells[1], "-"), strings.Trim(cells[2], "-"), text})
	}
	return m, nil
}

func (m *slackMessages) add(k *slackMessageKind) {
	if strings.ContainsAny(k.pattern, "*>") {
		m.patterns = append(m.patterns, k)
		return
	}
	m.exact[k.pattern] = k
}

// of returns the message of an event: by its subject, or, where that has a
// prefix of its source, by the subject of its type.
func (m *slackMessages) of(e event.Event) *slackMessageKind {
	for _, subject := range []string{e.Subject, plainSubject(e.Type)} {
		if k, ok := m.exact[subject]; ok {
			return k
		}
	}
	for _, k := range m.patterns {
		if subjectMatches(k.pattern, e.Subject) {
			return k
		}
	}
	return m.patterns[len(m.patterns)-1] // ">", which an empty subject does not match
}

func plainSubject(eventType string) string {
	subject, _ := event.Subject(eventType)
	return subject
}

// subjectMatches reports that a pattern with NATS wildcards fits a subject.
func subjectMatches(pattern, subject string) bool {
	for {
		p, restP, moreP := strings.Cut(pattern, ".")
		s, restS, moreS := strings.Cut(subject, ".")
		switch {
		case p == ">":
			return s != ""
		case p != "*" && p != s, moreP != moreS:
			return false
		case !moreP:
			return true
		}
		pattern, subject = restP, restS
	}
}

// labelOf is what one such event is called in a digest.
func (k *slackMessageKind) labelOf(e event.Event) string {
	if k.label != "" {
		return k.label
	}
	tokens := strings.Split(strings.TrimPrefix(e.Subject, event.UnknownPrefix), ".")
	label := asWords(strings.Join(tokens[max(0, len(tokens)-2):], " "))
	if label == "" {
		return "event"
	}
	return escapeMrkdwn(cutRunes(event.Unescape(label), 60))
}
