package telemetry

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// Configured says which sources and sinks this process serves from now on. It
// makes their series, with 0: a counter that appears with its first event has
// not increased by it, as far as Prometheus can see, and an alert on the first
// failure would miss it. It may be called again, when the configuration has
// changed; of sources that are gone the last event is not shown any more.
func (t *Telemetry) Configured(sources, sinks []string) {
	last := make(map[string]*atomic.Int64, len(sources))
	for _, source := range sources {
		last[source] = t.lastEvent(source)
		if last[source] == nil {
			last[source] = &atomic.Int64{}
			last[source].Store(time.Now().UnixMilli())
		}
		t.beginSource(source)
	}
	t.lastEvents.Store(&last)
	for _, sink := range sinks {
		t.beginSink(sink)
	}
}

func (t *Telemetry) beginSource(source string) {
	ctx := context.Background()
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

func (t *Telemetry) beginSink(sink string) {
	name := attribute.String(labelSink, sink)
	for _, outcome := range deliveryEnd {
		t.counters.deliveries.Add(context.Background(), 0, add(name, attribute.String(labelOutcome, outcome))...)
	}
	for _, class := range classes {
		t.counters.attempts.Add(context.Background(), 0, add(name, attribute.String(labelClass, class))...)
	}
	t.Expired(sink, 0)
	t.Purged(0, true)
	t.Purged(0, false)
}

// lastEvent is when the source's last event came in, in Unix milliseconds;
// nil for a source that is not served.
func (t *Telemetry) lastEvent(source string) *atomic.Int64 {
	if m := t.lastEvents.Load(); m != nil {
		return (*m)[source]
	}
	return nil
}
