package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/router"
)

const testSecret = "3f1c0a5e9b7d42688e21d4c0b6a7f9135d8e2b4c6a7091f3e5d7c9b1a3f5e7d9"

// process is a Penstock that runs within the test.
type process struct {
	*App
	t    *testing.T
	stop func()
}

// run starts a Penstock with the given YAML after the part that all tests
// share: a source, and data in dir.
func run(t *testing.T, dir, yaml string) *process {
	t.Helper()
	return runObserved(t, dir, yaml, nil)
}

// runObserved is run with somebody who is told of every attempt.
func runObserved(t *testing.T, dir, yaml string, attempted func(router.Observation)) *process {
	t.Helper()
	return runWith(t, dir, yaml, Options{Attempted: attempted})
}

// runWith is run with options; their version and logger are the tests' own.
func runWith(t *testing.T, dir, yaml string, o Options) *process {
	t.Helper()
	o.Version = "test"
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	a := build(t, dir, yaml, o)
	if err := a.Open(t.Context()); err != nil {
		t.Fatalf("Open: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	var once sync.Once
	p := &process{App: a, t: t}
	p.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(p.stop)
	return p
}

func build(t *testing.T, dir, yaml string, o Options) *App {
	t.Helper()
	c, ms := Parse("test.yaml", []byte(fullYAML(dir, yaml)), LoadOptions{})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatalf("configuration:\n%v\n%s", fatal, fullYAML(dir, yaml))
	}
	a, err := New(c, o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return a
}

// fullYAML puts server, broker and source before yaml, each unless yaml has it.
func fullYAML(dir, yaml string) string {
	var b strings.Builder
	for _, part := range []string{
		"server: {listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n",
		fmt.Sprintf("broker: {data_dir: %q, durability: process, max_bytes: 256MiB, dedupe_window: 10m}\n", dir),
		fmt.Sprintf("sources: {clickfunnels: {kind: clickfunnels, secrets: [%s]}}\n", testSecret),
	} {
		key, _, _ := strings.Cut(part, ":")
		if !strings.Contains("\n"+yaml, "\n"+key+":") {
			b.WriteString(part)
		}
	}
	return b.String() + yaml
}

func (p *process) url() string { return "http://" + p.Addr().String() + "/webhooks/clickfunnels" }

// receipt is the answer to a webhook.
type receipt struct {
	Status    int
	ID        string `json:"id"`
	Subject   string `json:"subject"`
	Seq       uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"`
	Error     string `json:"error"`
	header    http.Header
}

// post sends a signed body and returns the answer.
func post(t *testing.T, url string, body []byte) receipt {
	t.Helper()
	r, err := tryPost(t.Context(), url, body)
	if err != nil {
		t.Fatalf("POST: %v", err)
	}
	return r
}

func tryPost(ctx context.Context, url string, body []byte) (receipt, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return receipt{}, err
	}
	req.Header = clickfunnels.Sign(testSecret, time.Now(), body)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return receipt{}, err
	}
	defer resp.Body.Close()
	r := receipt{Status: resp.StatusCode, header: resp.Header}
	return r, json.NewDecoder(resp.Body).Decode(&r)
}

// accepted posts and expects a 202.
func accepted(t *testing.T, url string, body []byte) receipt {
	t.Helper()
	r := post(t, url, body)
	if r.Status != http.StatusAccepted {
		t.Fatalf("POST of %.200s answered %d %s", body, r.Status, r.Error)
	}
	return r
}

// got is one delivery at a receiver.
type got struct {
	path   string
	header http.Header
	body   []byte
}

// receiver is a real HTTP server that keeps what it is sent.
type receiver struct {
	*httptest.Server
	answer func(n int, g got) int // the status for the n-th request, from 1

	mu  sync.Mutex
	all []got
}

func newReceiver(t *testing.T, answer func(n int, g got) int) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func ok(int, got) int { return http.StatusNoContent }

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	g := got{path: req.URL.Path, header: req.Header.Clone(), body: body}
	r.mu.Lock()
	r.all = append(r.all, g)
	n := len(r.all)
	r.mu.Unlock()
	w.WriteHeader(r.answer(n, g))
}

func (r *receiver) got() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]got(nil), r.all...)
}

// byID are the bodies received under each id.
func (r *receiver) byID() map[string][][]byte {
	out := map[string][][]byte{}
	for _, g := range r.got() {
		id := g.header.Get("Webhook-Id")
		out[id] = append(out[id], g.body)
	}
	return out
}

// patience is for how long tests wait for what has to come: as long as the
// most loaded machine takes, for nothing waits so long that comes at all.
const patience = 2 * time.Minute

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		<-tick.C
	}
}

func body(id, eventType string) []byte {
	typ, _ := json.Marshal(eventType)
	return fmt.Appendf(nil, `{"data":{"id":7,"total_amount":"49.00"},"event_id":%q,"event_type":%s,"api_version":2}`, id, typ)
}

// runConfig runs a configuration until the test has ended.
func runConfig(t *testing.T, c *config.Config, o Options) *App {
	t.Helper()
	a, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return a
}
