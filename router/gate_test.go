package router

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/config"
)

func TestAnIdleLaneKeepsNoPlaceFromTheOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTested(t, sixteen())
		if n := g.admits(100); n != 100 { // the main lane, fetching from an empty queue
			t.Fatalf("admitted %d of 100, want all: an open gate does not bound a pull", n)
		}
		if n := g.admits(100); n != 100 {
			t.Fatalf("the other lane is admitted %d of 100, want all", n)
		}
	})
}

func TestNoMoreAttemptsThanConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTested(t, sixteen())
		running, most := 0, 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 2 { // two lanes of 200 deliveries each
			wg.Go(func() {
				for left := 200; left > 0; {
					n := g.admits(left)
					left -= n
					for range n {
						wg.Go(func() {
							epoch, ok := g.begin(t.Context(), false)
							if !ok {
								t.Error("an attempt may not begin in an open gate")
								return
							}
							mu.Lock()
							running++
							most = max(most, running)
							mu.Unlock()
							time.Sleep(time.Second)
							mu.Lock()
							running--
							mu.Unlock()
							g.finish(epoch, healthy, 0, "")
						})
					}
				}
			})
		}
		start := time.Now()
		wg.Wait()
		if most != 16 {
			t.Errorf("at most %d attempts at a time, want 16", most)
		}
		if took := time.Since(start); took != 25*time.Second {
			t.Errorf("400 attempts of 1s took %s, want 25s with 16 at a time", took)
		}
	})
}

func TestHoldClosesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := sixteen()
		s.Concurrency = 2
		g := newTested(t, s)
		_, open, err := g.admit(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		first := g.begins()
		second := g.begins()
		waited := make(chan bool)
		go func() {
			_, ok := g.begin(t.Context(), false)
			waited <- ok
		}()
		synctest.Wait()
		g.finish(second, silent, 0, "")
		if !<-waited {
			t.Fatal("the delivery that waited for a place did not get the free one")
		}
		go func() {
			_, ok := g.begin(t.Context(), false)
			waited <- ok
		}()
		synctest.Wait()
		g.mu.Lock()
		g.failures = 9
		g.mu.Unlock()
		g.finish(first, sick, 0, "")
		if <-waited {
			t.Error("a delivery that waited for a place is attempted after the hold")
		}
		if !errors.Is(open.Err(), context.Canceled) {
			t.Errorf("the context of what was fetched: %v, want %v", open.Err(), context.Canceled)
		}
	})
}

func TestAdmitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTested(t, sixteen())
		g.pause()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := g.admit(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("admit = %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestBeginEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := sixteen()
		s.Concurrency = 1
		g := newTested(t, s)
		g.begins()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, ok := g.begin(ctx, false); ok {
			t.Error("an attempt begins without a place")
		}
		if g.inside != 1 {
			t.Errorf("%d deliveries inside, want 1", g.inside)
		}
	})
}

func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := sixteen()
		s.Rate = config.Rate{PerSecond: 2, Burst: 4}
		g := newTested(t, s)
		start := time.Now()
		made := 0
		for made < 24 {
			n := g.admits(16)
			if n > 4 {
				t.Fatalf("admitted %d, want no more than the burst of 4", n)
			}
			g.tries(n, healthy)
			made += n
		}
		if took := time.Since(start).Round(100 * time.Millisecond); took != 10*time.Second {
			t.Errorf("24 attempts at 2/s with a burst of 4 took %s, want 10s", took)
		}
	})
}

func TestRateTakesNothingForWhatIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := sixteen()
		s.Rate = config.Rate{PerSecond: 1.0 / 60, Burst: 1}
		g := newTested(t, s)
		start := time.Now()
		for range 10 {
			g.release(g.admits(1))
		}
		g.admits(1)
		g.tries(1, healthy)
		if took := time.Since(start); took != 0 {
			t.Errorf("the first attempt came after %s, want at once", took)
		}
	})
}

func TestRateHoldsNoDeliveryInHandForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			perSecond float64
			want      bool
		}{
			"token soon":      {0.25, true},
			"token too far":   {0.1, false},
			"token very soon": {100, true},
		} {
			s := sixteen()
			s.Rate = config.Rate{PerSecond: tt.perSecond, Burst: 1}
			g := newTested(t, s)
			g.admits(1)
			g.admits(1) // the other lane, for the same token
			g.tries(1, healthy)
			start := time.Now()
			_, ok := g.begin(t.Context(), false)
			if took := time.Since(start); ok != tt.want || took > patience {
				t.Errorf("%s: began %t after %s, want %t within %s", name, ok, took, tt.want, patience)
			}
		}
	})
}
