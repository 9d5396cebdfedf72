package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/trace"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// keptSpans keeps what it is given to export.
type keptSpans struct{ spans []trace.ReadOnlySpan }

// OnStart implements trace.SpanProcessor.
func (*keptSpans) OnStart(context.Context, trace.ReadWriteSpan) {}

// OnEnd implements trace.SpanProcessor.
func (k *keptSpans) OnEnd(s trace.ReadOnlySpan) { k.spans = append(k.spans, s) }

// Shutdown implements trace.SpanProcessor.
func (*keptSpans) Shutdown(context.Context) error { return nil }

// ForceFlush implements trace.SpanProcessor.
func (*keptSpans) ForceFlush(context.Context) error { return nil }

// wireClient keeps the messages that it is given to send.
type wireClient struct{ sent []*wire.ResourceSpans }

// Start implements otlptrace.Client.
func (*wireClient) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (*wireClient) Stop(context.Context) error { return nil }

// UploadTraces implements otlptrace.Client. It keeps what a receiver would read.
func (c *wireClient) UploadTraces(_ context.Context, spans []*wire.ResourceSpans) error {
	for _, s := range spans {
		encoded, err := proto.Marshal(s)
		if err != nil {
			return err
		}
		read := new(wire.ResourceSpans)
		if err := proto.Unmarshal(encoded, read); err != nil {
			return err
		}
		c.sent = append(c.sent, read)
	}
	return nil
}

// everySpan makes spans with everything that ours can have.
func everySpan(t *testing.T, n int) []trace.ReadOnlySpan {
	t.Helper()
	tr := NewTracing(TracingOptions{Version: "1.2.3", Env: env(nil), Spans: func(Span) {}})
	var kept keptSpans
	tr.provider.RegisterSpanProcessor(&kept)
	again := delivery.Verdict{Action: delivery.Again, Class: delivery.Failed, Status: 503, Reason: "answered 503", Delay: 1500 * time.Millisecond}
	for i := range n {
		e := event.Event{ID: fmt.Sprint("event ", i), Subject: "order.created"}
		ctx := tr.Store(t.Context(), &e)
		var err error
		if i%3 == 0 {
			err = errors.New("no room")
		}
		tr.Stored(ctx, &e, event.Receipt{Seq: uint64(i), Duplicate: i%2 == 0}, err)
		a := &delivery.Attempt{Event: e, History: delivery.History{Attempts: i, LastAttempt: recorded, Origin: "replay/1"}}
		followed := tr.Delivery(t.Context(), "deliver crm", a, time.Now(), recorded)
		trying, _ := tr.Attempt(followed, "attempt crm", a)
		v := again
		if i%2 == 0 {
			v = delivery.Verdict{Action: delivery.Done}
		}
		tr.Attempted(trying, "crm", i, v, nil)
		tr.Settled(followed, "crm", "all", a, v)
	}
	return kept.spans
}

// What is encoded here has to be what the library would send, in memory that was
// used before too.
func TestMessagesAreThoseOfTheLibrary(t *testing.T) {
	t.Parallel()
	var ours, theirs wireClient
	library, err := otlptrace.New(t.Context(), &theirs)
	if err != nil {
		t.Fatal(err)
	}
	spans := everySpan(t, 300)
	mine := newOutbox(&ours, traceEnv{queue: 2000, batch: 2000, delay: time.Hour, timeout: exportTimeout}, slog.New(slog.DiscardHandler))
	go mine.run()
	defer func() {
		if err := mine.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	for _, batch := range [][]trace.ReadOnlySpan{spans, spans[:7], spans[5:], spans[:1]} {
		ours.sent, theirs.sent = nil, nil
		for _, s := range batch {
			mine.OnEnd(s)
		}
		if err := errors.Join(mine.ForceFlush(t.Context()), library.ExportSpans(t.Context(), batch)); err != nil {
			t.Fatal(err)
		}
		if len(ours.sent) != 1 || len(theirs.sent) != 1 {
			t.Fatalf("%d and %d messages, want 1 each", len(ours.sent), len(theirs.sent))
		}
		got, want := ours.sent[0].ScopeSpans[0].Spans, theirs.sent[0].ScopeSpans[0].Spans
		if len(got) != len(want) {
			t.Fatalf("%d spans, want %d", len(got), len(want))
		}
		for i := range want {
			if !proto.Equal(got[i], want[i]) {
				t.Fatalf("span %d of %d is\n%v\nwant\n%v", i, len(want), got[i], want[i])
			}
		}
		if !proto.Equal(ours.sent[0], theirs.sent[0]) {
			t.Errorf("around the spans is\n%v\nwant\n%v", ours.sent[0].Resource, theirs.sent[0].Resource)
		}
	}
}
