// Package broker is all of JetStream: the streams and consumers, the embedded
// server, storing events at the promised durability, handing them out to
// sinks, and settling what became of them. It is the only package that
// acknowledges a message, and it does so only after what replaces the event
// is stored.
package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// Options say what a Broker is for.
type Options struct {
	Config config.Broker
	// Roots are the first tokens that events of unprefixed sources can have.
	Roots []string
	// Prefixes are the subject prefixes of the other sources.
	Prefixes []string
	// Roles are what this process does: config.RoleIngress and its like, or
	// RoleProvisioner; none means all that a configuration can name. With an
	// external server they say which connections there are.
	Roles []string
	// Sinks are the names of the configured sinks. Only these keep events
	// from being purged.
	Sinks []string
	// MaxBody is the largest body, in bytes, that Publish will be given.
	MaxBody int64
	// DrainTimeout bounds how long Consume lets attempts finish once its
	// context is done.
	DrainTimeout time.Duration
	// JanitorEvery is how often what has outlived its retention is purged; 0:
	// never, for a process that has no right to.
	JanitorEvery time.Duration
	Logger       *slog.Logger
	// Step is called between the steps of an event's path, with the name of
	// the one that has just been made; nil: nobody looks. The crash test ends
	// the process here.
	Step func(Step)
	// Synced is told of every sync to disk: how many writes it made safe, and
	// how long it took. Purged is told of delivered events that were purged,
	// with pressure to make room; Expired of events that a sink has not had
	// within the retention. They must not block. Nil: nobody looks.
	Synced  func(writes int, took time.Duration)
	Purged  func(events int, pressure bool)
	Expired func(sink string, events int)

	internalPassword string
	ackWait          time.Duration // shorter in tests
	// patience bounds how long a start waits for an external cluster that is
	// electing its leaders, and a restore for its queues; 0: patienceWithCluster.
	patience time.Duration
}

// Step is a place between two steps of an event's path.
type Step string

// The steps, in the order in which one event makes them.
const (
	StepWritten   Step = "written"   // the stream has the event, it is not synced
	StepStored    Step = "stored"    // it is, the sender has no answer yet
	StepFetched   Step = "fetched"   // a sink's queue handed it out
	StepAttempted Step = "attempted" // the attempt is over, nothing is settled
	StepReplaced  Step = "replaced"  // the retry or dead letter is stored, the event not acknowledged
	StepSettled   Step = "settled"   // acknowledged
)

func (b *Broker) step(s Step) {
	if b.o.Step != nil {
		b.o.Step(s)
	}
}

// Broker is a connection to the streams, and the server that holds them when
// it is embedded. Open it, use it, run it, close it.
type Broker struct {
	o        Options
	budget   budget
	embedded *embedded
	syncer   *syncer
	closeFS  func() error

	ingress, router, admin, records session
	// publishOpts are none when embedded: the client then allocates less.
	publishOpts []jetstream.PublishOpt

	foreign  atomic.Int64 // messages on our subjects that are not ours
	warned   time.Time    // when the janitor last told of a filling store
	recorder *recorder
	erased   erasures
	oldest   oldest

	metadataMu sync.Mutex

	startMu    sync.Mutex
	firstSinks map[string]bool
	changes    []string

	lanesMu sync.Mutex
	lanes   map[string]*retryLedger
	retries jetstream.Stream

	prepareMu sync.Mutex // held while queues are made or edited
	changeMu  sync.Mutex
	names     []string                         // of the configured sinks
	wanted    map[string]delivery.Subscription // as last prepared; guarded by prepareMu

	closeOnce sync.Once
	closeErr  error
}

// New returns a Broker that is not open yet.
func New(o Options) *Broker {
	o.internalPassword = randomPassword()
	o.ackWait = cmp.Or(o.ackWait, ackWait)
	return &Broker{
		o: o, lanes: map[string]*retryLedger{}, recorder: newRecorder(o.Logger),
		names: o.Sinks, wanted: map[string]delivery.Subscription{},
	}
}

// Open starts the embedded server, if there is to be one, connects, and makes
// every stream. After it events can be stored. On an external cluster it makes
// nothing when all is as it should be, and needs no right to; when something is
// missing and so is the right, it says which. The caller must Close the Broker
// even when Open fails.
func (b *Broker) Open(ctx context.Context) error {
	if b.o.Config.URL == "" {
		if err := b.openEmbedded(); err != nil {
			return err
		}
	} else {
		b.budget = planExternal(b.o.Config)
		b.publishOpts = []jetstream.PublishOpt{jetstream.WithRetryAttempts(0)} // publish does that itself, sooner
	}
	if err := b.connectAll(); err != nil {
		return err
	}
	b.recorder.publish = func(ctx context.Context, m *nats.Msg) (*jetstream.PubAck, error) {
		return b.publish(ctx, b.records.js, m)
	}
	if b.embedded == nil {
		return b.openExternal(ctx)
	}
	if err := b.checkServer(b.admin.nc); err != nil {
		return err
	}
	return b.provision(ctx)
}

func (b *Broker) openEmbedded() error {
	dir := b.o.Config.DataDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w; set broker.data_dir to one that can be written", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	if b.budget, err = planEmbedded(b.o.Config, len(b.o.Sinks)); err != nil {
		return errors.Join(err, lock.Close())
	}
	if b.embedded, err = startEmbedded(b.o, b.budget); err != nil {
		return errors.Join(err, lock.Close())
	}
	b.embedded.lock = lock
	if b.o.Config.Durability == config.Power && groupCommit {
		flush, closeFS, err := syncDir(dir)
		if err != nil {
			return err
		}
		b.syncer, b.closeFS = newSyncer(flush), closeFS
		b.syncer.observe = b.o.Synced
	}
	return nil
}

func (b *Broker) provision(ctx context.Context) error {
	changed := false
	for _, want := range streamConfigs(b.o, b.budget) {
		c, err := b.provisionStream(ctx, want)
		if err != nil {
			return err
		}
		changed = changed || c
	}
	if err := b.recordFirstSinks(ctx); err != nil {
		return err
	}
	if changed && b.embedded != nil {
		// The server does not sync the files that describe a new stream.
		return syncOnce(b.o.Config.DataDir)
	}
	return nil
}

func syncOnce(dir string) error {
	flush, closeFS, err := syncDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(flush(), closeFS())
}

// Prepare makes or updates the queues of the sinks, so that no event stored
// after it can miss one. It comes before the first event is taken in.
func (b *Broker) Prepare(ctx context.Context, subs []delivery.Subscription) error {
	for _, s := range subs {
		err := b.patiently(ctx, "set up queue of sink "+s.Sink, func(ctx context.Context) error { return b.prepare(ctx, s) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Run keeps the promises of the streams: it syncs them, expires what is past
// its retention, and watches their health. It returns nil once ctx is done,
// and an error when the process must start again from what is on disk.
func (b *Broker) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if b.syncer != nil {
		g.Go(func() error { return b.syncer.Run(ctx) })
	}
	g.Go(func() error { return b.runJanitor(ctx) })
	if b.embedded != nil {
		g.Go(func() error { return b.watchHealth(ctx) })
	}
	return g.Wait()
}

// unhealthyFor is how many checks in a row, a second apart, find a frozen
// store: the server's check gives itself 1 ms, which a starved machine can miss.
const unhealthyFor = 3

// watchHealth fails when a store is frozen: it stays so until a new server
// opens it, so the process ends and its supervisor starts another.
func (b *Broker) watchHealth(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	failed := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		err := b.embedded.health()
		if err == nil || ctx.Err() != nil {
			failed = 0
			continue
		}
		if failed++; failed >= unhealthyFor {
			return fmt.Errorf("event store stopped working, ending the process so that it is opened anew: %w", err)
		}
	}
}

// Health is nil while events can be stored.
func (b *Broker) Health() error {
	sessions := b.opened()
	if len(sessions) == 0 || !sessions[0].nc.IsConnected() {
		return errors.New("not connected to NATS")
	}
	if b.embedded != nil {
		return b.embedded.health()
	}
	return nil
}

// Info describes where the events are, for people.
type Info struct {
	Embedded   bool
	DataDir    string            // embedded only
	URL        string            // external only, without credentials
	Listen     string            // where other NATS clients may connect, or ""
	Durability config.Durability // asserted, not measured, when external
	MaxBytes   int64
}

// Info describes the opened broker.
func (b *Broker) Info() Info {
	i := Info{Durability: b.o.Config.Durability, MaxBytes: b.budget.events}
	if b.embedded == nil {
		i.URL = redactURL(b.o.Config.URL)
		return i
	}
	i.Embedded = true
	i.DataDir = b.o.Config.DataDir
	if abs, err := filepath.Abs(i.DataDir); err == nil {
		i.DataDir = abs
	}
	if addr, ok := b.embedded.server.Addr().(*net.TCPAddr); ok && b.o.Config.Listen != "" {
		i.Listen = addr.String()
	}
	return i
}

// Close ends the connections, then the embedded server, then gives the data
// directory up. Everything that uses the Broker must have returned.
func (b *Broker) Close() error {
	b.closeOnce.Do(func() {
		for _, s := range b.opened() {
			closeConn(s.nc, b.o.Logger)
		}
		var errs []error
		if b.embedded != nil {
			errs = append(errs, b.embedded.stop())
		}
		if b.closeFS != nil {
			errs = append(errs, b.closeFS())
		}
		b.closeErr = errors.Join(errs...)
	})
	return b.closeErr
}
