package telemetry

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// begin makes the series of what is configured, with 0. A counter that appears
// with its first event has not increased by it, as far as Prometheus can see,
// and an alert on the first failure would miss it.
func (t *Telemetry) begin(o Options) {
	ctx, now := context.Background(), time.Now().UnixMilli()
	for _, source := range o.Sources {
		at := &atomic.Int64{}
		at.Store(now)
		t.lastEvents[source] = at
		for _, outcome := range outcomes {
			t.counters.requests.Add(ctx, 0, t.requests.get(requestKey{source, outcome}).requests...)
		}
		for _, reason := range reasons {
			t.counters.rejected.Add(ctx, 0, t.rejected.get(rejectedKey{source, reason}).requests...)
		}
		for _, outcome := range ringEnds {
			t.counters.ring.Add(ctx, 0, t.ring.get(ringKey{source, outcome}).requests...)
		}
	}
	for _, sink := range o.Sinks {
		name := attribute.String(labelSink, sink)
		for _, outcome := range deliveryEnd {
			t.counters.deliveries.Add(ctx, 0, add(name, attribute.String(labelOutcome, outcome))...)
		}
		t.Expired(sink, 0)
	}
	if len(o.Sinks) > 0 {
		t.Purged(0, true)
		t.Purged(0, false)
	}
}
