package sinks

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkHTTPDeliver and BenchmarkBareClient do the same work, ours and with
// net/http as its documentation shows; ours should cost at most 1.2 times as
// much. Compare them with -count, in turn: -bench 'HTTPDeliver|BareClient'.
func BenchmarkHTTPDeliver(b *testing.B) {
	server := benchServer(b)
	transport := NewTransport(Guard{})
	b.Cleanup(transport.CloseIdleConnections)
	s := openSink(b, "http", "url: "+server.URL+"\nheaders: {Authorization: Bearer token}", Deps{HTTP: transport})
	e := sampleEvent()
	e.Body = benchBody()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Deliver(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBareClient(b *testing.B) {
	server := benchServer(b)
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	b.Cleanup(transport.CloseIdleConnections)
	client, body := &http.Client{Transport: transport}, benchBody()
	b.ReportAllocs()
	for b.Loop() {
		if err := barePost(b, client, server.URL, body); err != nil {
			b.Fatal(err)
		}
	}
}

// barePost sends two headers; Deliver has ten to send.
func barePost(b *testing.B, client *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer token")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func benchServer(b *testing.B) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a short read shows as a failed request
		w.WriteHeader(http.StatusNoContent)
	}))
	b.Cleanup(server.Close)
	return server
}

func benchBody() []byte { return []byte(`{"data":"` + strings.Repeat("x", 2000) + `"}`) }

// BenchmarkHTTPHeader is what we add to the request by ourselves.
func BenchmarkHTTPHeader(b *testing.B) {
	s := openSink(b, "http", "url: https://crm.example.com\nheaders: {Authorization: Bearer token}", Deps{}).(*httpSink)
	e := sampleEvent()
	b.ReportAllocs()
	for b.Loop() {
		if len(s.header(e)) == 0 {
			b.Fatal("no header")
		}
	}
}
