package app

import (
	"context"
	"net"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/ingress"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/replay"
	"github.com/penstock/penstock/router"
)

// snapshotTimeout bounds what a scrape of the metrics asks of the streams.
const snapshotTimeout = 3 * time.Second

// buildAdmin makes the admin API, or in a process without the role console a
// server of the metrics alone, if there is to be one.
func (a *App) buildAdmin(catalog *clickfunnels.Catalog) error {
	if a.conf().Server.Admin == "" {
		return nil
	}
	o := console.Options{
		Addr: a.conf().Server.Admin, Tokens: console.Credentials(a.conf().Server), Ready: a.notReady,
		Metrics: a.telemetry.Handler(), Logger: a.log.With("part", "console"), AuditLogger: a.log.With("part", "audit"),
	}
	if a.o.has(config.RoleConsole) {
		o.Dead, o.Sinks, o.Status, o.Outstanding = a.broker, a.sinkStatus, a.status, a.bypassing
		o.Rejected, o.Control, o.Events, o.Replays = rejectedStore{a.broker, a}, sinkControl{a.broker, a}, &history{app: a}, a.replays
		o.Rules, o.Changes, o.Tails = ruleDiffs{a, catalog}, a.broker, &tails{app: a}
		o.Intake, o.Reload = a.intake, a.reloads
		if a.conf().Broker.URL == "" {
			o.Backup = ownBackup{a}
		}
	} else {
		o.MetricsOnly = true
	}
	var err error
	a.console, err = console.New(o)
	return err
}

// knownSubjects are those that a metric may have as a label.
func knownSubjects(c *config.Config, catalog *clickfunnels.Catalog) []string {
	var out []string
	for _, s := range c.Sources {
		prefix := s.SubjectPrefix
		if prefix != "" {
			prefix += "."
		}
		for _, e := range catalog.Entries() {
			out = append(out, prefix+e.Subject)
		}
	}
	return out
}

// requested and attempted pass what happened on to the metrics and to whoever
// built us.
func (a *App) requested(r ingress.Request) {
	if a.telemetry != nil {
		a.telemetry.Request(r.Source, r.Outcome, r.Duration, r.Bytes)
	}
	if a.o.Requested != nil {
		a.o.Requested(r)
	}
}

func (a *App) attempted(o router.Observation) {
	if a.telemetry != nil {
		class := o.Verdict.Class
		if o.Verdict.Action == delivery.Done {
			class = ""
		}
		a.telemetry.Attempt(o.Sink, string(class), o.Verdict.Action.String(), o.Took)
		a.phases(&o)
	}
	if m := a.now().meters[o.Sink]; m != nil && o.Verdict.Action == delivery.Done {
		m.add(time.Now())
	}
	if !a.o.NoRecords {
		a.record(&o)
	}
	if a.o.Attempted != nil {
		a.o.Attempted(o)
	}
}

func (a *App) workers() []*router.Worker {
	if a.router == nil {
		return nil
	}
	return a.router.Workers()
}

func (a *App) sinkStatus(ctx context.Context) ([]console.SinkStatus, error) {
	st, err := a.broker.Stats(ctx)
	if err != nil {
		return nil, err
	}
	paused, err := a.broker.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	out := []console.SinkStatus{}
	for _, c := range a.conf().Sinks {
		one := console.SinkStatus{
			Name: c.Name, Kind: c.Kind, Waiting: st.Sinks[c.Name].Waiting, OldestWaiting: st.Sinks[c.Name].Oldest,
			DeadLetters: st.Sinks[c.Name].Dead, Outstanding: int64(a.broker.Outstanding(c.Name)),
		}
		if pause := paused[c.Name]; pause.Lasts(time.Now()) {
			one.PausedUntil = pause.Until
		}
		a.addWorker(&one)
		out = append(out, one)
	}
	return out, nil
}

// addWorker adds what only the process knows that delivers to the sink.
func (a *App) addWorker(s *console.SinkStatus) {
	if a.router == nil {
		return
	}
	w := a.router.Worker(s.Name)
	if w == nil {
		return
	}
	h := w.State()
	s.State, s.Since, s.Failures, s.NextProbe = string(h.State), h.Since, h.Failures, h.NextProbe
	s.LastError, s.Reason, s.Running, s.Limit = h.LastError, h.Reason, h.Running, h.Limit
	s.Rate = a.now().meter(s.Name).rate(time.Now())
}

func (a *App) status(ctx context.Context) (console.Status, error) {
	st, err := a.broker.Stats(ctx)
	if err != nil {
		return console.Status{}, err
	}
	i := a.broker.Info()
	return console.Status{
		Version: a.o.Version, Started: a.started, UptimeSeconds: int64(time.Since(a.started).Seconds()),
		Durability: string(i.Durability), DurabilityAsserted: !i.Embedded,
		DataDir: i.DataDir, URL: i.URL, NATSListen: i.Listen, NotReady: a.notReady(),
		Events: console.EventCounts{
			Kept: st.Events, FirstSeq: st.FirstSeq, LastSeq: st.LastSeq, Bytes: st.Bytes,
			LimitBytes: st.Limit, Foreign: st.Foreign, DeadLetters: st.Dead,
		},
	}, nil
}

// bypassing is how many replayed and redriven deliveries wait, as far as is known.
func (a *App) bypassing(sink string) int {
	ctx, cancel := context.WithTimeout(context.Background(), snapshotTimeout)
	defer cancel()
	n, err := a.broker.Bypassing(ctx, sink)
	if err != nil {
		return replay.MaxOutstanding // rather none than too many
	}
	return n
}

// AdminAddr is where the admin API is served, nil before Open or without one.
func (a *App) AdminAddr() net.Addr {
	if a.console == nil {
		return nil
	}
	return a.console.Addr()
}
