package telemetry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

const (
	recorded    = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	notRecorded = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

func lookup(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

// env is what the variables say.
func env(vars map[string]string) *Env { return ReadEnv(lookup(vars)) }

func TestVariablesOfTraces(t *testing.T) {
	t.Parallel()
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for name, tt := range map[string]struct {
		vars     map[string]string
		exporter string
		grpc     bool
		sampler  string // the beginning of its description
		byParent bool
		warns    string
	}{
		"none":                  {exporter: "none", sampler: "ParentBased", byParent: true},
		"an endpoint":           {vars: map[string]string{endpoint: "http://c:4318"}, exporter: "otlp", sampler: "ParentBased{root:AlwaysOnSampler", byParent: true},
		"an endpoint of traces": {vars: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, exporter: "otlp", sampler: "ParentBased{root:AlwaysOn", byParent: true},
		"otlp by name":          {vars: map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, exporter: "otlp", sampler: "ParentBased", byParent: true},
		"none by name":          {vars: map[string]string{"OTEL_TRACES_EXPORTER": "none", endpoint: "http://c"}, exporter: "none"},
		"disabled":              {vars: map[string]string{"OTEL_SDK_DISABLED": "TRUE", endpoint: "http://c"}, exporter: "none"},
		"console":               {vars: map[string]string{"OTEL_TRACES_EXPORTER": "console"}, exporter: "console", sampler: "ParentBased", byParent: true},
		"an exporter of no use": {vars: map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, exporter: "none", warns: "OTEL_TRACES_EXPORTER"},
		"grpc":                  {vars: map[string]string{endpoint: "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, exporter: "otlp", grpc: true, sampler: "ParentBased", byParent: true},
		"its own protocol":      {vars: map[string]string{endpoint: "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, exporter: "otlp", sampler: "ParentBased", byParent: true},
		"a protocol of no use":  {vars: map[string]string{endpoint: "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, exporter: "otlp", sampler: "ParentBased", byParent: true, warns: "OTEL_EXPORTER_OTLP_PROTOCOL"},
		"a ratio":               {vars: map[string]string{endpoint: "http://x", "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}, exporter: "otlp", sampler: "ParentBased{root:TraceIDRatioBased{0.01}", byParent: true},
		"a bare ratio":          {vars: map[string]string{endpoint: "http://x", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, exporter: "otlp", sampler: "TraceIDRatioBased{0.5}"},
		"a ratio of no use":     {vars: map[string]string{endpoint: "http://x", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, exporter: "otlp", sampler: "TraceIDRatioBased{1}", warns: "OTEL_TRACES_SAMPLER_ARG"},
		"never":                 {vars: map[string]string{endpoint: "http://x", "OTEL_TRACES_SAMPLER": "always_off"}, exporter: "otlp", sampler: "AlwaysOffSampler"},
		"a sampler of no use":   {vars: map[string]string{endpoint: "http://x", "OTEL_TRACES_SAMPLER": "jaeger_remote"}, exporter: "otlp", sampler: "ParentBased{root:AlwaysOn", byParent: true, warns: "OTEL_TRACES_SAMPLER"},
		"headers":               {vars: map[string]string{endpoint: "http://x", "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20hunter2,x-team=a"}, exporter: "otlp", sampler: "ParentBased", byParent: true},
		"headers without =":     {vars: map[string]string{endpoint: "http://x", "OTEL_EXPORTER_OTLP_HEADERS": "Bearer hunter2"}, exporter: "none", sampler: "ParentBased", byParent: true, warns: "OTEL_EXPORTER_OTLP_HEADERS"},
		"headers by colons":     {vars: map[string]string{endpoint: "http://x", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "Authorization: hunter2=="}, exporter: "none", sampler: "ParentBased", byParent: true, warns: "OTEL_EXPORTER_OTLP_TRACES_HEADERS"},
		"headers with a bare %": {vars: map[string]string{endpoint: "http://x", "OTEL_EXPORTER_OTLP_HEADERS": "a=hunter2%"}, exporter: "none", sampler: "ParentBased", byParent: true, warns: "OTEL_EXPORTER_OTLP_HEADERS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder
			read := env(tt.vars)
			read.Warn(slog.New(slog.NewTextHandler(&log, nil)))
			e := read.traces
			if e.exporter != tt.exporter || e.grpc != tt.grpc || e.byParent != tt.byParent {
				t.Errorf("the traces of %v = exporter %s, grpc %t, by parent %t; want %s, %t, %t", tt.vars, e.exporter, e.grpc, e.byParent, tt.exporter, tt.grpc, tt.byParent)
			}
			if e.sampler != nil && (tt.sampler == "" || !strings.HasPrefix(e.sampler.Description(), tt.sampler)) {
				t.Errorf("the traces of %v samples by %s, want %s", tt.vars, e.sampler.Description(), tt.sampler)
			}
			if warned := log.String(); (warned != "") != (tt.warns != "") || !strings.Contains(warned, tt.warns) || strings.Contains(warned, "hunter2") {
				t.Errorf("the traces of %v logs %q, want something of %q and no secret", tt.vars, warned, tt.warns)
			}
		})
	}
}

func TestNobodyFollowsUnlessAsked(t *testing.T) {
	t.Parallel()
	if got := NewTracing(TracingOptions{Env: env(nil)}); got != nil {
		t.Errorf("NewTracing without variables = %v, want nil", got)
	}
}

func TestTraceParents(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		in, out string
		sampled bool
	}{
		"recorded":         {recorded, recorded, true},
		"not recorded":     {notRecorded, notRecorded, false},
		"more flags":       {recorded[:53] + "03", recorded, true},
		"other flags":      {recorded[:53] + "02", notRecorded, false},
		"a later version":  {"01" + recorded[2:] + "-more", recorded, true},
		"no version":       {"ff" + recorded[2:], "", true},
		"no flags":         {recorded[:53] + "zz", notRecorded, false},
		"no trace":         {"00-00000000000000000000000000000000-b7ad6b7169203331-01", "", true},
		"no span":          {"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", "", true},
		"short":            {recorded[:54], "", false},
		"empty":            {"", "", false},
		"a missing hyphen": {strings.Replace(recorded, "-b7", "0b7", 1), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, ok := parseParent(tt.in)
			if got := formatParent(c); got != tt.out || ok != (tt.out != "") {
				t.Errorf("parseParent(%q) is written %q, %t; want %q", tt.in, got, ok, tt.out)
			}
			if got := sampledParent(tt.in); got != tt.sampled {
				t.Errorf("sampledParent(%q) = %t", tt.in, got)
			}
		})
	}
}

func attemptOf(traceParent string) *delivery.Attempt {
	return &delivery.Attempt{Event: event.Event{ID: "one", Subject: "order.created", Seq: 7, TraceParent: traceParent}}
}

// followDelivery is all that a delivery by itself asks of a Tracing.
func followDelivery(t *Tracing, ctx context.Context, a *delivery.Attempt, now time.Time) {
	followed := t.Delivery(ctx, "deliver crm", a, now, "")
	trying, parent := t.Attempt(followed, "attempt crm", a)
	if parent != "" {
		t.Attempted(trying, "crm", 1, delivery.Verdict{Action: delivery.Done}, nil)
	}
	t.Settled(followed, "crm", "all", a, delivery.Verdict{Action: delivery.Done})
}

// following is a Tracing whose spans go nowhere.
func following(tb testing.TB) *Tracing {
	tr := NewTracing(TracingOptions{Env: env(map[string]string{"OTEL_TRACES_EXPORTER": "console"})})
	tr.send(taking)
	tb.Cleanup(tr.Close)
	return tr
}

// client is one whose receiver does what the function does.
type client func(context.Context) error

// Start implements otlptrace.Client.
func (client) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (client) Stop(context.Context) error { return nil }

// UploadTraces implements otlptrace.Client.
func (c client) UploadTraces(ctx context.Context, _ []*wire.ResourceSpans) error { return c(ctx) }

var (
	taking   client = func(context.Context) error { return nil }
	refusing client = func(context.Context) error { return errors.New("nobody listens") }
	hanging  client = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
)

func TestWhatIsNotRecordedAllocatesNothing(t *testing.T) {
	tr, now := following(t), time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for name, parent := range map[string]string{"not recorded": notRecorded, "no trace": ""} {
		a := attemptOf(parent)
		if n := testing.AllocsPerRun(100, func() { followDelivery(tr, ctx, a, now) }); n != 0 {
			t.Errorf("%s: a delivery allocates %v times, want 0", name, n)
		}
	}
}

func BenchmarkDelivery(b *testing.B) {
	for _, bb := range []struct{ name, parent string }{{"no-trace", ""}, {"not-recorded", notRecorded}, {"recorded", recorded}} {
		b.Run(bb.name, func(b *testing.B) {
			tr, ctx, a, now := following(b), b.Context(), attemptOf(bb.parent), time.Now()
			b.ReportAllocs()
			for b.Loop() {
				followDelivery(tr, ctx, a, now)
			}
		})
	}
}

func TestLostSpansAreCountedAndToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		o := newOutbox(refusing, traceEnv{queue: 4, batch: 2, delay: exportDelay, timeout: exportTimeout}, slog.New(slog.NewTextHandler(&log, nil)))
		go o.run()
		provider := trace.NewTracerProvider(trace.WithSpanProcessor(o))
		tracer := provider.Tracer("test")
		for range 5 {
			for range 4 {
				_, span := tracer.Start(t.Context(), "x")
				span.End()
			}
			synctest.Wait()
			time.Sleep(exportDelay + time.Second)
		}
		if err := provider.Shutdown(t.Context()); err != nil {
			t.Fatalf("Shutdown: %v", err)
		}
		o.report()
		if o.lost() != 20 || o.sent.Load() != 0 || o.waiting != 0 {
			t.Errorf("lost %d, sent %d, waiting %d; want 20, 0, 0", o.lost(), o.sent.Load(), o.waiting)
		}
		if n := strings.Count(log.String(), "traces not sent"); n != 1 {
			t.Errorf("told %d times in half a minute, want once:\n%s", n, log.String())
		}
		if !strings.Contains(log.String(), "spans lost") {
			t.Errorf("what was lost after the first line is not told at the end:\n%s", log.String())
		}
	})
}

func TestCloseDoesNotWaitForAReceiverThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := NewTracing(TracingOptions{Env: env(map[string]string{"OTEL_TRACES_EXPORTER": "console"}), FlushTimeout: 3 * time.Second})
		tr.send(hanging)
		var e event.Event
		tr.Stored(tr.Store(t.Context(), &e), &e, event.Receipt{}, nil)
		begin := time.Now()
		tr.Close()
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("Close took %s, want the flush timeout, 3s", took)
		}
		if sent, lost := tr.counts(); sent != 0 || lost != 1 {
			t.Errorf("%d spans sent and %d lost, want 0 and 1", sent, lost)
		}
	})
}

func TestAFullOutboxDropsAndDoesNotWait(t *testing.T) {
	t.Parallel()
	o := newOutbox(taking, traceEnv{queue: 2, batch: 2}, slog.New(slog.DiscardHandler)) // nobody sends yet
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(o))
	for range 5 {
		_, span := provider.Tracer("test").Start(t.Context(), "x")
		span.End()
	}
	if o.overflow.Load() != 3 || o.waiting != 2 {
		t.Errorf("overflow %d, waiting %d; want 3, 2", o.overflow.Load(), o.waiting)
	}
}

// One text that is not UTF-8 would cost all spans that are sent with it.
func TestTextIsValid(t *testing.T) {
	t.Parallel()
	var got []Span
	tr := NewTracing(TracingOptions{Env: env(nil), Spans: func(s Span) { got = append(got, s) }})
	e := event.Event{ID: "a\xffb", Subject: "order.created"}
	tr.Stored(tr.Store(t.Context(), &e), &e, event.Receipt{}, errors.New("no \xfe room"))
	if len(got) != 1 || !got[0].Failed {
		t.Fatalf("spans %+v, want one that failed", got)
	}
	if id := got[0].Attributes["penstock.event.id"]; id != "a?b" {
		t.Errorf("the id is %q, want a?b", id)
	}
}

// The path of a request may end in a token, and its query may hold anything.
func TestARequestsSpanHoldsNoToken(t *testing.T) {
	t.Parallel()
	var got []Span
	tr := NewTracing(TracingOptions{Env: env(nil), Spans: func(s Span) { got = append(got, s) }})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/webhooks/a/hunter2?key=hunter2", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "hunter2")
	ctx := tr.Request(t.Context(), r)
	tr.Answered(ctx, "a", "/webhooks/a", r, "accepted", 202)
	if len(got) != 1 || got[0].Kind != "server" || got[0].Parent != "" {
		t.Fatalf("spans %+v, want one of a server without a parent", got)
	}
	for k, v := range got[0].Attributes {
		if strings.Contains(v, "hunter2") {
			t.Errorf("attribute %s shows the token: %s", k, v)
		}
	}
}

// BenchmarkEvent is all that is followed of an event with one sink, sent by
// OTLP to a receiver in this process.
func BenchmarkEvent(b *testing.B) {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer receiver.Close()
	b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
	for _, ratio := range []string{"0", "0.01", "1"} {
		b.Run("ratio="+ratio, func(b *testing.B) {
			b.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
			b.Setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
			tr := NewTracing(TracingOptions{Env: ReadEnv(nil)})
			tr.Open()
			defer tr.Close()
			r := httptest.NewRequest(http.MethodPost, "/webhooks/a", nil)
			a := attemptOf("")
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%500 == 0 { // or spans would find no room and cost nothing
					_ = tr.provider.ForceFlush(b.Context())
				}
				arrived := time.Now()
				ctx := tr.Request(b.Context(), r)
				stored := tr.Store(ctx, &a.Event)
				if stored != ctx {
					tr.Stored(stored, &a.Event, event.Receipt{Seq: 7}, nil)
				}
				tr.Answered(ctx, "a", "/webhooks/a", r, "accepted", http.StatusAccepted)
				followDelivery(tr, b.Context(), a, arrived)
			}
		})
	}
}
