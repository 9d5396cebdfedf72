package sinks

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/event"
)

const (
	// digestLines are the events that a digest shows, digestLine how much of
	// each, and digestKinds how many kinds it counts by name.
	digestLines = 5
	digestLine  = 300
	digestKinds = 20
)

// madeMessage is an event with the message that was made of it.
type madeMessage struct {
	event event.Event
	view  *slackView
	slackMessage
}

// digest folds events, at least two, into one message.
func (s *slackSink) digest(made []madeMessage) slackMessage {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d events%s*: %s", len(made), span(made), counted(s.counts(made)))
	for _, m := range made[:min(digestLines, len(made))] {
		line := strings.Join(strings.Fields(m.text), " ")
		if line != "" {
			b.WriteString("\n• " + cutText(line, digestLine))
		}
	}
	if more := len(made) - digestLines; more > 0 {
		fmt.Fprintf(&b, "\n… and %d more", more)
	}
	return slackMessage{text: cutText(b.String(), maxSlackText), metadata: digestMetadata(made)}
}

// span is how far apart the first and the last event came.
func span(made []madeMessage) string {
	first, last := made[0].event.Received, made[0].event.Received
	for _, m := range made {
		if m.event.Received.Before(first) {
			first = m.event.Received
		}
		if m.event.Received.After(last) {
			last = m.event.Received
		}
	}
	switch d := last.Sub(first).Round(time.Second); {
	case d < time.Second:
		return ""
	case d < 2*time.Minute:
		return fmt.Sprintf(" in %d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf(" in %d min", d.Round(time.Minute)/time.Minute)
	default:
		return fmt.Sprintf(" in %d h", d.Round(time.Hour)/time.Hour)
	}
}

// digestCount is how many events are of a kind, and what they come to.
type digestCount struct {
	label      string
	n          int
	currencies []string // in the order of their first amount
	sums       map[string]*big.Rat
}

// counts counts the events by kind, the most frequent first.
func (s *slackSink) counts(made []madeMessage) []*digestCount {
	var all []*digestCount
	byLabel := map[string]*digestCount{}
	for _, m := range made {
		kind := s.defaults.of(m.event)
		label := kind.labelOf(m.event)
		c := byLabel[label]
		if c == nil {
			c = &digestCount{label: label, sums: map[string]*big.Rat{}}
			byLabel[label], all = c, append(all, c)
		}
		c.n++
		if kind.sum != "" {
			c.add(m.view.Data[kind.sum], m.view.Data["currency"])
		}
	}
	slices.SortStableFunc(all, func(a, b *digestCount) int { return b.n - a.n })
	return all
}

func (c *digestCount) add(amount, currency any) {
	value, ok := amountOf(amount)
	if !ok {
		return
	}
	code, _ := currency.(string)
	if c.sums[code] == nil {
		c.sums[code], c.currencies = new(big.Rat), append(c.currencies, code)
	}
	c.sums[code].Add(c.sums[code], value)
}

func (c *digestCount) String() string {
	text := fmt.Sprintf("%d × %s", c.n, c.label)
	var sums []string
	for _, code := range c.currencies {
		sums = append(sums, escapeMrkdwn(formatMoney(c.sums[code], code)))
	}
	if len(sums) > 0 {
		text += " (" + strings.Join(sums, " + ") + ")"
	}
	return text
}

func counted(all []*digestCount) string {
	var parts []string
	for _, c := range all[:min(digestKinds, len(all))] {
		parts = append(parts, c.String())
	}
	if more := len(all) - digestKinds; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more kinds", more))
	}
	return strings.Join(parts, ", ")
}
