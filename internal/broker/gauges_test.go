package broker

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

func TestStreams(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 3)
	streams, err := b.Streams(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, s := range streams {
		names += s.Name + " "
		if want := s.Name == "events"; want != (s.Messages == 3) || want != !s.Oldest.IsZero() || want != (s.Bytes > 0) {
			t.Errorf("stream %+v, want three messages in events alone", s)
		}
		if (s.Limit == 0) != (s.Name == "retries") {
			t.Errorf("stream %s has the limit %d; only retries have none", s.Name, s.Limit)
		}
	}
	if names != "events retries dead rejected attempts jobs " {
		t.Errorf("streams %s", names)
	}
}

// A process that is ingress alone has no right to look.
func TestIngressAloneSeesNoStreams(t *testing.T) {
	t.Parallel()
	b := New(Options{Roles: []string{config.RoleIngress}})
	if _, err := b.Streams(t.Context()); !errors.Is(err, ErrNoView) {
		t.Errorf("Streams: %v, want ErrNoView", err)
	}
	if _, err := b.Stats(t.Context()); !errors.Is(err, ErrNoView) {
		t.Errorf("Stats: %v, want ErrNoView", err)
	}
}

func TestLedgerKnowsTheOldest(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_800_000_000, 0)
	of := func(seq uint64, origin string) *delivery.Attempt {
		return &delivery.Attempt{Event: event.Event{Seq: seq, Received: start.Add(time.Duration(seq) * time.Second)}, History: delivery.History{Origin: origin}}
	}
	done := func(l *retryLedger, seq uint64, origin string) {
		l.settled(&item{lane: delivery.Retry, attempt: *of(seq, origin)})
	}
	at := func(seq uint64) time.Time { return start.Add(time.Duration(seq) * time.Second) }
	for name, tt := range map[string]struct {
		do      func(*retryLedger)
		came    time.Time
		unknown uint64
	}{
		"nothing waits":      {func(*retryLedger) {}, time.Time{}, 0},
		"the oldest of two":  {func(l *retryLedger) { l.scheduled(of(9, "")); l.scheduled(of(4, "")) }, at(4), 0},
		"one that is done":   {func(l *retryLedger) { l.scheduled(of(9, "")); l.scheduled(of(4, "")); done(l, 4, "") }, at(9), 0},
		"one that is erased": {func(l *retryLedger) { l.scheduled(of(4, "")); l.erased(of(4, ""), 0) }, time.Time{}, 0},
		"a replay is no lag": {func(l *retryLedger) { l.scheduled(of(4, "replay/x")) }, time.Time{}, 0},
		"nor does it end one": {func(l *retryLedger) {
			l.scheduled(of(4, ""))
			l.scheduled(of(4, "replay/x"))
			done(l, 4, "replay/x")
		}, at(4), 0},
		"what was there before": {func(l *retryLedger) { l.begin(tally{}, tally{}, tally{}, 0, []uint64{7, 5}); l.scheduled(of(9, "")) }, at(9), 5},
		"what is known is kept": {func(l *retryLedger) { l.scheduled(of(5, "")); l.begin(tally{}, tally{}, tally{}, 0, []uint64{5}) }, at(5), 0},
		"and was looked up": {func(l *retryLedger) {
			l.begin(tally{}, tally{}, tally{}, 0, []uint64{5})
			l.learn(5, at(1))
			l.learn(6, at(0)) // gone meanwhile
		}, at(1), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l retryLedger
			tt.do(&l)
			if came, unknown := l.oldest(); !came.Equal(tt.came) || unknown != tt.unknown {
				t.Errorf("oldest = %s and sequence %d, want %s and %d", came, unknown, tt.came, tt.unknown)
			}
		})
	}
}

func TestSequenceOfARetry(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]uint64{
		retryAtSubject("crm", 4711, "some-id", ""):         4711,
		retryAtSubject("crm", 4711, "some-id", "replay/x"): 0, // waits by no route
		retryAtPrefix + "crm.odd":                          0,
	} {
		if got, ok := seqOfRetry(subject); got != want || ok != (want != 0) {
			t.Errorf("seqOfRetry(%q) = %d, %v; want %d", subject, got, ok, want)
		}
	}
}

// What the store does by itself is told to whoever counts it.
func TestStoreTellsWhatItDoes(t *testing.T) {
	t.Parallel()
	var writes, purged, expired atomic.Int64
	o := testOptions(t, t.TempDir())
	o.Sinks = []string{"crm"}
	o.Config.Durability = config.Power
	o.Synced = func(n int, took time.Duration) {
		if took > 0 {
			writes.Add(int64(n))
		}
	}
	o.Purged = func(n int, pressure bool) {
		if !pressure {
			purged.Add(int64(n))
		}
	}
	o.Expired = func(sink string, n int) {
		if sink == "crm" {
			expired.Add(int64(n))
		}
	}
	b := open(t, o)
	if _, err := b.ensureConsumers(t.Context(), subscription("order.>")); err != nil {
		t.Fatal(err)
	}
	publishAll(t, b, 1, 10)
	later := time.Now().Add(b.o.Config.Retention + time.Minute)
	eventually(t, "all are expired and purged", func() bool {
		tidy(t, b, later)
		return expired.Load() == 10 && purged.Load() == 10
	})
	if groupCommit && writes.Load() < 10 {
		t.Errorf("%d writes were told to be safe, want those of ten events at least", writes.Load())
	}
}

func TestRetriesFillTheirRoom(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	for name, tt := range map[string]struct {
		routed, inherited tally
		want              string
	}{
		"none":              {tally{}, tally{}, "0 0 0.00"},
		"half by number":    {tally{n: RetryCap / 4, bytes: 100}, tally{n: RetryCap / 4}, "25000 100 0.50"},
		"a quarter by size": {tally{n: 10, bytes: retryBytes / 8}, tally{n: 1, bytes: retryBytes / 8}, "11 134217728 0.25"},
		"miscounted":        {tally{n: -1, bytes: -5}, tally{}, "0 0 0.00"},
	} {
		b.ledger(name).begin(tt.routed, tally{n: 7, bytes: 7}, tt.inherited, 0, nil)
		if n, bytes, fill := b.Retries(name); fmt.Sprintf("%d %d %.2f", n, bytes, fill) != tt.want {
			t.Errorf("%s: %d retries, %d bytes, full by %.2f; want %s", name, n, bytes, fill, tt.want)
		}
	}
}
