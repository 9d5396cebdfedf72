package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/backup"
	"github.com/penstock/penstock/internal/delivery"
)

// save writes a backup of b and opens it.
func save(t testing.TB, b *Broker, o BackupOptions) *backup.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.backup")
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Backup(t.Context(), o, w); err != nil {
		t.Fatalf("Backup: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return openBackup(t, path)
}

func openBackup(t testing.TB, path string) *backup.File {
	t.Helper()
	f, err := backup.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return f
}

// fate is what becomes of the n-th event: one in ten waits an hour for its next
// attempt, one in ten is given up.
func fate(a delivery.Attempt) delivery.Verdict {
	switch a.Event.Seq % 10 {
	case 0:
		return delivery.Verdict{Action: delivery.Again, Delay: time.Hour, Spent: true}
	case 1:
		return delivery.Verdict{Action: delivery.Bury, Spent: true, Reason: "no"}
	}
	return done(a)
}

func state(t *testing.T, b *Broker, stream string) jetstream.StreamState {
	t.Helper()
	s, err := b.admin.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}

// settled waits until nothing waits for the sink and nothing is under way.
func settled(t *testing.T, b *Broker) {
	t.Helper()
	settledFor(t, b, "crm")
}

func settledFor(t *testing.T, b *Broker, sink string) {
	t.Helper()
	eventually(t, "everything is delivered to "+sink, func() bool {
		c, err := b.admin.js.Consumer(t.Context(), EventsStream, sinkConsumerPrefix+sink)
		// Just after it was made nothing is said to be pending, whatever is.
		return err == nil && c.CachedInfo().NumPending == 0 && c.CachedInfo().NumAckPending == 0 &&
			c.CachedInfo().AckFloor.Stream == state(t, b, EventsStream).LastSeq
	})
}

// A store that was used and stopped is the same after a backup was restored:
// what was delivered is not delivered again, what was not is, retries keep
// their time, and an event that is sent once more is known.
func TestBackupRestoresAStore(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	b := open(t, o)
	publishAll(t, b, 1, 500)
	stop := consume(t, b, subscription("order.>"), &handler{judge: fate})
	settled(t, b)
	stop()
	publishAll(t, b, 501, 700)
	f := save(t, b, BackupOptions{Version: "test"})

	to := testOptions(t, t.TempDir())
	if _, err := RestoreDataDir(t.Context(), to, f, RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	r := open(t, to)
	for _, name := range []string{EventsStream, deadStream} {
		have, want := state(t, r, name), state(t, b, name)
		if have.Msgs != want.Msgs || have.FirstSeq != want.FirstSeq || have.LastSeq != want.LastSeq || !have.LastTime.Equal(want.LastTime) {
			t.Errorf("stream %s is %+v after the restore, was %+v", name, have, want)
		}
	}
	checkSchedules(t, b, r, 50)
	again, err := r.Publish(t.Context(), testEvent(3))
	if err != nil || !again.Duplicate || again.Seq != 3 {
		t.Errorf("an event that was stored before the backup = %+v, %v; want a duplicate of sequence 3", again, err)
	}
	h := &handler{judge: done}
	stop = consume(t, r, subscription("order.>"), h)
	settled(t, r)
	stop()
	seen := map[uint64]int{}
	for _, a := range h.attempts() {
		seen[a.Event.Seq]++
	}
	for seq := uint64(501); seq <= 700; seq++ {
		if seen[seq] != 1 {
			t.Errorf("event %d was delivered %d times after the restore, want once", seq, seen[seq])
		}
	}
	if len(seen) != 200 {
		t.Errorf("%d events were delivered after the restore, want the 200 that were not before", len(seen))
	}
}

// checkSchedules compares what waits for a retry.
func checkSchedules(t *testing.T, before, after *Broker, want int) {
	t.Helper()
	read := func(b *Broker) map[string]string {
		out := map[string]string{}
		s, err := b.admin.js.Stream(t.Context(), retryStream)
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(retryAtPrefix+">"))
		if err != nil {
			t.Fatal(err)
		}
		for subject := range info.State.Subjects {
			m, err := s.GetLastMsgForSubject(t.Context(), subject)
			if err != nil {
				t.Fatal(err)
			}
			out[subject] = m.Header.Get(hdrSchedule) + " " + string(m.Data)
		}
		return out
	}
	have, had := read(after), read(before)
	if len(had) != want || len(have) != want {
		t.Fatalf("%d retries wait after the restore and %d did before, want %d", len(have), len(had), want)
	}
	for subject, text := range had {
		if have[subject] != text {
			t.Errorf("retry %s is %q after the restore, was %q", subject, have[subject], text)
		}
	}
}

// A schedule that was restored fires, at its time, once.
func TestRestoredRetriesFire(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 20)
	at := time.Now().Add(5 * time.Second)
	before := &handler{judge: func(delivery.Attempt) delivery.Verdict {
		return delivery.Verdict{Action: delivery.Again, Delay: time.Until(at), Spent: true}
	}}
	stop := consume(t, b, subscription("order.>"), before)
	settled(t, b)
	stop()
	made := map[uint64]int{} // more than one each where all this has taken until then
	for _, a := range before.attempts() {
		made[a.Event.Seq]++
	}
	f := save(t, b, BackupOptions{})
	to := testOptions(t, t.TempDir())
	if _, err := RestoreDataDir(t.Context(), to, f, RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	r := open(t, to)
	var early atomic.Int64
	h := &handler{judge: func(a delivery.Attempt) delivery.Verdict {
		if time.Now().Before(at.Add(-time.Second)) || a.Attempts != made[a.Event.Seq] {
			early.Add(1)
		}
		return done(a)
	}}
	defer consume(t, r, subscription("order.>"), h)()
	eventually(t, "the retries have fired", func() bool { return state(t, r, retryStream).Msgs == 0 })
	if n := len(h.attempts()); n != 20 || early.Load() > 0 {
		t.Errorf("%d attempts after the restore, want 20; %d came too early or had lost their count", n, early.Load())
	}
}

// While events come in, fail, wait, become due and die, a backup misses none:
// every event that was answered before it began is in it as not delivered, or
// as a retry, or as a dead letter, unless it had been delivered.
func TestBackupUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var published, delivered atomic.Int64
	ahead := make(chan struct{}, 500) // no further than this before the deliveries
	go func() {
		for n := 1; ctx.Err() == nil; n++ {
			for ctx.Err() == nil { // none is left out, or it would be missed
				if _, err := b.Publish(ctx, testEvent(n)); err == nil {
					published.Store(int64(n))
					break
				}
			}
			select {
			case ahead <- struct{}{}:
			case <-ctx.Done():
			}
		}
	}()
	gone := newSet()
	h := &handler{judge: func(a delivery.Attempt) delivery.Verdict {
		if a.Attempts == 0 {
			select {
			case <-ahead:
			default: // handed out before
			}
		}
		switch n := a.Event.Seq; {
		case n%7 == 0: // never delivered: it moves on within the retries all the time
			return delivery.Verdict{Action: delivery.Again, Delay: 300 * time.Millisecond, Spent: true}
		case n%7 == 1 && a.Attempts < 2:
			return delivery.Verdict{Action: delivery.Again, Delay: 250 * time.Millisecond, Spent: true}
		case n%7 == 1:
			return delivery.Verdict{Action: delivery.Bury, Spent: true, Reason: "no"}
		}
		gone.add(a.Event.ID)
		delivered.Add(1)
		return done(a)
	}}
	stop := consume(t, b, subscription("order.>"), h)
	var files []*backup.File
	var before []int64
	for range 3 {
		want := published.Load() + 300
		eventually(t, "more events are stored", func() bool { return published.Load() > want })
		before = append(before, published.Load())
		files = append(files, save(t, b, BackupOptions{}))
	}
	cancel()
	stop()
	for i, f := range files {
		checkNothingLost(t, f, before[i], gone)
	}
	t.Logf("%d published, %d delivered", published.Load(), delivered.Load())
}

// Retries that move on within their stream while a snapshot of it is taken,
// so that it meets them nowhere, are met where they are afterwards.
func TestBackupMeetsRetriesThatMove(t *testing.T) {
	t.Parallel()
	const events = 200
	b := open(t, testOptions(t, t.TempDir()))
	random := rand.NewChaCha8([32]byte{})
	for n := range events {
		e := testEvent(n)
		e.Body = make([]byte, 64<<10) // does not compress, so that a snapshot takes many pieces
		random.Read(e.Body)
		if _, err := b.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	// The snapshot of the retries is half done after about this many pieces;
	// then they calm down, or the backup would run after them for long.
	const pauseAfter = events * 3 / 4
	var pieces atomic.Int64
	moved := make(chan struct{}, events)
	h := &handler{judge: func(delivery.Attempt) delivery.Verdict {
		select {
		case moved <- struct{}{}:
		default:
		}
		if pieces.Load() > pauseAfter {
			return delivery.Verdict{Action: delivery.Again, Delay: time.Hour, Spent: true}
		}
		return delivery.Verdict{Action: delivery.Again, Delay: 250 * time.Millisecond, Spent: true}
	}}
	stop := consume(t, b, subscription("order.>"), h)
	eventually(t, "every event waits for a retry", func() bool { return state(t, b, retryStream).Msgs >= events })
	path := filepath.Join(t.TempDir(), "test.backup")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := writerFunc(func(p []byte) (int, error) {
		if pieces.Add(1) <= pauseAfter {
			<-moved // as slow as the retries are quick
		}
		return file.Write(p)
	})
	if _, err := b.Backup(t.Context(), BackupOptions{}, w); err != nil {
		t.Fatal(err)
	}
	stop()
	sums, err := openBackup(t, path).Sums(retryStream, retryKeyOf)
	if err != nil || sums.Messages != events {
		t.Errorf("the backup holds %d retries (%v), want %d", sums.Messages, err, events)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func checkNothingLost(t *testing.T, f *backup.File, upTo int64, gone *set) {
	t.Helper()
	to := testOptions(t, t.TempDir())
	if _, err := RestoreDataDir(t.Context(), to, f, RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	r := open(t, to)
	h := &handler{judge: done}
	stop := consume(t, r, subscription("order.>"), h)
	settled(t, r)
	eventually(t, "every retry is delivered", func() bool { return state(t, r, retryStream).Msgs == 0 })
	stop()
	have := newSet()
	for _, a := range h.attempts() {
		have.add(a.Event.ID)
	}
	letters, _, err := r.DeadLetters(t.Context(), delivery.DeadFilter{Limit: 1_000_000})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range letters {
		have.add(d.Event.ID)
	}
	lost, repeated := 0, 0
	for n := int64(1); n <= upTo; n++ {
		id := fmt.Sprintf("id-%d", n)
		if !have.has(id) && !gone.has(id) {
			lost++
		}
		if have.has(id) && gone.has(id) {
			repeated++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d events are lost", lost, upTo)
	}
	t.Logf("of %d events: %d deliveries and dead letters after the restore, %d lost, %d delivered again", upTo, have.len(), lost, repeated)
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 50)
	f := save(t, b, BackupOptions{NoRejected: true})
	if f.Stream(rejectedStream) != nil {
		t.Error("the backup holds the rejected requests, which were to be left out")
	}
	raw, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	events := f.Stream(EventsStream).Segments[0]
	for name, tc := range map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"empty":          {func([]byte) []byte { return nil }, "it does not begin as one"},
		"no backup":      {func([]byte) []byte { return []byte("PK\x03\x04 and so on, it is something else") }, "is not a backup of penstock"},
		"cut off":        {func(b []byte) []byte { return b[:len(b)*2/3] }, "without its manifest"},
		"newer":          {func(b []byte) []byte { return append([]byte("PENSTOCK-BACKUP 2\n"), b[18:]...) }, "format 2, this penstock knows up to 1"},
		"flipped bit":    {func(b []byte) []byte { b[events.Offset+events.Length/2] ^= 1; return b }, "stream PENSTOCK_EVENTS: after "},
		"manifest":       {func(b []byte) []byte { b[len(b)-200] ^= 1; return b }, "does not have the hash"},
		"segment is cut": {func(b []byte) []byte { return shortened(b, events) }, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x.backup")
			if err := os.WriteFile(path, tc.change(append([]byte(nil), raw...)), 0o600); err != nil {
				t.Fatal(err)
			}
			g, err := backup.Open(path)
			if err == nil {
				defer g.Close()
				err = g.Verify(t.Context(), nil)
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// shortened takes bytes out of the middle of a segment.
func shortened(b []byte, g backup.Segment) []byte {
	return append(b[:g.Offset+10:g.Offset+10], b[g.Offset+30:]...)
}

// A store that is there is not touched, unless it is to be moved aside.
func TestRestoreLeavesAStoreAlone(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 50)
	f := save(t, b, BackupOptions{})
	to := testOptions(t, t.TempDir())
	func() {
		other := New(to)
		defer other.Close()
		if err := other.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		publishAll(t, other, 1001, 1003)
		if _, err := RestoreDataDir(t.Context(), to, f, RestoreOptions{Replace: true}); err == nil || !strings.Contains(err.Error(), "in use by another penstock") {
			t.Errorf("restoring under a running process = %v", err)
		}
	}()
	if _, err := RestoreDataDir(t.Context(), to, f, RestoreOptions{}); err == nil || !strings.Contains(err.Error(), "already holds a store") {
		t.Errorf("restoring over a store = %v", err)
	}
	aside, err := RestoreDataDir(t.Context(), to, f, RestoreOptions{Replace: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(aside, "$G")); err != nil {
		t.Errorf("the store that was there is not at %s: %v", aside, err)
	}
	if st := state(t, open(t, to), EventsStream); st.Msgs != 50 {
		t.Errorf("%d events after the restore, want 50", st.Msgs)
	}
}

// An external server with something in it is left alone as well, and what a
// promotion made may be replaced by that promotion.
func TestRestoreToAServer(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 50)
	stop := consume(t, b, subscription("order.>"), &handler{judge: fate})
	settled(t, b)
	stop()
	f := save(t, b, BackupOptions{})
	o := testOptions(t, "")
	o.Config.URL = externalServer(t)
	r := New(o)
	defer r.Close()
	if err := r.OpenForBackup(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		o    RestoreOptions
		want string
	}{
		{RestoreOptions{Promotion: "one"}, ""},
		{RestoreOptions{}, "there is something already in PENSTOCK_EVENTS (50 messages)"},
		{RestoreOptions{Promotion: "two"}, "there is something already"},
		{RestoreOptions{Promotion: "one"}, ""},
		{RestoreOptions{Replace: true}, ""},
	} {
		err := r.Restore(t.Context(), f, tc.o)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Fatalf("Restore(%+v) = %v, want %q", tc.o, err, tc.want)
		}
		if err := r.CompareWith(t.Context(), f, nil); err != nil {
			t.Fatal(err)
		}
	}
	checkPositions(t, r, f)
	if err := backup.Delete(t.Context(), r.admin.nc, deadStream); err != nil {
		t.Fatal(err)
	}
	if err := r.CompareWith(t.Context(), f, nil); err == nil {
		t.Error("a stream that is missing compares as equal")
	}
}

// checkPositions makes the queue anew, which puts it at the beginning: that is
// told, and it is waited for until the queue stands where it should.
func checkPositions(t *testing.T, r *Broker, f *backup.File) {
	t.Helper()
	const queue = sinkConsumerPrefix + "crm"
	c, err := r.admin.js.Consumer(t.Context(), EventsStream, queue)
	if err != nil {
		t.Fatal(err)
	}
	config := c.CachedInfo().Config
	if err := r.admin.js.DeleteConsumer(t.Context(), EventsStream, queue); err != nil {
		t.Fatal(err)
	}
	if c, err = r.admin.js.CreateConsumer(t.Context(), EventsStream, config); err != nil {
		t.Fatal(err)
	}
	r.o.patience = time.Second
	const says = "queue sink-crm on stream PENSTOCK_EVENTS was acknowledged up to 0 after it was restored, in the backup up to 50"
	if err := r.CompareWith(t.Context(), f, nil); err == nil || err.Error() != says {
		t.Errorf("CompareWith = %v, want %q", err, says)
	}
	r.o.patience = 0
	compared := make(chan error, 1)
	go func() { compared <- r.CompareWith(t.Context(), f, nil) }()
	got := 0
	for got < 50 {
		batch, err := c.FetchNoWait(50)
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			got++
			if err := m.DoubleAck(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := <-compared; err != nil {
		t.Errorf("CompareWith, when the queue has come to its place = %v", err)
	}
}

// A disk that fills up, or a client that has gone, ends a backup with an error.
func TestBackupThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 50)
	full := errors.New("no space left")
	if _, err := b.Backup(t.Context(), BackupOptions{}, &limitedWriter{left: 500, err: full}); !errors.Is(err, full) {
		t.Errorf("Backup = %v, want %v", err, full)
	}
	if _, err := b.Backup(t.Context(), BackupOptions{}, io.Discard); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

type limitedWriter struct {
	left int
	err  error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, w.err
	}
	return len(p), nil
}
