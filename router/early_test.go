package router

import (
	"context"
	"testing"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// What was stored before the sink had a pattern for it is skipped, though the
// routes of today want it, and somebody is told.
func TestEarlyEventsAreSkipped(t *testing.T) {
	t.Parallel()
	w := newTestedWorker(t, func(context.Context, event.Event) error {
		t.Error("an attempt was made")
		return nil
	}, nil)
	a := order()
	a.Early = true
	if got := w.Handle(t.Context(), a); got.Action != delivery.Skip || got.Spent {
		t.Errorf("verdict %+v, want skip without an attempt", got)
	}
	if len(w.seen) != 1 || w.seen[0].Verdict.Action != delivery.Skip {
		t.Errorf("told of %+v, want one skip", w.seen)
	}
}
