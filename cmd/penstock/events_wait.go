package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/console"
)

// lookAgainEvery is how often a command that waits for deliveries asks.
const lookAgainEvery = 250 * time.Millisecond

// undelivered says for what the wait has been, or why it is over.
type undelivered struct{ text string }

func (e *undelivered) Error() string { return e.text }

// awaitDelivered waits at most patience until the event is there and every sink
// that a route gives it to has had it. It outlasts a server that is not there
// yet; what no time will change ends it at once.
func (p process) awaitDelivered(ctx context.Context, c *console.Client, arg, since string, patience time.Duration) ([]console.EventStory, error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(lookAgainEvery)
	defer tick.Stop()
	var last error
	for {
		stories, over, err := p.lookForDelivery(waiting, c, arg, since)
		if over {
			return stories, err
		}
		if waiting.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-waiting.Done():
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("waited %s: %w", patience, last)
		case <-tick.C:
		}
	}
}

// lookForDelivery looks once. Unless it is over, err says what is missing.
func (p process) lookForDelivery(ctx context.Context, c *console.Client, arg, since string) (stories []console.EventStory, over bool, err error) {
	stories, err = p.stories(ctx, c, arg, since)
	if err != nil {
		return nil, final(err), err
	}
	for _, s := range stories {
		if over, err := delivered(s); err != nil {
			return nil, over, err
		}
	}
	return stories, true, nil
}

// final reports that asking again would bring the same answer.
func final(err error) bool {
	var answer *console.APIError
	return errors.As(err, &answer) && answer.Status < 500 && answer.Status != http.StatusNotFound && answer.Status != http.StatusTooManyRequests
}

// delivered fails unless every delivery of the event is done; over reports that
// waiting will not change that.
func delivered(s console.EventStory) (over bool, err error) {
	if len(s.Deliveries) == 0 {
		return true, &undelivered{fmt.Sprintf("event %d was stored, and no route gives it to a sink", s.Seq)}
	}
	var open, dead []string
	for _, d := range s.Deliveries {
		switch d.Outcome {
		case console.OutcomeDelivered, console.OutcomeSkipped:
		case console.OutcomeDead:
			dead = append(dead, d.Sink)
		default:
			open = append(open, d.Sink+" ("+d.Outcome+")")
		}
	}
	if len(dead) > 0 {
		return true, &undelivered{fmt.Sprintf("event %d was given up for %s; `penstock events show %d` says why", s.Seq, strings.Join(slices.Sorted(slices.Values(dead)), ", "), s.Seq)}
	}
	if len(open) > 0 {
		return false, &undelivered{fmt.Sprintf("event %d was stored, and is not delivered to %s", s.Seq, strings.Join(open, ", "))}
	}
	return true, nil
}
