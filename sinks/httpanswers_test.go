package sinks

import (
	"net/http"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/delivery"
)

func TestConfiguredResponses(t *testing.T) {
	t.Parallel()
	const options = "responses: {done: [409, 3xx], rejected: [4xx], refused: [503], sink: [400, 204], throttled: [420, 5xx]}\nurl: "
	for status, want := range map[int]delivery.Class{
		200: "", 409: "", 302: "", 304: "", // named as done
		404: delivery.Rejected, 401: delivery.Rejected, // of their hundred
		429: delivery.Rejected, 408: delivery.Rejected, // also against the rules for all
		400: delivery.Failed, // a status wins over its hundred and over permanent_statuses
		204: delivery.Failed, // even what is usually done
		503: delivery.Refused,
		420: delivery.Throttled, 500: delivery.Throttled, 599: delivery.Throttled,
	} {
		r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
		})
		err := openSink(t, "http", options+r.URL, Deps{}).Deliver(t.Context(), sampleEvent())
		if got := delivery.ClassOf(err); got != want {
			t.Errorf("status %d: class %q (%v), want %q", status, got, err, want)
		}
		e, _ := err.(*delivery.Error)
		if pauses := want == delivery.Throttled || want == delivery.Failed; e != nil && (e.RetryAfter == 7*time.Second) != pauses {
			t.Errorf("status %d: RetryAfter %s with class %q", status, e.RetryAfter, want)
		}
	}
}
