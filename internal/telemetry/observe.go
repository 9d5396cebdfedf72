package telemetry

import (
	"context"
	"runtime"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// observe registers the metrics that are read when somebody asks.
func (m *maker) observe(t *Telemetry, version string) {
	w := newWatched(m)
	m.watch(func(o metric.Observer) {
		if f := t.snapshot.Load(); f != nil && *f != nil {
			w.show(o, (*f)())
		}
	}, w.all...)

	last := m.gauge(lastEvent)
	m.watch(func(o metric.Observer) {
		for name, at := range *t.lastEvents.Load() {
			o.ObserveFloat64(last, float64(at.Load())/1e3, label(labelSource, name))
		}
	}, last)

	info := m.gauge(buildInfo)
	what := metric.WithAttributeSet(attribute.NewSet(
		attribute.String(labelVersion, version), attribute.String(labelGoVersion, runtime.Version())))
	m.watch(func(o metric.Observer) { o.ObserveFloat64(info, 1, what) }, info)
}

// watch has f called whenever the metrics are read.
func (m *maker) watch(f func(metric.Observer), what ...metric.Observable) {
	_, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		f(o)
		return nil
	}, what...)
	m.errs = append(m.errs, err)
}

// watched are the instruments of a Snapshot.
type watched struct {
	requests, bytes, skew                                     metric.Float64ObservableGauge
	state, waiting, oldest, left, outstanding, outstandingLen metric.Float64ObservableGauge
	fill, bypassing, running, dead                            metric.Float64ObservableGauge
	messages, streamBytes, limit, deadOldest, retention       metric.Float64ObservableGauge
	reachable                                                 metric.Float64ObservableGauge
	foreign, recordsDropped                                   metric.Int64ObservableCounter

	all []metric.Observable
}

func newWatched(m *maker) *watched {
	w := &watched{}
	gauge := func(d Metric) metric.Float64ObservableGauge {
		g := m.gauge(d)
		w.all = append(w.all, g)
		return g
	}
	total := func(d Metric) metric.Int64ObservableCounter {
		c := m.total(d)
		w.all = append(w.all, c)
		return c
	}
	w.requests, w.bytes, w.skew = gauge(requestsInFlight), gauge(bytesInFlight), gauge(clockSkew)
	w.state, w.waiting, w.oldest, w.left = gauge(sinkState), gauge(sinkWaiting), gauge(sinkOldest), gauge(sinkLeft)
	w.outstanding, w.outstandingLen, w.fill = gauge(sinkOutstanding), gauge(sinkOutstandingBytes), gauge(sinkFill)
	w.bypassing, w.running, w.dead = gauge(sinkBypassing), gauge(sinkRunning), gauge(sinkDead)
	w.messages, w.streamBytes, w.limit = gauge(streamMessages), gauge(streamBytes), gauge(streamLimit)
	w.deadOldest, w.retention, w.reachable = gauge(deadOldest), gauge(retentionSeconds), gauge(storeReachable)
	w.foreign, w.recordsDropped = total(foreignTotal), total(recordsDroppedTotal)
	return w
}

func (w *watched) show(o metric.Observer, s Snapshot) {
	o.ObserveInt64(w.foreign, s.Foreign)
	o.ObserveInt64(w.recordsDropped, s.RecordsDropped)
	o.ObserveFloat64(w.reachable, oneIf(s.Reachable))
	if f := s.InFlight; f != nil {
		o.ObserveFloat64(w.requests, float64(f.Requests))
		o.ObserveFloat64(w.bytes, float64(f.Bytes))
	}
	for _, source := range s.Sources {
		if source.Skew != nil {
			o.ObserveFloat64(w.skew, source.Skew.Seconds(), label(labelSource, source.Name))
		}
	}
	if s.Store != nil {
		w.showStore(o, s.Store)
	}
	for _, sink := range s.Sinks {
		w.showSink(o, sink)
	}
}

func (w *watched) showStore(o metric.Observer, s *StoreSnapshot) {
	o.ObserveFloat64(w.deadOldest, s.DeadOldest.Seconds())
	o.ObserveFloat64(w.retention, s.Retention.Seconds())
	for _, st := range s.Streams {
		name := label(labelStream, st.Name)
		o.ObserveFloat64(w.messages, float64(st.Messages), name)
		o.ObserveFloat64(w.streamBytes, float64(st.Bytes), name)
		if st.Limit > 0 {
			o.ObserveFloat64(w.limit, float64(st.Limit), name)
		}
	}
}

func (w *watched) showSink(o metric.Observer, s SinkSnapshot) {
	name := label(labelSink, s.Name)
	o.ObserveFloat64(w.outstanding, float64(s.Outstanding), name)
	o.ObserveFloat64(w.outstandingLen, float64(s.OutstandingBytes), name)
	o.ObserveFloat64(w.fill, s.Fill, name)
	o.ObserveFloat64(w.bypassing, float64(s.Bypassing), name)
	o.ObserveFloat64(w.running, float64(s.Running), name)
	for _, state := range states {
		o.ObserveFloat64(w.state, oneIf(state == s.State), metric.WithAttributes(attribute.String(labelSink, s.Name), attribute.String(labelState, state)))
	}
	if q := s.Queue; q != nil {
		o.ObserveFloat64(w.waiting, float64(q.Waiting), name)
		o.ObserveFloat64(w.dead, float64(q.Dead), name)
		o.ObserveFloat64(w.oldest, q.Oldest.Seconds(), name)
		o.ObserveFloat64(w.left, q.Left.Seconds(), name)
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func label(name, value string) metric.ObserveOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String(name, value)))
}
