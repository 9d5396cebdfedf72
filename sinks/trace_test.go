package sinks

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/delivery"
)

// TestTimings looks up a name, connects and secures once, and then uses the
// connection that was kept.
func TestTimings(t *testing.T) {
	t.Parallel()
	const thinks = 20 * time.Millisecond
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		wait := time.NewTimer(thinks)
		defer wait.Stop()
		<-wait.C
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	transport := NewTransport(Guard{})
	t.Cleanup(transport.CloseIdleConnections)
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
	transport.TLSClientConfig.ServerName = "example.com"
	u, err := url.Parse(strings.Replace(server.URL, "127.0.0.1", "localhost", 1))
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(Deps{HTTP: transport}, http.MethodPost, u, nil)
	attempt := func() delivery.Timings {
		trace := delivery.NewTrace(t.Context())
		if err := c.send(trace, http.Header{}, []byte("{}")); err != nil {
			t.Fatalf("send: %v", err)
		}
		return trace.Timings()
	}
	first, second := attempt(), attempt()
	if first.DNS <= 0 || first.Connect <= 0 || first.TLS <= 0 || first.FirstByte < thinks+first.DNS+first.Connect+first.TLS {
		t.Errorf("timings of a new connection = %+v, want all, the answer after %s and all of them", first, thinks)
	}
	if second.DNS+second.Connect+second.TLS != 0 || second.FirstByte < thinks {
		t.Errorf("timings of a kept connection = %+v, want only the answer, after %s", second, thinks)
	}
}

// BenchmarkHTTPDeliverTraced is BenchmarkHTTPDeliver with somebody who wants
// to know the timings.
func BenchmarkHTTPDeliverTraced(b *testing.B) {
	server := benchServer(b)
	transport := NewTransport(Guard{})
	b.Cleanup(transport.CloseIdleConnections)
	s := openSink(b, "http", "url: "+server.URL+"\nheaders: {Authorization: Bearer token}", Deps{HTTP: transport})
	e := sampleEvent()
	e.Body = benchBody()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Deliver(delivery.NewTrace(b.Context()), e); err != nil {
			b.Fatal(err)
		}
	}
}

// A trace that listens has the start of the answer, without secrets.
func TestTraceHearsTheAnswer(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, "kept, with %s", headerSecret)
	})
	s := openSink(t, "http", fmt.Sprintf("url: %q\nheaders: {Authorization: %q}", r.URL, headerSecret), Deps{})
	listening, plain := delivery.NewListeningTrace(t.Context()), delivery.NewTrace(t.Context())
	for _, ctx := range []*delivery.Trace{listening, plain} {
		if err := s.Deliver(ctx, sampleEvent()); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := listening.Heard(), (delivery.Said{Status: 201, Text: "kept, with ***"}); got != want {
		t.Errorf("Heard = %+v, want %+v", got, want)
	}
	if got := plain.Heard(); got != (delivery.Said{}) {
		t.Errorf("Heard of a trace that does not listen = %+v", got)
	}
}
