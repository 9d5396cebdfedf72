// Package app builds a whole Penstock from a configuration and runs it. It is
// the only package that sees all others.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync/atomic"
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
	// Traces has traces recorded and sent, and metrics pushed, as the standard
	// variables OTEL_* say.
	Traces bool
	// Spans gets every span that ends, on the goroutine that ended it; nil: nobody.
	Spans func(Span)
	// NoRecords leaves out the records of attempts; to measure what they cost.
	NoRecords bool

	// Load reads the configuration again; nil: it cannot be reloaded. Mistakes
	// that are fatal keep it out; then the Config may be nil.
	Load func() (*config.Config, config.Mistakes)
	// Paths are the files and folders that Load reads. They, and what they name,
	// are watched; none: nothing is.
	Paths []string
	// Hangups ask for a reload; nil: nobody does.
	Hangups <-chan os.Signal

	// step is for the crash test.
	step func(broker.Step)
	// forgetAfter is routing.forgetAfter; 0: the constant. It is for tests.
	forgetAfter time.Duration
}

func (o Options) has(role string) bool { return len(o.Roles) == 0 || slices.Contains(o.Roles, role) }

// App is one Penstock process. New builds it, Open takes its ports and opens
// its store, Run runs it.
type App struct {
	generation atomic.Pointer[generation]

	o       Options
	catalog *clickfunnels.Catalog
	deps    sinks.Deps
	broker  *broker.Broker
	router  *router.Router
	routing *routing // nil without the role of a router
	ingress *ingress.Server
	console *console.Server
	replays *replay.Manager
	// telemetry is nil where nobody could read the metrics.
	telemetry *telemetry.Telemetry
	tracing   *telemetry.Tracing // nil: nobody wants traces
	env       *telemetry.Env     // nil: nothing is sent
	snapshots snapshots
	rejects   *rejects
	pauses    *pauses
	reloads   *reloads
	intake    *intake
	log       *slog.Logger
	started   time.Time
}

// New builds everything that c describes and opens nothing, so that it serves
// to check a configuration.
func New(c *config.Config, o Options) (*App, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &App{o: o, log: o.Logger, catalog: clickfunnels.NewCatalog()}
	a.deps = a.sinkDeps()
	g, _, err := a.next(c, nil)
	if err != nil {
		return nil, err
	}
	a.generation.Store(g)
	a.reloads = newReloads(a)
	if c.Broker.URL == "" && len(o.Roles) > 0 && !(o.has(config.RoleIngress) && o.has(config.RoleRouter)) {
		return nil, errors.New("with the embedded queue one process has to be ingress and router both; run all roles, or set broker.url to an external NATS")
	}
	a.env = a.readEnv()
	if err := a.buildTelemetry(a.catalog); err != nil {
		return nil, err
	}
	a.buildTracing()
	if err := a.telemetry.Watch(a.tracing); err != nil {
		return nil, err
	}
	a.broker = broker.New(a.brokerOptions(a.catalog))
	dir := ""
	if c.Broker.URL == "" {
		dir = c.Broker.DataDir
	}
	a.intake = newIntake(dir, a.log.With("part", "intake"))
	a.pauses = &pauses{broker: a.broker, workers: a.workers, log: a.log}
	if err := a.buildRouter(); err != nil {
		return nil, err
	}
	if err := a.buildIngress(); err != nil {
		return nil, err
	}
	a.buildReplays(a.catalog)
	if err := a.buildAdmin(a.catalog); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *App) brokerOptions(catalog *clickfunnels.Catalog) broker.Options {
	c := a.conf()
	o := broker.Options{
		Config: c.Broker, Roles: a.o.Roles, MaxBody: int64(c.Server.MaxBody),
		DrainTimeout: c.Server.ShutdownTimeout/2 - c.Server.ShutdownTimeout/20, // the rest is for the records of attempts
		Logger:       a.log.With("part", "broker"), Step: a.o.step,
	}
	a.countStore(&o)
	o.Roots, o.Prefixes = a.now().subjects(catalog)
	o.Sinks = a.now().sinkNames()
	if a.o.has(config.RoleRouter) {
		o.JanitorEvery = janitorEvery
	}
	return o
}

func (a *App) buildRouter() error {
	if !a.o.has(config.RoleRouter) {
		return nil
	}
	shared := a.conf().Broker.URL != ""
	o := router.Options{
		Config: a.conf(), Table: a.now().table, Sinks: a.now().sinks, Outstanding: a.broker.Outstanding,
		Observe: a.attempted, Tracing: a.deliveryTracing(), Logger: a.log.With("part", "router"),
	}
	if shared {
		o.Known = func(ctx context.Context, seq uint64) error { return a.routing.wait(ctx, seq) }
	}
	var err error
	if a.router, err = router.New(o); err != nil {
		return err
	}
	a.routing = newRouting(a.broker, a.router, shared, a.keepFor, a.log.With("part", "routes"))
	a.routing.forgetAfter = cmp.Or(a.o.forgetAfter, forgetAfter)
	return nil
}

func (a *App) buildIngress() error {
	if !a.o.has(config.RoleIngress) {
		return nil
	}
	a.rejects = newRejects(a.broker, a.now().sources, func() *telemetry.Telemetry { return a.telemetry }, a.log.With("part", "rejected"))
	a.intake.more = func() bool { return a.rejects.bytes.Load() > 0 }
	server := a.conf().Server
	server.ShutdownTimeout /= 2 // the other half is for the attempts under way
	var err error
	a.ingress, err = ingress.New(ingress.Options{
		Server: server, Sources: a.now().endpoints(), Publisher: publisher{app: a, store: a.broker.Publish}, Ready: a.notReady,
		Observe: a.requested, Rejected: a.rejects.note, Enter: a.intake.enter, Tracing: a.requestTracing(), Logger: a.log.With("part", "ingress"),
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
	if why := a.intake.held(); why != "" {
		return []string{why}
	}
	if err := a.broker.Health(); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// Open opens the store, makes the queue of every sink, and takes the ports, so
// that addresses are known and what can go wrong at a start has gone wrong.
// The caller must call Run afterwards, or Close.
func (a *App) Open(ctx context.Context) error {
	if err := a.intake.load(); err != nil {
		return errors.Join(err, a.Close())
	}
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
	err := a.routing.open(ctx, a.conf(), func() error {
		var subs []delivery.Subscription
		for _, w := range a.router.Workers() {
			subs = append(subs, a.router.Subscription(w))
		}
		return a.broker.Prepare(ctx, subs)
	})
	// Before anything is delivered: a pause outlives the process.
	return errors.Join(err, a.pauses.refresh(ctx), a.reportRemoved(ctx))
}

// Run serves until ctx is done or a part fails, then stops: first the ingress
// takes no more, then the attempts under way end, then the store is closed. It
// returns when all has stopped, within the configured shutdown timeout.
func (a *App) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s := &stages{fail: fail}
	s.start("event store", a.broker.Run)
	s.start("intake", a.intake.run)
	if a.telemetry != nil {
		s.start("metrics", a.telemetry.Run)
	}
	if a.console != nil {
		if a.o.has(config.RoleConsole) {
			s.start("replays", a.intake.whileOpen(a.replays.Run))
		}
		s.start("admin API", a.console.Run)
	}
	if a.router != nil && !a.o.NoRecords {
		s.start("attempt records", a.broker.RunRecords)
	}
	if a.router != nil {
		s.start("pauses", a.pauses.run)
		s.start("routes", a.routing.run)
		s.start("router", a.intake.whileOpen(func(ctx context.Context) error { return a.router.Run(ctx, a.broker) }))
	}
	if a.ingress != nil {
		s.start("rejected requests", a.rejects.run)
		s.start("ingress", a.ingress.Run)
	}
	s.start("reload", a.reloads.run)
	<-ctx.Done()
	err := s.stop()
	return errors.Join(err, a.Close())
}

// Close gives back what Open took. It may be called more than once.
func (a *App) Close() error {
	var errs []error
	for _, s := range a.reloads.end() {
		if c, ok := s.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
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

// Config is what the process runs now.
func (a *App) Config() *config.Config { return a.conf() }

// Store describes the opened store.
func (a *App) Store() broker.Info { return a.broker.Info() }

// Addr is where webhooks are taken, nil before Open or without the role.
func (a *App) Addr() net.Addr {
	if a.ingress == nil {
		return nil
	}
	return a.ingress.Addr()
}
