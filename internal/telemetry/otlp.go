package telemetry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// The times of pushing, unless the environment says others.
const (
	pushEvery   = time.Minute
	pushTimeout = 30 * time.Second
)

const metricsOff = "metrics are not pushed"

// pushEnv is what the standard variables say of pushing metrics.
type pushEnv struct {
	on             bool
	grpc           bool
	requestTimeout time.Duration // of one request
	every, timeout time.Duration
}

// readMetrics reads the variables of metrics. They are pushed where an endpoint
// is set, or otlp is named.
func (e *Env) readMetrics() {
	const exporter = "OTEL_METRICS_EXPORTER"
	p := &e.push
	switch v := e.value(exporter); v {
	case exporterNone, "prometheus": // they are at /metrics in any case
		return
	case exporterOTLP:
		p.on = true
	case "":
	default:
		e.problem(exporter, fmt.Sprintf("is %s, and none of otlp, prometheus, none", shown(v)), metricsOff)
		return
	}
	o := &otlp{Env: e, signal: "METRICS", off: metricsOff}
	r := o.read()
	p.grpc, p.requestTimeout = r.grpc, r.timeout
	p.every = e.millis("OTEL_METRIC_EXPORT_INTERVAL", pushEvery)
	p.timeout = e.millis("OTEL_METRIC_EXPORT_TIMEOUT", pushTimeout)
	const temporality, histograms = otlpPrefix + "METRICS_TEMPORALITY_PREFERENCE", otlpPrefix + "METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
	e.choice(temporality, strings.ToLower(e.value(temporality)), "cumulative", "cumulative", "delta", "lowmemory")
	e.choice(histograms, strings.ToLower(e.value(histograms)), "explicit_bucket_histogram", "explicit_bucket_histogram", "base2_exponential_bucket_histogram")
	p.on = (p.on || r.endpoint) && !o.broken
}

// push sends the metrics to an OTLP receiver. What it is told by the standard
// variables that it does not read itself, its exporter does: endpoint, headers,
// TLS, compression, temporality.
type push struct {
	exporter       sdk.Exporter
	clean          *strings.Replacer // of what the receiver says
	reader         sdk.Reader
	own            bool // the reader: else it is that of /metrics
	every, timeout time.Duration
}

// newPush returns nil when the environment names no receiver. It connects to
// nobody. scraped is the reader of /metrics, which serves pushing too unless the
// environment wants sums or histograms of another kind: each reader costs every
// measurement once more.
func newPush(ctx context.Context, e *Env, scraped sdk.Reader) (*push, error) {
	if e == nil || !e.push.on {
		return nil, nil
	}
	p := &push{clean: hiding(e.hidden), every: e.push.every, timeout: e.push.timeout}
	var err error
	if e.push.grpc {
		p.exporter, err = otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithTimeout(e.push.requestTimeout))
	} else {
		p.exporter, err = otlpmetrichttp.New(ctx, otlpmetrichttp.WithTimeout(e.push.requestTimeout))
	}
	if err != nil {
		return nil, errors.New("set up OTLP exporter of metrics: " + p.clean.Replace(err.Error()))
	}
	p.reader = scraped
	if p.own = !asScraped(p.exporter); p.own {
		p.reader = sdk.NewManualReader(sdk.WithTemporalitySelector(p.exporter.Temporality), sdk.WithAggregationSelector(p.exporter.Aggregation))
	}
	return p, nil
}

// asScraped reports whether e wants metrics as /metrics shows them.
func asScraped(e sdk.Exporter) bool {
	for _, kind := range []sdk.InstrumentKind{sdk.InstrumentKindCounter, sdk.InstrumentKindObservableCounter, sdk.InstrumentKindHistogram} {
		if e.Temporality(kind) != metricdata.CumulativeTemporality {
			return false
		}
	}
	_, ok := e.Aggregation(sdk.InstrumentKindHistogram).(sdk.AggregationExplicitBucketHistogram)
	return ok
}

// Run pushes the metrics to the OTLP receiver that the environment names, until
// ctx is done, and then once more. Without one it only waits.
func (t *Telemetry) Run(ctx context.Context) error {
	if t.push == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(t.push.every)
	defer tick.Stop()
	fails := false
	for {
		select {
		case <-tick.C:
			fails = t.pushed(t.push.once(ctx, t.push.timeout), fails)
			continue
		case <-ctx.Done():
		}
		ctx = context.WithoutCancel(ctx)
		fails = t.pushed(t.push.once(ctx, t.push.last()), fails)
		last, cancel := context.WithTimeout(ctx, t.push.last())
		defer cancel()
		if err := t.push.exporter.Shutdown(last); err != nil && !fails {
			return errors.New("shut down OTLP exporter of metrics: " + t.push.clean.Replace(err.Error()))
		}
		return nil
	}
}

// pushed says when pushing begins to fail and when it works again, and reports
// that it failed.
func (t *Telemetry) pushed(err error, failed bool) bool {
	switch {
	case t.log == nil || (err != nil) == failed || errors.Is(err, context.Canceled):
	case err != nil:
		t.log.Warn("metrics not pushed, trying again; they are at /metrics as well", "err", t.push.clean.Replace(err.Error()))
	default:
		t.log.Info("metrics are pushed again")
	}
	return err != nil
}

// last bounds what a push may cost the end of the process.
func (p *push) last() time.Duration { return min(p.timeout, 2*time.Second) }

func (p *push) once(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var data metricdata.ResourceMetrics
	if err := p.reader.Collect(ctx, &data); err != nil {
		return fmt.Errorf("collect metrics: %w", err)
	}
	return p.exporter.Export(ctx, &data)
}
