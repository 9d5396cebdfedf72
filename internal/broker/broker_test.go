package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// testOptions are those of a small embedded broker in dir.
func testOptions(t testing.TB, dir string) Options {
	t.Helper()
	return Options{
		Config: config.Broker{
			DataDir: dir, Durability: config.Process, Retention: time.Hour, MaxBytes: 64 << 20,
			DedupeWindow: 2 * time.Minute, Replicas: 1,
		},
		Roots: []string{"order", "contact"}, Sinks: []string{"crm"}, MaxBody: 1 << 20,
		DrainTimeout: time.Minute, Logger: testLogger(t),
	}
}

func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// open opens and runs a broker until the test ends.
func open(t *testing.T, o Options) *Broker {
	t.Helper()
	b := New(o)
	if err := b.Open(t.Context()); err != nil {
		b.Close()
		t.Fatalf("Open: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

func testEvent(n int) event.Event {
	return event.Event{
		ID: fmt.Sprintf("id-%d", n), Type: "order.created", Source: "cf", Subject: "order.created",
		APIVersion: 2, Received: time.Date(2026, 11, 24, 8, 0, 0, n, time.UTC), ContentType: "application/json",
		Body: fmt.Appendf(nil, `{"n":%d}`, n),
	}
}

func publishAll(t *testing.T, b *Broker, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		if _, err := b.Publish(t.Context(), testEvent(n)); err != nil {
			t.Fatalf("Publish(%d): %v", n, err)
		}
	}
}

func subscription(filters ...string) delivery.Subscription {
	return delivery.Subscription{Sink: "crm", Filters: filters, Concurrency: 4}
}

// handler judges by a function and records what it was given.
type handler struct {
	judge func(a delivery.Attempt) delivery.Verdict

	mu  sync.Mutex
	got []delivery.Attempt
}

func (h *handler) Admit(ctx context.Context, _ delivery.Lane, max int) (int, context.Context, error) {
	return max, context.Background(), ctx.Err()
}
func (h *handler) Return(int) {}
func (h *handler) Handle(_ context.Context, a delivery.Attempt) delivery.Verdict {
	h.mu.Lock()
	h.got = append(h.got, a)
	h.mu.Unlock()
	return h.judge(a)
}

func (h *handler) attempts() []delivery.Attempt {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]delivery.Attempt(nil), h.got...)
}

func done(delivery.Attempt) delivery.Verdict {
	return delivery.Verdict{Action: delivery.Done, Spent: true}
}

// consume runs Consume and returns what stops it.
func consume(t *testing.T, b *Broker, s delivery.Subscription, h delivery.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Consume(ctx, s, h) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Consume: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// patience is how long a test waits for what has to come. It outlasts the
// redelivery of what a pull that was given up had been handed.
const patience = 2 * time.Minute

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		<-tick.C
	}
}

func TestPublishStoresOnceAndSurvivesRestart(t *testing.T) {
	t.Parallel()
	for _, d := range []config.Durability{config.Process, config.Interval, config.Power} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			o := testOptions(t, t.TempDir())
			o.Config.Durability = d
			first := t.Run("first run", func(t *testing.T) {
				b := open(t, o)
				publishAll(t, b, 1, 3)
				r, err := b.Publish(t.Context(), testEvent(2))
				if err != nil || r != (event.Receipt{Seq: 2, Duplicate: true}) {
					t.Errorf("Publish of a repeated id = %+v, %v; want sequence 2, duplicate", r, err)
				}
			})
			if !first {
				return
			}
			b := open(t, o)
			r, err := b.Publish(t.Context(), testEvent(3))
			if err != nil || r != (event.Receipt{Seq: 3, Duplicate: true}) {
				t.Errorf("Publish of a repeated id after a restart = %+v, %v; want sequence 3, duplicate", r, err)
			}
			h := &handler{judge: done}
			consume(t, b, subscription(">"), h)
			eventually(t, "three deliveries", func() bool { return len(h.attempts()) >= 3 })
			want := testEvent(1)
			want.Seq = 1
			for _, a := range h.attempts() {
				if a.Event.Seq == 1 && (a.Event.ID != want.ID || a.Event.Subject != want.Subject || !bytes.Equal(a.Event.Body, want.Body) ||
					!a.Event.Received.Equal(want.Received) || a.Event.Type != want.Type || a.Event.APIVersion != 2 || a.Event.Source != "cf") {
					t.Errorf("event came out as %+v, want %+v", a.Event, want)
				}
			}
		})
	}
}

func TestSecondProcessOnDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, testOptions(t, dir))
	second := New(testOptions(t, dir))
	err := second.Open(t.Context())
	defer second.Close()
	if err == nil || !strings.Contains(err.Error(), "in use by another penstock (process ") || !strings.Contains(err.Error(), "broker.data_dir") {
		t.Errorf("Open of a used directory = %v, want a refusal that says so and what to do", err)
	}
}

func TestNewerDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "penstock.format"), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := New(testOptions(t, dir))
	defer b.Close()
	if err := b.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "format 99") {
		t.Errorf("Open of a newer directory = %v, want a refusal that names its format", err)
	}
}

func TestRetryThenDeliver(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.Config.Durability = config.Power
	b := open(t, o)
	h := &handler{judge: func(a delivery.Attempt) delivery.Verdict {
		if a.Attempts < 2 {
			return delivery.Verdict{Action: delivery.Again, Delay: 10 * time.Millisecond, Spent: true, Class: delivery.Failed, Reason: "answered 503"}
		}
		return done(a)
	}}
	consume(t, b, subscription("order.>"), h)
	publishAll(t, b, 1, 1)
	eventually(t, "third attempt", func() bool { return len(h.attempts()) == 3 })
	for i, a := range h.attempts() {
		if a.Attempts != i || a.Event.ID != "id-1" || a.Event.Seq != 1 || a.Event.Subject != "order.created" || string(a.Event.Body) != `{"n":1}` {
			t.Errorf("attempt %d = %+v, want the same event with %d attempts before", i, a, i)
		}
		if (i > 0) != (a.Lane == delivery.Retry) || (i > 0) == a.First.IsZero() {
			t.Errorf("attempt %d came by lane %s, first attempt %v", i, a.Lane, a.First)
		}
	}
	eventually(t, "no retry left", func() bool { return b.Outstanding("crm") == 0 })
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	h := &handler{judge: func(a delivery.Attempt) delivery.Verdict {
		if a.Origin != "" {
			return done(a)
		}
		return delivery.Verdict{Action: delivery.Bury, Spent: true, Class: delivery.Rejected, Reason: "answered 422\r\nNats-Rollup: all", Status: 422}
	}}
	consume(t, b, subscription(">"), h)
	publishAll(t, b, 1, 3)
	list := func(f delivery.DeadFilter) []delivery.DeadLetter {
		l, _, err := b.DeadLetters(t.Context(), f)
		if err != nil {
			t.Fatalf("DeadLetters: %v", err)
		}
		return l
	}
	eventually(t, "three dead letters", func() bool { return len(list(delivery.DeadFilter{Limit: 10})) == 3 })
	got := list(delivery.DeadFilter{Sink: "crm", Class: delivery.Rejected, Limit: 10})[0]
	if got.Sink != "crm" || got.Attempts != 1 || got.Status != 422 || got.Reason != "answered 422  Nats-Rollup: all" || len(got.Event.Body) > 0 {
		t.Errorf("dead letter = %+v, want sink crm, 1 attempt, status 422, a reason of one line, no body", got)
	}
	if l := list(delivery.DeadFilter{Class: delivery.Expired, Limit: 10}); len(l) != 0 {
		t.Errorf("DeadLetters of class expired = %d, want none", len(l))
	}
	l, more, err := b.DeadLetters(t.Context(), delivery.DeadFilter{Limit: 2})
	if err != nil || len(l) != 2 || !more {
		t.Errorf("first page = %d letters, more %t, %v; want 2 and more", len(l), more, err)
	}
	if l, more, _ := b.DeadLetters(t.Context(), delivery.DeadFilter{Limit: 2, After: l[1].Seq}); len(l) != 1 || more {
		t.Errorf("second page = %d letters, more %t; want the last one", len(l), more)
	}

	full, err := b.DeadLetter(t.Context(), got.Seq)
	if err != nil || len(full.Event.Body) == 0 {
		t.Errorf("DeadLetter(%d) = body of %d bytes, %v", got.Seq, len(full.Event.Body), err)
	}
	if _, err := b.RetryDead(t.Context(), got.Seq); err != nil {
		t.Fatalf("RetryDead: %v", err)
	}
	eventually(t, "redrive delivered", func() bool {
		for _, a := range h.attempts() {
			if a.Origin == fmt.Sprintf("redrive/%d", got.Seq) && a.Generation == 1 && a.Event.ID == got.Event.ID && a.Attempts == 0 {
				return true
			}
		}
		return false
	})
	if _, err := b.RetryDead(t.Context(), got.Seq); !errors.Is(err, delivery.ErrNoDeadLetter) {
		t.Errorf("RetryDead a second time = %v, want ErrNoDeadLetter", err)
	}
	if _, err := b.DropDead(t.Context(), full.Seq+1); err != nil {
		t.Errorf("DropDead: %v", err)
	}
	if l := list(delivery.DeadFilter{Limit: 10}); len(l) != 1 {
		t.Errorf("%d dead letters left, want 1", len(l))
	}
}

func TestDeferredIsHandedOutAgain(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	var once sync.Once
	h := &handler{judge: func(a delivery.Attempt) delivery.Verdict {
		v := done(a)
		once.Do(func() { v = delivery.Verdict{} })
		return v
	}}
	consume(t, b, subscription(">"), h)
	publishAll(t, b, 1, 1)
	eventually(t, "second hand-out", func() bool { return len(h.attempts()) == 2 })
	if a := h.attempts()[1]; a.Attempts != 0 {
		t.Errorf("a deferred delivery counts %d attempts, want 0", a.Attempts)
	}
}

// An attempt that takes longer than the server waits for an acknowledgement is
// not made a second time meanwhile, nor is what waits behind it.
func TestLongAttemptIsMadeOnce(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.ackWait = 5 * time.Second // of which a slow machine may lose much
	b := open(t, o)
	h := &handler{judge: func(a delivery.Attempt) delivery.Verdict {
		if a.Event.Seq == 1 { // and the second waits behind it
			<-time.After(3 * o.ackWait / 2)
		}
		return done(a)
	}}
	s := subscription(">")
	s.Concurrency = 1
	consume(t, b, s, h)
	publishAll(t, b, 1, 2)
	eventually(t, "both settled", func() bool {
		c, err := b.admin.js.Consumer(t.Context(), EventsStream, sinkConsumerPrefix+"crm")
		return err == nil && c.CachedInfo().NumAckPending == 0 && c.CachedInfo().NumPending == 0 && len(h.attempts()) >= 2
	})
	if n := len(h.attempts()); n != 2 {
		t.Errorf("%d attempts of 2 events, want one each", n)
	}
}

func TestForeignMessageIsSkipped(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	if _, err := b.admin.js.Publish(t.Context(), "order.created", []byte("from somebody else")); err != nil {
		t.Fatal(err)
	}
	publishAll(t, b, 1, 1)
	h := &handler{judge: done}
	consume(t, b, subscription(">"), h)
	// Each is decoded on its own, so either may be the first.
	eventually(t, "our event, and the other counted", func() bool { return len(h.attempts()) == 1 && b.foreign.Load() == 1 })
	settled(t, b)
	if n, got := b.foreign.Load(), len(h.attempts()); n != 1 || got != 1 {
		t.Errorf("%d foreign messages counted and %d attempts, want 1 of each", n, got)
	}
}

func TestPublishErrors(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.Config.MaxBytes = 1 << 20
	b := open(t, o)
	big := testEvent(0)
	big.Body = make([]byte, 3<<20)
	if _, err := b.Publish(t.Context(), big); !errors.Is(err, event.ErrTooLarge) {
		t.Errorf("Publish of 3 MiB = %v, want ErrTooLarge", err)
	}
	var err error
	for n := 1; err == nil && n < 100; n++ {
		e := testEvent(n)
		e.Body = make([]byte, 100_000)
		_, err = b.Publish(t.Context(), e)
	}
	if !errors.Is(err, event.ErrFull) {
		t.Errorf("Publish into a full stream = %v, want ErrFull", err)
	}
	b.ingress.nc.Close()
	if _, err := b.Publish(t.Context(), testEvent(1)); !errors.Is(err, event.ErrUnavailable) {
		t.Errorf("Publish without connection = %v, want ErrUnavailable", err)
	}
}

func TestSinkStarts(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 5)
	// The first configuration's sink has everything the stream holds.
	if _, err := b.ensureConsumers(t.Context(), subscription(">")); err != nil {
		t.Fatal(err)
	}
	starts := func(sink string) uint64 {
		t.Helper()
		c, err := b.admin.js.Consumer(t.Context(), EventsStream, sinkConsumerPrefix+sink)
		if err != nil {
			t.Fatal(err)
		}
		return c.CachedInfo().Config.OptStartSeq
	}
	if got := starts("crm"); got != 1 {
		t.Errorf("first sink starts at %d, want 1", got)
	}
	for sink, tt := range map[string]struct {
		start delivery.Start
		want  uint64
	}{
		"now":       {delivery.Start{}, 6},
		"beginning": {delivery.Start{Beginning: true}, 1},
		"long-ago":  {delivery.Start{At: time.Now().Add(-time.Hour)}, 1},
		"future":    {delivery.Start{At: time.Now().Add(time.Hour)}, 6},
	} {
		s := delivery.Subscription{Sink: sink, Filters: []string{">"}, Concurrency: 1, Start: tt.start}
		if _, err := b.ensureConsumers(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", sink, err)
		}
		if got := starts(sink); got != tt.want {
			t.Errorf("sink %s starts at %d, want %d", sink, got, tt.want)
		}
	}
	// A known sink whose queue was lost begins where it began, not now.
	publishAll(t, b, 6, 9)
	if err := b.admin.js.DeleteConsumer(t.Context(), EventsStream, sinkConsumerPrefix+"now"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ensureConsumers(t.Context(), delivery.Subscription{Sink: "now", Filters: []string{">"}, Concurrency: 1}); err != nil {
		t.Fatal(err)
	}
	if got := starts("now"); got != 6 {
		t.Errorf("lost sink starts again at %d, want its recorded 6", got)
	}
}

func TestFiltersAreEditedInPlace(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	h := &handler{judge: done}
	stop := consume(t, b, subscription("order.>"), h)
	publishAll(t, b, 1, 2)
	eventually(t, "two deliveries", func() bool { return len(h.attempts()) == 2 })
	stop()
	consume(t, b, subscription("contact.>", "order.>"), h)
	publishAll(t, b, 3, 3)
	eventually(t, "the third", func() bool { return len(h.attempts()) == 3 })
	if got := h.attempts()[2].Event.ID; got != "id-3" {
		t.Errorf("after the edit %s was delivered, want id-3 and nothing again", got)
	}
}

func TestProvisionLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		other jetstream.StreamConfig
		want  string
	}{
		"a stream of our name":  {jetstream.StreamConfig{Name: EventsStream, Subjects: []string{"x.>"}}, "was not made by Penstock"},
		"a stream on a subject": {jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"order.created"}}, "stream OTHER already takes subject order.>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := externalServer(t)
			nc, err := nats.Connect(srv)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			js, _ := jetstream.New(nc)
			if _, err := js.CreateStream(t.Context(), tt.other); err != nil {
				t.Fatal(err)
			}
			o := testOptions(t, "")
			o.Config.URL = srv
			b := New(o)
			defer b.Close()
			if err := b.Open(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open = %v, want it to say %q", err, tt.want)
			}
		})
	}
}

func TestExternalServer(t *testing.T) {
	t.Parallel()
	o := testOptions(t, "")
	o.Config.URL = externalServer(t)
	b := open(t, o)
	h := &handler{judge: done}
	consume(t, b, subscription(">"), h)
	publishAll(t, b, 1, 10)
	eventually(t, "ten deliveries", func() bool { return len(h.attempts()) == 10 })
	if i := b.Info(); i.Embedded || i.URL != o.Config.URL {
		t.Errorf("Info = %+v, want the external URL", i)
	}
	again := New(o)
	defer again.Close()
	if err := again.Open(t.Context()); err != nil {
		t.Errorf("a second process on the same cluster: %v", err)
	}
}

func TestConnectErrors(t *testing.T) {
	t.Parallel()
	o := testOptions(t, "")
	o.Config.URL = "nats://user:hunter2@127.0.0.1:1"
	b := New(o)
	defer b.Close()
	err := b.Open(t.Context())
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "nats://127.0.0.1:1") || !strings.Contains(err.Error(), "broker.url") {
		t.Errorf("Open without a server = %v, want the address, the setting, and no password", err)
	}
}
