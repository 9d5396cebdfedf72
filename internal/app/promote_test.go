package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/console"
)

// childPromote, set to the JSON of a promoteChild, makes the test that promotion.
const childPromote = "PENSTOCK_TEST_CHILD_PROMOTE"

// promoteChild is a promotion in a process of its own, which kills itself after
// a step.
type promoteChild struct {
	Admin, To, NKey, Dir string
	Crash                PromoteStep
	Abort                bool
}

func runPromote(text string) error {
	var p promoteChild
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	client, err := console.NewClient("http://"+p.Admin, "", nil)
	if err != nil {
		return err
	}
	to, ms := Parse("to.yaml", []byte(p.To), LoadOptions{Roles: []string{RoleProvisioner}})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		return fatal
	}
	o := PromoteOptions{
		From: client, To: to, Dir: p.Dir, Version: "test", Store: StoreOptions{NKeyFile: p.NKey, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))},
		Lease: time.Hour, // for as long as the next process takes to come
		Done: func(s PromoteStep) {
			if s == p.Crash {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // the signal is on its way
			}
		},
	}
	if p.Abort {
		return AbortPromotion(context.Background(), o)
	}
	m, err := Promote(context.Background(), o)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

// run runs the promotion to its end, or its death.
func (p promoteChild) run(t *testing.T) (*Promotion, error) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childPromote+"="+string(text))
	cmd.Stderr = t.Output()
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	m := &Promotion{}
	if p.Abort {
		return m, nil
	}
	return m, json.Unmarshal(out.Bytes(), m)
}

// promoteSteps are all steps.
var promoteSteps = []PromoteStep{StepChecked, StepHeld, StepSaved, StepRestored, StepCompared, StepProvisioned, StepSwitched}

// TestPromote moves a running process under load from the embedded queue to
// three NATS servers: first it is given up half-way, then killed after every
// step and run again, and then the new process starts. Nothing that was
// accepted is lost, and nothing is stored twice.
func TestPromote(t *testing.T) {
	t.Parallel()
	rec := crashReceiver(t)
	sinks := fmt.Sprintf(`
sinks:
  all: {kind: http, url: %s/all, concurrency: 8, retry: {initial: 50ms, max_interval: 200ms}, hold: {failures: 0}}
  orders: {kind: http, url: %s/orders, concurrency: 4, retry: {initial: 50ms, max_interval: 200ms}, hold: {failures: 0}}
routes:
  - {match: [">"], to: [all]}
  - {match: ["order.>", "orders.>"], to: [orders]}
`, rec.URL, rec.URL)
	cluster := startNATS(t, clusterRights(t, sinks))
	dir, admin := t.TempDir(), "127.0.0.1:"+freePort(t)
	old := startVictim(t, fullYAML(dir, fmt.Sprintf("\nserver: {listen: \"127.0.0.1:0\", admin: %q}\n", admin)+sinks), "")
	to := fullYAML("", fmt.Sprintf(`
server: {listen: "127.0.0.1:0", admin: "127.0.0.1:0"}
broker: {url: %q, ca_file: %q, replicas: 3, max_bytes: 256MiB, dedupe_window: 10m, durability: power}
`, strings.ReplaceAll(cluster.url(), "tls://", "tls://everything:everything@"), cluster.ca)+sinks)

	l := &ledger{accepted: map[string]string{}}
	l.url.Store(&old.url)
	ctx, cancel := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() { l.send(ctx) })
	}
	more := func(n int) {
		t.Helper()
		want := l.count() + n
		eventually(t, fmt.Sprintf("%d more events are accepted", n), func() bool { return l.count() >= want })
	}
	more(300)

	p := promoteChild{Admin: admin, To: strings.ReplaceAll(to, "everything:everything@", ""), NKey: cluster.keys[broker.RoleBackup], Dir: filepath.Join(t.TempDir(), "move")}
	abandoned := p
	abandoned.Crash = StepCompared
	if _, err := abandoned.run(t); err == nil {
		t.Fatal("the promotion outlived its death")
	}
	abandoned.Abort = true
	if _, err := abandoned.run(t); err != nil {
		t.Fatalf("abort: %v", err)
	}
	if _, err := cluster.js.Stream(t.Context(), broker.EventsStream); err == nil {
		t.Error("the cluster still has the events of a move that was given up")
	}
	more(100) // the old process goes on

	for _, step := range promoteSteps {
		killed := p
		killed.Crash = step
		if _, err := killed.run(t); err == nil {
			t.Fatalf("the promotion outlived its death at step %s", step)
		}
		if step != StepChecked {
			refused(t, old.url)
		}
	}
	m, err := p.run(t)
	if err != nil {
		t.Fatalf("the promotion that was killed at every step does not end: %v", err)
	}
	refused(t, old.url)
	before := l.count()
	old.signal(syscall.SIGTERM)
	movedIsClosed(t, dir, sinks)
	a := runCluster(t, to)
	url := "http://" + a.Addr().String() + "/webhooks/clickfunnels"
	l.url.Store(&url)
	eventually(t, "an event is accepted by the new process", func() bool { return l.count() > before })
	down := time.Since(m.Held)
	more(300)
	cancel()
	senders.Wait()
	eventually(t, "everything accepted is delivered", func() bool { return len(undelivered(l, rec)) == 0 })
	checkPromoted(t, l, rec, cluster)
	t.Logf("webhooks were not taken for %s, in which the promotion was killed %d times", down.Round(10*time.Millisecond), len(promoteSteps))
}

// refused expects the answer that makes senders try again.
func refused(t *testing.T, url string) {
	t.Helper()
	r := post(t, url, body("refused", "order.created"))
	if wait, _ := strconv.Atoi(r.header.Get("Retry-After")); r.Status != http.StatusServiceUnavailable || wait == 0 {
		t.Errorf("while the events are moved a webhook is answered %d, Retry-After %q; want 503 with a time", r.Status, r.header.Get("Retry-After"))
	}
}

// movedIsClosed expects the old store to refuse a start.
func movedIsClosed(t *testing.T, dir, sinks string) {
	t.Helper()
	a := build(t, dir, sinks, Options{})
	if err := a.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "were moved to tls://127.0.0.1") {
		t.Errorf("opening the store that was moved = %v", err)
	}
}

// runCluster runs one process with all roles.
func runCluster(t *testing.T, yaml string) *App {
	t.Helper()
	c, ms := Parse("to.yaml", []byte(yaml), LoadOptions{})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatal(fatal)
	}
	return runConfig(t, c, Options{Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))})
}

func checkPromoted(t *testing.T, l *ledger, rec *receiver, cluster *natsCluster) {
	t.Helper()
	stored := storedIDs(t, cluster.js)
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.accepted {
		if stored[id] != 1 {
			t.Errorf("%s was accepted and is stored %d times, want once", id, stored[id])
		}
	}
	repeated, deliveries := 0, taken(rec)
	for _, n := range deliveries {
		repeated += n - 1
	}
	// As after a crash: what was acknowledged since the last time that the
	// server wrote its consumers' state, which draining has left to be none.
	if bound := 12 + 300; repeated > bound {
		t.Errorf("%d deliveries were repeated, want at most %d", repeated, bound)
	}
	t.Logf("%d accepted, %d stored, %d deliveries taken, %d of them repeated", len(l.accepted), len(stored), len(deliveries), repeated)
}

// oneNATS starts a single server that everybody may use.
func oneNATS(t *testing.T) (url string, js jetstream.JetStream) {
	t.Helper()
	url = externalNATS(t)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return url, js
}

// An error after any step before the switch lets webhooks in again; then the
// move can be made.
func TestPromotionThatFailsOnTheWay(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t, ok)
	yaml := strings.ReplaceAll(intakeYAML, "%s", rec.URL)
	p := run(t, t.TempDir(), yaml)
	accepted(t, p.url(), body("one", "order.created"))
	url, js := oneNATS(t)
	c := build(t, t.TempDir(), yaml, Options{}).Config()
	c.Broker.URL, c.Broker.MaxBytes = url, 256<<20
	dir := t.TempDir()
	for n, step := range []PromoteStep{StepChecked, StepHeld, StepSaved} {
		o := PromoteOptions{From: p.client(), To: c, Dir: dir, Done: func(s PromoteStep) {
			if s == step { // somebody takes the place
				if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: broker.EventsStream, Subjects: []string{"mine"}}); err != nil {
					t.Error(err)
				}
			}
		}}
		_, err := Promote(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "was not made by Penstock") {
			t.Fatalf("Promote, with somebody else's stream after step %s = %v", step, err)
		}
		if r := post(t, p.url(), body(fmt.Sprint("after ", step), "order.created")); r.Status != http.StatusAccepted || r.Seq != uint64(n+2) {
			t.Errorf("after it a webhook is answered %d with sequence %d, want 202 with %d", r.Status, r.Seq, n+2)
		}
		if err := js.DeleteStream(t.Context(), broker.EventsStream); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Promote(t.Context(), PromoteOptions{From: p.client(), To: c, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), broker.EventsStream)
	if err != nil || s.CachedInfo().State.Msgs != 4 || m.Steps[StepSwitched].IsZero() {
		t.Errorf("after the move the cluster has %+v, %v; want 4 events", s.CachedInfo().State, err)
	}
	refused(t, p.url())
}
