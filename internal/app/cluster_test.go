package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/delivery"
)

// long reports that the long forms of tests are wanted.
func long() bool { return os.Getenv("PENSTOCK_LONG") == "1" }

// replicas are Penstocks that share an external cluster.
type replicas struct {
	t     *testing.T
	nats  *natsCluster
	sinks string // the part of the configuration after the broker

	mu   sync.Mutex
	urls []string // of the ingresses that run
}

// yaml is the configuration of a process with the credentials of a role.
func (r *replicas) yaml(role string) string {
	return fmt.Sprintf(`
server: {listen: "127.0.0.1:0", admin: "127.0.0.1:0"}
broker: {url: %q, ca_file: %q, nkey_file: %q, replicas: 3, max_bytes: 256MiB, dedupe_window: 10m, durability: power}
`, r.nats.url(), r.nats.ca, r.nats.keys[role]) + r.sinks
}

// start runs one replica of a role until the returned function is called.
func (r *replicas) start(role string) (a *App, stop func()) {
	r.t.Helper()
	c, ms := Parse("cluster.yaml", []byte(fullYAML("", r.yaml(role))), LoadOptions{Roles: []string{role}})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		r.t.Fatal(fatal)
	}
	a, err := New(c, Options{Roles: []string{role}, Logger: slog.New(slog.NewTextHandler(r.t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := a.Open(r.t.Context()); err != nil {
		r.t.Fatalf("open %s: %v", role, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	url := ""
	if role == config.RoleIngress {
		url = "http://" + a.Addr().String() + "/webhooks/clickfunnels"
		r.setURLs(func(urls []string) []string { return append(urls, url) })
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			// As a load balancer does: no new requests first.
			r.setURLs(func(urls []string) []string {
				return slices.DeleteFunc(slices.Clone(urls), func(u string) bool { return u == url })
			})
			cancel()
			if err := <-ended; err != nil {
				r.t.Errorf("run %s: %v", role, err)
			}
		})
	}
	r.t.Cleanup(stop)
	return a, stop
}

func (r *replicas) setURLs(f func([]string) []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.urls = f(r.urls)
}

func (r *replicas) anyURL() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.urls) == 0 {
		return ""
	}
	return r.urls[rand.IntN(len(r.urls))]
}

// load is a steady stream of webhooks, each sent until it is accepted.
type load struct {
	r *replicas

	mu       sync.Mutex
	sent     int
	accepted map[string]time.Time
	refused  map[int]int   // status → how often
	longest  time.Duration // of one request since mark
}

func (l *load) send(ctx context.Context) {
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for ctx.Err() == nil {
		l.mu.Lock()
		l.sent++
		id, typ := fmt.Sprintf("cluster-%06d", l.sent), crashTypes[l.sent%len(crashTypes)]
		l.mu.Unlock()
		for ctx.Err() == nil && !l.try(ctx, id, typ) {
			<-pace.C
		}
		<-pace.C
	}
}

func (l *load) try(ctx context.Context, id, typ string) bool {
	began := time.Now()
	got, err := tryPost(ctx, l.r.anyURL(), body(id, typ))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest = max(l.longest, time.Since(began))
	if err == nil && got.Status == http.StatusAccepted {
		l.accepted[id] = time.Now()
		return true
	}
	if ctx.Err() == nil {
		l.refused[got.Status]++
	}
	return false
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

// more waits until n further events are accepted.
func (l *load) more(n int) {
	l.r.t.Helper()
	want := l.count() + n
	eventually(l.r.t, fmt.Sprintf("%d more events are accepted", n), func() bool { return l.count() >= want })
}

// longestGap is the longest time since from in which nothing was accepted.
func (l *load) longestGap(from time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	times := []time.Time{from}
	for _, at := range l.accepted {
		if at.After(from) {
			times = append(times, at)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	var gap time.Duration
	for i := 1; i < len(times); i++ {
		gap = max(gap, times[i].Sub(times[i-1]))
	}
	return gap
}

// mark is now, from which on the longest request counts.
func (l *load) mark() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest = 0
	return time.Now()
}

func (l *load) log(round int, what string, from time.Time) {
	l.r.t.Helper()
	gap := l.longestGap(from)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.r.t.Logf("round %d, %s: nothing was accepted for at most %s; the longest request took %s",
		round, what, gap.Round(time.Millisecond), l.longest.Round(time.Millisecond))
}

// replicaSinks are the sinks of the tests with replicas: one gets everything.
func replicaSinks(url string) string {
	return fmt.Sprintf(`
sinks:
  all: {kind: http, url: %s/all, concurrency: 8, retry: {initial: 50ms, max_interval: 200ms}, hold: {failures: 0}}
  orders: {kind: http, url: %s/orders, concurrency: 4, retry: {initial: 50ms, max_interval: 200ms}, hold: {failures: 0}}
routes:
  - {match: [">"], to: [all]}
  - {match: ["order.>", "orders.>"], to: [orders]}
`, url, url)
}

// TestCluster runs two ingresses and two routers on three NATS servers, each
// role with its own credentials and least rights, and disturbs them under
// load: whatever was accepted is stored once and reaches its sinks.
func TestCluster(t *testing.T) {
	t.Parallel()
	rounds := 1
	if long() {
		rounds = 5
	}
	rec := crashReceiver(t)
	r := &replicas{t: t, sinks: replicaSinks(rec.URL)}
	r.nats = startNATS(t, clusterRights(t, r.sinks))
	provisionCluster(t, r)
	roles := []string{config.RoleIngress, config.RoleIngress, config.RoleRouter, config.RoleRouter}
	stops := make([]func(), len(roles))
	for i, role := range roles {
		_, stops[i] = r.start(role)
	}
	console, _ := r.start(config.RoleConsole)
	l := &load{r: r, accepted: map[string]time.Time{}, refused: map[int]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() { l.send(ctx) })
	}
	l.more(100)
	for round := range rounds {
		from := l.mark()
		for i, role := range roles {
			stops[i]()
			_, stops[i] = r.start(role)
			l.more(20)
		}
		l.log(round, "rolling restart", from)

		from = l.mark()
		r.nats.stepDown()
		l.more(100)
		l.log(round, "leader stepped down", from)

		from = l.mark()
		node := r.nats.leader()
		r.nats.kill(node)
		l.more(100)
		l.log(round, "leader killed", from)
		r.nats.start(node)
		r.nats.inSync()
		l.more(50)
	}
	cancel()
	senders.Wait()
	checkCluster(t, l, rec)
	checkDead(t, l, console)
}

// clusterRights are those of each role under the configuration with sinks.
func clusterRights(t *testing.T, sinks string) func(role string) broker.Rights {
	c, ms := Parse("rights.yaml", []byte(fullYAML("unused", sinks)), LoadOptions{NoEnv: true})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatal(fatal)
	}
	return func(role string) broker.Rights {
		rights, err := NATSRights(c, role)
		if err != nil {
			t.Fatal(err)
		}
		return rights
	}
}

// provisionCluster provisions twice: the second time finds nothing to do.
func provisionCluster(t *testing.T, r *replicas) {
	t.Helper()
	for _, want := range []int{11, 0} { // seven streams, two queues for each of two sinks
		c, ms := Parse("provision.yaml", []byte(fullYAML("", r.yaml(config.RoleIngress))), LoadOptions{Roles: []string{RoleProvisioner}})
		if fatal := ms.Fatal(); len(fatal) > 0 {
			t.Fatal(fatal)
		}
		changes, err := Provision(t.Context(), c, ProvisionOptions{NKeyFile: r.nats.keys[RoleProvisioner]})
		if err != nil || len(changes) != want {
			t.Fatalf("Provision = %q, %v; want %d changes", changes, err, want)
		}
	}
}

func checkCluster(t *testing.T, l *load, rec *receiver) {
	t.Helper()
	stored := storedIDs(t, l.r.nats.js)
	types := map[string]string{}
	for i := 1; i <= l.sent; i++ {
		types[fmt.Sprintf("cluster-%06d", i)] = crashTypes[i%len(crashTypes)]
	}
	for id := range l.accepted {
		if stored[id] == 0 {
			t.Errorf("%s was accepted and is not stored", id)
		}
	}
	for id, n := range stored {
		if n != 1 {
			t.Errorf("%s is stored %d times", id, n)
		}
	}
	missing := func() []string {
		have := taken(rec)
		var out []string
		for id := range stored {
			if have["/all "+id] == 0 || strings.HasPrefix(types[id], "order") && have["/orders "+id] == 0 {
				out = append(out, id)
			}
		}
		return out
	}
	eventually(t, "everything stored is delivered to every sink", func() bool { return len(missing()) == 0 })
	deliveries, repeated := taken(rec), 0
	for key, n := range deliveries {
		path, id, _ := strings.Cut(key, " ")
		if path == "/orders" && !strings.HasPrefix(types[id], "order") {
			t.Errorf("%s of type %s went to the wrong sink", id, types[id])
		}
		repeated += n - 1
	}
	t.Logf("%d accepted, %d stored, %d deliveries, %d of them repeated, %d requests to the sinks; answers other than 202: %v",
		len(l.accepted), len(stored), len(deliveries), repeated, len(rec.got()), l.refused)
}

// taken counts, by path and id, how often a sink took an event or refused it
// for good; see crashReceiver.
func taken(rec *receiver) map[string]int {
	out := map[string]int{}
	for n, g := range rec.got() {
		if id := g.header.Get("Webhook-Id"); refusedForGood(id) || (n+1)%10 != 0 {
			out[g.path+" "+id]++
		}
	}
	return out
}

// checkDead reads the dead letters through the console's role: one for every
// event and sink that refused it for good.
func checkDead(t *testing.T, l *load, console *App) {
	t.Helper()
	want := 0
	for id := range l.accepted {
		if refusedForGood(id) {
			want++
		}
	}
	list := func() int {
		letters, _, err := console.broker.DeadLetters(t.Context(), delivery.DeadFilter{Sink: "all", Limit: 10_000})
		if err != nil { // a stream whose leader was killed has none for a while
			t.Logf("list dead letters: %v", err)
			return 0
		}
		ids := map[string]bool{}
		for _, d := range letters {
			if ids[d.Event.ID] {
				t.Fatalf("%s is a dead letter twice", d.Event.ID)
			}
			ids[d.Event.ID] = true
		}
		return len(ids)
	}
	eventually(t, fmt.Sprintf("%d dead letters", want), func() bool { return list() >= want })
	letters, _, err := console.broker.DeadLetters(t.Context(), delivery.DeadFilter{Sink: "all", Limit: 1})
	if err != nil || len(letters) != 1 {
		t.Fatalf("one dead letter = %d, %v", len(letters), err)
	}
	if _, err := console.broker.RetryDead(t.Context(), letters[0].Seq); err != nil {
		t.Errorf("retry a dead letter: %v", err)
	}
	if _, err := console.broker.Stats(t.Context()); err != nil {
		t.Errorf("statistics: %v", err)
	}
}

// storedIDs counts the events stored under each id. A cluster that has just
// lost and regained a node may need to be asked more than once.
func storedIDs(t *testing.T, js jetstream.JetStream) (out map[string]int) {
	t.Helper()
	eventually(t, "the stored events can be read", func() bool {
		var err error
		if out, err = readIDs(t.Context(), js); err != nil {
			t.Logf("reading stored events: %v", err)
		}
		return err == nil
	})
	return out
}

func readIDs(ctx context.Context, js jetstream.JetStream) (map[string]int, error) {
	s, err := js.Stream(ctx, broker.EventsStream)
	if err != nil {
		return nil, err
	}
	left := s.CachedInfo().State.Msgs
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{HeadersOnly: true})
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for left > 0 {
		batch, err := c.Fetch(int(min(left, 1000)), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return nil, err
		}
		got := uint64(0)
		for m := range batch.Messages() {
			out[m.Headers().Get("Ce-Id")]++
			got++
		}
		if got == 0 {
			return nil, fmt.Errorf("%d are left: %w", left, cmp.Or(batch.Error(), context.DeadlineExceeded))
		}
		left -= got
	}
	return out, nil
}
