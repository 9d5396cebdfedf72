package sinks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// burst is n events of a subject, a second apart.
func burst(n int, subject, data string) []event.Event {
	events := make([]event.Event, n)
	for i := range events {
		e := sampleEvent()
		e.ID = fmt.Sprintf("%s-%d", subject, i)
		e.Type, e.Subject = subject, subject
		e.Received = e.Received.Add(time.Duration(i) * time.Second)
		e.Body = []byte(`{"data":` + data + `}`)
		events[i] = e
	}
	return events
}

func openBatch(t testing.TB, server *slackServer, way, more string) BatchSink {
	t.Helper()
	return openSink(t, "slack", server.options(way, "digest: {}\n"+more), Deps{}).(BatchSink)
}

func TestSlackBatching(t *testing.T) {
	t.Parallel()
	server := newSlackServer(t)
	for options, want := range map[string]Batching{
		"":                                       {},
		"digest: {}":                             {MaxEvents: 50, MaxBytes: 8 << 20, MaxWait: 30 * time.Second},
		"digest: {max_events: 10, max_wait: 1m}": {MaxEvents: 10, MaxBytes: 8 << 20, MaxWait: time.Minute},
	} {
		if got := openSink(t, "slack", server.options("webhook", options), Deps{}).(BatchSink).Batching(); got != want {
			t.Errorf("%q: Batching = %+v, want %+v", options, got, want)
		}
	}
}

func TestSlackDigest(t *testing.T) {
	eachWay(t, func(t *testing.T, way string, server *slackServer) {
		paid := burst(12, "orders.invoice.paid", `{"total_amount":"100.10","currency":"USD","invoice_number":"I<1>"}`)
		paid[3].Body = []byte(`{"data":{"total_amount":"5","currency":"EUR"}}`)
		events := append(burst(2, "contact.created", `{"email_address":"ada@example.com"}`), paid...)
		events = append(events, burst(1, "unknown.brand.big_thing~3C.made", `{}`)...)
		for i, err := range openBatch(t, server, way, "").DeliverBatch(t.Context(), events) {
			if err != nil {
				t.Errorf("event %d: %v", i, err)
			}
		}
		const line = "\n• :moneybag: *$100.10* paid by someone — invoice I&lt;1&gt;"
		want := "*15 events in 11 s*: 12 × invoice paid ($1,101.10 + €5.00), 2 × contact created, 1 × big thing&lt; made" +
			strings.Repeat("\n• :bust_in_silhouette: New contact: ada@example.com", 2) + strings.Repeat(line, 3) + "\n… and 10 more"
		got := server.posted()
		if len(got) != 1 {
			t.Fatalf("the channel has %d messages, want 1", len(got))
		}
		if diff := cmp.Diff(want, got[0].Text); diff != "" {
			t.Errorf("digest (-want +got):\n%s", diff)
		}
		if way == "token" && (got[0].Metadata.Payload["count"] != 15.0 || len(got[0].Metadata.Payload["ids"].([]any)) != 15) {
			t.Errorf("metadata is %+v, want all ids", got[0].Metadata)
		}
	})
}

func TestSlackDigestOfOneIsTheMessage(t *testing.T) {
	eachWay(t, func(t *testing.T, way string, server *slackServer) {
		s := openBatch(t, server, way, "blocks: [{type: header, text: {type: plain_text, text: Paid}}]")
		if errs := s.DeliverBatch(t.Context(), []event.Event{paidEvent()}); len(errs) != 1 || errs[0] != nil {
			t.Fatalf("DeliverBatch = %v", errs)
		}
		if err := s.Deliver(t.Context(), paidEvent()); err != nil {
			t.Fatal(err)
		}
		got := server.posted()
		if len(got) != 2 || len(got[0].Blocks) != 1 {
			t.Fatalf("the channel has %+v, want the message with its block, twice", got)
		}
		if diff := cmp.Diff(got[1], got[0]); diff != "" {
			t.Errorf("a batch of one differs from Deliver (-deliver +batch):\n%s", diff)
		}
	})
}

func TestSlackDigestSettlesEachEvent(t *testing.T) {
	eachWay(t, func(t *testing.T, way string, server *slackServer) {
		s := openBatch(t, server, way, "text: 'from {{ .Data.name }}'")
		events := append(burst(2, "a.b", `{"name":"Ada"}`), burst(1, "a.b", `{}`)...)
		errs := s.DeliverBatch(t.Context(), events)
		if len(errs) != 3 || errs[0] != nil || errs[1] != nil || delivery.ClassOf(errs[2]) != delivery.Ours {
			t.Errorf("DeliverBatch = %v, want the last one to fail alone, as %s", errs, delivery.Ours)
		}
		if got := server.posted(); len(got) != 1 || !strings.HasPrefix(got[0].Text, "*2 events in 1 s*: 2 × a b\n• from Ada") {
			t.Errorf("the channel has %+v, want the two others", got)
		}

		server.set(func(c *slackChannel) { c.room = 0 })
		errs = s.DeliverBatch(t.Context(), events)
		for i, want := range []delivery.Class{delivery.Throttled, delivery.Throttled, delivery.Ours} {
			if got := delivery.ClassOf(errs[i]); got != want {
				t.Errorf("event %d: class %q (%v), want %q", i, got, errs[i], want)
			}
		}
		if errs := s.DeliverBatch(t.Context(), burst(2, "a.b", `{}`)); delivery.ClassOf(errs[0]) != delivery.Ours || delivery.ClassOf(errs[1]) != delivery.Ours {
			t.Errorf("DeliverBatch with no message = %v, want both as %s", errs, delivery.Ours)
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range s.DeliverBatch(ctx, events[:2]) {
			if !errors.Is(err, context.Canceled) || delivery.ClassOf(err) != delivery.Failed {
				t.Errorf("DeliverBatch, cancelled = %v, want context.Canceled as %s", err, delivery.Failed)
			}
		}
	})
}

// TestSlackDigestKeepsTheLimits makes the largest digest there is, of events
// whose values are far too long.
func TestSlackDigestKeepsTheLimits(t *testing.T) {
	eachWay(t, func(t *testing.T, way string, server *slackServer) {
		var events []event.Event
		for i := range 1000 {
			e := burst(1, fmt.Sprintf("kind.number-%d.happened", i%200), `{"name":"`+strings.Repeat("<&", 400)+`"}`)[0]
			e.ID = strings.Repeat("i", 120) + fmt.Sprint(i)
			events = append(events, e)
		}
		for _, err := range openBatch(t, server, way, "text: '{{ .Data.name }}'").DeliverBatch(t.Context(), events) {
			if err != nil {
				t.Fatal(err)
			}
		}
		got := server.posted()
		if len(got) != 1 || !strings.Contains(got[0].Text, ", and 180 more kinds") || !strings.HasSuffix(got[0].Text, "\n… and 995 more") {
			t.Fatalf("the channel has %d messages: %+v", len(got), got)
		}
		if brokenEscape.MatchString(got[0].Text) {
			t.Errorf("an escape is cut: %q", got[0].Text)
		}
	})
}
