package ingress_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/ingress"
	"github.com/penstock/penstock/internal/event"
)

const (
	hookPath  = "/webhooks/test"
	stepPath  = "/webhooks/steps"
	stepToken = "tok-5d41402abc4b2a76"
	// patience is how long a test waits for what must happen soon.
	patience = 2 * time.Minute
)

// fakeSource takes requests whose X-Signature is "good".
type fakeSource struct{}

func (fakeSource) Verify(h http.Header, _ []byte, _ time.Time) error {
	switch h.Get("X-Signature") {
	case "good":
		return nil
	case "":
		return errors.New("missing header X-Signature")
	case "stale":
		return errors.New("timestamp is 700 s old, 600 s are allowed")
	case "long":
		return errors.New(strings.Repeat("e", 1000))
	case "hinted":
		return hintedError{}
	case "panic":
		panic("source broke")
	}
	return errors.New("wrong signature")
}

func (fakeSource) Decode(h http.Header, body []byte, now time.Time) event.Event {
	id := h.Get("X-Id")
	if id == "" {
		id = "ev-1"
	}
	return event.Event{ID: id, Type: "orders/invoice.paid", Source: "test", Subject: "orders.invoice.paid", Received: now, Body: body}
}

type hintedError struct{}

func (hintedError) Error() string { return "timestamp is in milliseconds" }
func (hintedError) Hint() string  { return "send seconds" }

// fakePublisher keeps copies of what it was given. A nil do accepts all.
type fakePublisher struct {
	do func(context.Context, event.Event) (event.Receipt, error)

	mu     sync.Mutex
	events []event.Event
}

func (p *fakePublisher) Publish(ctx context.Context, e event.Event) (event.Receipt, error) {
	receipt := event.Receipt{Seq: 42}
	if p.do != nil {
		var err error
		if receipt, err = p.do(ctx, e); err != nil {
			return event.Receipt{}, err
		}
	}
	e.Body = bytes.Clone(e.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
	return receipt, nil
}

func (p *fakePublisher) stored() []event.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.events)
}

// gatedPublisher lets every Publish wait, after telling that it has begun.
type gatedPublisher struct {
	fakePublisher
	begun, release chan struct{}
}

func newGatedPublisher() *gatedPublisher {
	p := &gatedPublisher{begun: make(chan struct{}, 100), release: make(chan struct{})}
	p.do = func(ctx context.Context, _ event.Event) (event.Receipt, error) {
		p.begun <- struct{}{}
		select {
		case <-p.release:
			return event.Receipt{Seq: 7}, nil
		case <-ctx.Done():
			return event.Receipt{}, ctx.Err()
		}
	}
	return p
}

// logBuffer collects log lines, from debug up.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// clock stands still until it is told to move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// options are those of a small server with a signed source and one with a token.
func options(p ingress.Publisher) ingress.Options {
	return ingress.Options{
		Server: config.Server{
			Listen:           "127.0.0.1:0",
			MaxBody:          64 << 10,
			MaxInFlight:      100,
			MaxInFlightBytes: 1 << 20,
			ShutdownTimeout:  patience,
		},
		Sources: []ingress.Endpoint{
			{Name: "test", Path: hookPath, Source: fakeSource{}, Signed: true},
			{Name: "steps", Path: stepPath, Source: fakeSource{}, Token: stepToken},
		},
		Publisher: p,
	}
}

func newServer(tb testing.TB, o ingress.Options) *ingress.Server {
	tb.Helper()
	s, err := ingress.New(o)
	if err != nil {
		tb.Fatalf("New: %v", err)
	}
	return s
}

// running is a server that runs until the test ends or stop is called.
type running struct {
	*ingress.Server
	url  string
	addr string
	stop context.CancelFunc
	done chan error
}

func start(tb testing.TB, o ingress.Options) *running {
	tb.Helper()
	s := newServer(tb, o)
	if err := s.Listen(); err != nil {
		tb.Fatalf("Listen: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Server: s, addr: s.Addr().String(), stop: cancel, done: make(chan error, 1)}
	r.url = "http://" + r.addr
	go func() {
		r.done <- s.Run(ctx)
		close(r.done)
	}()
	tb.Cleanup(func() {
		cancel()
		for range r.done {
		}
	})
	return r
}

// wait returns what Run returned.
func (r *running) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(patience):
		t.Fatal("Run does not return")
		return nil
	}
}

// dial opens a connection that no wait can hang on.
func (r *running) dial(tb testing.TB) *net.TCPConn {
	tb.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
	closes bool
}

func readAnswer(tb testing.TB, r *bufio.Reader) answer {
	tb.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		tb.Fatalf("read response: %v", err)
	}
	return toAnswer(tb, resp)
}

func toAnswer(tb testing.TB, resp *http.Response) answer {
	tb.Helper()
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatalf("read response body: %v", err)
	}
	return answer{resp.StatusCode, resp.Header, string(body), resp.Close}
}

// post sends a good webhook of the signed source.
func post(tb testing.TB, url, body string) answer {
	tb.Helper()
	return send(tb, http.MethodPost, url+hookPath, strings.NewReader(body), http.Header{"X-Signature": {"good"}})
}

func send(tb testing.TB, method, url string, body io.Reader, h http.Header) answer {
	tb.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header = h
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	return toAnswer(tb, resp)
}

// eventually waits until ok.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			tb.Fatalf("waited %s in vain: %s", patience, what)
		}
	}
}

// receiveFrom takes one value from c, or fails.
func receiveFrom[T any](tb testing.TB, c <-chan T, what string) T {
	tb.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		tb.Fatalf("waited %s in vain: %s", patience, what)
		panic("not reached")
	}
}
