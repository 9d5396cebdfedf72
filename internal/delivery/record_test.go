package delivery_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
)

var began = time.Date(2026, 11, 24, 8, 30, 0, 123456000, time.UTC)

// failedRecord is a record in which every field is set but Kind and Default.
func failedRecord() delivery.Record {
	return delivery.Record{
		Seq: 4711, EventID: "6a1c1d2e-0f7b-4e51-9d55-1b1a3f6f2c01", Subject: "orders.invoice.paid", Sink: "crm",
		Number: 3, Generation: 1, Lane: delivery.Retry, Origin: "redrive/12", Route: "paid", Rules: "0a1b2c3d",
		Start: began, Took: 31 * time.Millisecond,
		Timings: delivery.Timings{DNS: time.Millisecond, Connect: 2 * time.Millisecond, TLS: 3 * time.Millisecond, FirstByte: 30 * time.Millisecond},
		Action:  delivery.Again, Next: began.Add(15 * time.Second), Class: delivery.Failed, Status: 503,
		Error: "POST crm.example.com: answered 503 Service Unavailable", Response: []byte("<html>\xff\x00 busy\n"),
	}
}

// deliveredRecord is what most records are.
func deliveredRecord() delivery.Record {
	return delivery.Record{
		Seq: 4711, EventID: "6a1c1d2e-0f7b-4e51-9d55-1b1a3f6f2c01", Subject: "orders.invoice.paid", Sink: "crm",
		Number: 1, Lane: delivery.Main, Route: "paid", Rules: "0a1b2c3d", Start: began, Took: 12 * time.Millisecond,
		Timings: delivery.Timings{FirstByte: 11 * time.Millisecond}, Action: delivery.Done,
	}
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	odd := deliveredRecord()
	odd.EventID, odd.Error, odd.Default = "a \"quoted\\ id\u2028é", "line\nbreak {\"q\":1,", true
	for name, want := range map[string]delivery.Record{
		"failed": failedRecord(), "delivered": deliveredRecord(), "odd text": odd,
		"erased": {Kind: delivery.Erased, Seq: 1, Sink: "crm", Start: began}, "nothing": {Sink: "crm"},
	} {
		line := delivery.AppendRecord([]byte("before\n"), &want)
		line = bytes.TrimPrefix(line, []byte("before\n"))
		if bytes.Count(line, []byte("\n")) != 1 || !bytes.HasSuffix(line, []byte("}\n")) || !bytes.HasPrefix(line, delivery.RecordPrefix(want.Seq)) {
			t.Errorf("%s: %q is not one line that begins with its sequence", name, line)
		}
		got, err := delivery.DecodeRecord(line, "crm")
		if err != nil {
			t.Errorf("%s: DecodeRecord(%s): %v", name, line, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestARecordKeepsAKilobyteOfTheAnswer(t *testing.T) {
	t.Parallel()
	r := failedRecord()
	r.Response = bytes.Repeat([]byte("x"), 5000)
	got, err := delivery.DecodeRecord(delivery.AppendRecord(nil, &r), "crm")
	if err != nil || len(got.Response) != delivery.MaxRecordResponse {
		t.Errorf("response of %d bytes, %v; want %d", len(got.Response), err, delivery.MaxRecordResponse)
	}
}

func TestWithoutEvent(t *testing.T) {
	t.Parallel()
	var lines, want []byte
	for _, seq := range []uint64{1, 11, 1, 111, 2} {
		r := failedRecord()
		r.Seq = seq
		lines = delivery.AppendRecord(lines, &r)
		if seq != 1 {
			want = delivery.AppendRecord(want, &r)
		}
	}
	rest, removed := delivery.WithoutEvent(lines, 1)
	if removed != 2 || !bytes.Equal(rest, want) {
		t.Errorf("WithoutEvent removed %d and left\n%s\nwant 2 and\n%s", removed, rest, want)
	}
	if rest, removed := delivery.WithoutEvent(rest, 1); removed != 0 || !bytes.Equal(rest, want) {
		t.Errorf("WithoutEvent of an event that is not there removed %d", removed)
	}
}

func TestATraceIsItsContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	trace := delivery.NewTrace(parent)
	inner, stop := context.WithTimeout(trace, time.Hour)
	defer stop()
	delivery.TraceOf(inner).Answered(time.Second)
	if got := trace.Timings(); got != (delivery.Timings{FirstByte: time.Second}) || inner.Value(key{}) != "value" {
		t.Errorf("timings %+v, value %v; want what was noted in a context below", got, inner.Value(key{}))
	}
	cancel()
	<-inner.Done()
	nobody := delivery.TraceOf(t.Context())
	nobody.Answered(time.Second)
	if nobody != nil || nobody.Timings() != (delivery.Timings{}) {
		t.Errorf("a context without a trace has %+v", nobody)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("id", "error", []byte("answer"))
	f.Add("\"\\\u2028", "a\nb\x00", []byte{0xff, 0})
	f.Fuzz(func(t *testing.T, id, text string, response []byte) {
		r := failedRecord()
		r.EventID, r.Error, r.Response = id, text, response
		line := delivery.AppendRecord(nil, &r)
		got, err := delivery.DecodeRecord(line, "crm")
		if err != nil || bytes.Count(line, []byte("\n")) != 1 {
			t.Fatalf("DecodeRecord(%q): %v", line, err)
		}
		if want := strings.ToValidUTF8(id, "\uFFFD"); plainRunes(got.EventID) != plainRunes(want) {
			t.Fatalf("id %q came back as %q", id, got.EventID)
		}
	})
}

// plainRunes makes runs of replaced bytes one: JSON replaces each byte, strings
// each run.
func plainRunes(s string) string {
	for strings.Contains(s, "\uFFFD\uFFFD") {
		s = strings.ReplaceAll(s, "\uFFFD\uFFFD", "\uFFFD")
	}
	return s
}

func BenchmarkAppendRecordDelivered(b *testing.B) { benchmarkAppend(b, deliveredRecord()) }
func BenchmarkAppendRecordFailed(b *testing.B)    { benchmarkAppend(b, failedRecord()) }

func benchmarkAppend(b *testing.B, r delivery.Record) {
	buf := make([]byte, 0, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		buf = delivery.AppendRecord(buf[:0], &r)
	}
	b.ReportMetric(float64(len(buf)), "B/record")
}
