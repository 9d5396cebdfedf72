package telemetry

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"
)

// The metrics of traces, which are there while traces are on.
var (
	spansSentTotal = Metric{"penstock_spans_sent_total", Counter, "spans", nil,
		"Spans of traces that their receiver has taken.", "That traces arrive at all."}
	spansLostTotal = Metric{"penstock_spans_lost_total", Counter, "spans", nil,
		"Spans of traces that found no room or that their receiver did not take. Events are not affected.",
		"Look at the collector, or sample less: `OTEL_TRACES_SAMPLER_ARG`."}
)

// Watch adds the metrics of traces. A nil tr has none.
func (t *Telemetry) Watch(tr *Tracing) error {
	if tr == nil {
		return nil
	}
	m := &maker{meter: t.provider.Meter(scope)}
	sent, lost := m.total(spansSentTotal), m.total(spansLostTotal)
	_, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s, l := tr.counts()
		o.ObserveInt64(sent, s)
		o.ObserveInt64(lost, l)
		return nil
	}, sent, lost)
	if err != nil {
		return fmt.Errorf("make metrics of traces: %w", err)
	}
	return nil
}
