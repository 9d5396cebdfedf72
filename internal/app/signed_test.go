package app

import (
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/sinks"
)

// TestClickFunnelsReceiversKeepVerifying sends with the scheme clickfunnels and
// verifies as the source of that name does.
func TestClickFunnelsReceiversKeepVerifying(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	options, err := config.NodeFrom("penstock.yaml", "url: "+r.URL+"\nsign: {scheme: clickfunnels, secrets: ["+testSecret+"]}")
	if err != nil {
		t.Fatal(err)
	}
	s, err := sinks.Open(config.Sink{Name: "legacy", Kind: "http", Options: options}, sinks.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	sent := body("event-1", "orders/invoice.paid")
	if err := s.Deliver(t.Context(), event.Event{ID: "event-1", Body: sent}); err != nil {
		t.Fatal(err)
	}
	got := r.got()[0]
	verifier := clickfunnels.NewSource(clickfunnels.Options{Name: "cf", Secrets: []string{testSecret}})
	if err := verifier.Verify(got.header, sent, time.Now()); err != nil {
		t.Errorf("Verify: %v", err)
	}
	other := clickfunnels.NewSource(clickfunnels.Options{Name: "cf", Secrets: []string{testSecret[1:]}})
	if err := other.Verify(got.header, sent, time.Now()); err == nil {
		t.Error("Verify accepts another secret")
	}
}
