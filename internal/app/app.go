// Package app builds a whole Penstock from a configuration and runs it. It is
// the only package that sees all others.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/ingress"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/replay"
	"github.com/penstock/penstock/internal/telemetry"
	"github.com/penstock/penstock/router"
	"github.com/penstock/penstock/sinks"
)

// sourceKind is the one kind of source there is so far.
const sourceKind = "clickfunnels"

// janitorEvery is how often the retention is looked after.
const janitorEvery = 10 * time.Second

var (
	_ ingress.Publisher = publisher{}
	_ router.Queue      = (*broker.Broker)(nil)
	_ ingress.Source    = (*clickfunnels.Source)(nil)
)

// Options say how a configuration is run. The zero Options run all roles.
type Options struct {
	// Roles are those of this process; empty means all.
	Roles []string
	// Version is ours, for the User-Agent and the status.
	Version string
	// Stdout is where sinks of kind log write.
	Stdout io.Writer
	// Logger; nil discards.
	Logger *slog.Logger
	// Attempted and Requested are told of every verdict and every webhook
	// request, on the goroutine that made it; nil: nobody.
	Attempted func(router.Observation)
	Requested func(ingress.Request)
	// Traces has traces recorded and sent as the standard variables OTEL_* say.
	Traces bool
	// Spans gets every span that ends, on the goroutine that ended it; nil: nobody.
	Spans func(Span)
	// NoRecords leaves out the records of attempts; to measure what they cost.
	NoRecords bool

	// step is for the crash test.
	step func(broker.Step)
}

func (o Options) has(role string) bool { return len(o.Roles) == 0 || slices.Contains(o.Roles, role) }

// App is one Penstock process. New builds it, Open takes its ports and opens
// its store, Run runs it.
type App struct {
	config  *config.Config
	o       Options
	broker  *broker.Broker
	router  *router.Router
	ingress *ingress.Server
	console *console.Server
	replays *replay.Manager
	// telemetry is nil where nobody could read the metrics.
	telemetry *telemetry.Telemetry
	tracing   *telemetry.Tracing // nil: nobody wants traces
	sinks     map[string]sinks.Sink
	// sources verify and read what comes in, by name.
	sources map[string]*clickfunnels.Source
	rejects *rejects
	pauses  *pauses
	meters  map[string]*meter // of deliveries, by sink
	log     *slog.Logger
	started time.Time
}

// New builds everything that c describes and opens nothing, so that it serves
// to check a configuration.
func New(c *config.Config, o Options) (*App, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &App{
		config: c, o: o, log: o.Logger, sinks: map[string]sinks.Sink{},
		sources: map[string]*clickfunnels.Source{}, meters: map[string]*meter{},
	}
	if c.Broker.URL == "" && len(o.Roles) > 0 && !(o.has(config.RoleIngress) && o.has(config.RoleRouter)) {
		return nil, errors.New("with the embedded queue one process has to be ingress and router both; run all roles, or set broker.url to an external NATS")
	}
	a.buildTracing()
	catalog := clickfunnels.NewCatalog()
	a.broker = broker.New(a.brokerOptions(catalog))
	a.pauses = &pauses{broker: a.broker, workers: a.workers, log: a.log}
	if err := a.buildRouter(); err != nil {
		return nil, err
	}
	if err := a.buildIngress(catalog); err != nil {
		return nil, err
	}
	a.buildReplays(catalog)
	if err := a.buildAdmin(catalog); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *App) brokerOptions(catalog *clickfunnels.Catalog) broker.Options {
	c := a.config
	o := broker.Options{
		Config: c.Broker, Roles: a.o.Roles, MaxBody: int64(c.Server.MaxBody),
		DrainTimeout: c.Server.ShutdownTimeout/2 - c.Server.ShutdownTimeout/20, // the rest is for the records of attempts
		Logger:       a.log.With("part", "broker"), Step: a.o.step,
	}
	for _, s := range c.Sources {
		if s.SubjectPrefix == "" {
			o.Roots = catalog.Roots()
		} else {
			o.Prefixes = append(o.Prefixes, s.SubjectPrefix)
		}
	}
	for _, s := range c.Sinks {
		o.Sinks = append(o.Sinks, s.Name)
	}
	if a.o.has(config.RoleRouter) {
		o.JanitorEvery = janitorEvery
	}
	return o
}

func (a *App) buildRouter() error {
	if !a.o.has(config.RoleRouter) {
		return nil
	}
	deps := sinks.Deps{HTTP: sinks.NewTransport(sinks.Guard{}), Stdout: a.o.Stdout, Logger: a.log.With("part", "sinks"), Version: a.o.Version}
	for _, c := range a.config.Sinks {
		s, err := sinks.Open(c, deps)
		if err != nil {
			return err
		}
		a.sinks[c.Name], a.meters[c.Name] = s, &meter{}
	}
	var err error
	a.router, err = router.New(router.Options{
		Config: a.config, Sinks: a.sinks, Outstanding: a.broker.Outstanding,
		Observe: a.attempted, Tracing: a.deliveryTracing(), Logger: a.log.With("part", "router"),
	})
	return err
}

func (a *App) buildIngress(catalog *clickfunnels.Catalog) error {
	if !a.o.has(config.RoleIngress) {
		return nil
	}
	var endpoints []ingress.Endpoint
	for _, s := range a.config.Sources {
		a.sources[s.Name] = clickfunnels.NewSource(clickfunnels.Options{
			Name: s.Name, Secrets: reveal(s.Secrets), URLToken: s.URLToken.Reveal(),
			SubjectPrefix: s.SubjectPrefix, ExtraRoots: a.config.Broker.ExtraRoots, Catalog: catalog,
		})
		endpoints = append(endpoints, ingress.Endpoint{
			Name: s.Name, Path: s.Path, Token: s.URLToken.Reveal(), Signed: len(s.Secrets) > 0, Source: a.sources[s.Name],
		})
	}
	a.rejects = newRejects(a.broker, a.sources, func() *telemetry.Telemetry { return a.telemetry }, a.log.With("part", "rejected"))
	server := a.config.Server
	server.ShutdownTimeout /= 2 // the other half is for the attempts under way
	var err error
	a.ingress, err = ingress.New(ingress.Options{
		Server: server, Sources: endpoints, Publisher: publisher{app: a, store: a.broker.Publish}, Ready: a.notReady,
		Observe: a.requested, Rejected: a.rejects.note, Tracing: a.requestTracing(), Logger: a.log.With("part", "ingress"),
	})
	return err
}

func reveal(secrets []config.Secret) []string {
	out := make([]string, len(secrets))
	for i, s := range secrets {
		out[i] = s.Reveal()
	}
	return out
}

// notReady says why this process should get no webhooks.
func (a *App) notReady() []string {
	if err := a.broker.Health(); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// Open opens the store, makes the queue of every sink, and takes the ports, so
// that addresses are known and what can go wrong at a start has gone wrong.
// The caller must call Run afterwards, or Close.
func (a *App) Open(ctx context.Context) error {
	if a.tracing != nil {
		a.tracing.Open()
	}
	if err := a.broker.Open(ctx); err != nil {
		return errors.Join(err, a.Close())
	}
	if err := a.prepare(ctx); err != nil {
		return errors.Join(err, a.Close())
	}
	if a.console != nil {
		if err := a.console.Listen(); err != nil {
			return errors.Join(err, a.Close())
		}
	}
	if a.ingress != nil {
		if err := a.ingress.Listen(); err != nil {
			return errors.Join(err, a.Close())
		}
	}
	a.started = time.Now()
	return nil
}

func (a *App) prepare(ctx context.Context) error {
	if a.router == nil {
		return nil
	}
	var subs []delivery.Subscription
	for _, w := range a.router.Workers() {
		subs = append(subs, a.router.Subscription(w))
	}
	// Before anything is delivered: a pause outlives the process.
	return errors.Join(a.broker.Prepare(ctx, subs), a.pauses.refresh(ctx), a.reportRemoved(ctx))
}

// Run serves until ctx is done or a part fails, then stops: first the ingress
// takes no more, then the attempts under way end, then the store is closed. It
// returns when all has stopped, within the configured shutdown timeout.
func (a *App) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s := &stages{fail: fail}
	s.start("event store", a.broker.Run)
	if a.console != nil {
		s.start("replays", a.replays.Run)
		s.start("admin API", a.console.Run)
	}
	if a.router != nil && !a.o.NoRecords {
		s.start("attempt records", a.broker.RunRecords)
	}
	if a.router != nil {
		s.start("pauses", a.pauses.run)
		s.start("router", func(ctx context.Context) error { return a.router.Run(ctx, a.broker) })
	}
	if a.ingress != nil {
		s.start("rejected requests", a.rejects.run)
		s.start("ingress", a.ingress.Run)
	}
	<-ctx.Done()
	err := s.stop()
	return errors.Join(err, a.Close())
}

// Close gives back what Open took. It may be called more than once.
func (a *App) Close() error {
	var errs []error
	for _, s := range a.sinks {
		if c, ok := s.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	a.sinks = nil
	if a.telemetry != nil {
		errs = append(errs, a.telemetry.Shutdown(context.Background()))
	}
	if a.tracing != nil {
		a.tracing.Close()
	}
	if err := a.broker.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close event store: %w", err))
	}
	return errors.Join(errs...)
}

// Config is what the process runs.
func (a *App) Config() *config.Config { return a.config }

// Store describes the opened store.
func (a *App) Store() broker.Info { return a.broker.Info() }

// Addr is where webhooks are taken, nil before Open or without the role.
func (a *App) Addr() net.Addr {
	if a.ingress == nil {
		return nil
	}
	return a.ingress.Addr()
}
