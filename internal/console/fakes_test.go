package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// noon is when everything in these tests happens.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const secret = "s3cr3t-admin-token"

// letters is a DeadLetters in memory.
type letters struct {
	mu      sync.Mutex
	kept    []delivery.DeadLetter
	retried []uint64
	dropped []uint64
	// fail, when set, may refuse a change.
	fail func(seq uint64) error
	// after, when set, is called after every change, under the lock.
	after func(*letters, delivery.DeadLetter)
	// block, when set, holds up every list until it is closed; entered is told.
	block, entered chan struct{}
}

// newLetters returns n letters, 1 to n, of which the odd ones are sink crm's
// and the others sales', one a minute, the last at noon.
func newLetters(n int) *letters {
	l := &letters{}
	for i := range n {
		l.add(i+1, noon.Add(-time.Duration(n-1-i)*time.Minute))
	}
	return l
}

func (l *letters) add(seq int, died time.Time) {
	sink, class := "crm", delivery.Rejected
	if seq%2 == 0 {
		sink, class = "sales", delivery.Failed
	}
	l.kept = append(l.kept, delivery.DeadLetter{
		Seq: uint64(seq), Sink: sink, Died: died, Attempts: 3, First: died.Add(-time.Hour), Class: class,
		Reason: "answered 422 Unprocessable Entity", Status: 422,
		Event: event.Event{
			ID: fmt.Sprintf("evt-%d", seq), Type: "orders/invoice.paid", Source: "clickfunnels",
			Subject: "orders.invoice.paid", APIVersion: 2, Received: died.Add(-2 * time.Hour),
			Seq: uint64(100 + seq), Body: []byte(`{"total":"<1 €>"}`),
		},
	})
}

func (l *letters) DeadLetters(ctx context.Context, f delivery.DeadFilter) ([]delivery.DeadLetter, bool, error) {
	if l.block != nil {
		l.entered <- struct{}{}
		select {
		case <-l.block:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []delivery.DeadLetter
	for _, d := range l.kept {
		if d.Seq <= f.After || f.Sink != "" && d.Sink != f.Sink || f.Class != "" && d.Class != f.Class || d.Died.Before(f.Since) {
			continue
		}
		if len(out) == f.Limit {
			return out, true, nil
		}
		d.Event.Body = nil
		out = append(out, d)
	}
	return out, false, nil
}

func (l *letters) find(seq uint64) (int, error) {
	i := slices.IndexFunc(l.kept, func(d delivery.DeadLetter) bool { return d.Seq == seq })
	if i < 0 {
		return 0, fmt.Errorf("%w: %d", delivery.ErrNoDeadLetter, seq)
	}
	return i, nil
}

func (l *letters) DeadLetter(_ context.Context, seq uint64) (delivery.DeadLetter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, err := l.find(seq)
	if err != nil {
		return delivery.DeadLetter{}, err
	}
	return l.kept[i], nil
}

func (l *letters) RetryDead(_ context.Context, seq uint64) (delivery.DeadLetter, error) {
	return l.change(seq, &l.retried)
}

func (l *letters) DropDead(_ context.Context, seq uint64) (delivery.DeadLetter, error) {
	return l.change(seq, &l.dropped)
}

func (l *letters) change(seq uint64, done *[]uint64) (delivery.DeadLetter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, err := l.find(seq)
	if err != nil {
		return delivery.DeadLetter{}, err
	}
	if l.fail != nil {
		if err := l.fail(seq); err != nil {
			return delivery.DeadLetter{}, err
		}
	}
	d := l.kept[i]
	l.kept = slices.Delete(l.kept, i, i+1)
	*done = append(*done, seq)
	if l.after != nil {
		l.after(l, d)
	}
	return d, nil
}

// safeBuffer is a buffer for logs.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// running is a server that serves.
type running struct {
	*Server
	url  string
	log  *safeBuffer
	stop func() error // ends Run and returns what it returned
}

// serve runs a server with the letters, changed by edit.
func serve(t *testing.T, l *letters, edit func(*Options)) running {
	t.Helper()
	logged := &safeBuffer{}
	o := Options{
		Addr: "127.0.0.1:0", Dead: l,
		Sinks: func(context.Context) ([]SinkStatus, error) {
			return []SinkStatus{{Name: "crm", Kind: "http", State: "held", Since: noon, Failures: 10, LastError: "answered 503"}}, nil
		},
		Status: func(context.Context) (Status, error) {
			return Status{Version: "1.2.3", Started: noon, Durability: "power", DataDir: "penstock-data",
				Events: EventCounts{Kept: 9, FirstSeq: 1, LastSeq: 9}}, nil
		},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "penstock_up 1\n") }),
		Logger:  slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:     func() time.Time { return noon },
	}
	if edit != nil {
		edit(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	if err := s.Listen(); err != nil {
		t.Fatalf("Listen: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return running{Server: s, url: "http://" + s.Addr().String(), log: logged, stop: stop}
}

// withToken makes serve ask for the secret.
func withToken(o *Options) { o.Tokens = operator(secret) }

// operator is one operator with a token, nobody without one.
func operator(token string) []Credential {
	return Credentials(config.Server{AdminToken: config.NewSecret(token)})
}

// ask makes a request and returns status and body. Headers are "Name: value";
// Host is one of them.
func (r running) ask(t *testing.T, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	resp, err := (&http.Client{Transport: describedTransport{t}}).Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(got)
}

// client returns a client of the server with a token.
func (r running) client(t *testing.T, token string) *Client {
	t.Helper()
	c, err := NewClient(r.url, token, &http.Client{Transport: describedTransport{t}, Timeout: time.Minute})
	if err != nil {
		t.Fatalf("NewClient: %v", err)
	}
	return c
}

var errDown = errors.New("store dead letter: no answer")
