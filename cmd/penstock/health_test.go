package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHealth asks servers that are not what a script can start.
func TestHealth(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status int
		body   string
		code   int
		want   string // in what is written
	}{
		"well, with a certificate of another": {http.StatusOK, `{"status":"ok"}`, exitOK, "/readyz is well\n"},
		"not ready": {http.StatusServiceUnavailable, `{"status":"unavailable","reasons":["the disk is full"]}`, exitFailure,
			`/readyz answered 503 Service Unavailable: {"status":"unavailable","reasons":["the disk is full"]}`},
		"somebody else's redirect": {http.StatusFound, "", exitFailure, "answered 302 Found"},
		"never":                    {0, "", exitFailure, "/readyz did not answer within 50ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := t.Context().Done()
			s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tt.status == 0 {
					select {
					case <-ended:
					case <-r.Context().Done():
					}
					return
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				w.Write([]byte(tt.body))
			}))
			t.Cleanup(s.Close)
			timeout := "20s"
			if tt.status == 0 {
				timeout = "50ms"
			}
			w := newWorld(nil, false, "health", "--ready", "--url", s.URL, "--timeout", timeout)
			if code := run(w.process); code != tt.code || !strings.Contains(w.out.String()+w.err.String(), tt.want) {
				t.Errorf("penstock health = %d with %q and %q, want %d with %q", code, w.out, w.err, tt.code, tt.want)
			}
		})
	}
}
