package telemetry

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// reloads is what is told of reloads. The zero value is a process that none
// has failed in.
type reloads struct {
	failed atomic.Bool
	at     atomic.Int64 // of the last success, in Unix seconds
}

// Reloaded tells that a configuration was put in force at a time; the one that
// a process starts with counts.
func (t *Telemetry) Reloaded(at time.Time) {
	t.reloads.at.Store(at.Unix())
	t.reloads.failed.Store(false)
}

// ReloadRefused tells that the files say something that cannot be put in force.
func (t *Telemetry) ReloadRefused() { t.reloads.failed.Store(true) }

// observeReloads registers the metrics of reloads.
func (m *maker) observeReloads(r *reloads) {
	good, at := m.gauge(reloadGood), m.gauge(reloadAt)
	_, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		ok := 1.0
		if r.failed.Load() {
			ok = 0
		}
		o.ObserveFloat64(good, ok)
		o.ObserveFloat64(at, float64(r.at.Load()))
		return nil
	}, good, at)
	m.errs = append(m.errs, err)
}
