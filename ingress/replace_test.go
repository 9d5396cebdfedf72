package ingress_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/penstock/penstock/ingress"
)

// TestReplaceSources: a request that has begun ends as it began, the next one
// finds the other sources.
func TestReplaceSources(t *testing.T) {
	t.Parallel()
	p := newGatedPublisher()
	s := start(t, options(p))
	status := func(path string) int {
		req, err := http.NewRequest(http.MethodPost, s.url+path, strings.NewReader("{}"))
		if err != nil {
			t.Error(err)
			return 0
		}
		req.Header = good()
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	var under sync.WaitGroup
	under.Go(func() {
		if got := status(hookPath); got != http.StatusAccepted {
			t.Errorf("the request under way was answered %d, want 202", got)
		}
	})
	<-p.begun
	if err := s.Replace([]ingress.Endpoint{{Name: "other", Path: "/other", Source: fakeSource{}, Signed: true}}); err != nil {
		t.Fatal(err)
	}
	if got := status(hookPath); got != http.StatusNotFound {
		t.Errorf("the old address is answered %d, want 404", got)
	}
	close(p.release)
	under.Wait()
	if got := status("/other"); got != http.StatusAccepted {
		t.Errorf("the new address is answered %d, want 202", got)
	}
	err := s.Replace([]ingress.Endpoint{{Name: "a", Path: "/x", Source: fakeSource{}, Signed: true}, {Name: "b", Path: "/x", Source: fakeSource{}}})
	if err == nil || !strings.Contains(err.Error(), "sources.b.path: /x is taken by the source a") || !strings.Contains(err.Error(), "has neither secrets nor a url_token") {
		t.Errorf("Replace by bad sources = %v, want everything that is wrong", err)
	}
	if got := status("/other"); got != http.StatusAccepted {
		t.Errorf("after a refused change the address is answered %d, want 202", got)
	}
}
