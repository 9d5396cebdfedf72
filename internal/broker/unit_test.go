package broker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
)

func TestSyncerReleasesACohortAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var syncs atomic.Int64
		s := newSyncer(func() error { time.Sleep(3 * time.Millisecond); syncs.Add(1); return nil })
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		start := time.Now()
		for range 100 {
			wg.Go(func() {
				if err := s.Wait(t.Context()); err != nil {
					t.Errorf("Wait: %v", err)
				}
			})
		}
		synctest.Wait()
		time.Sleep(6 * time.Millisecond)
		synctest.Wait()
		if n := syncs.Load(); n < 1 || n > 2 {
			t.Errorf("100 waiters took %d syncs in %s, want 1 or 2", n, time.Since(start))
		}
		cancel()
		wg.Wait()
		if err := s.Wait(t.Context()); !errors.Is(err, errSyncStopped) {
			t.Errorf("Wait after the stop = %v, want errSyncStopped", err)
		}
	})
}

func TestSyncerDoesNotServeWhoCameDuringASync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSyncer(func() error { time.Sleep(10 * time.Millisecond); return nil })
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Run(ctx) })
		start := time.Now()
		wg.Go(func() { _ = s.Wait(t.Context()) })
		time.Sleep(5 * time.Millisecond) // the first sync is under way
		if err := s.Wait(t.Context()); err != nil || time.Since(start) != 20*time.Millisecond {
			t.Errorf("Wait during a sync returned after %s, %v; want the end of the next one, 20ms", time.Since(start), err)
		}
		cancel()
		wg.Wait()
	})
}

func TestSyncerFailureIsFinal(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	s := newSyncer(func() error { return broken })
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	if err := s.Wait(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Wait = %v, want the failure of the sync", err)
	}
	if err := <-ended; !errors.Is(err, broken) {
		t.Errorf("Run = %v, want the failure of the sync", err)
	}
	if err := s.Wait(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Wait afterwards = %v, want the failure again", err)
	}
}

func TestWindowAsksForMuchAtOnce(t *testing.T) {
	t.Parallel()
	w := newWindow(8)
	if n, err := w.acquire(t.Context()); n != 8 || err != nil {
		t.Fatalf("acquire of a free window = %d, %v; want 8", n, err)
	}
	got := make(chan int, 1)
	go func() {
		n, _ := w.acquire(t.Context())
		got <- n
	}()
	w.release(3)
	select {
	case n := <-got:
		t.Fatalf("acquire returned %d with 3 of 8 free, want it to wait for half", n)
	default:
	}
	w.release(1)
	if n := <-got; n != 4 {
		t.Errorf("acquire = %d, want 4", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.acquire(ctx); err == nil {
		t.Error("acquire of a cancelled context succeeded")
	}
}

func TestWindowIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	w := newWindow(100)
	w.most, w.typical = 1000, 100
	if n, err := w.acquire(t.Context()); n != 10 || err != nil {
		t.Fatalf("acquire = %d, %v; want the 10 that fit if they are as usual", n, err)
	}
	for range 10 {
		w.took(60)
	}
	got := make(chan int, 1)
	go func() {
		n, _ := w.acquire(t.Context())
		got <- n
	}()
	w.settled(60)
	select {
	case n := <-got:
		t.Fatalf("acquire returned %d with 540 of 1000 bytes held, want it to wait for half", n)
	default:
	}
	w.settled(60)
	if n := <-got; n < 5 || n > 8 {
		t.Errorf("acquire = %d with 520 bytes left, want about as many as fit", n)
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := planEmbedded(config.Broker{DataDir: dir}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if b.events <= 0 || b.events > autoMaxBytes || b.store <= b.events+b.dead {
		t.Errorf("automatic budget = %+v, want events within 10 GiB and room for retries", b)
	}
	_, err = planEmbedded(config.Broker{DataDir: dir, MaxBytes: 1 << 60}, 1)
	if err == nil || !strings.Contains(err.Error(), "broker.max_bytes") || !strings.Contains(err.Error(), "set it to") {
		t.Errorf("budget beyond the disk = %v, want the setting and what would fit", err)
	}
	if n := largestEvents(10 << 30); n+deadBytes(n)+rejectedBytes(n)+minRetry > 10<<30 || n < 8<<30 {
		t.Errorf("largestEvents(10 GiB) = %s, does not fit or wastes room", size(n))
	}
}

func TestRedactURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"nats://u:p@a:4222,tls://tok@b:4222": "nats://a:4222,tls://b:4222",
		"a:4222":                             "nats://a:4222",
		"nats://u:p%40@h@a:4222":             "nats://a:4222",
	} {
		if got := redactURL(url); got != want {
			t.Errorf("redactURL(%q) = %q, want %q", url, got, want)
		}
	}
}

func TestVersionAtLeast(t *testing.T) {
	t.Parallel()
	for have, want := range map[string]bool{"2.15.2": true, "2.12.0": true, "2.11.9": false, "3.0": true, "": false, "dev": false} {
		if got := versionAtLeast(have, minServer); got != want {
			t.Errorf("versionAtLeast(%q, %q) = %t, want %t", have, minServer, got, want)
		}
	}
}

func TestHeadersRoundTrip(t *testing.T) {
	t.Parallel()
	for name, typ := range map[string]string{
		"plain": "orders/invoice.paid", "blanks": "a b", "line ends": "a\r\nNats-Rollup: all", "unicode": "bestellung/größe",
		"percent": "100%25 sure", "empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			e := testEvent(7)
			e.Type = typ
			for k, v := range eventHeader(&e, 0).h {
				if len(v) != 1 || strings.ContainsAny(v[0], "\r\n") {
					t.Errorf("header %s = %q", k, v)
				}
			}
			got, ok := decodeEvent(eventHeader(&e, 0).h, e.Subject, e.Body)
			if !ok || got.Type != typ || got.ID != e.ID || !got.Received.Equal(e.Received) {
				t.Errorf("decodeEvent = %+v, %t; want %+v", got, ok, e)
			}
		})
	}
	if _, ok := decodeEvent(nil, "order.created", nil); ok {
		t.Error("a message without our headers decodes as an event")
	}
	var e event.Event
	e.ID = "x"
	if retryKey(1, "a", "") == retryKey(1, "b", "") {
		t.Error("two ids on one sequence have the same retry key")
	}
}
