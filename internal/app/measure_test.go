package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/clickfunnels"
)

// gauge is the value of a series, and whether there is one.
func gauge(t *testing.T, page, series string) (float64, bool) {
	t.Helper()
	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v, true
		}
	}
	return 0, false
}

// shows waits until a series has a value that is as it should be.
func (p *process) shows(series string, is func(float64) bool) float64 {
	p.t.Helper()
	var v float64
	eventually(p.t, series+" is as it should be", func() bool {
		var ok bool
		v, ok = gauge(p.t, metrics(p.t, p), series)
		return ok && is(v)
	})
	return v
}

// What senders invent makes no series, all the way through the ingress.
func TestInventedTypesMakeNoSeries(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), strings.ReplaceAll(toCRM, "URL", r.URL))
	// One of everything first, so that what is counted below is only new.
	accepted(t, p.url(), body("first", "order.created"))
	accepted(t, p.url(), body("unknown", "brand/new"))
	accepted(t, p.url(), body("third", "order.created")) // from three on the clock is known
	p.shows(`penstock_deliveries_total{outcome="delivered",sink="crm"}`, func(v float64) bool { return v == 3 })
	own := regexp.MustCompile(`(?m)^penstock_\S+`)
	series := func(page string) map[string]bool {
		out := map[string]bool{}
		for _, s := range own.FindAllString(page, -1) {
			out[s] = true
		}
		return out
	}
	before := series(metrics(t, p))

	const invented, senders = 10_000, 16
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for n := s; n < invented; n += senders {
				b := body(fmt.Sprint("i", n), fmt.Sprintf("invented%d/thing.n%d", n%100, n))
				req := httptest.NewRequest(http.MethodPost, "/webhooks/clickfunnels", bytes.NewReader(b))
				req.Header = clickfunnels.Sign(testSecret, time.Now(), b)
				got := httptest.NewRecorder()
				p.ingress.Handler().ServeHTTP(got, req)
				if got.Code != http.StatusAccepted {
					t.Errorf("POST %d: %d %s", n, got.Code, got.Body)
					return
				}
			}
		})
	}
	wg.Wait()
	p.shows(`penstock_events_stored_total{source="clickfunnels",type="other"}`, func(v float64) bool { return v == invented+1 })
	page := metrics(t, p)
	after := series(page)
	maps.DeleteFunc(after, func(s string, _ bool) bool { return before[s] })
	if len(after) > 10 { // a few begin by themselves, when something is tidied up for the first time
		t.Errorf("%d invented types made %d series more than the %d there were: %v", invented, len(after), len(before), slices.Sorted(maps.Keys(after)))
	}
	if strings.Contains(page, "invented") {
		t.Error("an invented type is in the metrics")
	}
}

// An event that waits for a retry is not in the sink's main queue any more, and
// still undelivered: before and after a restart.
func TestOldestUndeliveredCountsRetries(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(int, got) int { return http.StatusInternalServerError })
	dir := t.TempDir()
	yaml := "sinks: {crm: {kind: http, url: " + r.URL + ", retry: {initial: 1h}, hold: {failures: 0}}}\nroutes: [{match: [\">\"], to: [crm]}]\n"
	const oldest, waiting = `penstock_sink_oldest_undelivered_age_seconds{sink="crm"}`, `penstock_sink_waiting_events{sink="crm"}`
	p := run(t, dir, yaml)
	accepted(t, p.url(), body("first", "order.created"))
	accepted(t, p.url(), body("second", "order.created"))
	none := func(v float64) bool { return v == 0 }
	p.shows(`penstock_sink_outstanding_retries{sink="crm"}`, func(v float64) bool { return v == 2 })
	p.shows(waiting, none)
	age := p.shows(oldest, func(v float64) bool { return v > 0 })
	if left, _ := gauge(t, metrics(t, p), `penstock_sink_retention_left_seconds{sink="crm"}`); left != (7 * 24 * time.Hour).Seconds() {
		t.Errorf("%v s are left of the retention; a retry is a copy, which it does not touch", left)
	}
	p.stop()

	p = run(t, dir, yaml)
	p.shows(waiting, none)
	p.shows(`penstock_sink_outstanding_retries{sink="crm"}`, func(v float64) bool { return v == 2 })
	p.shows(oldest, func(v float64) bool { return v >= age })
	if fill, _ := gauge(t, metrics(t, p), `penstock_sink_retry_fill_ratio{sink="crm"}`); fill != 2.0/50_000 {
		t.Errorf("the room for retries is full by %v, want two of 50,000", fill)
	}
}

// Retries that have come due while their sink is held wait on another subject;
// a restart must not make them young.
func TestOldestUndeliveredCountsRetriesThatAreDue(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(int, got) int { return http.StatusInternalServerError })
	dir := t.TempDir()
	yaml := "sinks: {crm: {kind: http, url: " + r.URL + ", retry: {initial: 1s, jitter: 0}, hold: {failures: 1, probe: 1h, probe_max: 1h}}}\nroutes: [{match: [\">\"], to: [crm]}]\n"
	p := run(t, dir, yaml)
	accepted(t, p.url(), body("first", "order.created"))
	due := func(p *process) {
		eventually(t, "the retry is due", func() bool {
			v, _ := gauge(t, metrics(t, p), `penstock_sink_oldest_undelivered_age_seconds{sink="crm"}`)
			return v > 2
		})
	}
	due(p)
	if _, err := p.client().SinkPause(t.Context(), "crm", 0); err != nil {
		t.Fatal(err)
	}
	p.stop()
	due(run(t, dir, yaml))
}

func TestPhasesAreMeasured(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(n int, _ got) int {
		if n == 1 {
			return http.StatusInternalServerError
		}
		return http.StatusNoContent
	})
	p := run(t, t.TempDir(), "sinks: {crm: {kind: http, url: "+r.URL+", retry: {initial: 1s, jitter: 0}}}\nroutes: [{match: [\">\"], to: [crm]}]\n")
	accepted(t, p.url(), body("first", "order.created"))
	p.shows(`penstock_delivery_duration_seconds_count{sink="crm"}`, func(v float64) bool { return v == 1 })
	p.shows(`penstock_attempt_duration_seconds_count{sink="crm"}`, func(v float64) bool { return v == 2 })
	p.shows(`penstock_accept_duration_seconds_count{durability="process",source="clickfunnels"}`, func(v float64) bool { return v == 1 })
	page := metrics(t, p)
	value := func(name string) float64 { v, _ := gauge(t, page, name+`{sink="crm"}`); return v }
	if n := value("penstock_queue_wait_seconds_count"); n != 1 {
		t.Errorf("waited %v times for a first attempt, want once", n)
	}
	if n := value("penstock_attempt_duration_seconds_count"); n != 2 {
		t.Errorf("%v attempts, want 2", n)
	}
	if whole, wait := value("penstock_delivery_duration_seconds_sum"), value("penstock_queue_wait_seconds_sum"); whole < 1 || wait >= whole {
		t.Errorf("delivered after %v s, first tried after %v; want a second of delay between them", whole, wait)
	}
	if n, _ := gauge(t, page, `penstock_accept_duration_seconds_count{durability="process",source="clickfunnels"}`); n != 1 {
		t.Errorf("%v accepted requests measured under their durability, want 1", n)
	}
}

func TestClockSkewIsMeasured(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), strings.ReplaceAll(toCRM, "URL", r.URL))
	for i, late := range []time.Duration{30 * time.Second, 300 * time.Second, 31 * time.Second} {
		b := body(fmt.Sprint("e", i), "order.created")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url(), bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = clickfunnels.Sign(testSecret, time.Now().Add(-late), b)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	p.shows(`penstock_source_clock_skew_seconds{source="clickfunnels"}`, func(v float64) bool { return 30 <= v && v < 60 })
}

// A process without the role console has /metrics, and nothing else there; what
// it cannot see is absent.
func TestEveryRoleHasMetrics(t *testing.T) {
	t.Parallel()
	nats := natsServer(t, t.TempDir(), -1)
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	r := newReceiver(t, ok)
	yaml := fullYAML("", "broker: {url: \""+nats.ClientURL()+"\", durability: process, max_bytes: 64MiB}\n"+strings.ReplaceAll(toCRM, "URL", r.URL))
	for _, tt := range []struct {
		role        string
		has, hasNot []string
	}{
		{config.RoleRouter, []string{"penstock_sink_state{", "penstock_stream_bytes{", "penstock_sink_waiting_events{"}, []string{"penstock_requests_in_flight"}},
		{config.RoleIngress, []string{"penstock_requests_in_flight", "penstock_source_last_event_timestamp_seconds{"}, []string{"penstock_stream_bytes", "penstock_sink_"}},
		{config.RoleConsole, []string{"penstock_stream_bytes{"}, []string{"penstock_requests_in_flight", "penstock_sink_state"}},
	} {
		a := startRole(t, yaml, tt.role)
		base := "http://" + a.AdminAddr().String()
		status, page := get(t, base+"/metrics")
		if status != http.StatusOK {
			t.Fatalf("%s: /metrics answers %d", tt.role, status)
		}
		for _, want := range append(tt.has, "penstock_build_info{") {
			if !strings.Contains(page, "\n"+want) {
				t.Errorf("%s: %s is missing", tt.role, want)
			}
		}
		for _, none := range tt.hasNot {
			if strings.Contains(page, "\n"+none) {
				t.Errorf("%s: %s is there, though the process cannot know it", tt.role, none)
			}
		}
		if status, _ := get(t, base+"/api/v1/status"); (status == http.StatusOK) != (tt.role == config.RoleConsole) {
			t.Errorf("%s: the admin API answers %d", tt.role, status)
		}
	}
}

// startRole runs a process of one role until the test ends.
func startRole(t *testing.T, yaml, role string) *App {
	t.Helper()
	c, ms := Parse("role.yaml", []byte(yaml), LoadOptions{Roles: []string{role}})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatal(fatal)
	}
	a, err := New(c, Options{Roles: []string{role}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("run %s: %v", role, err)
		}
	})
	return a
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(page)
}

// While the store is away the metrics say so, and nothing of what it would tell.
func TestMetricsWithoutTheStore(t *testing.T) {
	t.Parallel()
	nats := natsServer(t, t.TempDir(), -1)
	r := newReceiver(t, ok)
	p := run(t, "", "broker: {url: \""+nats.ClientURL()+"\", durability: process, max_bytes: 64MiB}\n"+strings.ReplaceAll(toCRM, "URL", r.URL))
	p.shows("penstock_store_reachable", func(v float64) bool { return v == 1 })
	nats.Shutdown()
	nats.WaitForShutdown()
	p.shows("penstock_store_reachable", func(v float64) bool { return v == 0 })
	page := metrics(t, p)
	if strings.Contains(page, "penstock_stream_bytes{") || strings.Contains(page, "penstock_sink_waiting_events{") {
		t.Error("the metrics tell how the streams stand, which nobody knows")
	}
	if !strings.Contains(page, "penstock_sink_state{") {
		t.Error("the state of the sink is missing, though the process knows it by itself")
	}
}

// However many read the metrics, the streams are asked once in a while.
func TestSnapshotIsShared(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), strings.ReplaceAll(toCRM, "URL", r.URL))
	p.snapshot()
	made := p.snapshots.made
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { p.snapshot() })
	}
	wg.Wait()
	if again := p.snapshots.made; !again.Equal(made) && again.Sub(made) < snapshotLasts {
		t.Errorf("made again after %s, want %s at least", again.Sub(made), snapshotLasts)
	}
}

// BenchmarkSurvey is what reading the metrics costs every two seconds at most,
// with ten sinks of which events wait for half.
func BenchmarkSurvey(b *testing.B) {
	const sinks = 10
	yaml := "sinks:\n"
	for i := range sinks {
		yaml += fmt.Sprintf("  s%d: {kind: http, url: \"http://127.0.0.1:9\", hold: {failures: %d}}\n", i, i%2)
	}
	yaml += "routes:\n"
	for i := range sinks {
		yaml += fmt.Sprintf("- {match: [\">\"], to: [s%d]}\n", i)
	}
	c, ms := Parse("bench.yaml", []byte(fullYAML(b.TempDir(), yaml)), LoadOptions{})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		b.Fatal(fatal)
	}
	a, err := New(c, Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := a.Open(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	for i := range 100 {
		body := body(fmt.Sprint(i), "order.created")
		if _, err := a.broker.Publish(b.Context(), a.now().sources["clickfunnels"].Decode(nil, body, time.Now())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		a.survey()
	}
}
