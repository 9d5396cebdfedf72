package sinks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
)

// The secrets of the sinks under test. No error, log or kept answer may hold one.
const (
	headerSecret = "header-secret/with+signs"
	querySecret  = "query-secret&more"
	pathSecret   = "T0000-path-secret-B0000"
)

var allSecrets = []string{headerSecret, querySecret, pathSecret}

// receipt is one event as the receiver has it.
type receipt struct {
	id   string
	body []byte
}

// receiver is the other end of a sink of any kind.
type receiver struct {
	*httptest.Server
	// answer is called when a request has been noted; nil answers 204.
	answer http.HandlerFunc

	mu       sync.Mutex
	requests []*http.Request
	bodies   [][]byte
	stdout   bytes.Buffer

	serving sync.Once
	url     string                     // of what the fixture serves
	served  func(*testing.T) []receipt // what has arrived there
}

// at is where a sink of the fixture's kind delivers to.
func (r *receiver) at(t *testing.T, f fixture) string {
	t.Helper()
	if f.serve == nil {
		return r.URL
	}
	r.serving.Do(func() { r.url, r.served = f.serve(t) })
	return r.url
}

// elsewhere returns the events that came to what the fixture serves.
func (r *receiver) elsewhere(t *testing.T) []receipt {
	t.Helper()
	if r.served == nil {
		return nil
	}
	return r.served(t)
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := unstartedReceiver(answer)
	r.Start()
	t.Cleanup(r.Close)
	return r
}

func unstartedReceiver(answer http.HandlerFunc) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender gave up
	}
	r.mu.Lock()
	r.requests = append(r.requests, req)
	r.bodies = append(r.bodies, body)
	r.mu.Unlock()
	if r.answer != nil {
		r.answer(w, req)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// Write makes the receiver a standard output.
func (r *receiver) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stdout.Write(p)
}

// posted returns the events that came by HTTP.
func (r *receiver) posted(t *testing.T) []receipt {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []receipt
	for i, req := range r.requests {
		id := req.Header.Get("Webhook-Id")
		if ce := req.Header.Get("Ce-Id"); ce != id {
			t.Errorf("Ce-Id %q differs from Webhook-Id %q", ce, id)
		}
		all = append(all, receipt{id, r.bodies[i]})
	}
	return all
}

// logged returns the events that came by standard output, a line each.
func (r *receiver) logged(t *testing.T) []receipt {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []receipt
	for line := range strings.Lines(r.stdout.String()) {
		var l struct {
			ID     string
			Body   json.RawMessage
			Text   *string `json:"body_text"`
			Base64 []byte  `json:"body_base64"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("line %.200q is not JSON: %v", line, err)
		}
		switch {
		case l.Text != nil:
			all = append(all, receipt{l.ID, []byte(*l.Text)})
		case l.Base64 != nil:
			all = append(all, receipt{l.ID, l.Base64})
		default:
			all = append(all, receipt{l.ID, l.Body})
		}
	}
	return all
}

// lastHeader returns the header of the last request.
func (r *receiver) lastHeader(t *testing.T) http.Header {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.requests) == 0 {
		t.Fatal("no request came")
	}
	return r.requests[len(r.requests)-1].Header
}

// sinkConfig returns the configuration of a sink called crm.
func sinkConfig(t testing.TB, kind, options string) config.Sink {
	t.Helper()
	n, err := config.NodeFrom("penstock.yaml", options)
	if err != nil {
		t.Fatalf("options %q: %v", options, err)
	}
	return config.Sink{
		Pos:     config.Pos{File: "penstock.yaml", Line: 3, Column: 5},
		Name:    "crm",
		Kind:    kind,
		Timeout: 10 * time.Second,
		Retry:   config.Retry{PermanentStatuses: []int{400, 410, 413, 415, 422}},
		Options: n,
	}
}

// openSink opens a sink called crm with a transport of its own.
func openSink(t testing.TB, kind, options string, d Deps) Sink {
	t.Helper()
	s, err := Open(sinkConfig(t, kind, options), d)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if c, ok := s.(io.Closer); ok {
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	return s
}

func sampleEvent() event.Event {
	return event.Event{
		ID:         "0b9f4a5e-7c1d-4c5e-9a58-0d2f4b6a8c10",
		Type:       "orders/invoice.paid",
		Source:     "clickfunnels",
		Subject:    "orders.invoice.paid",
		APIVersion: 2,
		Received:   time.Date(2026, 11, 23, 12, 34, 56, 789e6, time.FixedZone("CET", 3600)),
		Seq:        42,
		Body:       []byte(`{"event_type":"orders/invoice.paid","data":{"id":1}}`),
	}
}

// quiet is a logger whose output a test can look at.
func quiet() (*slog.Logger, fmt.Stringer) {
	b := &lockedBuffer{}
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})), b
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
