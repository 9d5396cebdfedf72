package router

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

func sixteen() config.Sink {
	return config.Sink{
		Name: "crm", Timeout: 10 * time.Second, Concurrency: 16, Retry: steady(),
		Hold: config.Hold{Failures: 10, Probe: 5 * time.Second, ProbeMax: time.Minute},
	}
}

// tested is a gate and the names of the states it went through.
type tested struct {
	*gate
	t *testing.T

	heard  sync.Mutex
	states []State
}

func newTested(t *testing.T, s config.Sink) *tested {
	g := &tested{t: t}
	g.gate = newGate(s, func(h HoldState) {
		g.heard.Lock()
		defer g.heard.Unlock()
		g.states = append(g.states, h.State)
	})
	return g
}

// begins makes an attempt begin that must be able to at once.
func (g *tested) begins() uint64 {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Nanosecond)
	defer cancel()
	epoch, ok := g.begin(ctx, false)
	if !ok {
		g.t.Fatalf("no attempt may begin; gate is %+v", g.status())
	}
	return epoch
}

// tries makes n attempts one after the other, with the outcome.
func (g *tested) tries(n int, o outcome) {
	g.t.Helper()
	for range n {
		g.finish(g.begins(), o, time.Minute, "connection refused")
	}
}

// admits asks for room for an hour and returns how many were admitted.
func (g *tested) admits(most int) int {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Hour)
	defer cancel()
	n, _, err := g.admit(ctx, most)
	if err != nil {
		g.t.Fatalf("nothing admitted: %v", err)
	}
	return n
}

func (g *tested) is(state State, limit int) {
	g.t.Helper()
	if s := g.status(); s.State != state || s.Limit != limit {
		g.t.Fatalf("gate is %s with limit %d, want %s with %d", s.State, s.Limit, state, limit)
	}
}

func (g *tested) went(states ...State) {
	g.t.Helper()
	g.heard.Lock()
	defer g.heard.Unlock()
	if diff := cmp.Diff(states, g.states); diff != "" {
		g.t.Errorf("states (-want +got):\n%s", diff)
	}
}

func within(d, want time.Duration) bool {
	return d >= want*9/10 && d <= want*11/10
}

func TestHoldProbeAndSlowStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTested(t, sixteen())
		g.tries(9, sick)
		g.is(Open, 16)
		start := time.Now()
		g.tries(1, sick)
		g.is(Held, 0)
		for _, wait := range []time.Duration{5, 10, 20, 40, 60, 60} {
			held := time.Now()
			n := g.admits(16)
			if took := time.Since(held); n != 1 || !within(took, wait*time.Second) {
				t.Fatalf("admitted %d after %s, want 1 after %s", n, took, wait*time.Second)
			}
			g.is(Probing, 1)
			g.tries(1, sick)
		}
		g.release(g.admits(16))
		down := time.Since(start)
		time.Sleep(time.Minute) // with nothing to probe with
		g.is(Probing, 1)
		for _, limit := range []int{2, 4, 8} {
			g.tries(1, healthy)
			g.is(SlowStart, limit)
		}
		g.tries(1, healthy)
		g.is(Open, 16)
		if got := g.status().Held; got != down+time.Minute {
			t.Errorf("held for %s, want %s", got, down+time.Minute)
		}
		g.tries(10, sick)
		if s := g.status(); s.State != Held || !within(time.Until(s.NextProbe), 5*time.Second) {
			t.Errorf("after it was well, held for %s at first, want 5s", time.Until(s.NextProbe))
		}
	})
}

func TestWhatSpeaksAgainstASink(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		class delivery.Class
		want  State
	}{
		"failed":   {delivery.Failed, Held},
		"network":  {delivery.Network, Held},
		"refused":  {delivery.Refused, Held},
		"ours":     {delivery.Ours, Open},
		"rejected": {delivery.Rejected, Open},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newTested(t, sixteen())
				v := NewPolicy(steady()).Judge(delivery.Fail(tt.class, errDown), delivery.History{}, time.Now())
				g.tries(10, outcomeOf(v))
				if s := g.status(); s.State != tt.want {
					t.Errorf("after 10 of class %q the gate is %s, want %s", tt.class, s.State, tt.want)
				}
			})
		})
	}
}

func TestOneSuccessResetsTheCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTested(t, sixteen())
		for range 5 {
			g.tries(9, sick)
			g.tries(1, healthy)
		}
		g.went()
	})
}

func TestHoldTurnedOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := sixteen()
		s.Hold = config.Hold{}
		g := newTested(t, s)
		g.tries(1000, sick)
		g.went()
	})
}

func TestARelapseIsHeldSoonerAndLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTested(t, sixteen())
		g.tries(10, sick)
		g.release(g.admits(1))
		g.tries(2, healthy)
		g.is(SlowStart, 4)
		g.tries(1, sick)
		g.is(SlowStart, 1)
		g.tries(1, healthy)
		g.is(SlowStart, 2)
		g.tries(relapse, sick)
		if s := g.status(); s.State != Held || !within(time.Until(s.NextProbe), 10*time.Second) {
			t.Errorf("after a relapse %s until the probe in %s, want held, 10s", s.State, time.Until(s.NextProbe))
		}
	})
}

func TestOutcomesOfAnEarlierStateDoNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTested(t, sixteen())
		var old []uint64
		for range 6 {
			old = append(old, g.begins())
		}
		g.tries(10, sick)
		g.is(Held, 0)
		g.finish(old[0], sick, 0, "")
		g.finish(old[1], healthy, 0, "")
		g.finish(old[2], busy, time.Hour, "")
		g.is(Held, 0)
		time.Sleep(6 * time.Second)
		// Three of the old ones still run, and the probe has to wait for them.
		for _, epoch := range old[3:] {
			g.is(Probing, 1)
			g.finish(epoch, sick, 0, "")
		}
		g.is(Probing, 1)
		g.tries(1, healthy)
		g.is(SlowStart, 2)
		g.went(Held, Probing, SlowStart)
	})
}

func TestProbeThatSaysNothingIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTested(t, sixteen())
		g.tries(10, sick)
		g.release(g.admits(1))
		g.tries(3, silent)
		g.is(Probing, 1)
		g.tries(1, healthy)
		g.is(SlowStart, 2)
	})
}

func TestThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTested(t, sixteen())
		g.tries(9, sick)
		first, second := g.begins(), g.begins()
		start := time.Now()
		g.finish(first, busy, time.Minute, "")
		g.is(Throttled, 0)
		g.finish(second, busy, 2*time.Minute, "")
		n := g.admits(16)
		if took := time.Since(start); n != 1 || took != 2*time.Minute {
			t.Fatalf("admitted %d after %s, want 1 after the longer pause of 2m", n, took)
		}
		g.is(SlowStart, 1)
		if s := g.status(); s.Failures != 0 || s.Held != 2*time.Minute {
			t.Errorf("%d failures, held %s; want none, 2m", s.Failures, s.Held)
		}
		g.tries(4, healthy)
		g.went(Throttled, SlowStart, Open)
	})
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTested(t, sixteen())
		_, open, err := g.admit(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		inFlight := g.begins()
		g.pause()
		g.pause()
		if open.Err() == nil {
			t.Error("what was fetched before the pause may still be handed out")
		}
		if _, ok := g.begin(t.Context(), false); ok {
			t.Error("an attempt begins while paused")
		}
		g.finish(inFlight, sick, 0, "")
		time.AfterFunc(time.Minute, g.resume)
		start := time.Now()
		g.admits(16)
		if took := time.Since(start); took != time.Minute {
			t.Errorf("admitted after %s, want after the pause of 1m", took)
		}
		g.is(SlowStart, 1)
		if s := g.status(); s.Held != time.Minute || s.Failures != 0 {
			t.Errorf("held %s with %d failures, want 1m with none", s.Held, s.Failures)
		}
		g.resume()
		g.went(Paused, SlowStart)
	})
}

func TestPauseOfAHeldSinkLeavesItHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTested(t, sixteen())
		g.tries(10, sick)
		g.pause()
		g.resume()
		g.is(Held, 0)
		g.pause()
		time.Sleep(time.Hour)
		g.is(Paused, 0)
		g.resume()
		g.is(Probing, 1)
	})
}

func TestASingleSlotOpensAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := sixteen()
		s.Concurrency = 1
		g := newTested(t, s)
		g.tries(10, sick)
		g.release(g.admits(1))
		g.tries(1, healthy)
		g.is(Open, 1)
		g.went(Held, Probing, Open)
	})
}
