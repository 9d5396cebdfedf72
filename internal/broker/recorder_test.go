package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

func testRecord(seq int, sink string) *delivery.Record {
	return &delivery.Record{
		Seq: uint64(seq), EventID: fmt.Sprintf("id-%d", seq), Subject: "order.created", Sink: sink, Number: 1,
		Lane: delivery.Main, Route: "all", Rules: "0a1b2c3d", Start: time.Now(), Took: time.Millisecond, Action: delivery.Done,
	}
}

// recording runs the recorder of b until stop, which returns when all is stored.
func recording(t *testing.T, b *Broker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.RunRecords(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("RunRecords: %v", err)
		}
	}
}

// recorded waits until nothing is left to store; a stop gives it a second only.
func recorded(t *testing.T, b *Broker) {
	t.Helper()
	eventually(t, "all records are stored", func() bool {
		b.recorder.mu.Lock()
		defer b.recorder.mu.Unlock()
		return b.recorder.waiting == 0
	})
}

func storedRecords(t *testing.T, b *Broker, seqs ...uint64) []delivery.Record {
	t.Helper()
	var out []delivery.Record
	err := b.Records(t.Context(), time.Time{}, seqs, func(r delivery.Record) bool { out = append(out, r); return true })
	if err != nil {
		t.Fatalf("Records: %v", err)
	}
	return out
}

func TestRecordsAreStoredInBatches(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	stop := recording(t, b)
	const n = 5000
	for i := 1; i <= n; i++ {
		b.Record(testRecord(i, []string{"crm", "lake"}[i%2]))
	}
	recorded(t, b)
	stop()
	got := storedRecords(t, b)
	if len(got) != n || b.RecordsDropped() != 0 {
		t.Fatalf("%d records stored and %d dropped, want all %d stored", len(got), b.RecordsDropped(), n)
	}
	for _, r := range got {
		if want := []string{"crm", "lake"}[r.Seq%2]; r.Sink != want || r.EventID != fmt.Sprintf("id-%d", r.Seq) {
			t.Fatalf("record %+v, want sink %s", r, want)
		}
	}
	s, err := b.admin.js.Stream(t.Context(), recordStream)
	if err != nil {
		t.Fatal(err)
	}
	if st := s.CachedInfo().State; st.Msgs > n/50 || st.NumSubjects != 2 {
		t.Errorf("%d records are %d messages on %d subjects, want few of both", n, st.Msgs, st.NumSubjects)
	}
	if got := storedRecords(t, b, 7, 42); len(got) != 2 || got[0].Seq+got[1].Seq != 49 {
		t.Errorf("records of events 7 and 42 = %+v", got)
	}
}

func TestARecordIsStoredSoon(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	defer recording(t, b)()
	b.Record(testRecord(1, "crm"))
	eventually(t, "the record", func() bool { return len(storedRecords(t, b)) == 1 })
}

// TestTooManyRecordsAreDropped records without anybody who stores.
func TestTooManyRecordsAreDropped(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.Config.MaxBytes = 256 << 20 // so that the stream keeps more than waits here
	b := open(t, o)
	big := testRecord(1, "crm")
	big.Response = make([]byte, delivery.MaxRecordResponse)
	const n = maxRecordsWaiting + 1000
	start := time.Now()
	for range n {
		b.Record(big)
	}
	took := time.Since(start)
	dropped, waiting := b.RecordsDropped(), b.recorder.waiting
	if dropped < 1000 || waiting+int(dropped) != n || b.recorder.bytes > maxRecordBytes+recordRoom {
		t.Errorf("%d dropped, %d waiting with %d bytes, of %d; want the bounds kept and all counted", dropped, waiting, b.recorder.bytes, n)
	}
	if each := took / n; each > time.Millisecond {
		t.Errorf("a record took %s: something waits", each)
	}
	// What waits is stored as soon as somebody does, and then there is room again.
	stop := recording(t, b)
	recorded(t, b)
	b.Record(testRecord(2, "crm"))
	recorded(t, b)
	stop()
	if got := len(storedRecords(t, b)); got != waiting+1 || b.RecordsDropped() != dropped {
		t.Errorf("%d records after the pressure, %d dropped; want %d and %d", got, b.RecordsDropped(), waiting+1, dropped)
	}
}

// TestRecordsThatCannotBeStored loses them at the end, in time, and says so.
func TestRecordsThatCannotBeStored(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	if err := b.admin.js.DeleteStream(t.Context(), recordStream); err != nil {
		t.Fatal(err)
	}
	stop := recording(t, b)
	for i := range 500 {
		b.Record(testRecord(i, "crm"))
	}
	start := time.Now()
	stop()
	if took := time.Since(start); took > patience { // else it would try for ever
		t.Errorf("the stop took %s, want about %s", took, flushLast)
	}
	if n := b.RecordsDropped(); n != 500 || b.recorder.waiting != 0 {
		t.Errorf("%d dropped and %d waiting, want 500 and none", n, b.recorder.waiting)
	}
}

func TestSearchOverManyEvents(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.Config.MaxBytes = 256 << 20
	b := open(t, o)
	n := 100_000
	if raceEnabled {
		n = 10_000 // the detector makes it slow, and there is nothing to time
	}
	publishMany(t, b, n)
	start := time.Now()
	calls := 0
	found, err := b.Search(t.Context(), time.Now().Add(-time.Hour), Find{ID: "id-7777"}, func(done, total uint64) {
		if calls++; done > total || total != uint64(n) {
			t.Errorf("searched %d of %d, want at most %d of that", done, total, n)
		}
	})
	took := time.Since(start)
	if err != nil || len(found) != 1 || found[0].Seq != 7777 || found[0].Body != nil || calls == 0 {
		t.Fatalf("Search = %+v, %v after %d calls of progress", found, err, calls)
	}
	t.Logf("searched %d events by id in %s, %.1f s per million", n, took.Round(time.Millisecond), took.Seconds()*1e6/float64(n))
}

// publishMany stores n events as fast as the server takes them.
func publishMany(t *testing.T, b *Broker, n int) {
	t.Helper()
	var last jetstream.PubAckFuture
	for i := 1; i <= n; i++ {
		e := testEvent(i)
		h := eventHeader(&e, 1)
		h.set(hdrMsgID, event.DedupeID(e.Source, e.ID))
		f, err := b.ingress.js.PublishMsgAsync(&nats.Msg{Subject: e.Subject, Header: h.h, Data: e.Body})
		if err != nil {
			t.Fatal(err)
		}
		if last = f; i%2000 != 0 && i != n {
			continue
		}
		select {
		case <-last.Ok():
		case err := <-last.Err():
			t.Fatal(err)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	br := New(Options{Logger: nil})
	rec := testRecord(4711, "crm")
	b.ReportAllocs()
	for b.Loop() {
		br.Record(rec)
		for c := br.recorder.take(false); c != nil; c = br.recorder.take(false) {
			br.recorder.done(c)
		}
	}
}
