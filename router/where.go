package router

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/router/rules"
)

// Where is a condition that is asked outside of any route, in the language of
// routes. It is safe for concurrent use.
type Where struct{ condition *rules.Condition }

// ParseWhere compiles a condition. Its error is a config.Mistakes, each with
// its line and column in the text.
func ParseWhere(text string) (*Where, error) {
	l, err := rules.New()
	if err != nil {
		return nil, fmt.Errorf("set up expressions: %w", err)
	}
	c, ms := l.Condition(config.TextNode("where", text))
	if len(ms) > 0 {
		return nil, ms
	}
	return &Where{c}, nil
}

// Holds reports that the condition is true of the event. Its error says why it
// could not be evaluated.
func (w *Where) Holds(ctx context.Context, e *event.Event) (bool, error) {
	return w.condition.Eval(ctx, rules.NewInput(e, time.Now()))
}

// MatchAny reports that one of the patterns matches the subject as routes match
// it: also where it lies when its type is not in the catalogue, of a source
// with one of the prefixes or with none. No patterns match everything.
func MatchAny(patterns []Pattern, prefixes []string, subject string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, p := range withUnknown(patterns, prefixes) {
		if p.Match(subject) {
			return true
		}
	}
	return false
}
