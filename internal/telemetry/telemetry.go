// Package telemetry counts what Penstock does and shows it in the Prometheus
// format. It is OpenTelemetry underneath, without its global providers. All
// names stand in names.go; no label takes a value that a sender can choose.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
)

const (
	// These bound the label sets that the methods of recording tell apart. What
	// comes after is counted under "other".
	maxRequests = 1024 // sources × outcomes
	maxStored   = 8192 // sources × types of the catalogue
	maxAttempts = 8192 // sinks × classes × verdicts
	maxSinks    = 1024
	// maxScrapes and scrapeTimeout bound what reading the metrics may cost.
	maxScrapes    = 4
	scrapeTimeout = 10 * time.Second
)

// Options say what a Telemetry knows in advance. The zero Options are of use.
type Options struct {
	// Version is the version of the program.
	Version string
	// KnownSubjects are the values that the label type may have: the subjects
	// of the catalogue. Everything else is counted as "other".
	KnownSubjects []string
	// Sources and Sinks are Configured's arguments.
	Sources, Sinks []string
	// Durability is the configured one.
	Durability string
	// Snapshot is SetSnapshot's argument, where it is known already.
	Snapshot func() Snapshot
	// Env says where metrics are pushed; nil: nowhere.
	Env *Env
	// Logger gets what goes wrong while metrics are read. Nil: nothing is logged.
	Logger *slog.Logger
}

// Telemetry counts. Its methods may be called concurrently. Recording neither
// blocks nor allocates, save for the first of its kind.
type Telemetry struct {
	provider *sdk.MeterProvider
	handler  http.Handler
	push     *push // nil: nobody is to be sent metrics
	log      *slog.Logger
	known    map[string]string
	snapshot atomic.Pointer[func() Snapshot]

	counters counters
	requests cache[requestKey, requestSeries]
	stored   cache[storedKey, storedSeries]
	rejected cache[rejectedKey, rejectedSeries]
	ring     cache[ringKey, rejectedSeries]
	attempts cache[attemptKey, attemptSeries]
	phases   cache[string, phaseSeries] // by sink
	// lastEvents are, by source, when its last event came in, in Unix
	// milliseconds. The map does not change; Configured makes another.
	lastEvents atomic.Pointer[map[string]*atomic.Int64]
	reloads    reloads
}

// New makes every metric. It starts nothing.
func New(o Options) (*Telemetry, error) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprom.New(
		otelprom.WithRegisterer(registry),
		otelprom.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithoutSuffixes),
		otelprom.WithoutScopeInfo(),
		otelprom.WithoutTargetInfo(),
	)
	if err != nil {
		return nil, fmt.Errorf("make metrics exporter: %w", err)
	}
	ctx := context.Background()
	push, err := newPush(ctx, o.Env, exporter)
	if err != nil && o.Logger != nil { // it costs what is pushed, and no more
		o.Logger.Warn(metricsOff, "err", err)
	}
	options := []sdk.Option{
		sdk.WithReader(exporter),
		sdk.WithResource(whoWeAre(ctx, o.Version)),
		sdk.WithExemplarFilter(exemplar.AlwaysOffFilter),
		sdk.WithCardinalityLimit(2 * maxStored), // ours come first
	}
	if push != nil && push.own {
		options = append(options, sdk.WithReader(push.reader))
	}
	t := &Telemetry{
		provider: sdk.NewMeterProvider(options...), push: push, log: o.Logger,
		known: make(map[string]string, len(o.KnownSubjects)),
	}
	for _, s := range o.KnownSubjects {
		t.known[s] = s
	}
	if o.Snapshot != nil {
		t.SetSnapshot(o.Snapshot)
	}
	if err := t.instruments(o); err != nil {
		return nil, fmt.Errorf("make metrics: %w", err)
	}
	err = errors.Join(
		registry.Register(collectors.NewGoCollector()),
		registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	)
	if err != nil {
		return nil, fmt.Errorf("make metrics of the process: %w", err)
	}
	t.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            errorLog{o.Logger},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	})
	return t, nil
}

// Handler serves the metrics in the Prometheus format. It answers 503 to more
// than a few at a time, and when reading takes longer than 10 s.
func (t *Telemetry) Handler() http.Handler { return t.handler }

// SetSnapshot says where the gauges get their values. f is called once each
// time the metrics are read, by one caller at a time or several; it should
// take less than a second. Until it is set these gauges are absent.
func (t *Telemetry) SetSnapshot(f func() Snapshot) { t.snapshot.Store(&f) }

// Shutdown ends the collection. What is recorded afterwards is lost.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("shut down metrics: %w", err)
	}
	return nil
}

// errorLog passes on what promhttp has to say. A nil logger drops it.
type errorLog struct{ log *slog.Logger }

// Println implements promhttp.Logger.
func (l errorLog) Println(v ...any) {
	if l.log != nil {
		l.log.Warn("reading metrics failed", "err", fmt.Sprint(v...))
	}
}
