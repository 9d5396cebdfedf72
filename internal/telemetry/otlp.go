package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
)

// The times of pushing, unless the environment says others.
const (
	pushEvery   = time.Minute
	pushTimeout = 30 * time.Second
)

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
func newPush(ctx context.Context, scraped sdk.Reader) (*push, error) {
	endpoint := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if endpoint == "" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_METRICS_EXPORTER") == "none" {
		return nil, nil
	}
	p := &push{}
	var secrets []string
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"} {
		// The exporter would print a value that it cannot read, secrets and all.
		more, err := headerSecrets(os.Getenv(name))
		if err != nil {
			return nil, fmt.Errorf("%s is not key=value,...: %w", name, err)
		}
		secrets = append(secrets, more...)
	}
	p.clean = hiding(secrets)
	var err error
	if p.every, err = millis("OTEL_METRIC_EXPORT_INTERVAL", pushEvery); err != nil {
		return nil, err
	}
	if p.timeout, err = millis("OTEL_METRIC_EXPORT_TIMEOUT", pushTimeout); err != nil {
		return nil, err
	}
	const variable = "OTEL_EXPORTER_OTLP_PROTOCOL"
	switch protocol := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"), os.Getenv(variable), "http/protobuf"); protocol {
	case "grpc":
		p.exporter, err = otlpmetricgrpc.New(ctx)
	case "http/protobuf":
		p.exporter, err = otlpmetrichttp.New(ctx)
	default:
		return nil, fmt.Errorf("%s: %q is not known; set it to grpc or http/protobuf", variable, protocol)
	}
	if err != nil {
		return nil, fmt.Errorf("set up OTLP exporter of metrics: %w", err)
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

// millis reads a variable in milliseconds.
func millis(variable string, otherwise time.Duration) (time.Duration, error) {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%s: %q is not a number of milliseconds; %d is the default", variable, text, otherwise.Milliseconds())
	}
	return time.Duration(n) * time.Millisecond, nil
}

// resourceOf says who we are, unless OTEL_SERVICE_NAME or
// OTEL_RESOURCE_ATTRIBUTES say otherwise.
func resourceOf(ctx context.Context, version string) (*resource.Resource, error) {
	host, _ := os.Hostname()
	own := []attribute.KeyValue{
		attribute.String("service.name", "penstock"), attribute.String("service.version", version),
		attribute.String("service.instance.id", host+":"+strconv.Itoa(os.Getpid())),
	}
	r, err := resource.New(ctx, resource.WithAttributes(own...), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return r, nil
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
