package router

import (
	"testing"

	"github.com/penstock/penstock/internal/delivery"
)

// Where nobody follows, following costs nothing.
func TestFollowingNobodyAllocatesNothing(t *testing.T) {
	w, a, ctx := &Worker{names: namesOf("crm")}, &delivery.Attempt{}, t.Context()
	n := testing.AllocsPerRun(100, func() {
		var tr tried
		followed := w.follow(ctx, a, &tr, "")
		if _, trace := w.followAttempt(followed, a); trace != "" {
			t.Error("an attempt that nobody follows has a trace context")
		}
	})
	if n != 0 {
		t.Errorf("a delivery that nobody follows allocates %v times for it, want 0", n)
	}
}
