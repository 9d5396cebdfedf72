package sinks

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
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

// TestReceiversThatEndTheRequest have enough before they have read all of it.
func TestReceiversThatEndTheRequest(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer string // empty: a reset
		class  delivery.Class
	}{
		"reset": {"", delivery.Failed},
		"413":   {"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", delivery.Rejected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() { endEarly(l, tt.answer) })
			t.Cleanup(func() { l.Close(); wg.Wait() })
			e := sampleEvent()
			e.Body = bytes.Repeat([]byte("x"), 8<<20) // more than fits into the buffers of a connection
			err = openSink(t, "http", "url: http://"+l.Addr().String(), Deps{}).Deliver(within(t, longEnough), e)
			checkFailure(t, err, tt.class, "POST "+l.Addr().String())
		})
	}
}

// endEarly reads a little of each request, and answers or resets.
func endEarly(l net.Listener, answer string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.ReadFull(conn, make([]byte, 1<<10)) // what comes is not looked at
		if answer == "" {
			_ = conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
			continue
		}
		_, _ = io.WriteString(conn, answer)
		_, _ = io.Copy(io.Discard, conn) // until the sender has seen the answer
		conn.Close()
	}
}
