package broker

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
)

func firstSeq(t *testing.T, b *Broker) uint64 {
	t.Helper()
	s, err := b.admin.js.Stream(t.Context(), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.FirstSeq
}

func tidy(t *testing.T, b *Broker, now time.Time) {
	t.Helper()
	if err := b.tidy(t.Context(), now); err != nil {
		t.Fatalf("tidy: %v", err)
	}
}

func TestRetentionWaitsForSinks(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.Sinks = []string{"crm", "other"}
	b := open(t, o)
	for _, sink := range o.Sinks {
		s := subscription("order.>")
		s.Sink = sink
		if _, err := b.ensureConsumers(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	publishAll(t, b, 1, 10)

	tidy(t, b, time.Now())
	if got := firstSeq(t, b); got != 1 {
		t.Errorf("within the retention the first event is %d, want 1", got)
	}

	h := &handler{judge: done}
	stop := consume(t, b, subscription("order.>"), h)
	eventually(t, "crm has all", func() bool { return len(h.attempts()) == 10 })
	stop()

	// Past the retention, what "other" never had goes to its dead letters first.
	var letters []delivery.DeadLetter
	eventually(t, "ten dead letters, of the sink that had nothing", func() bool {
		tidy(t, b, time.Now().Add(b.o.Config.Retention+time.Minute))
		var err error
		if letters, _, err = b.DeadLetters(t.Context(), delivery.DeadFilter{Limit: 100}); err != nil {
			t.Fatal(err)
		}
		return len(letters) >= 10
	})
	if len(letters) != 10 {
		t.Fatalf("%d dead letters, want 10 for the sink that had nothing", len(letters))
	}
	for _, d := range letters {
		if d.Sink != "other" || d.Class != delivery.Expired || d.Attempts != 0 {
			t.Errorf("dead letter %+v, want sink other, class expired, no attempt", d)
		}
	}
	eventually(t, "all purged", func() bool {
		tidy(t, b, time.Now().Add(b.o.Config.Retention+time.Minute))
		s, err := b.admin.js.Stream(t.Context(), EventsStream)
		return err == nil && s.CachedInfo().State.Msgs == 0
	})
}

func TestPressurePurgesDeliveredOnly(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.Config.MaxBytes = 1 << 20
	o.Config.DedupeWindow = 100 * time.Millisecond // the least the server takes
	var log lockedBuffer
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b := open(t, o)
	if _, err := b.ensureConsumers(t.Context(), subscription("order.>")); err != nil {
		t.Fatal(err)
	}
	fill := func(from, to int) {
		for n := from; n <= to; n++ {
			e := testEvent(n)
			e.Body = make([]byte, 10_000)
			if _, err := b.Publish(t.Context(), e); err != nil {
				t.Fatalf("Publish(%d): %v", n, err)
			}
		}
	}
	fill(1, 90) // 86 % of 1 MiB
	later := time.Now().Add(time.Second)
	tidy(t, b, later)
	if got := firstSeq(t, b); got != 1 {
		t.Errorf("under pressure undelivered events were purged up to %d", got)
	}
	tidy(t, b, later)
	if n := strings.Count(log.String(), "the event store fills up"); n != 1 {
		t.Errorf("a filling store was told of %d times within ten minutes, want once:\n%s", n, log.String())
	}
	h := &handler{judge: done}
	stop := consume(t, b, subscription("order.>"), h)
	settled(t, b) // what is not acknowledged yet would stay
	stop()
	eventually(t, "room", func() bool {
		tidy(t, b, later)
		return firstSeq(t, b) > 1
	})
	s, err := b.admin.js.Stream(t.Context(), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	st := s.CachedInfo().State
	if used := float64(st.Bytes) / (1 << 20); used > 0.8 || used < 0.6 {
		t.Errorf("after relief %.0f %% of the stream is used, want about 75 %%", used*100)
	}
}

// lockedBuffer is a log that is read while others may write to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestYoungIdsAreKeptUntilSqueezed(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 100)
	s, err := b.admin.js.Stream(t.Context(), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		share float64
		now   time.Time
		purge bool
	}{
		"calm":                {0.5, time.Now().Add(time.Hour), false},
		"pressed, ids young":  {0.85, time.Now(), false},
		"pressed, ids old":    {0.85, time.Now().Add(time.Hour), true},
		"squeezed, ids young": {0.96, time.Now(), true},
	} {
		info := *s.CachedInfo()
		info.Config.MaxBytes = int64(float64(info.State.Bytes) / tt.share)
		got, err := b.pressed(t.Context(), &info, tt.now)
		if err != nil || (got > 1) != tt.purge {
			t.Errorf("%s: pressed = %d, %v; want to purge: %t", name, got, err, tt.purge)
		}
	}
}

// What waits for a sink whose queue was just made is never taken for settled.
func TestFloorOfANewQueue(t *testing.T) {
	t.Parallel()
	for n := range 10 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			b := open(t, testOptions(t, t.TempDir()))
			publishAll(t, b, 1, 20)
			s, err := b.admin.js.Stream(t.Context(), EventsStream)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Prepare(t.Context(), []delivery.Subscription{subscription("order.>")}); err != nil {
				t.Fatal(err)
			}
			if floor, err := b.floor(t.Context(), s.CachedInfo()); err != nil || floor != 0 {
				t.Errorf("floor = %d, %v; want 0: nothing was delivered", floor, err)
			}
		})
	}
}

func TestConsumerFloor(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		info jetstream.ConsumerInfo
		want uint64
	}{
		"nothing matched yet":     {jetstream.ConsumerInfo{}, 100},
		"all settled":             {jetstream.ConsumerInfo{Delivered: jetstream.SequenceInfo{Stream: 90}, AckFloor: jetstream.SequenceInfo{Stream: 90}}, 100},
		"behind, none in flight":  {jetstream.ConsumerInfo{NumPending: 5, Delivered: jetstream.SequenceInfo{Stream: 40}}, 40},
		"some in flight":          {jetstream.ConsumerInfo{NumAckPending: 2, Delivered: jetstream.SequenceInfo{Stream: 40}, AckFloor: jetstream.SequenceInfo{Stream: 30}}, 30},
		"last ones in flight yet": {jetstream.ConsumerInfo{NumAckPending: 1, AckFloor: jetstream.SequenceInfo{Stream: 99}}, 99},
	} {
		if got := consumerFloor(&tt.info, 100); got != tt.want {
			t.Errorf("%s: floor %d, want %d", name, got, tt.want)
		}
	}
}

func TestSeqAt(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 3)
	between := time.Now()
	publishAll(t, b, 4, 5)
	s, err := b.admin.js.Stream(t.Context(), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	// One that is gone does not stand in the way of the next.
	if err := s.DeleteMsg(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		at   time.Time
		want uint64
	}{
		"before the first": {between.Add(-time.Hour), 1},
		"between":          {between, 5},
		"after the last":   {time.Now(), 6},
	} {
		if got, err := b.seqAt(t.Context(), info, tt.at); err != nil || got != tt.want {
			t.Errorf("%s: seqAt = %d, %v; want %d", name, got, err, tt.want)
		}
	}
}
