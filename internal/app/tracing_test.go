package app

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/penstock/penstock/internal/clickfunnels"
)

// theirTrace is the trace context that a sender sends.
const theirTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// postTraced is accepted with a trace context of the sender's own.
func postTraced(t *testing.T, url string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = clickfunnels.Sign(testSecret, time.Now(), body)
	req.Header.Set("Traceparent", theirTrace)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("POST answered %s", resp.Status)
	}
}

// unhurried is a server that takes its time to send the last spans: a twentieth
// of this, which is a second by default.
const unhurried = "server: {listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", shutdown_timeout: 10m}\n"

// failingOnce fails the first request.
func failingOnce(n int, _ got) int {
	if n == 1 {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// The environment of the process is set, so these run alone.
func TestOneTraceFromTheRequestToEachAttempt(t *testing.T) {
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			c := newSpanCollector(t)
			endpoint := map[string]string{"grpc": c.grpc, "http/protobuf": c.http}[protocol]
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
			r := newReceiver(t, failingOnce)
			p := runWith(t, t.TempDir(), unhurried+"sinks: {crm: {kind: http, url: "+r.URL+", retry: {initial: 20ms}}}\nroutes: [{name: everything, match: [\">\"], to: [crm]}]\n", Options{Traces: true})
			postTraced(t, p.url(), body("one", "order.created"))
			eventually(t, "the second attempt", func() bool { return len(r.got()) == 2 })
			p.stop()

			spans := c.all()
			if c.len() != 6 {
				t.Fatalf("%d spans: %v", c.len(), spans)
			}
			request := spansOf(t, spans, "POST /webhooks/clickfunnels", 1)[0]
			store := spansOf(t, spans, "publish", 1)[0]
			deliveries := spansOf(t, spans, "deliver crm", 2)
			attempts := spansOf(t, spans, "attempt crm", 2)
			check(t, request, trace.Span_SPAN_KIND_SERVER, nil, theirTrace)
			check(t, store, trace.Span_SPAN_KIND_PRODUCER, request)
			check(t, deliveries[0], trace.Span_SPAN_KIND_CONSUMER, store)
			check(t, deliveries[1], trace.Span_SPAN_KIND_CONSUMER, store)
			check(t, attempts[0], trace.Span_SPAN_KIND_CLIENT, deliveries[0])
			check(t, attempts[1], trace.Span_SPAN_KIND_CLIENT, deliveries[1], parentOf(attempts[0]))
			for i, g := range r.got() {
				if seen, want := g.header.Get("Traceparent"), parentOf(attempts[i]); seen != want {
					t.Errorf("attempt %d carried traceparent %s, want its own span's, %s", i+1, seen, want)
				}
			}
			wantAttributes(t, request.GetName(), attributes(request.GetAttributes()), map[string]string{
				"http.request.method": "POST", "http.route": "/webhooks/clickfunnels", "url.scheme": "http",
				"http.response.status_code": "int_value:202", "penstock.source": "clickfunnels", "penstock.outcome": "accepted"})
			wantAttributes(t, "publish", attributes(store.GetAttributes()), map[string]string{
				"messaging.system": "nats", "messaging.operation.type": "send", "messaging.destination.name": "order.created",
				"penstock.event.id": "one", "penstock.event.seq": "int_value:1"})
			wantAttributes(t, "deliver crm", attributes(deliveries[0].GetAttributes()), map[string]string{
				"messaging.operation.type": "process", "penstock.sink": "crm", "penstock.route": "everything",
				"penstock.outcome": "again", "penstock.class": "sink", "error.type": "503"})
			wantAttributes(t, "attempt crm", attributes(attempts[0].GetAttributes()), map[string]string{
				"http.request.method": "POST", "http.response.status_code": "int_value:503", "server.address": "127.0.0.1",
				"error.type": "503", "penstock.attempt": "int_value:1"})
			wantAttributes(t, "attempt crm, again", attributes(attempts[1].GetAttributes()), map[string]string{
				"http.response.status_code": "int_value:200", "penstock.attempt": "int_value:2", "error.type": ""})
			if attempts[0].GetStatus().GetCode() != trace.Status_STATUS_CODE_ERROR || len(attempts[0].GetEvents()) != 1 {
				t.Errorf("the failed attempt has status %v, events %v", attempts[0].GetStatus(), attempts[0].GetEvents())
			}
			if code := attempts[1].GetStatus().GetCode(); code != trace.Status_STATUS_CODE_UNSET {
				t.Errorf("the attempt that succeeded has status %v", code)
			}
			wantAttributes(t, "the resource", attributes(c.resources[0].GetAttributes()), map[string]string{
				"service.name": "penstock", "service.version": "test", "deployment.environment.name": "test"})
		})
	}
}

// spansOf returns the spans with the name, of which there must be n.
func spansOf(t *testing.T, spans map[string][]*trace.Span, name string, n int) []*trace.Span {
	t.Helper()
	if len(spans[name]) != n {
		t.Fatalf("%d spans %q, want %d; there are %v", len(spans[name]), name, n, spans)
	}
	return spans[name]
}

// check compares a span's kind, parent and links.
func check(t *testing.T, s *trace.Span, kind trace.Span_SpanKind, parent *trace.Span, links ...string) {
	t.Helper()
	if s.GetKind() != kind {
		t.Errorf("%s is of kind %s, want %s", s.GetName(), s.GetKind(), kind)
	}
	if !bytes.Equal(s.GetParentSpanId(), parent.GetSpanId()) || parent != nil && !bytes.Equal(s.GetTraceId(), parent.GetTraceId()) {
		t.Errorf("%s %s has parent %x, want %x %s", s.GetName(), parentOf(s), s.GetParentSpanId(), parent.GetSpanId(), parent.GetName())
	}
	if got := linksOf(s); !slices.Equal(got, links) && len(got)+len(links) > 0 {
		t.Errorf("%s has links %v, want %v", s.GetName(), got, links)
	}
}

// wantAttributes compares those that want names; "" is one that is not there.
func wantAttributes(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s has %s %q, want %q", what, k, got[k], v)
		}
	}
}

func TestATraceOutlivesTheProcess(t *testing.T) {
	c := newSpanCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.http)
	r := newReceiver(t, failingOnce)
	dir := t.TempDir()
	crm := "crm: {kind: http, url: " + r.URL + "/crm, retry: {initial: 1s, jitter: 0}}"
	p := runWith(t, dir, unhurried+"sinks: {"+crm+"}\nroutes: [{match: [\">\"], to: [crm]}]\n", Options{Traces: true})
	accepted(t, p.url(), body("one", "order.created"))
	eventually(t, "the retry", func() bool { return p.broker.Outstanding("crm") == 1 })
	p.stop()

	late := "late: {kind: http, url: " + r.URL + "/late, start: beginning}"
	p = runWith(t, dir, unhurried+"sinks: {"+crm+", "+late+"}\nroutes: [{match: [\">\"], to: [crm, late]}]\n", Options{Traces: true})
	eventually(t, "both deliveries", func() bool { return len(r.got()) == 3 })
	story := showEvent(t, p)
	p.stop()

	spans := c.all()
	store := spansOf(t, spans, "publish", 1)[0]
	attempts := spansOf(t, spans, "attempt crm", 2)
	check(t, spansOf(t, spans, "deliver crm", 2)[1], trace.Span_SPAN_KIND_CONSUMER, store)
	check(t, attempts[1], trace.Span_SPAN_KIND_CLIENT, spans["deliver crm"][1], parentOf(attempts[0]))
	check(t, spansOf(t, spans, "deliver late", 1)[0], trace.Span_SPAN_KIND_CONSUMER, store)
	if want := hex.EncodeToString(store.GetTraceId()); story["trace_id"] != want {
		t.Errorf("the event's story names trace %v, want %s", story["trace_id"], want)
	}
}

// showEvent is what the admin API tells of the first event.
func showEvent(t *testing.T, p *process) map[string]any {
	t.Helper()
	resp, err := http.Get("http://" + p.AdminAddr().String() + "/api/v1/events/1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var story map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&story); err != nil {
		t.Fatalf("event 1: %v", err)
	}
	return story
}

func TestWhatIsNotSampledSendsNothing(t *testing.T) {
	c := newSpanCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.http)
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0")
	r := newReceiver(t, failingOnce)
	p := runWith(t, t.TempDir(), unhurried+"sinks: {crm: {kind: http, url: "+r.URL+", retry: {initial: 20ms}}}\nroutes: [{match: [\">\"], to: [crm]}]\n", Options{Traces: true})
	postTraced(t, p.url(), body("one", "order.created"))
	eventually(t, "the second attempt", func() bool { return len(r.got()) == 2 })
	p.stop()
	if n := c.len(); n != 0 {
		t.Errorf("%d spans came, want none", n)
	}
	for _, g := range r.got() {
		if tp := g.header.Get("Traceparent"); !strings.HasSuffix(tp, "-00") || len(tp) != len(theirTrace) || strings.HasPrefix(tp, theirTrace[:35]) {
			t.Errorf("the sink saw traceparent %q, want one of our own that is not sampled", tp)
		}
	}
}

func TestABatchIsLinkedToItsEvents(t *testing.T) {
	c := newSpanCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.http)
	r := newReceiver(t, ok)
	p := runWith(t, t.TempDir(), strings.Replace(batchYAML(t.TempDir(), r, "{max_events: 3, max_wait: 10m}", ""), `admin: ""}`, `admin: "", shutdown_timeout: 10m}`, 1), Options{Traces: true})
	for _, id := range []string{"a", "b", "c"} {
		accepted(t, p.url(), body(id, "order.created"))
	}
	eventually(t, "the batch", func() bool { return len(r.got()) == 1 })
	p.stop()
	spans := c.all()
	batch := spansOf(t, spans, "attempt lake", 1)[0]
	if got := len(linksOf(batch)); got != 3 || len(batch.GetParentSpanId()) != 0 {
		t.Errorf("the batch has parent %x and %d links, want none and 3", batch.GetParentSpanId(), got)
	}
	stored := spansOf(t, spans, "publish", 3)
	for i, d := range spansOf(t, spans, "deliver lake", 3) {
		check(t, d, trace.Span_SPAN_KIND_CONSUMER, storedAs(stored, d), parentOf(batch))
		if !slices.Contains(linksOf(batch), parentOf(stored[i])) {
			t.Errorf("the batch is not linked to event %d", i)
		}
	}
}

// storedAs is the store's span in the trace of s.
func storedAs(all []*trace.Span, s *trace.Span) *trace.Span {
	for _, st := range all {
		if bytes.Equal(st.GetTraceId(), s.GetTraceId()) {
			return st
		}
	}
	return nil
}

// A collector that is down costs its spans and nothing else.
func TestACollectorThatIsDownHurtsNoDelivery(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50") // ms, else only the end sends them
	r := newReceiver(t, ok)
	log := &logBuffer{}
	p := runWith(t, t.TempDir(), "server: {listen: \"127.0.0.1:0\", shutdown_timeout: 5s}\nsinks: {crm: {kind: http, url: "+r.URL+"}}\nroutes: [{match: [\">\"], to: [crm]}]\n",
		Options{Traces: true, Logger: slog.New(slog.NewTextHandler(log, nil))})
	accepted(t, p.url(), body("one", "order.created"))
	eventually(t, "the delivery", func() bool { return len(r.got()) == 1 })
	if text := metrics(t, p); !strings.Contains(text, "\npenstock_spans_lost_total ") {
		t.Errorf("the metrics do not tell of spans:\n%s", text)
	}
	eventually(t, "the log tells of it", func() bool { return strings.Contains(log.String(), "traces not sent") })
	p.stop()
	if text := log.String(); strings.Count(text, "traces not sent") != 1 {
		t.Errorf("the log tells %d times that traces were not sent, want once:\n%s", strings.Count(text, "traces not sent"), text)
	}
}

// logBuffer keeps what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is all that was written.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
