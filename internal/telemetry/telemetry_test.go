package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func open(t *testing.T, o Options) *Telemetry {
	t.Helper()
	tel, err := New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return tel
}

// scrape returns Penstock's own metrics as a scraper reads them.
func scrape(t *testing.T, tel *Telemetry) map[string]*dto.MetricFamily {
	t.Helper()
	srv := httptest.NewServer(tel.Handler())
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatalf("scrape: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("scrape: answered %s", resp.Status)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatalf("parse scrape: %v", err)
	}
	if families["go_goroutines"] == nil {
		t.Error("scrape has no go_goroutines")
	}
	for name := range families {
		if !strings.HasPrefix(name, "penstock_") {
			delete(families, name)
		}
	}
	return families
}

// series returns the values of a family by "label=value,...", histograms by
// their count.
func series(f *dto.MetricFamily) map[string]float64 {
	got := map[string]float64{}
	for _, m := range f.GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetName()+"="+l.GetValue())
		}
		slices.Sort(labels)
		v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		got[strings.Join(labels, ",")] = v
	}
	return got
}

// everything records at least one of every metric.
func everything(tel *Telemetry) {
	tel.Request("clickfunnels", "accepted", 3*time.Millisecond, 1200)
	tel.Stored("clickfunnels", "orders.invoice.paid", false)
	tel.Stored("clickfunnels", "orders.invoice.paid", true)
	tel.Attempt("crm", "", "done", 20*time.Millisecond)
	tel.Rejected("clickfunnels", "bad_signature")
	tel.RejectedRing("clickfunnels", "kept")
	tel.Waited("crm", time.Second)
	tel.Delivered("crm", time.Second)
	tel.Expired("crm", 2)
	tel.Purged(3, true)
	tel.Synced(4, time.Millisecond)
	tel.SetSnapshot(func() Snapshot {
		skew := -3 * time.Second
		return Snapshot{
			Reachable: true,
			Sinks: []SinkSnapshot{{
				Name: "crm", State: "held", Outstanding: 3, OutstandingBytes: 300, Fill: .5, Running: 1,
				Queue: &QueueSnapshot{Waiting: 7, Dead: 2, Oldest: time.Minute, Left: time.Hour},
			}},
			Store: &StoreSnapshot{
				Streams:    []StreamSnapshot{{Name: "events", Messages: 9, Bytes: 4096, Limit: 1 << 30}, {Name: "retries", Messages: 3}},
				DeadOldest: time.Hour, Retention: 168 * time.Hour,
			},
			Sources:  []SourceSnapshot{{Name: "clickfunnels", Skew: &skew}, {Name: "quiet"}},
			InFlight: &InFlight{Requests: 2, Bytes: 100},
			Foreign:  5,
		}
	})
}

func TestExposedIsWhatIsDocumented(t *testing.T) {
	t.Parallel()
	tel := open(t, Options{Version: "1.2.3", Sources: []string{"clickfunnels"}, KnownSubjects: []string{"orders.invoice.paid"}})
	everything(tel)
	if err := tel.Watch(NewTracing(TracingOptions{Env: env(nil), Spans: func(Span) {}})); err != nil {
		t.Fatalf("Watch: %v", err)
	}
	want := map[string]string{}
	for _, m := range Metrics() {
		labels := slices.Sorted(slices.Values(m.Labels))
		want[m.Name] = fmt.Sprintf("%s %v %s", m.Kind, labels, m.Help)
	}
	got := map[string]string{}
	for name, f := range scrape(t, tel) {
		labels := []string{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		got[name] = fmt.Sprintf("%s %v %s", strings.ToLower(f.GetType().String()), labels, f.GetHelp())
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("exposed metrics differ from Metrics() (-documented +exposed):\n%s", d)
	}
}

func TestRecorded(t *testing.T) {
	t.Parallel()
	type values = map[string]float64
	for name, tt := range map[string]struct {
		record func(*Telemetry)
		metric Metric
		want   values
	}{
		"requests by outcome": {
			func(tel *Telemetry) {
				tel.Request("cf", "accepted", time.Millisecond, 1)
				tel.Request("cf", "accepted", time.Millisecond, 1)
				tel.Request("cf", "busy", time.Millisecond, 0)
				tel.Request("", "not_found", time.Millisecond, 0)
			}, requestsTotal,
			values{"outcome=accepted,source=cf": 2, "outcome=busy,source=cf": 1, "outcome=not_found,source=none": 1},
		},
		"only accepted requests have a duration": {
			func(tel *Telemetry) {
				tel.Request("cf", "accepted", time.Millisecond, 1)
				tel.Request("cf", "unauthorized", time.Millisecond, 1)
			}, acceptSeconds, values{"durability=power,source=cf": 1},
		},
		"bytes add up over outcomes": {
			func(tel *Telemetry) {
				tel.Request("cf", "accepted", 0, 100)
				tel.Request("cf", "unauthorized", 0, 11)
			}, requestBytesTotal, values{"source=cf": 111},
		},
		"an unknown type is other": {
			func(tel *Telemetry) {
				tel.Stored("cf", "orders.invoice.paid", false)
				tel.Stored("cf", "unknown.brand.new", false)
			}, storedTotal, values{"source=cf,type=orders.invoice.paid": 1, "source=cf,type=other": 1},
		},
		"a duplicate was not stored": {
			func(tel *Telemetry) {
				tel.Stored("cf", "orders.invoice.paid", false)
				tel.Stored("cf", "orders.invoice.paid", true)
			}, storedTotal, values{"source=cf,type=orders.invoice.paid": 1},
		},
		"deliveries are counted when they end": {
			func(tel *Telemetry) {
				tel.Attempt("crm", "sink", "again", time.Second)
				tel.Attempt("crm", "", "done", time.Second)
				tel.Attempt("crm", "rejected", "bury", time.Second)
				tel.Attempt("crm", "", "skip", 0)
				tel.Attempt("crm", "", "defer", time.Second)
			}, deliveriesTotal, values{"outcome=delivered,sink=crm": 1, "outcome=dead,sink=crm": 1, "outcome=skipped,sink=crm": 1},
		},
		"attempts by class, none for a skip or a deferral": {
			func(tel *Telemetry) {
				tel.Attempt("crm", "sink", "again", time.Second)
				tel.Attempt("crm", "", "done", time.Second)
				tel.Attempt("crm", "", "skip", 0)
				tel.Attempt("crm", "", "defer", time.Second)
			}, attemptsTotal, values{"class=sink,sink=crm": 1, "class=delivered,sink=crm": 1},
		},
		"an attempt that took no time was none": {
			func(tel *Telemetry) {
				tel.Attempt("crm", "ours", "bury", 0)
				tel.Attempt("crm", "", "done", time.Second)
			}, attemptSeconds, values{"sink=crm": 1},
		},
		"refused requests by cause": {
			func(tel *Telemetry) {
				tel.Rejected("cf", "stale")
				tel.Rejected("cf", "stale")
				tel.Rejected("cf", "unsigned")
			}, rejectedTotal, values{"reason=stale,source=cf": 2, "reason=unsigned,source=cf": 1},
		},
		"what became of them": {
			func(tel *Telemetry) {
				tel.RejectedRing("cf", "kept")
				tel.RejectedRing("cf", "overflow")
			}, rejectedRingTotal, values{"outcome=kept,source=cf": 1, "outcome=overflow,source=cf": 1},
		},
		"one state is 1": {
			everything, sinkState,
			values{"sink=crm,state=held": 1, "sink=crm,state=open": 0, "sink=crm,state=paused": 0,
				"sink=crm,state=probing": 0, "sink=crm,state=slow-start": 0, "sink=crm,state=throttled": 0},
		},
		"the snapshot is shown":        {everything, sinkWaiting, values{"sink=crm": 7}},
		"the store answers":            {everything, storeReachable, values{"": 1}},
		"the oldest, in seconds":       {everything, sinkOldest, values{"sink=crm": 60}},
		"no limit is none":             {everything, streamLimit, values{"stream=events": 1 << 30}},
		"a skew that is not known":     {everything, clockSkew, values{"source=clickfunnels": -3}},
		"why events were purged":       {everything, purgedTotal, values{"reason=pressure": 3}},
		"events that were never taken": {everything, expiredTotal, values{"sink=crm": 2}},
		"syncs":                        {everything, syncSeconds, values{"": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tel := open(t, Options{Durability: "power", KnownSubjects: []string{"orders.invoice.paid"}})
			tt.record(tel)
			if d := cmp.Diff(tt.want, series(scrape(t, tel)[tt.metric.Name])); d != "" {
				t.Errorf("%s (-want +got):\n%s", tt.metric.Name, d)
			}
		})
	}
}

// What the streams did not tell is absent: a 0 would say that nothing waits.
func TestUnknownIsAbsent(t *testing.T) {
	t.Parallel()
	tel := open(t, Options{Snapshot: func() Snapshot { return Snapshot{Sinks: []SinkSnapshot{{Name: "crm", State: "open"}}} }})
	got := scrape(t, tel)
	for _, m := range []Metric{sinkWaiting, sinkOldest, sinkLeft, sinkDead, streamBytes, deadOldest, retentionSeconds, requestsInFlight} {
		if f := got[m.Name]; f != nil {
			t.Errorf("%s is exposed, though nobody knows it: %v", m.Name, f)
		}
	}
	if got[sinkState.Name] == nil {
		t.Errorf("%s is missing, though the process knows it by itself", sinkState.Name)
	}
}

// The first failure has to be an increase.
func TestSeriesAreThereFromTheStart(t *testing.T) {
	t.Parallel()
	got := scrape(t, open(t, Options{Sources: []string{"cf"}, Sinks: []string{"crm"}}))
	for name, label := range map[string]string{
		requestsTotal.Name:     "outcome=full,source=cf",
		rejectedTotal.Name:     "reason=clock_skew,source=cf",
		rejectedRingTotal.Name: "outcome=overflow,source=cf",
		deliveriesTotal.Name:   "outcome=dead,sink=crm",
		expiredTotal.Name:      "sink=crm",
		lastEvent.Name:         "source=cf",
	} {
		if _, ok := series(got[name])[label]; !ok {
			t.Errorf("%s has no series %s at the start, but %v", name, label, series(got[name]))
		}
	}
}

func TestLastEventMoves(t *testing.T) {
	t.Parallel()
	tel := open(t, Options{Sources: []string{"cf"}})
	tel.lastEvent("cf").Store(1000)
	if got := series(scrape(t, tel)[lastEvent.Name])["source=cf"]; got != 1 {
		t.Errorf("%s = %v, want 1", lastEvent.Name, got)
	}
	before := float64(time.Now().Unix())
	tel.Stored("cf", "x", false)
	tel.Stored("invented", "x", false)
	if got := series(scrape(t, tel)[lastEvent.Name]); len(got) != 1 || got["source=cf"] < before {
		t.Errorf("%s = %v, want now, of the one source", lastEvent.Name, got)
	}
}

func TestConfiguredAgain(t *testing.T) {
	t.Parallel()
	tel := open(t, Options{Sources: []string{"stays", "goes"}})
	tel.lastEvent("stays").Store(1000)
	tel.Configured([]string{"stays", "new"}, []string{"crm"})
	families := scrape(t, tel)
	last := series(families[lastEvent.Name])
	if len(last) != 2 || last["source=stays"] != 1 || last["source=new"] < 1e9 {
		t.Errorf("%s = %v, want the one that stays as it was, and now for the new one", lastEvent.Name, last)
	}
	if _, ok := series(families[expiredTotal.Name])["sink=crm"]; !ok {
		t.Errorf("%s has no series for the new sink", expiredTotal.Name)
	}
}

func TestLabelsAreDescribed(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, l := range Labels() {
		known[l.Name] = true
	}
	for _, m := range Metrics() {
		if m.Help == "" || m.Use == "" {
			t.Errorf("%s: says not what it is or what to do with it", m.Name)
		}
		for _, l := range m.Labels {
			if !known[l] {
				t.Errorf("%s: the label %s is not in Labels(), so that nobody knows its bound", m.Name, l)
			}
		}
	}
}

func TestNoSnapshotNoGauges(t *testing.T) {
	t.Parallel()
	got := scrape(t, open(t, Options{Version: "1.2.3"}))
	if f := got[streamBytes.Name]; f != nil {
		t.Errorf("%s is exposed before there is a snapshot: %v", streamBytes.Name, f)
	}
	if got[buildInfo.Name] == nil {
		t.Errorf("%s is missing", buildInfo.Name)
	}
}

func TestInventedValuesMakeNoSeries(t *testing.T) {
	t.Parallel()
	tel := open(t, Options{KnownSubjects: []string{"orders.invoice.paid"}})
	const invented = 10_000
	for i := range invented {
		tel.Stored("clickfunnels", fmt.Sprintf("unknown.invented.n%d", i), false)
		tel.Request(fmt.Sprintf("source-%d", i), "accepted", time.Millisecond, 1)
	}
	families := scrape(t, tel)
	want := map[string]float64{"source=clickfunnels,type=other": invented}
	if d := cmp.Diff(want, series(families[storedTotal.Name])); d != "" {
		t.Errorf("%s (-want +got):\n%s", storedTotal.Name, d)
	}
	requests, sum := series(families[requestsTotal.Name]), 0.0
	for _, v := range requests {
		sum += v
	}
	if len(requests) > maxRequests || sum != invented {
		t.Errorf("%s: %d series that sum up to %v, want at most %d and %d", requestsTotal.Name, len(requests), sum, maxRequests, invented)
	}
}

func TestConcurrentRecording(t *testing.T) {
	t.Parallel()
	tel := open(t, Options{KnownSubjects: []string{"orders.invoice.paid"}})
	const callers, each = 8, 200
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := range each {
				tel.Attempt(fmt.Sprintf("sink-%d", (i+n)%20), "", "done", time.Millisecond)
			}
		})
	}
	wg.Wait()
	sum := 0.0
	for _, v := range series(scrape(t, tel)[attemptsTotal.Name]) {
		sum += v
	}
	if sum != callers*each {
		t.Errorf("counted %v attempts, want %d", sum, callers*each)
	}
}

func TestRecordingDoesNotAllocate(t *testing.T) {
	tel := open(t, Options{Sources: []string{"clickfunnels"}, KnownSubjects: []string{"orders.invoice.paid"}})
	got := testing.AllocsPerRun(1000, func() {
		tel.Request("clickfunnels", "accepted", time.Millisecond, 1200)
		tel.Stored("clickfunnels", "orders.invoice.paid", false)
		tel.Attempt("crm", "", "done", time.Millisecond)
		tel.Waited("crm", time.Millisecond)
		tel.Delivered("crm", time.Millisecond)
		tel.Synced(3, time.Millisecond)
	})
	if got > 0 {
		t.Errorf("recording one event allocates %v times, want 0", got)
	}
}

func BenchmarkRecord(b *testing.B) {
	tel, err := New(Options{Sources: []string{"clickfunnels"}, KnownSubjects: []string{"orders.invoice.paid"}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		tel.Request("clickfunnels", "accepted", time.Millisecond, 1200)
		tel.Stored("clickfunnels", "orders.invoice.paid", false)
		tel.Attempt("crm", "", "done", time.Millisecond)
		tel.Waited("crm", time.Millisecond)
		tel.Delivered("crm", time.Millisecond)
	}
}
