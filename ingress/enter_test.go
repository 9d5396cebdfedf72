package ingress_test

import (
	"net/http"
	"sync/atomic"
	"testing"
)

// While nobody may enter, every webhook is answered 503, and none is looked at.
// What enters leaves.
func TestEnter(t *testing.T) {
	t.Parallel()
	var closed atomic.Bool
	left := make(chan struct{}, 10)
	o := options(instantPublisher{})
	o.Enter = func() (func(), bool) { return func() { left <- struct{}{} }, !closed.Load() }
	r := start(t, o)
	if got := post(t, r.url, "{}"); got.status != http.StatusAccepted {
		t.Errorf("an open intake answers %d, want 202", got.status)
	}
	<-left
	closed.Store(true)
	if got := post(t, r.url, "{}"); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "5" {
		t.Errorf("a closed intake answers %d, Retry-After %q; want 503 with 5", got.status, got.header.Get("Retry-After"))
	}
	if len(left) != 0 {
		t.Error("what did not enter has left")
	}
}
