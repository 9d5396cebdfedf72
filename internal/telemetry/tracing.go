package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	api "go.opentelemetry.io/otel/trace"
)

const (
	// scope names the spans' instrumentation, as it does the metrics'.
	scope = "github.com/penstock/penstock"
	// These are larger than the library's defaults, which an instance at full
	// load fills in a tenth of a second. OTEL_BSP_* still replace them.
	queueSize, exportBatch = 16384, 2048
	// These are the standard's.
	exportDelay, exportTimeout = 5 * time.Second, 30 * time.Second
	// maxLinks bounds the links of one span: a batch has up to thousands of events.
	maxLinks = 128
	// maxValue bounds the length of an attribute's value.
	maxValue = 512
)

// TracingOptions say what a Tracing records and where it goes.
type TracingOptions struct {
	// Version is the version of the program.
	Version string
	// Env says where spans are sent and which; nil: nowhere.
	Env *Env
	// Spans gets every span that ends, on the goroutine that ended it, besides
	// or instead of what the variables say; nil: nobody. It is given every
	// span, whatever the variables say of sampling, if they name no exporter.
	Spans func(Span)
	// Console is where the exporter "console" writes; nil: nowhere.
	Console io.Writer
	// FlushTimeout bounds how long Close sends; 0: one second.
	FlushTimeout time.Duration
	// Logger gets what goes wrong with exporting. Nil: nothing is logged.
	Logger *slog.Logger
}

// Tracing follows events from the request to the last attempt. Its methods may
// be called concurrently and neither block nor fail: what cannot be sent is
// dropped and counted. Nothing of it is global.
type Tracing struct {
	o        TracingOptions
	env      traceEnv
	provider *trace.TracerProvider
	tracer   api.Tracer
	lists    sync.Pool              // of *attributes
	outbox   atomic.Pointer[outbox] // nil before Open, or when spans go nowhere
}

// NewTracing returns nil when the environment names no exporter and nobody else
// wants the spans: then nothing is followed. It starts nothing.
func NewTracing(o TracingOptions) *Tracing {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FlushTimeout <= 0 {
		o.FlushTimeout = time.Second
	}
	env := traceEnv{exporter: exporterNone}
	if o.Env != nil {
		env = o.Env.traces
	}
	if env.exporter == exporterNone {
		if o.Spans == nil {
			return nil
		}
		env.sampler, env.byParent = trace.ParentBased(trace.AlwaysSample()), true
	}
	limits := trace.NewSpanLimits()
	limits.LinkCountLimit = maxLinks
	if limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxValue
	}
	options := []trace.TracerProviderOption{
		trace.WithSampler(keeping{env.sampler}), trace.WithResource(whoWeAre(context.Background(), o.Version)), trace.WithRawSpanLimits(limits),
	}
	if o.Spans != nil {
		options = append(options, trace.WithSpanProcessor(watcher{o.Spans}))
	}
	t := &Tracing{o: o, env: env, provider: trace.NewTracerProvider(options...)}
	t.tracer = t.provider.Tracer(scope, api.WithInstrumentationVersion(o.Version), api.WithSchemaURL(semconv.SchemaURL))
	return t
}

// whoWeAre is the resource of all that is sent: what OTEL_SERVICE_NAME and
// OTEL_RESOURCE_ATTRIBUTES say goes before what we say.
func whoWeAre(ctx context.Context, version string) *resource.Resource {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	ours := resource.NewWithAttributes(semconv.SchemaURL,
		semconv.ServiceName("penstock"), semconv.ServiceVersion(version),
		semconv.ServiceInstanceID(fmt.Sprintf("%s-%d", host, os.Getpid())))
	// ReadEnv tells of a part that cannot be read; the rest is of use.
	r, _ := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(ours.Attributes()...), resource.WithFromEnv())
	if r == nil {
		return ours
	}
	return r
}

// Open begins to send spans; those that end before are not sent. It reaches no
// network, and what is wrong costs the traces only. Close must be called after it.
func (t *Tracing) Open() {
	if t.env.exporter == exporterNone {
		return
	}
	if t.env.exporter == exporterConsole {
		t.openConsole()
		return
	}
	// The messages hold what only this encoding carries.
	client := otlptracehttp.NewClient(otlptracehttp.WithTimeout(t.env.requestTimeout), otlptracehttp.WithEncoding(otlptracehttp.EncodingProtobuf))
	if t.env.grpc {
		client = otlptracegrpc.NewClient(otlptracegrpc.WithTimeout(t.env.requestTimeout))
	}
	if err := client.Start(context.Background()); err != nil {
		t.o.Logger.Warn(tracesOff, "err", hiding(t.env.secrets).Replace(err.Error()))
		return
	}
	t.send(client)
}

// send sends the spans that end from now on by a client that was started.
func (t *Tracing) send(client otlptrace.Client) {
	o := newOutbox(client, t.env, t.o.Logger)
	go o.run()
	t.outbox.Store(o)
	t.provider.RegisterSpanProcessor(o)
}

// openConsole shows spans as they end, one after the other: it is for a look,
// not for load.
func (t *Tracing) openConsole() {
	w := t.o.Console
	if w == nil {
		w = io.Discard
	}
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(w))
	if err != nil {
		t.o.Logger.Warn(tracesOff, "err", err)
		return
	}
	t.provider.RegisterSpanProcessor(trace.NewSimpleSpanProcessor(exporter))
}

// Close sends what is left, within the flush timeout, and ends. It may be
// called more than once, and without Open.
func (t *Tracing) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), t.o.FlushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.o.Logger.Warn("traces not ended in order", "err", err)
	}
	if o := t.outbox.Load(); o != nil {
		o.report()
	}
}

// counts are how many spans were sent, and lost.
func (t *Tracing) counts() (sent, lost int64) {
	o := t.outbox.Load()
	if o == nil {
		return 0, 0
	}
	return o.sent.Load(), o.lost()
}

// keepKey marks a context whose span is kept whatever the sampler says.
type keepKey struct{}

// keeping is a sampler that keeps what has to be kept.
type keeping struct{ trace.Sampler }

// ShouldSample implements trace.Sampler.
func (k keeping) ShouldSample(p trace.SamplingParameters) trace.SamplingResult {
	if p.ParentContext.Value(keepKey{}) != nil {
		return trace.SamplingResult{Decision: trace.RecordAndSample}
	}
	return k.Sampler.ShouldSample(p)
}

// Span is one that has ended, for somebody in this process.
type Span struct {
	Trace, ID, Parent string // in hex; Parent is "" at the root
	Name, Kind        string
	Start, End        time.Time
	Failed            bool
	// Attributes are as text.
	Attributes map[string]string
}

// watcher is the span processor that hands spans to somebody in this process.
type watcher struct{ tell func(Span) }

// OnStart implements trace.SpanProcessor.
func (watcher) OnStart(context.Context, trace.ReadWriteSpan) {}

// OnEnd implements trace.SpanProcessor.
func (w watcher) OnEnd(s trace.ReadOnlySpan) {
	out := Span{
		Trace: s.SpanContext().TraceID().String(), ID: s.SpanContext().SpanID().String(),
		Name: s.Name(), Kind: s.SpanKind().String(), Start: s.StartTime(), End: s.EndTime(),
		Failed: s.Status().Code == failedStatus, Attributes: map[string]string{},
	}
	if s.Parent().SpanID().IsValid() {
		out.Parent = s.Parent().SpanID().String()
	}
	for _, a := range s.Attributes() {
		out.Attributes[string(a.Key)] = a.Value.String()
	}
	w.tell(out)
}

// Shutdown implements trace.SpanProcessor.
func (watcher) Shutdown(context.Context) error { return nil }

// ForceFlush implements trace.SpanProcessor.
func (watcher) ForceFlush(context.Context) error { return nil }
