package ingress_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/ingress"
)

// What fails verification is shown to whoever keeps such requests, before the
// answer, and nothing else is.
func TestRejectedRequestsAreShown(t *testing.T) {
	t.Parallel()
	type shown struct{ source, body, signature, err string }
	var got []shown
	var at []time.Time
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	o := options(&fakePublisher{})
	o.Now = func() time.Time { return now }
	o.Rejected = func(r ingress.Rejection) {
		got = append(got, shown{r.Source, string(r.Body), r.Header.Get("X-Signature"), r.Err.Error()})
		at = append(at, r.Received)
	}
	h := newServer(t, o).Handler()
	send := func(path, signature, body string) {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		if signature != "" {
			r.Header.Set("X-Signature", signature)
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	send(hookPath, "good", "taken")
	send(hookPath, "bad", "one")
	send(hookPath, "", "two")
	send(stepPath+"/wrong-token", "", "three")
	send("/elsewhere", "bad", "four")
	send(hookPath, "bad", string(bytes.Repeat([]byte("x"), 2<<20)))
	want := []shown{
		{"test", "one", "bad", "wrong signature"},
		{"test", "two", "", "missing header X-Signature"},
		{"steps", "three", "", "wrong token at the end of the URL"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("shown %+v, want %+v", got, want)
	}
	for _, a := range at {
		if !a.Equal(now) {
			t.Errorf("received at %s, want %s", a, now)
		}
	}
}
