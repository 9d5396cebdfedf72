package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/delivery"
)

// Variables by which the test makes itself a Penstock that can be killed.
const (
	childConfig = "PENSTOCK_TEST_CHILD_CONFIG"
	// childFile is a file to be run instead, and reloaded when it changes.
	childFile = "PENSTOCK_TEST_CHILD_FILE"
	// childCrash is "step:n": kill yourself at the n-th time of that step.
	childCrash = "PENSTOCK_TEST_CHILD_CRASH"
)

func TestMain(m *testing.M) {
	if conf := os.Getenv(childNATS); conf != "" {
		if err := runNATS(conf); err != nil {
			fmt.Fprintln(os.Stderr, "nats child:", err)
			os.Exit(1)
		}
		return
	}
	if text := os.Getenv(childPromote); text != "" {
		if err := runPromote(text); err != nil {
			fmt.Fprintln(os.Stderr, "promote child:", err)
			os.Exit(1)
		}
		return
	}
	if yaml := os.Getenv(childConfig); yaml != "" {
		if err := runChild(yaml); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func runChild(yaml string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	o := Options{
		Version: "test", step: crashStep(os.Getenv(childCrash)),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	load := func() (*config.Config, config.Mistakes) { return Parse("child.yaml", []byte(yaml), LoadOptions{}) }
	if file := os.Getenv(childFile); file != "" {
		load = func() (*config.Config, config.Mistakes) { return Load([]string{file}, LoadOptions{}) }
		o.Load, o.Paths = load, []string{file}
	}
	c, ms := load()
	if fatal := ms.Fatal(); len(fatal) > 0 {
		return fatal
	}
	a, err := New(c, o)
	if err != nil {
		return err
	}
	if err := a.Open(ctx); err != nil {
		return err
	}
	fmt.Println(a.Addr())
	return a.Run(ctx)
}

// crashStep kills the process at the n-th time of a step.
func crashStep(at string) func(broker.Step) {
	name, count, ok := strings.Cut(at, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if !ok || err != nil {
		return nil
	}
	var seen atomic.Int64
	return func(s broker.Step) {
		if string(s) == name && seen.Add(1) == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
}

// victim is a Penstock in a process of its own.
type victim struct {
	cmd  *exec.Cmd
	url  string
	dead chan struct{}
}

func startVictim(t *testing.T, yaml, crash string) *victim {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childConfig+"="+yaml, childCrash+"="+crash)
	return startChild(t, cmd)
}

func startChild(t *testing.T, cmd *exec.Cmd) *victim {
	t.Helper()
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("child ended before it listened: %v", err)
	}
	v := &victim{cmd: cmd, url: "http://" + strings.TrimSpace(line) + "/webhooks/clickfunnels", dead: make(chan struct{})}
	go func() { _, _ = io.Copy(io.Discard, out); _ = cmd.Wait(); close(v.dead) }()
	t.Cleanup(func() { v.signal(syscall.SIGKILL) }) // if it runs still
	return v
}

func (v *victim) signal(s os.Signal) { _ = v.cmd.Process.Signal(s); <-v.dead }

// ledger is what the test knows of its events.
type ledger struct {
	url atomic.Pointer[string]

	mu       sync.Mutex
	accepted map[string]string // id → type
	sent     int
}

var crashTypes = []string{"orders/invoice.paid", "order.created", "contact.created", "form_submission.created", "brand/new.type"}

// send posts events until stop, each again until it is accepted, as the sender
// does, so that one whose answer was lost comes twice.
func (l *ledger) send(ctx context.Context) {
	for ctx.Err() == nil {
		l.mu.Lock()
		l.sent++
		n := l.sent
		l.mu.Unlock()
		id, typ := fmt.Sprintf("crash-%06d", n), crashTypes[n%len(crashTypes)]
		for ctx.Err() == nil {
			r, err := tryPost(ctx, *l.url.Load(), body(id, typ))
			if err == nil && r.Status == http.StatusAccepted {
				l.mu.Lock()
				l.accepted[id] = typ
				l.mu.Unlock()
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

// crashReceiver fails one delivery in ten, and refuses one event in fifty for good.
func crashReceiver(t *testing.T) *receiver {
	return newReceiver(t, func(n int, g got) int {
		switch {
		case refusedForGood(g.header.Get("Webhook-Id")):
			return http.StatusUnprocessableEntity
		case n%10 == 0:
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
}

func refusedForGood(id string) bool {
	return strings.HasSuffix(id, "00") || strings.HasSuffix(id, "50")
}

func crashYAML(dir string, r *receiver) string {
	return fullYAML(dir, fmt.Sprintf(`
server: {listen: "127.0.0.1:0", admin: ""}
sinks:
  all: {kind: http, url: %s/all, concurrency: 8, retry: {initial: 50ms, max_interval: 200ms}, hold: {failures: 0}}
  orders: {kind: http, url: %s/orders, concurrency: 4, retry: {initial: 50ms, max_interval: 200ms}, hold: {failures: 0}}
routes:
  - {match: [">"], to: [all]}
  - {match: ["order.>", "orders.>"], to: [orders]}
`, r.URL, r.URL))
}

// TestCrash kills the process again and again, by signal at a random moment
// and by itself between every two steps of the path, and then asks: is
// everything delivered that was accepted, and nothing to the wrong sink?
func TestCrash(t *testing.T) {
	t.Parallel()
	kills := 10
	if os.Getenv("PENSTOCK_LONG") != "" {
		kills = 200
	}
	dir, r := t.TempDir(), crashReceiver(t)
	yaml := crashYAML(dir, r)
	steps := []broker.Step{"", broker.StepWritten, broker.StepStored, broker.StepFetched, broker.StepAttempted, broker.StepReplaced, broker.StepSettled}
	l := &ledger{accepted: map[string]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for k := range kills {
		step, crash := steps[k%len(steps)], ""
		if step != "" {
			crash = fmt.Sprintf("%s:%d", step, 1+rand.IntN(60))
		}
		v := startVictim(t, yaml, crash)
		l.url.Store(&v.url)
		if k == 0 {
			for range 8 {
				senders.Go(func() { l.send(ctx) })
			}
		}
		before := l.count()
		if step == "" {
			want := before + 20 + rand.IntN(200)
			eventually(t, "some events accepted", func() bool { return l.count() >= want })
			v.signal(syscall.SIGKILL)
			continue
		}
		select {
		case <-v.dead:
		case <-time.After(patience):
			t.Fatalf("kill %d: the process never came to step %s", k, crash)
		}
	}
	admin := "127.0.0.1:" + freePort(t)
	v := startVictim(t, strings.Replace(yaml, `admin: ""`, "admin: "+strconv.Quote(admin), 1), "")
	l.url.Store(&v.url)
	want := l.count() + 50
	eventually(t, "events accepted after the last start", func() bool { return l.count() >= want })
	cancel()
	senders.Wait()
	missing := func() int { return len(undelivered(l, r)) }
	eventually(t, "everything accepted is delivered", func() bool { return missing() == 0 })
	// What was refused before a kill is only now, a while later, handed out
	// again and becomes a dead letter.
	eventually(t, "every event is settled", func() bool { n, _ := underWay(admin); return n == 0 })
	v.signal(syscall.SIGTERM)
	checkCrash(t, l, r, yaml, kills)
}

// undelivered are the accepted events that a sink has not taken, or refused
// for good.
func undelivered(l *ledger, r *receiver) []string {
	have := map[string]bool{}
	for n, g := range r.got() {
		if id := g.header.Get("Webhook-Id"); refusedForGood(id) || (n+1)%10 != 0 {
			have[g.path+" "+id] = true
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for id, typ := range l.accepted {
		if !have["/all "+id] || strings.HasPrefix(typ, "order") && !have["/orders "+id] {
			out = append(out, id)
		}
	}
	return out
}

func checkCrash(t *testing.T, l *ledger, r *receiver, yaml string, kills int) {
	t.Helper()
	taken := map[string]int{} // path and id → how often the receiver said 200
	for n, g := range r.got() {
		id := g.header.Get("Webhook-Id")
		if typ := g.header.Get("Ce-Type"); g.path == "/orders" && !strings.HasPrefix(typ, "order") {
			t.Errorf("%s of type %s went to the wrong sink", id, typ)
		}
		if !refusedForGood(id) && (n+1)%10 != 0 {
			taken[g.path+" "+id]++
		}
	}
	repeated := 0
	for _, n := range taken {
		repeated += n - 1
	}
	// What a kill can repeat: what was being attempted, and what was
	// acknowledged since the server last wrote its consumers' state.
	bound := kills * (12 + 300)
	if repeated > bound {
		t.Errorf("%d deliveries were repeated over %d kills, want at most %d", repeated, kills, bound)
	}
	dead := deadIDs(t, yaml)
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.accepted {
		if refusedForGood(id) && !dead[id] {
			t.Errorf("%s was refused for good and is no dead letter", id)
		}
	}
	t.Logf("%d kills: %d accepted, %d deliveries taken, %d repeated, %d dead letters",
		kills, len(l.accepted), len(taken), repeated, len(dead))
}

// deadIDs reads the dead letters of sink all from the stopped store.
func deadIDs(t *testing.T, yaml string) map[string]bool {
	t.Helper()
	c, ms := Parse("child.yaml", []byte(yaml), LoadOptions{})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatal(fatal)
	}
	a, err := New(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.broker.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	letters, _, err := a.broker.DeadLetters(t.Context(), delivery.DeadFilter{Sink: "all", Limit: 1_000_000})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, d := range letters {
		out[d.Event.ID] = true
	}
	return out
}
