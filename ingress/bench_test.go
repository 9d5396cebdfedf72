package ingress_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/ingress"
	"github.com/penstock/penstock/internal/event"
)

// BenchmarkReceive is the cost of taking one webhook of 1 KiB, verifying and
// storing not counted.
func BenchmarkReceive(b *testing.B) {
	body := strings.Repeat("x", 1<<10)
	b.Run("handler", func(b *testing.B) {
		h := newServer(b, options(instantPublisher{})).Handler()
		raw := []byte(body)
		payload := rewinder{bytes.NewReader(raw)}
		r := httptest.NewRequest("POST", hookPath, nil)
		r.Header, r.Body, r.ContentLength = good(), payload, int64(len(body))
		w := &nullWriter{header: http.Header{}}
		b.ReportAllocs()
		for b.Loop() {
			payload.Reset(raw)
			h.ServeHTTP(w, r)
		}
		if w.status != http.StatusAccepted {
			b.Fatalf("status %d", w.status)
		}
	})
	b.Run("connection", func(b *testing.B) {
		o := options(instantPublisher{})
		o.ReadTimeout, o.WriteTimeout = time.Hour, time.Hour
		c := start(b, o).dial(b)
		_ = c.SetDeadline(time.Time{})
		wire := []byte(request("good", len(body), body))
		reply := make([]byte, 4<<10)
		if _, err := c.Write(wire); err != nil {
			b.Fatal(err)
		}
		n, err := c.Read(reply) // every later answer is as long as this one
		if err != nil || !bytes.HasPrefix(reply, []byte("HTTP/1.1 202")) {
			b.Fatalf("answer %q, %v", reply[:n], err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Write(wire); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, reply[:n]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

type instantPublisher struct{}

func (instantPublisher) Publish(context.Context, event.Event) (event.Receipt, error) {
	return event.Receipt{Seq: 42}, nil
}

var _ ingress.Publisher = instantPublisher{}

type rewinder struct{ *bytes.Reader }

func (rewinder) Close() error { return nil }

type nullWriter struct {
	header http.Header
	status int
}

func (w *nullWriter) Header() http.Header         { return w.header }
func (w *nullWriter) WriteHeader(status int)      { w.status = status }
func (w *nullWriter) Write(p []byte) (int, error) { return len(p), nil }
