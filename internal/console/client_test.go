package console

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestClientReadsWhatTheServerSays(t *testing.T) {
	t.Parallel()
	s := serve(t, newLetters(0), nil)
	c := s.client(t, "")
	status, err := c.Status(t.Context())
	if err != nil {
		t.Fatalf("Status: %v", err)
	}
	want, _ := s.o.Status(t.Context())
	if d := cmp.Diff(want, status); d != "" {
		t.Errorf("Status (-want +got):\n%s", d)
	}
	sinks, err := c.Sinks(t.Context())
	if err != nil {
		t.Fatalf("Sinks: %v", err)
	}
	wantSinks, _ := s.o.Sinks(t.Context())
	if d := cmp.Diff(wantSinks, sinks); d != "" {
		t.Errorf("Sinks (-want +got):\n%s", d)
	}
}

func TestClientErrors(t *testing.T) {
	t.Parallel()
	guarded := serve(t, newLetters(0), withToken)
	stranger := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(stranger.Close)
	moved := httptest.NewServer(http.RedirectHandler(guarded.url+"/api/v1/status", http.StatusTemporaryRedirect))
	t.Cleanup(moved.Close)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>hello"))
	}))
	t.Cleanup(page.Close)
	const nobody = "http://127.0.0.1:1"
	for name, tt := range map[string]struct{ base, token, want string }{
		"nobody listens":     {nobody, "", "no penstock answers at " + nobody + "; is `penstock serve` running? Name it by -c FILE or --server URL"},
		"no token":           {guarded.url, "", "the admin API wants a token: set PENSTOCK_TOKEN"},
		"a wrong token":      {guarded.url, "nope", "compare PENSTOCK_TOKEN with the server's server.admin_token"},
		"another server":     {stranger.URL, "", "is not the admin API of penstock (status 404"},
		"another page":       {page.URL, "", `is not the admin API of penstock (status 200, "text/html")`},
		"a redirect is none": {moved.URL, secret, "is not the admin API of penstock (status 307"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := NewClient(tt.base+"/", tt.token, &http.Client{Timeout: time.Minute})
			if err != nil {
				t.Fatalf("NewClient: %v", err)
			}
			_, err = c.Status(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Status = %v, want %q", err, tt.want)
			}
			if name == "nobody listens" && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("the cause of %v is lost", err)
			}
		})
	}
}

func TestNewClientRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ base, token, want string }{
		"nothing means the default": {"", "", ""},
		"no scheme":                 {"127.0.0.1:8081", "", "such as http://127.0.0.1:8081"},
		"another scheme":            {"nats://127.0.0.1:4222", "", "such as http://127.0.0.1:8081"},
		"a password in it":          {"http://me:" + secret + "@127.0.0.1:8081", "", "PENSTOCK_TOKEN"},
		"a token of two lines":      {"", secret + "\nx", "one line"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewClient(tt.base, tt.token, nil)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("NewClient(%q) = %v", tt.base, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret)):
				t.Errorf("NewClient = %v, want %q without the secret", err, tt.want)
			}
		})
	}
}
