//go:build prometheus

package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/delivery"
)

// TestPrometheusScenario has a real Prometheus watch real Penstocks, gives each
// alert a real cause, and waits until it fires. The rules are those that are
// shipped, with shorter times: an hour is seconds there.
func TestPrometheusScenario(t *testing.T) {
	s := &watching{t: t, jobs: map[string]*process{}}
	refusing := newReceiver(t, func(int, got) int { return http.StatusBadRequest })
	failing := newReceiver(t, func(int, got) int { return http.StatusInternalServerError })
	well := newReceiver(t, ok)
	toFailing := "sinks: {crm: {kind: http, url: " + failing.URL + ", hold: {failures: 2, probe: 1s}}}\nroutes: [{match: [\">\"], to: [crm]}]\n"
	main := s.penstock("main", strings.ReplaceAll(toCRM, "URL", refusing.URL))
	held := s.penstock("held", toFailing)
	full := s.penstock("full", s.broker("max_bytes: 2MiB")+toFailing)
	short := s.penstock("short", s.broker("max_bytes: 64MiB, dedupe_window: 30s, retention: 1m")+toFailing)
	clock := s.penstock("clock", strings.ReplaceAll(toCRM, "URL", well.URL))
	quiet := s.penstock("quiet", strings.ReplaceAll(toCRM, "URL", well.URL))
	retries := s.penstock("retries", "sinks: {crm: {kind: http, url: "+failing.URL+", concurrency: 64, retry: {initial: 1h}, hold: {failures: 0}}}\nroutes: [{match: [\">\"], to: [crm]}]\n")
	fine := s.penstock("well", strings.ReplaceAll(toCRM, "URL", well.URL))
	gone := s.penstock("gone", strings.ReplaceAll(toCRM, "URL", well.URL))
	nats := natsServer(t, t.TempDir(), -1)
	s.penstock("unreachable", "broker: {url: \""+nats.ClientURL()+"\", durability: process, max_bytes: 64MiB}\n"+strings.ReplaceAll(toCRM, "URL", well.URL))
	dir := t.TempDir()
	reloading := runFile(t, dir, strings.ReplaceAll(toCRM, "URL", well.URL), nil)
	s.jobs["stale"] = reloading.process
	s.start()
	s.scraped() // so that what happens next is an increase

	var causes sync.WaitGroup
	for _, cause := range []func(){
		func() { accepted(t, held.url(), body("waits", "order.created")) }, // and makes two failures with its retries
		func() { accepted(t, held.url(), body("waits-too", "order.created")) },
		func() { paused(short); accepted(t, short.url(), body("expires", "order.created")) },
		func() { accepted(t, main.url(), body("refused", "order.created")) },
		func() { accepted(t, fine.url(), body("fine", "order.created")) },
		func() { wrongSecrets(main, 60) },
		func() { wrongClock(clock) },
		func() { fillUp(full) },
		func() { sendFor(quiet, 35*time.Second) },
		func() { manyRetries(retries, 41_000) },
		func() { tooManyRecords(main) },
		func() { nats.Shutdown(); nats.WaitForShutdown() },
		func() {
			reloading.write(t, dir, "sinks: {crm: {kind: nothing}}\n")
			reloading.reloads.Reload(t.Context(), false)
		},
	} {
		causes.Go(cause)
	}
	for alert, job := range map[string]string{
		"PenstockSignatureFailures": "main", "PenstockRejectedRingOverflow": "main", "PenstockClockSkew": "clock",
		"PenstockDeadLettersGrowing": "main", "PenstockDeadLettersExpiring": "main", "PenstockRecordsDropped": "main",
		"PenstockSinkHeld": "held", "PenstockDeliveryLag": "held",
		"PenstockAcceptErrors": "full", "PenstockStoreFilling": "full", "PenstockStoreFull": "full",
		"PenstockRetentionLoss": "short", "PenstockEventsExpired": "short",
		"PenstockStoreUnreachable": "unreachable", "PenstockSourceSilent": "quiet", "PenstockRetriesNearCap": "retries",
		"PenstockReloadFailed": "stale",
	} {
		s.fires(alert, job)
	}
	causes.Wait()
	gone.stop()
	s.fires("PenstockDown", "gone")
	if got := s.fired()["well"]; len(got) > 0 {
		t.Errorf("of the one that is well %v fired", got)
	}
	for _, p := range s.jobs {
		p.stop()
	}
	s.fires("PenstockAbsent", "")
	s.complete()
}

// watching is a Prometheus and the Penstocks that it watches, by their jobs.
type watching struct {
	t    *testing.T
	jobs map[string]*process
	url  string
	seen map[string]bool
}

func (s *watching) penstock(job, yaml string) *process {
	s.t.Helper()
	p := run(s.t, s.t.TempDir(), yaml)
	s.jobs[job] = p
	return p
}

func (s *watching) broker(more string) string {
	return fmt.Sprintf("broker: {data_dir: %q, durability: process, %s}\n", s.t.TempDir(), more)
}

const prometheusConfig = `
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
`

// start runs Prometheus until the test ends.
func (s *watching) start() {
	s.t.Helper()
	dir := s.t.TempDir()
	config := prometheusConfig
	for job, p := range s.jobs {
		config += fmt.Sprintf("- {job_name: penstock-%s, static_configs: [{targets: [%q]}]}\n", job, p.AdminAddr())
	}
	for file, text := range map[string]string{"prometheus.yml": config, "rules.yaml": s.rules()} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	address := "127.0.0.1:" + freePort(s.t)
	cmd := exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = s.t.Output(), s.t.Output()
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start prometheus: %v; it is in Debian's package of that name", err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	s.url = "http://" + address
	eventually(s.t, "Prometheus is ready", func() bool {
		resp, err := http.Get(s.url + "/-/ready")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
}

// rules are those that are shipped, with every time shortened.
func (s *watching) rules() string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(moduleRoot, "charts/penstock/files/alerts.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	text := string(data)
	for _, r := range []struct{ long, brief string }{
		{`for: \d+m`, "for: 1s"},
		{`\[1h\] offset 1d`, "[10s] offset 10s"}, // the same hour yesterday
		{`\[1h\] offset 1w`, "[10s] offset 20s"},
		{`\[1h\]`, "[30s]"}, {`\[15m\]`, "[20s]"}, {`\[5m\]`, "[10s]"},
		{`> 3600\b`, "> 8"}, {`27 \* 86400`, "27"},
	} {
		re := regexp.MustCompile(r.long)
		if !re.MatchString(text) {
			s.t.Fatalf("the rules have no %s any more; shorten what they have instead", r.long)
		}
		text = re.ReplaceAllString(text, r.brief)
	}
	if left := regexp.MustCompile(`\[\d+[mhdw]\]|offset \d+[mhdw]|for: \d+[mhdw]`).FindString(text); left != "" {
		s.t.Fatalf("the rules have %s, which is too long for a test: shorten it", left)
	}
	return text
}

// ask reads the answer to a query of Prometheus' API.
func (s *watching) ask(path string, into any) {
	s.t.Helper()
	resp, err := http.Get(s.url + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %s %v", path, resp.Status, err)
	}
}

type vector struct {
	Data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
}

// scraped waits until all have been scraped three times.
func (s *watching) scraped() {
	s.t.Helper()
	eventually(s.t, "all are scraped", func() bool {
		var v vector
		s.ask("/api/v1/query?query="+url.QueryEscape("count_over_time(penstock_build_info[1m]) >= 3"), &v)
		return len(v.Data.Result) == len(s.jobs)
	})
}

// fired are the alerts that have fired so far, by the job they are about; those
// about none are under "", and count only while they fire, for at the start
// nothing has been scraped yet.
func (s *watching) fired() map[string][]string {
	s.t.Helper()
	var v vector
	s.ask("/api/v1/query?query="+url.QueryEscape(`max by (alertname, job) (max_over_time(ALERTS{alertstate="firing", job!=""}[1h])) or ALERTS{alertstate="firing", job=""}`), &v)
	out := map[string][]string{}
	for _, r := range v.Data.Result {
		job := strings.TrimPrefix(r.Metric["job"], "penstock-")
		out[job] = append(out[job], r.Metric["alertname"])
	}
	return out
}

// fires waits until an alert has fired for a job.
func (s *watching) fires(alert, job string) {
	s.t.Helper()
	began := time.Now()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for !slices.Contains(s.fired()[job], alert) {
		if time.Since(began) > 3*time.Minute {
			s.t.Fatalf("%s has not fired for %q within 3 minutes, but %v", alert, job, s.fired())
		}
		<-tick.C
	}
	s.t.Logf("%s fires for %q", alert, job)
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	s.seen[alert] = true
}

// complete: every alert that is shipped has fired, and all could be evaluated.
func (s *watching) complete() {
	s.t.Helper()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	s.ask("/api/v1/rules", &answer)
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" {
				s.t.Errorf("%s cannot be evaluated: %s", r.Name, r.LastError)
			}
			if !s.seen[r.Name] {
				s.t.Errorf("%s was given no cause", r.Name)
			}
		}
	}
	s.t.Logf("%d alerts fired: %v", len(s.seen), slices.Sorted(maps.Keys(s.seen)))
}

// paused has a person pause the sink.
func paused(p *process) {
	if _, err := p.client().SinkPause(p.t.Context(), "crm", 0); err != nil {
		p.t.Error(err)
	}
}

// wrongSecrets posts what another secret signed, faster than it is kept.
func wrongSecrets(p *process, n int) {
	for i := range n {
		b := body(fmt.Sprint("wrong", i), "order.created")
		direct(p, clickfunnels.Sign(oldSecret, time.Now(), b), b)
	}
}

// wrongClock posts what was signed an hour ago by our clock.
func wrongClock(p *process) {
	for i := range 3 {
		b := body(fmt.Sprint("clock", i), "order.created")
		direct(p, clickfunnels.Sign(testSecret, time.Now().Add(-time.Hour), b), b)
	}
}

// fillUp posts until the store is full, and then what is refused, for a while.
func fillUp(p *process) {
	padding := strings.Repeat("x", 60<<10)
	full, tick := time.Time{}, time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for i := 0; full.IsZero() || time.Since(full) < 20*time.Second; i++ {
		b := fmt.Appendf(nil, `{"event_id":"full%d","event_type":"order.created","data":{"padding":%q}}`, i, padding)
		if direct(p, clickfunnels.Sign(testSecret, time.Now(), b), b) == http.StatusInsufficientStorage && full.IsZero() {
			full = time.Now()
		}
		<-tick.C
	}
}

// sendFor sends some events a second, and then none.
func sendFor(p *process, d time.Duration) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for began, i := time.Now(), 0; time.Since(began) < d; i++ {
		b := body(fmt.Sprint("steady", i), "order.created")
		direct(p, clickfunnels.Sign(testSecret, time.Now(), b), b)
		<-tick.C
	}
}

// manyRetries posts events of which every attempt fails, without a hold.
func manyRetries(p *process, n int) {
	const senders = 16
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := s; i < n; i += senders {
				b := body(fmt.Sprint("retry", i), "order.created")
				direct(p, clickfunnels.Sign(testSecret, time.Now(), b), b)
			}
		})
	}
	wg.Wait()
}

// tooManyRecords makes records faster than they can be stored.
func tooManyRecords(p *process) {
	r := delivery.Record{Seq: 1, EventID: "many", Subject: "order.created", Sink: "crm", Number: 1, Error: strings.Repeat("x", 400)}
	for dropped := p.broker.RecordsDropped(); p.broker.RecordsDropped() == dropped; {
		p.broker.Record(&r)
	}
}

// direct hands a webhook to the ingress without a connection.
func direct(p *process, h http.Header, b []byte) int {
	req := httptest.NewRequest(http.MethodPost, "/webhooks/clickfunnels", bytes.NewReader(b))
	req.Header = h
	got := httptest.NewRecorder()
	p.ingress.Handler().ServeHTTP(got, req)
	return got.Code
}
