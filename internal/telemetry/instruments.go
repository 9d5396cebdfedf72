package telemetry

import (
	"context"
	"errors"
	"runtime"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Bounds of the histograms' buckets, in seconds. Accepting takes about as long
// as one sync to disk; an attempt as long as the receiver likes.
var (
	acceptBounds  = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	attemptBounds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
)

// maker makes instruments and gathers what goes wrong.
type maker struct {
	meter metric.Meter
	errs  []error
}

func (m *maker) counter(d Metric) metric.Int64Counter {
	c, err := m.meter.Int64Counter(d.Name, metric.WithDescription(d.Help))
	m.errs = append(m.errs, err)
	return c
}

func (m *maker) seconds(d Metric, bounds []float64) metric.Float64Histogram {
	h, err := m.meter.Float64Histogram(d.Name, metric.WithDescription(d.Help), metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(bounds...))
	m.errs = append(m.errs, err)
	return h
}

func (m *maker) gauge(d Metric) metric.Int64ObservableGauge {
	g, err := m.meter.Int64ObservableGauge(d.Name, metric.WithDescription(d.Help))
	m.errs = append(m.errs, err)
	return g
}

func (m *maker) total(d Metric) metric.Int64ObservableCounter {
	c, err := m.meter.Int64ObservableCounter(d.Name, metric.WithDescription(d.Help))
	m.errs = append(m.errs, err)
	return c
}

// instruments makes everything that is recorded or observed.
func (t *Telemetry) instruments(o Options) error {
	m := &maker{meter: t.provider.Meter("github.com/penstock/penstock")}
	t.counters = counters{
		requests: m.counter(requestsTotal), bytes: m.counter(requestBytesTotal),
		stored: m.counter(storedTotal), duplicates: m.counter(duplicatesTotal),
		rejected: m.counter(rejectedTotal), ring: m.counter(rejectedRingTotal),
		deliveries: m.counter(deliveriesTotal), attempts: m.counter(attemptsTotal),
		accept: m.seconds(acceptSeconds, acceptBounds), attempt: m.seconds(attemptSeconds, attemptBounds),
	}
	t.requests.init(maxRequests, requestKey{other, other}, newRequestSeries)
	t.rejected.init(maxRequests, rejectedKey{other, other}, newRejectedSeries)
	t.ring.init(maxRequests, ringKey{other, other}, newRingSeries)
	t.stored.init(maxStored, storedKey{other, other}, newStoredSeries)
	t.attempts.init(maxAttempts, attemptKey{other, other, "again"}, newAttemptSeries)
	m.observe(t, o.Version)
	m.observeReloads(&t.reloads)
	return errors.Join(m.errs...)
}

// observe registers the metrics that are read from a Snapshot.
func (m *maker) observe(t *Telemetry, version string) {
	w := watched{
		waiting: m.gauge(sinkWaiting), outstanding: m.gauge(sinkOutstanding), bypassing: m.gauge(sinkBypassing), running: m.gauge(sinkRunning),
		dead: m.gauge(sinkDead), state: m.gauge(sinkState),
		events: m.gauge(streamEvents), bytes: m.gauge(streamBytes), limit: m.gauge(streamLimit),
		foreign: m.total(foreignTotal), syncs: m.total(syncsTotal), waiters: m.total(syncWaitersTotal),
		recordsDropped: m.total(recordsDroppedTotal),
	}
	_, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		if f := t.snapshot.Load(); f != nil && *f != nil {
			w.show(o, (*f)())
		}
		return nil
	}, w.all()...)
	m.errs = append(m.errs, err)

	info := m.gauge(buildInfo)
	what := metric.WithAttributeSet(attribute.NewSet(
		attribute.String(labelVersion, version), attribute.String(labelGoVersion, runtime.Version())))
	_, err = m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(info, 1, what)
		return nil
	}, info)
	m.errs = append(m.errs, err)
}

// watched are the instruments of a Snapshot.
type watched struct {
	waiting, outstanding, bypassing, running, dead, state metric.Int64ObservableGauge
	events, bytes, limit                                  metric.Int64ObservableGauge
	foreign, syncs, waiters, recordsDropped               metric.Int64ObservableCounter
}

func (w watched) all() []metric.Observable {
	return []metric.Observable{w.waiting, w.outstanding, w.bypassing, w.running, w.dead, w.state,
		w.events, w.bytes, w.limit, w.foreign, w.syncs, w.waiters, w.recordsDropped}
}

func (w watched) show(o metric.Observer, s Snapshot) {
	o.ObserveInt64(w.events, s.StreamEvents)
	o.ObserveInt64(w.bytes, s.StreamBytes)
	o.ObserveInt64(w.limit, s.StreamLimit)
	o.ObserveInt64(w.foreign, s.Foreign)
	o.ObserveInt64(w.syncs, s.Syncs)
	o.ObserveInt64(w.waiters, s.SyncWaiters)
	o.ObserveInt64(w.recordsDropped, s.RecordsDropped)
	for _, sink := range s.Sinks {
		w.showSink(o, sink)
	}
}

func (w watched) showSink(o metric.Observer, s SinkSnapshot) {
	name := attribute.String(labelSink, s.Name)
	set := metric.WithAttributeSet(attribute.NewSet(name))
	o.ObserveInt64(w.waiting, s.Waiting, set)
	o.ObserveInt64(w.outstanding, s.Outstanding, set)
	o.ObserveInt64(w.bypassing, s.Bypassing, set)
	o.ObserveInt64(w.running, s.Running, set)
	o.ObserveInt64(w.dead, s.Dead, set)
	for _, state := range states {
		is := int64(0)
		if state == s.State {
			is = 1
		}
		o.ObserveInt64(w.state, is, metric.WithAttributes(name, attribute.String(labelState, state)))
	}
}
