package sinks

import (
	"bytes"
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/delivery"
)

// TestConnectionsAreKept sends many events, most of which fail, over one connection.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	var conns, n atomic.Int64
	bodies := []string{"", "short", strings.Repeat("x", 2*maxResponse), strings.Repeat("x", maxDrain-1)}
	codes := []int{200, 204, 301, 404, 422, 429, 500, 503}
	r := unstartedReceiver(func(w http.ResponseWriter, _ *http.Request) {
		i := int(n.Add(1))
		w.WriteHeader(codes[i%len(codes)])
		_, _ = w.Write([]byte(bodies[i/len(codes)%len(bodies)])) // refused for 204
	})
	r.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	r.Start()
	t.Cleanup(r.Close)
	s := openSink(t, "http", "url: "+r.URL, Deps{})
	attempts := len(codes) * len(bodies)
	slow := int64(0) // an attempt that takes long may cost its connection
	for range attempts {
		start := time.Now()
		if err := s.Deliver(t.Context(), sampleEvent()); delivery.ClassOf(err) == delivery.Network {
			t.Errorf("Deliver: %v", err)
		}
		if time.Since(start) > drainWait/10 {
			slow++
		}
	}
	if n.Load() != int64(attempts) || conns.Load() > 1+slow {
		t.Errorf("%d attempts over %d connections, want %d over 1", n.Load(), conns.Load(), attempts)
	}
}

// TestClosedKeptConnectionCostsNoAttempt has a receiver close each connection
// when a second request comes on it, as one does that restarts or gives up an
// idle connection at that moment. Every event still needs one attempt only.
func TestClosedKeptConnectionCostsNoAttempt(t *testing.T) {
	t.Parallel()
	var seen sync.Map
	r := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		if _, again := seen.LoadOrStore(r.RemoteAddr, true); again {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	s := openSink(t, "http", "url: "+r.URL, Deps{})
	for i := range 5 {
		if err := s.Deliver(t.Context(), sampleEvent()); err != nil {
			t.Fatalf("Deliver %d: %v", i, err)
		}
	}
	if _, sent := r.lastHeader(t)["Idempotency-Key"]; sent {
		t.Error("Idempotency-Key was sent, want it only to tell the transport")
	}
}

func TestTransportSpeaksHTTP2(t *testing.T) {
	t.Parallel()
	r := unstartedReceiver(nil)
	r.EnableHTTP2 = true
	r.StartTLS()
	t.Cleanup(r.Close)
	transport := NewTransport(Guard{})
	t.Cleanup(transport.CloseIdleConnections)
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AddCert(r.Certificate())
	s := openSink(t, "http", "url: "+r.URL, Deps{HTTP: transport})
	e := sampleEvent()
	e.Body = bytes.Repeat([]byte("x"), 1<<20)
	if err := s.Deliver(within(t, longEnough), e); err != nil {
		t.Fatalf("Deliver: %v", err)
	}
	if r.requests[0].Proto != "HTTP/2.0" || !bytes.Equal(r.bodies[0], e.Body) {
		t.Errorf("came by %s with %d bytes, want HTTP/2.0 with %d", r.requests[0].Proto, len(r.bodies[0]), len(e.Body))
	}
	if _, sent := r.lastHeader(t)["Idempotency-Key"]; sent {
		t.Error("Idempotency-Key was sent, want it only to tell the transport")
	}
}

// TestCloseLeavesTheSharedTransport closes one of two sinks; the connection of
// the other stays.
func TestCloseLeavesTheSharedTransport(t *testing.T) {
	t.Parallel()
	var conns atomic.Int64
	r := unstartedReceiver(nil)
	r.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	r.Start()
	t.Cleanup(r.Close)
	d := Deps{HTTP: NewTransport(Guard{})}
	t.Cleanup(d.HTTP.(*http.Transport).CloseIdleConnections)
	stays, goes := openSink(t, "http", "url: "+r.URL, d), openSink(t, "http", "url: "+r.URL, d)
	for i := range 5 {
		if err := stays.Deliver(t.Context(), sampleEvent()); err != nil {
			t.Fatalf("Deliver %d: %v", i, err)
		}
		if err := goes.(*httpSink).Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections, want 1", conns.Load())
	}
}

func TestScrubber(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		secrets []string
		text    string
		want    string
	}{
		"none":                         {nil, "text", "text"},
		"one":                          {[]string{"hunter22"}, "key=hunter22;", "key=***;"},
		"too short to be one":          {[]string{"abc"}, "abc", "abc"},
		"the whole before its part":    {[]string{"hunter22", "Bearer hunter22"}, "Bearer hunter22", "***"},
		"in JSON":                      {[]string{`a"b\c<d`}, `{"k":"a\"b\\c\u003cd"}`, `{"k":"***"}`},
		"in a query":                   {[]string{"a b&c/d"}, "?k=a+b%26c%2Fd", "?k=***"},
		"in HTML":                      {[]string{"a<b>&c"}, "<p>a&lt;b&gt;&amp;c</p>", "<p>***</p>"},
		"basic credentials":            {headerSecrets("Basic bWU6aHVudGVyMjI="), "bWU6aHVudGVyMjI= is me:hunter22 or hunter22", "*** is *** or ***"},
		"a scheme without credentials": {headerSecrets("x "), "x ", "x "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := newScrubber(tt.secrets).clean(tt.text); got != tt.want {
				t.Errorf("clean(%q) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestPatienceIsToldInShort(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), end)
	defer cancel()
	for allowed, want := range map[time.Duration]string{
		10 * time.Second: "10s", 1234 * time.Millisecond: "1.2s", 9999 * time.Millisecond: "10s", 299_600 * time.Microsecond: "300ms",
	} {
		if got := patience(ctx, end.Add(-allowed)).String(); got != want {
			t.Errorf("an attempt of %s is told as %s, want %s", allowed, got, want)
		}
	}
}
