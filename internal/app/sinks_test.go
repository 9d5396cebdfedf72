package app

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/router"
)

// metrics is what a scraper reads.
func metrics(t *testing.T, p *process) string {
	t.Helper()
	resp, err := http.Get("http://" + p.AdminAddr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// counted is the value of one series, 0 when there is none.
func counted(t *testing.T, page, series string) int {
	t.Helper()
	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	return 0
}

func TestPauseOutlivesARestart(t *testing.T) {
	t.Parallel()
	r, other := newReceiver(t, ok), newReceiver(t, ok)
	dir := t.TempDir()
	yaml := fmt.Sprintf("sinks: {crm: {kind: http, url: %s}, other: {kind: http, url: %s}}\nroutes: [{match: [\">\"], to: [crm, other]}]\n", r.URL, other.URL)
	p := run(t, dir, yaml)
	if _, err := p.client().SinkPause(t.Context(), "crm", 0); err != nil {
		t.Fatal(err)
	}
	accepted(t, p.url(), body("one", "order.created"))
	eventually(t, "the other sink has it", func() bool { return len(other.got()) == 1 })
	p.stop()
	p = run(t, dir, yaml)
	accepted(t, p.url(), body("two", "order.created"))
	eventually(t, "the other sink has the next", func() bool { return len(other.got()) == 2 })
	eventually(t, "crm is paused with 2 waiting, and the other open", func() bool {
		l, err := p.client().Sinks(t.Context())
		return err == nil && l[0].State == string(router.Paused) && l[0].Waiting == 2 && l[1].State == string(router.Open)
	})
	if n := len(r.got()); n != 0 {
		t.Errorf("%d deliveries to the paused sink", n)
	}
	if _, err := p.client().SinkResume(t.Context(), "crm"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what waited", func() bool { return len(r.byID()) == 2 })
}

// A pause that another process recorded is found, and ends by itself.
func TestPauseOfAnotherProcess(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), strings.ReplaceAll(toCRM, "URL", r.URL))
	w := p.router.Worker("crm")
	if err := p.broker.PauseSink(t.Context(), "crm", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "paused", func() bool { return w.State().State == router.Paused })
	accepted(t, p.url(), body("one", "order.created"))
	// A shorter one in its place; whether it is seen before it ends does not matter.
	if err := p.broker.PauseSink(t.Context(), "crm", time.Now().Add(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "delivered after the pause", func() bool { return len(r.got()) == 1 })
	if s := w.State().State; s == router.Paused {
		t.Errorf("the sink is %s after its pause", s)
	}
}

func TestRemovedSinkIsReportedAndPruned(t *testing.T) {
	t.Parallel()
	down := newReceiver(t, func(int, got) int { return http.StatusServiceUnavailable })
	dir := t.TempDir()
	two := fmt.Sprintf("sinks: {old: {kind: http, url: %s, retry: {initial: 1h}}, crm: {kind: log}}\nroutes: [{match: [\">\"], to: [old, crm]}]\n", down.URL)
	p := run(t, dir, two)
	accepted(t, p.url(), body("tried", "order.created"))
	eventually(t, "a retry waits", func() bool { return p.broker.Outstanding("old") == 1 })
	p.stop()
	const one = "sinks: {crm: {kind: log}}\nroutes: [{match: [\">\"], to: [crm]}]\n"
	p = run(t, dir, one)
	accepted(t, p.url(), body("later", "order.created"))
	eventually(t, "the removed sink has one that waits and a retry", func() bool {
		l, err := p.client().SinkList(t.Context())
		return err == nil && len(l.Removed) == 1 && l.Removed[0] == console.RemovedSink{Name: "old", Waiting: 1, Retries: 1}
	})
	if _, err := p.client().SinkPrune(t.Context(), "crm"); err == nil || !strings.Contains(err.Error(), delivery.ErrSinkInUse.Error()) {
		t.Errorf("pruning a configured sink: %v", err)
	}
	if _, err := p.client().SinkPrune(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	if l, err := p.client().SinkList(t.Context()); err != nil || len(l.Removed) != 0 {
		t.Errorf("after pruning there is %+v, %v", l.Removed, err)
	}
}

// A pattern that is added gets what is stored after it; the rest of the
// backlog under it is counted as skipped, and what was delivered stays so.
func TestNewPatternAfterARestart(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	dir := t.TempDir()
	yaml := func(match string) string {
		return fmt.Sprintf("sinks: {crm: {kind: http, url: %s}}\nroutes: [{match: [%s], to: [crm]}]\n", r.URL, match)
	}
	p := run(t, dir, yaml(`"order.>"`))
	accepted(t, p.url(), body("had", "order.created"))
	eventually(t, "the first", func() bool { return len(r.got()) == 1 })
	if _, err := p.client().SinkPause(t.Context(), "crm", 0); err != nil {
		t.Fatal(err)
	}
	accepted(t, p.url(), body("waits", "order.created"))
	accepted(t, p.url(), body("too-early", "contact.created"))
	p.stop()
	p = run(t, dir, yaml(`"order.>", "contact.>"`))
	accepted(t, p.url(), body("new", "contact.created"))
	if _, err := p.client().SinkResume(t.Context(), "crm"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what is wanted", func() bool { return len(r.byID()) == 3 })
	eventually(t, "the early one is counted", func() bool {
		return counted(t, metrics(t, p), `penstock_deliveries_total{outcome="skipped",sink="crm"}`) == 1
	})
	have := map[string]int{}
	for id, bodies := range r.byID() {
		have[id] = len(bodies)
	}
	if fmt.Sprint(have) != "map[had:1 new:1 waits:1]" {
		t.Errorf("delivered %v, want had, waits and new once each", have)
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	var m meter
	start := time.Unix(1_800_000_000, 0)
	if got := m.rate(start); got != 0 {
		t.Errorf("rate of nothing is %v", got)
	}
	for i := range 20 * 50 {
		m.add(start.Add(time.Duration(i) * 20 * time.Millisecond))
	}
	for _, tt := range []struct {
		after time.Duration
		want  float64
	}{{20 * time.Second, 50}, {25 * time.Second, 25}, {29 * time.Second, 5}, {31 * time.Second, 0}, {24 * time.Hour, 0}} {
		if got := m.rate(start.Add(tt.after)); got != tt.want {
			t.Errorf("rate after %s is %v, want %v", tt.after, got, tt.want)
		}
	}
}
