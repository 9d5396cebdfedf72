package ingress_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/ingress"
	"github.com/penstock/penstock/internal/event"
)

// request is a webhook of the signed source, as it goes over the wire.
func request(signature string, declared int, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: hooks.example.test\r\nX-Signature: %s\r\nContent-Length: %d\r\n\r\n%s", hookPath, signature, declared, body)
}

func write(tb testing.TB, w io.Writer, s string) {
	tb.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		tb.Fatal(err)
	}
}

// checkCut fails unless the server closes c.
func checkCut(t *testing.T, c io.Reader) {
	t.Helper()
	if n, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection stays open (%d bytes more)", n)
	}
}

func TestHeadersThatTrickleAreCut(t *testing.T) {
	t.Parallel()
	o := options(&fakePublisher{})
	o.ReadHeaderTimeout = 100 * time.Millisecond
	c := start(t, o).dial(t)
	write(t, c, "POST "+hookPath+" HTTP/1.1\r\nX-Slow: ")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := c.Write([]byte("x")); err != nil {
				return
			}
		}
	}()
	checkCut(t, c)
	_ = c.Close()
	receiveFrom(t, stopped, "the end of the trickle")
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	o := options(&fakePublisher{})
	o.IdleTimeout = 50 * time.Millisecond
	c := start(t, o).dial(t)
	write(t, c, request("good", 2, "{}"))
	r := bufio.NewReader(c)
	if got := readAnswer(t, r); got.status != 202 {
		t.Fatalf("status %d, want 202", got.status)
	}
	checkCut(t, r)
}

func TestBodiesThatDoNotArrive(t *testing.T) {
	t.Parallel()
	const chunked = "POST " + hookPath + " HTTP/1.1\r\nHost: hooks.example.test\r\nX-Signature: good\r\nTransfer-Encoding: chunked\r\n\r\n"
	tests := map[string]struct {
		sent      string
		closeHalf bool
		status    int
		says      string
	}{
		"slow":                    {sent: request("good", 100, "0123456789"), status: 408, says: "did not arrive within 2s"},
		"slow chunks":             {sent: chunked + "5\r\n01234\r\n", status: 408, says: "did not arrive within 2s"},
		"left early":              {sent: request("good", 100, "0123456789"), closeHalf: true, status: 400, says: "ended before its length"},
		"left early, in a chunk":  {sent: chunked + "5\r\n012", closeHalf: true, status: 400, says: "ended before its length"},
		"no chunk":                {sent: chunked + "nonsense\r\n", status: 400, says: "could not be read"},
		"too large, not yet sent": {sent: request("good", 64<<10+1, ""), status: 413, says: "larger than 65536 bytes"},
		"two lengths":             {sent: "POST " + hookPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", status: 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pub := &fakePublisher{}
			o := options(pub)
			if tt.status == 408 {
				o.ReadTimeout = 2 * time.Second // with the head, which a slow machine sends late
			}
			c := start(t, o).dial(t)
			write(t, c, tt.sent)
			if tt.closeHalf {
				if err := c.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			r := bufio.NewReader(c)
			got := readAnswer(t, r)
			if got.status != tt.status || !strings.Contains(got.body, tt.says) {
				t.Errorf("answer %d %s, want %d with %q", got.status, got.body, tt.status, tt.says)
			}
			if !got.closes {
				t.Error("the connection is kept, out of step with the sender")
			}
			checkCut(t, r)
			if n := len(pub.stored()); n != 0 {
				t.Errorf("%d events stored, want none", n)
			}
		})
	}
}

func TestRefusedRequestsKeepTheConnection(t *testing.T) {
	t.Parallel()
	gzip := strings.Replace(request("good", 2, "{}"), "\r\n\r\n", "\r\nContent-Encoding: gzip\r\n\r\n", 1)
	tests := map[string]struct {
		refused string
		status  int
	}{
		"wrong signature": {request("bad", 2, "{}"), 401},
		"GET":             {"GET " + hookPath + " HTTP/1.1\r\nHost: x\r\n\r\n", 405},
		"unknown path":    {strings.Replace(request("good", 2, "{}"), hookPath, "/nowhere", 1), 404},
		"compressed":      {gzip, 415},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, options(&fakePublisher{})).dial(t)
			write(t, c, tt.refused+request("good", 2, "{}")) // pipelined
			r := bufio.NewReader(c)
			if got := readAnswer(t, r); got.status != tt.status {
				t.Errorf("first answer %d, want %d", got.status, tt.status)
			}
			if got := readAnswer(t, r); got.status != 202 {
				t.Errorf("second answer %d, want 202", got.status)
			}
		})
	}
}

func TestLargeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	c := start(t, options(&fakePublisher{})).dial(t)
	write(t, c, "POST "+hookPath+" HTTP/1.1\r\nHost: x\r\nX-Large: "+strings.Repeat("x", 24<<10))
	if got := readAnswer(t, bufio.NewReader(c)); got.status != 431 {
		t.Errorf("24 KiB of headers = %d, want 431", got.status)
	}
}

func TestInFlightBounds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		requests int
		bytes    config.Size
		chunked  bool // of the request over the bound
		body     int
	}{
		"requests":       {requests: 2, bytes: 1 << 20, body: 10},
		"bytes":          {requests: 100, bytes: 64<<10 + 1000, body: 32 << 10},
		"unknown length": {requests: 100, bytes: 64<<10 + 1000, body: 32 << 10, chunked: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pub := newGatedPublisher()
			o := options(pub)
			o.Server.MaxInFlight = tt.requests
			o.Server.MaxInFlightBytes = tt.bytes
			srv := start(t, o)
			body := strings.Repeat("x", tt.body)
			answers := make(chan int, 2)
			for range 2 {
				go func() { answers <- post(t, srv.url, body).status }()
				receiveFrom(t, pub.begun, "a publish")
			}
			var over io.Reader = strings.NewReader(body)
			if tt.chunked {
				over = unsized(body)
			}
			got := send(t, "POST", srv.url+hookPath, over, good())
			if got.status != 429 || got.header.Get("Retry-After") != "1" {
				t.Errorf("the third = %d, Retry-After %q, want 429 with 1", got.status, got.header.Get("Retry-After"))
			}
			if n, bytes := srv.InFlight(); n != 2 || bytes != 2*int64(tt.body) {
				t.Errorf("InFlight = %d requests, %d bytes; want the two that are stored", n, bytes)
			}
			close(pub.release)
			for range 2 {
				if status := receiveFrom(t, answers, "an answer"); status != 202 {
					t.Errorf("one within the bound = %d, want 202", status)
				}
			}
			eventually(t, "room again", func() bool { return post(t, srv.url, body).status == 202 })
		})
	}
}

func TestChunkedBodiesReserveOnlyWhatTheyAre(t *testing.T) {
	t.Parallel()
	pub := newGatedPublisher()
	o := options(pub)
	o.Server.MaxInFlightBytes = o.Server.MaxBody + 100
	srv := start(t, o)
	answers := make(chan int, 3)
	for range 3 { // each would be refused while the one before reserved all
		go func() { answers <- send(t, "POST", srv.url+hookPath, unsized("{}"), good()).status }()
		receiveFrom(t, pub.begun, "a publish")
	}
	close(pub.release)
	for range 3 {
		if status := receiveFrom(t, answers, "an answer"); status != 202 {
			t.Errorf("a chunked request = %d, want 202", status)
		}
	}
}

func TestPublishTimeout(t *testing.T) {
	t.Parallel()
	o := options(newGatedPublisher()) // never released
	o.PublishTimeout = 50 * time.Millisecond
	if got := post(t, start(t, o).url, "{}"); got.status != 503 || got.header.Get("Retry-After") != "5" {
		t.Errorf("a store that hangs = %d, Retry-After %q, want 503 with 5", got.status, got.header.Get("Retry-After"))
	}
}

func TestPortIsTaken(t *testing.T) {
	t.Parallel()
	first := start(t, options(&fakePublisher{}))
	o := options(&fakePublisher{})
	o.Server.Listen = first.addr
	err := newServer(t, o).Listen()
	_, port, _ := net.SplitHostPort(first.addr)
	want := fmt.Sprintf("listen on %s: port %s is taken by another process; stop it or set server.listen in the file (or --listen)", first.addr, port)
	if err == nil || err.Error() != want {
		t.Errorf("Listen = %v, want %s", err, want)
	}
	var cause *net.OpError
	if !errors.As(err, &cause) {
		t.Errorf("the cause of %v is lost", err)
	}
}

func TestAddressIsNone(t *testing.T) {
	t.Parallel()
	o := options(&fakePublisher{})
	o.Server.Listen = "127.0.0.1:http:x"
	err := newServer(t, o).Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "server.listen") {
		t.Errorf("Run = %v, want an error that names server.listen", err)
	}
}

func TestStopFinishesRequests(t *testing.T) {
	t.Parallel()
	pub := newGatedPublisher()
	srv := start(t, options(pub))
	status := make(chan int, 1)
	go func() { status <- post(t, srv.url, "{}").status }()
	receiveFrom(t, pub.begun, "the publish")
	srv.stop()
	eventually(t, "not ready while stopping", func() bool {
		status, body := probe(srv.Handler(), "/readyz")
		return status == 503 && strings.Contains(body, "shutting down")
	})
	eventually(t, "no new connections", func() bool {
		c, err := net.Dial("tcp", srv.addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	close(pub.release)
	if got := receiveFrom(t, status, "the answer"); got != 202 {
		t.Errorf("the request at hand = %d, want 202", got)
	}
	if err := srv.wait(t); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	pub := newGatedPublisher() // never released
	ended := make(chan error, 1)
	wait := pub.do
	pub.do = func(ctx context.Context, e event.Event) (event.Receipt, error) {
		r, err := wait(ctx, e)
		ended <- err
		return r, err
	}
	o := options(pub)
	o.Server.ShutdownTimeout = 50 * time.Millisecond
	srv := start(t, o)
	write(t, srv.dial(t), request("good", 2, "{}"))
	receiveFrom(t, pub.begun, "the publish")
	srv.stop()
	err := srv.wait(t)
	if err == nil || !strings.Contains(err.Error(), "server.shutdown_timeout (50ms)") {
		t.Errorf("Run = %v, want an error that names server.shutdown_timeout", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the publish ended by %v, want cancelled", err)
		}
	default:
		t.Error("Run returned before the publish did")
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*ingress.Options)
		says   string
	}{
		"no publisher":        {func(o *ingress.Options) { o.Publisher = nil }, "no publisher"},
		"no body size":        {func(o *ingress.Options) { o.Server.MaxBody = 0 }, "server.max_body must be above 0"},
		"no room for a body":  {func(o *ingress.Options) { o.Server.MaxInFlightBytes = 10 }, "must be at least server.max_body"},
		"no requests":         {func(o *ingress.Options) { o.Server.MaxInFlight = 0 }, "server.max_in_flight must be above 0"},
		"no time to stop":     {func(o *ingress.Options) { o.Server.ShutdownTimeout = 0 }, "server.shutdown_timeout must be above 0"},
		"key without cert":    {func(o *ingress.Options) { o.Server.TLS.KeyFile = "key.pem" }, "both cert_file and key_file"},
		"cert not there":      {func(o *ingress.Options) { o.Server.TLS.CertFile, o.Server.TLS.KeyFile = "no.pem", "no.key" }, "read server.tls: open no.pem"},
		"path twice":          {func(o *ingress.Options) { o.Sources[1].Path = hookPath }, "sources.steps.path: /webhooks/test is taken by the source test"},
		"path of health":      {func(o *ingress.Options) { o.Sources[0].Path = "/healthz" }, "is taken by the health check"},
		"path without slash":  {func(o *ingress.Options) { o.Sources[0].Path = "hooks" }, `must look like /webhooks/test`},
		"path with parameter": {func(o *ingress.Options) { o.Sources[0].Path = "/:x" }, `got "/:x"`},
		"token of two":        {func(o *ingress.Options) { o.Sources[1].Token = "secret/word" }, "sources.steps.url_token: must be one path element"},
		"nothing to verify":   {func(o *ingress.Options) { o.Sources[0].Signed = false }, "sources.test: has neither secrets nor a url_token"},
		"no source":           {func(o *ingress.Options) { o.Sources[0].Source = nil }, "sources.test: no source"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(&fakePublisher{})
			tt.change(&o)
			_, err := ingress.New(o)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("New = %v, want an error with %q", err, tt.says)
			}
			if strings.Contains(err.Error(), "secret/word") {
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
}
