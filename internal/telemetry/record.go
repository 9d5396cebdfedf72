package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The keys of the caches are all labels of the call; what is found under them
// is everything needed to count it. The options are slices because a call with
// a slice at hand allocates none.
type (
	requestKey struct{ source, outcome string }
	storedKey  struct{ source, subject string }
	attemptKey struct{ sink, class, verdict string }

	rejectedKey struct{ source, reason string }
	ringKey     struct{ source, outcome string }

	phaseSeries struct {
		took    []metric.RecordOption
		count   []metric.AddOption
		expired []metric.AddOption // of deliveries
	}
	rejectedSeries struct{ requests []metric.AddOption }
	requestSeries  struct {
		requests, bytes []metric.AddOption
		accepted        []metric.RecordOption // nil: not accepted
	}
	storedSeries  struct{ event []metric.AddOption }
	attemptSeries struct {
		delivery []metric.AddOption    // nil: the delivery goes on
		attempt  []metric.AddOption    // nil: no attempt was made
		took     []metric.RecordOption // nil with attempt
	}
)

// counters are the instruments that the methods below record with.
type counters struct {
	requests, bytes, stored, duplicates metric.Int64Counter
	rejected, ring                      metric.Int64Counter
	deliveries, attempts                metric.Int64Counter
	expired, purged                     metric.Int64Counter
	accept, attempt, wait, whole        metric.Float64Histogram
	sync, cohort                        metric.Float64Histogram
}

// Request counts a webhook request: the source's name, or "" when the path
// belongs to none, what became of it, how long it took, and the size of its
// body in bytes, 0 when it was not read whole.
func (t *Telemetry) Request(source, outcome string, d time.Duration, bytes int) {
	ctx, s := context.Background(), t.requests.get(requestKey{source, outcome})
	t.counters.requests.Add(ctx, 1, s.requests...)
	if bytes > 0 {
		t.counters.bytes.Add(ctx, int64(bytes), s.bytes...)
	}
	if s.accepted != nil {
		t.counters.accept.Record(ctx, d.Seconds(), s.accepted...)
	}
}

// Stored counts an event that the store has confirmed.
func (t *Telemetry) Stored(source, subject string, duplicate bool) {
	known, ok := t.known[subject]
	if !ok {
		known = other
	}
	s := t.stored.get(storedKey{source, known})
	c := t.counters.stored
	if duplicate {
		c = t.counters.duplicates
	}
	c.Add(context.Background(), 1, s.event...)
	if at := t.lastEvent(source); at != nil {
		at.Store(time.Now().UnixMilli())
	}
}

// Waited takes in how long an event waited for its first attempt at the sink.
func (t *Telemetry) Waited(sink string, d time.Duration) {
	t.counters.wait.Record(context.Background(), max(d, 0).Seconds(), t.phases.get(sink).took...)
}

// Delivered takes in how long it took from an event's arrival to its delivery.
func (t *Telemetry) Delivered(sink string, d time.Duration) {
	t.counters.whole.Record(context.Background(), max(d, 0).Seconds(), t.phases.get(sink).took...)
}

// Expired counts events that outlived the retention before the sink had them.
func (t *Telemetry) Expired(sink string, n int) {
	s := t.phases.get(sink)
	t.counters.expired.Add(context.Background(), int64(n), s.count...)
	t.counters.deliveries.Add(context.Background(), int64(n), s.expired...)
}

// Purged counts delivered events that were purged: to make room, or because
// their retention was over.
func (t *Telemetry) Purged(n int, pressure bool) {
	reason := byRetention
	if pressure {
		reason = byPressure
	}
	t.counters.purged.Add(context.Background(), int64(n), add(attribute.String(labelReason, reason))...)
}

// Synced takes in a sync to disk and how many writes it made safe.
func (t *Telemetry) Synced(writes int, d time.Duration) {
	ctx := context.Background()
	t.counters.sync.Record(ctx, d.Seconds())
	t.counters.cohort.Record(ctx, float64(writes))
}

// Attempt counts what was judged of a delivery: the class of the failure ("":
// it did not fail), the verdict (done, skip, again, bury or defer, as
// delivery.Action prints them), and how long the attempt took, 0 when none was
// made. Deferred deliveries count for nothing: they come again.
func (t *Telemetry) Attempt(sink, class, verdict string, d time.Duration) {
	ctx, s := context.Background(), t.attempts.get(attemptKey{sink, class, verdict})
	if s.delivery != nil {
		t.counters.deliveries.Add(ctx, 1, s.delivery...)
	}
	if s.attempt == nil {
		return
	}
	t.counters.attempts.Add(ctx, 1, s.attempt...)
	if d > 0 {
		t.counters.attempt.Record(ctx, d.Seconds(), s.took...)
	}
}

// Rejected counts a request that failed verification, by the most likely cause.
func (t *Telemetry) Rejected(source, cause string) {
	t.counters.rejected.Add(context.Background(), 1, t.rejected.get(rejectedKey{source, cause}).requests...)
}

// RejectedRing counts what became of one that was to be kept: kept, repeated,
// overflow or failed.
func (t *Telemetry) RejectedRing(source, outcome string) {
	t.counters.ring.Add(context.Background(), 1, t.ring.get(ringKey{source, outcome}).requests...)
}

func newRejectedSeries(k rejectedKey) *rejectedSeries {
	return &rejectedSeries{add(attribute.String(labelSource, k.source), attribute.String(labelReason, k.reason))}
}

func newRingSeries(k ringKey) *rejectedSeries {
	return &rejectedSeries{add(attribute.String(labelSource, k.source), attribute.String(labelOutcome, k.outcome))}
}

func newPhaseSeries(sink string) *phaseSeries {
	name := attribute.String(labelSink, sink)
	return &phaseSeries{record(name), add(name), add(name, attribute.String(labelOutcome, expired))}
}

func newRequestSeries(k requestKey, durability string) *requestSeries {
	if k.source == "" {
		k.source = none
	}
	source := attribute.String(labelSource, k.source)
	s := &requestSeries{
		requests: add(source, attribute.String(labelOutcome, k.outcome)),
		bytes:    add(source),
	}
	if k.outcome == accepted {
		s.accepted = record(source, attribute.String(labelDurability, durability))
	}
	return s
}

func newStoredSeries(k storedKey) *storedSeries {
	return &storedSeries{add(attribute.String(labelSource, k.source), attribute.String(labelType, k.subject))}
}

func newAttemptSeries(k attemptKey) *attemptSeries {
	sink := attribute.String(labelSink, k.sink)
	s := &attemptSeries{}
	switch k.verdict {
	case "done":
		s.delivery = add(sink, attribute.String(labelOutcome, delivered))
	case "bury":
		s.delivery = add(sink, attribute.String(labelOutcome, dead))
	case "skip":
		s.delivery = add(sink, attribute.String(labelOutcome, skipped))
		return s
	case "again":
	default:
		return s
	}
	class := k.class
	if class == "" {
		class = delivered
	}
	s.attempt = add(sink, attribute.String(labelClass, class))
	s.took = record(sink)
	return s
}

func add(kv ...attribute.KeyValue) []metric.AddOption {
	return []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(kv...))}
}

func record(kv ...attribute.KeyValue) []metric.RecordOption {
	return []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(kv...))}
}
