package broker

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/event"
)

// swept reads a sweep to its end and calls between after each part.
func swept(t *testing.T, s *Sweep, between func()) (events []event.Event, foreign int) {
	t.Helper()
	defer s.Close(t.Context())
	for {
		part, err := s.Next(t.Context())
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		if len(part) == 0 {
			return events, foreign
		}
		for _, m := range part {
			e, ok := m.Event()
			if !ok {
				foreign++
				continue
			}
			events = append(events, e)
		}
		between()
	}
}

// TestSweep: everything that is selected is read once and in order, in parts.
func TestSweep(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	s, err := b.Sweep(t.Context(), SweepQuery{})
	if err != nil {
		t.Fatalf("Sweep of nothing: %v", err)
	}
	if events, _ := swept(t, s, func() {}); len(events) > 0 || s.Total() != 0 {
		t.Errorf("a sweep of nothing has %d events of %d", len(events), s.Total())
	}
	const half = 1500
	publishAll(t, b, 1, half)
	if _, err := b.admin.js.Publish(t.Context(), "order.created", []byte("from somebody else")); err != nil {
		t.Fatal(err)
	}
	middle := storedAt(t, b, half+1)
	for n := range half {
		e := testEvent(half + 1 + n)
		e.Subject = "contact.created"
		if _, err := b.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := b.admin.js.Stream(t.Context(), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SecureDeleteMsg(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		q           SweepQuery
		first, last uint64
		events      int
		foreign     int
	}{
		"all":                  {SweepQuery{}, 1, 2*half + 1, 2*half - 1, 1},
		"one subject":          {SweepQuery{Filters: []string{"contact.>"}}, half + 2, 2*half + 1, half, 0},
		"the newest":           {SweepQuery{Limit: 10}, 2*half - 8, 2*half + 1, 10, 0},
		"the newest of one":    {SweepQuery{Filters: []string{"order.created"}, Limit: 3}, half - 1, half, 2, 1},
		"the newest before":    {SweepQuery{Until: middle, Limit: half - 3}, 3, half, half - 3, 0},
		"fewer than the limit": {SweepQuery{Since: middle, Limit: 2 * half}, half + 2, 2*half + 1, half, 1},
		"before":               {SweepQuery{Until: middle}, 1, half, half - 1, 0},
		"nothing":              {SweepQuery{Since: time.Now().Add(time.Hour)}, 0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := b.Sweep(t.Context(), tt.q)
			if err != nil {
				t.Fatalf("Sweep: %v", err)
			}
			events, foreign := swept(t, s, func() {})
			if len(events) != tt.events || foreign != tt.foreign || s.Total() != uint64(tt.events+tt.foreign) {
				t.Fatalf("%d events and %d foreign of %d, want %d and %d", len(events), foreign, s.Total(), tt.events, tt.foreign)
			}
			if !slices.IsSortedFunc(events, func(a, b event.Event) int { return int(a.Seq) - int(b.Seq) }) {
				t.Error("not in order")
			}
			if n := len(events); n > 0 && (events[0].Seq != tt.first || events[n-1].Seq != tt.last) {
				t.Errorf("from %d to %d, want %d to %d", events[0].Seq, events[n-1].Seq, tt.first, tt.last)
			}
			for _, e := range events {
				if n := int(e.Seq); n < half && string(e.Body) != fmt.Sprintf(`{"n":%d}`, n) {
					t.Fatalf("event %d has body %s", n, e.Body)
				}
			}
		})
	}
	t.Cleanup(func() { // after all of them
		for name := range stream.ConsumerNames(context.Background()).Name() {
			t.Errorf("consumer %s is left behind", name)
		}
	})
}

// TestSweepGoesOn: a consumer that is gone is no reason to give up, nor to
// leave out an event or read one twice.
func TestSweepGoesOn(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 200)
	s, err := b.Sweep(t.Context(), SweepQuery{})
	if err != nil {
		t.Fatalf("Sweep: %v", err)
	}
	cut := false
	events, _ := swept(t, s, func() {
		if s.c != nil && !cut {
			cut = true
			if err := b.admin.js.DeleteConsumer(t.Context(), EventsStream, s.c.CachedInfo().Name); err != nil {
				t.Fatal(err)
			}
		}
	})
	if !cut {
		t.Fatal("it was read in one part: nothing could be cut off")
	}
	if len(events) != 200 || events[0].Seq != 1 || events[199].Seq != 200 {
		t.Errorf("%d events, want 200", len(events))
	}
}
