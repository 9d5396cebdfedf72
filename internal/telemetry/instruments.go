package telemetry

import (
	"errors"

	"go.opentelemetry.io/otel/metric"
)

// Bounds of the histograms' buckets, in seconds. Accepting takes about as long
// as one sync to disk; an attempt as long as the receiver likes; a delivery
// that is tried again up to retry.max_age.
var (
	acceptBounds  = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	attemptBounds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	phaseBounds   = []float64{.005, .025, .1, .5, 1, 5, 15, 60, 300, 1800, 3600, 4 * 3600, 24 * 3600, 72 * 3600}
	cohortBounds  = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}
)

// ucum is the unit as OpenTelemetry writes it.
func (d Metric) ucum() string {
	switch d.Unit {
	case "seconds", "seconds since 1970":
		return "s"
	case "bytes":
		return "By"
	case "", "ratio":
		return "1"
	}
	return "{" + d.Unit + "}"
}

// maker makes instruments and gathers what goes wrong.
type maker struct {
	meter metric.Meter
	errs  []error
}

func (m *maker) counter(d Metric) metric.Int64Counter {
	c, err := m.meter.Int64Counter(d.Name, metric.WithDescription(d.Help), metric.WithUnit(d.ucum()))
	m.errs = append(m.errs, err)
	return c
}

func (m *maker) histogram(d Metric, bounds []float64) metric.Float64Histogram {
	h, err := m.meter.Float64Histogram(d.Name, metric.WithDescription(d.Help), metric.WithUnit(d.ucum()),
		metric.WithExplicitBucketBoundaries(bounds...))
	m.errs = append(m.errs, err)
	return h
}

func (m *maker) gauge(d Metric) metric.Float64ObservableGauge {
	g, err := m.meter.Float64ObservableGauge(d.Name, metric.WithDescription(d.Help), metric.WithUnit(d.ucum()))
	m.errs = append(m.errs, err)
	return g
}

func (m *maker) total(d Metric) metric.Int64ObservableCounter {
	c, err := m.meter.Int64ObservableCounter(d.Name, metric.WithDescription(d.Help), metric.WithUnit(d.ucum()))
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
		expired: m.counter(expiredTotal), purged: m.counter(purgedTotal),
		accept: m.histogram(acceptSeconds, acceptBounds), attempt: m.histogram(attemptSeconds, attemptBounds),
		wait: m.histogram(queueWait, phaseBounds), whole: m.histogram(deliverySeconds, phaseBounds),
		sync: m.histogram(syncSeconds, acceptBounds), cohort: m.histogram(syncCohort, cohortBounds),
	}
	t.requests.init(maxRequests, requestKey{other, other}, func(k requestKey) *requestSeries { return newRequestSeries(k, o.Durability) })
	t.rejected.init(maxRequests, rejectedKey{other, other}, newRejectedSeries)
	t.ring.init(maxRequests, ringKey{other, other}, newRingSeries)
	t.stored.init(maxStored, storedKey{other, other}, newStoredSeries)
	t.attempts.init(maxAttempts, attemptKey{other, other, "again"}, newAttemptSeries)
	t.phases.init(maxSinks, other, newPhaseSeries)
	m.observe(t, o.Version)
	t.Configured(o.Sources, o.Sinks)
	m.observeReloads(&t.reloads)
	return errors.Join(m.errs...)
}
