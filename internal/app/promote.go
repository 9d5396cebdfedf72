package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/backup"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/console"
)

// PromoteStep is a step of a promotion that is done.
type PromoteStep string

// The steps, in their order. Until StepSwitched the old store is the one in
// use, or can be again; after it, it never is.
const (
	StepChecked     PromoteStep = "checked"     // both sides answer, the cluster is empty, all rights are there
	StepHeld        PromoteStep = "held"        // webhooks are answered 503, nothing is under way
	StepSaved       PromoteStep = "saved"       // the backup is on disk and verified
	StepRestored    PromoteStep = "restored"    // the cluster has the streams
	StepCompared    PromoteStep = "compared"    // read back, they are as in the backup
	StepProvisioned PromoteStep = "provisioned" // every queue is there
	StepSwitched    PromoteStep = "switched"    // the old store is closed for good
)

// PromoteOptions say what is moved where.
type PromoteOptions struct {
	// From is the admin API of the running process.
	From *console.Client
	// To is a configuration with the broker.url of the cluster.
	To    *config.Config
	Store StoreOptions // the NATS user for backups, on the cluster
	// Dir keeps the backup and how far the move is, so that it can go on.
	Dir     string
	Version string
	// Lease is for how long the intake stays held when this process dies; 0: 2 min.
	Lease time.Duration
	// Done is told of every step, Progress of what goes on within one; nil: nobody.
	Done     func(PromoteStep)
	Progress func(backup.Progress)
}

// Promotion is what came of a move.
type Promotion struct {
	ID string `json:"id"`
	// Held is when webhooks stopped being taken.
	Held time.Time `json:"held"`
	// Steps are when each was done.
	Steps map[PromoteStep]time.Time `json:"steps"`
	// Streams are what was moved.
	Streams []backup.Stream `json:"streams,omitempty"`
	// Saved is the hold in which the backup was made, Restored that whose
	// backup the cluster has: one of an earlier hold is stale.
	Saved    time.Time `json:"saved,omitzero"`
	Restored time.Time `json:"restored,omitzero"`
}

const promotionFile = "promotion.json"

// Promote moves the events of a running process with the embedded queue to a
// cluster: it stops the intake, saves, restores, compares, and then closes the
// old store for good. Called again with the same Dir it goes on where it was.
// With an error before StepSwitched the intake is open again.
func Promote(ctx context.Context, o PromoteOptions) (*Promotion, error) {
	o.Lease = cmp.Or(o.Lease, 2*time.Minute)
	if o.Done == nil {
		o.Done = func(PromoteStep) {}
	}
	if o.Store.Logger == nil {
		o.Store.Logger = slog.New(slog.DiscardHandler)
	}
	if o.To.Broker.URL == "" {
		return nil, errors.New("the configuration to move to has no broker.url")
	}
	m := &move{o: o}
	if err := m.load(); err != nil {
		return nil, err
	}
	st, err := o.From.IntakeStatus(ctx)
	switch {
	case err != nil:
		return nil, err
	case st.State == console.IntakePromoted && st.ID == m.p.ID:
		return &m.p, m.step(StepSwitched)
	case st.State == console.IntakePromoted:
		return nil, fmt.Errorf("the events of this process were moved already, to %s", st.URL)
	case !m.p.Steps[StepSwitched].IsZero():
		return nil, fmt.Errorf("the move in %s was completed on %s; name another folder for another one", o.Dir, m.p.Steps[StepSwitched].Format(time.RFC3339))
	case !st.Embedded:
		return nil, errors.New("this process has no embedded queue: its events are on a cluster already")
	}
	if err := m.run(ctx); err != nil {
		return &m.p, m.abort(ctx, err)
	}
	return &m.p, nil
}

// move is a promotion at work.
type move struct {
	o PromoteOptions
	p Promotion
}

func (m *move) path(name string) string { return filepath.Join(m.o.Dir, name) }

func (m *move) load() error {
	if err := os.MkdirAll(m.o.Dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the move: %w", err)
	}
	if _, err := readState(m.path(promotionFile), &m.p); err != nil {
		return err
	}
	if m.p.ID == "" {
		m.p.ID = rand.Text()
	}
	if m.p.Steps == nil {
		m.p.Steps = map[PromoteStep]time.Time{}
	}
	return m.save()
}

func (m *move) save() error {
	if err := writeState(m.path(promotionFile), &m.p); err != nil {
		return fmt.Errorf("write down how far the move is: %w", err)
	}
	return nil
}

// step writes down that a step is done.
func (m *move) step(s PromoteStep) error {
	m.p.Steps[s] = time.Now().UTC()
	if err := m.save(); err != nil {
		return err
	}
	m.o.Done(s)
	return nil
}

func (m *move) run(ctx context.Context) (err error) {
	to := broker.New(m.o.Store.apply(m.o.To))
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := to.OpenForBackup(ctx); err != nil {
		return err
	}
	if err := to.CheckRestore(ctx, m.restoreOptions()); err != nil {
		return err
	}
	if err := m.step(StepChecked); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := m.hold(ctx); err != nil {
		return err
	}
	renewing := make(chan struct{})
	go func() { defer close(renewing); m.renew(ctx, cancel) }()
	defer func() { cancel(nil); <-renewing }()
	if err := m.transfer(ctx, to); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	if err := m.provision(ctx); err != nil {
		return err
	}
	if _, err := m.o.From.IntakePromoted(ctx, m.p.ID, m.p.Held, to.Info().URL); err != nil {
		return err
	}
	return m.step(StepSwitched)
}

func (m *move) restoreOptions() broker.RestoreOptions {
	return broker.RestoreOptions{Promotion: m.p.ID, Progress: m.o.Progress}
}

// hold stops the intake and waits until nothing is under way.
func (m *move) hold(ctx context.Context) error {
	for {
		st, err := m.o.From.IntakeHold(ctx, m.p.ID, m.o.Lease)
		if err != nil {
			return err
		}
		if m.p.Held = st.Since; st.State == console.IntakeHeld {
			return m.step(StepHeld)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// renew keeps the intake held. When it was not, the move is over.
func (m *move) renew(ctx context.Context, cancel context.CancelCauseFunc) {
	t := time.NewTicker(m.o.Lease / 4)
	defer t.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		st, err := m.o.From.IntakeHold(ctx, m.p.ID, m.o.Lease)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && st.Since.Equal(m.p.Held):
			last = time.Now()
		case err == nil:
			cancel(errors.New("webhooks were taken in between: the hold of the intake had run out"))
			return
		case time.Since(last) > m.o.Lease:
			cancel(fmt.Errorf("renew the hold of the intake: %w", err))
			return
		}
	}
}

// transfer saves, restores and compares what was not yet in this hold.
func (m *move) transfer(ctx context.Context, to *broker.Broker) error {
	file := m.path("promotion.backup")
	if !m.p.Saved.Equal(m.p.Held) {
		if err := m.saveBackup(ctx, file); err != nil {
			return err
		}
	}
	f, err := backup.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Verify(ctx, m.o.Progress); err != nil {
		return err
	}
	m.p.Saved, m.p.Streams = m.p.Held, f.Streams
	if err := m.step(StepSaved); err != nil {
		return err
	}
	if !m.p.Restored.Equal(m.p.Held) {
		if err := to.Restore(ctx, f, m.restoreOptions()); err != nil {
			return err
		}
		m.p.Restored = m.p.Held
	}
	if err := m.step(StepRestored); err != nil {
		return err
	}
	if err := to.CompareWith(ctx, f, m.o.Progress); err != nil {
		return err
	}
	return m.step(StepCompared)
}

func (m *move) saveBackup(ctx context.Context, file string) error {
	return WriteBackup(file, func(w *os.File) error {
		return m.o.From.Backup(ctx, false, func(bytes int64) error { return RoomFor(m.o.Dir, bytes) }, w)
	})
}

func (m *move) provision(ctx context.Context) error {
	if _, err := Provision(ctx, m.o.To, ProvisionOptions{Role: RoleBackup, Logger: m.o.Store.Logger}); err != nil {
		return err
	}
	return m.step(StepProvisioned)
}

// abort lets webhooks in again after an error, unless the switch was made.
func (m *move) abort(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if st, err := m.o.From.IntakeStatus(ctx); err == nil && st.State == console.IntakePromoted && st.ID == m.p.ID {
		return m.step(StepSwitched) // only the answer was lost
	}
	if m.p.Held.IsZero() {
		return cause
	}
	if _, err := m.o.From.IntakeRelease(ctx, m.p.ID); err != nil {
		return fmt.Errorf("%w; webhooks are still refused, until %s at the latest: %w", cause, time.Now().Add(m.o.Lease).Format(time.TimeOnly), err)
	}
	return fmt.Errorf("%w; nothing was moved: webhooks are taken again, by the process that took them before", cause)
}

// AbortPromotion ends a move that was not switched: webhooks are taken again,
// and what the cluster got is deleted.
func AbortPromotion(ctx context.Context, o PromoteOptions) (err error) {
	m := &move{o: o}
	found, err := readState(m.path(promotionFile), &m.p)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("there is no move to abort in %s", o.Dir)
	}
	if !m.p.Steps[StepSwitched].IsZero() {
		return fmt.Errorf("the move in %s was completed: there is nothing to give up", o.Dir)
	}
	if _, err := o.From.IntakeRelease(ctx, m.p.ID); err != nil {
		return err
	}
	to := broker.New(o.Store.apply(o.To))
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := to.OpenForBackup(ctx); err != nil {
		return fmt.Errorf("webhooks are taken again; delete what the cluster got: %w", err)
	}
	if err := to.Discard(ctx, m.p.ID); err != nil {
		return fmt.Errorf("webhooks are taken again; delete what the cluster got: %w", err)
	}
	return os.RemoveAll(o.Dir)
}

// WriteBackup has write fill path: under another name first, so that a file
// under this one is complete. It is for its owner alone, since it holds
// personal data.
func WriteBackup(path string, write func(*os.File) error) error {
	partial := path + ".partial"
	f, err := os.OpenFile(partial, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("make the backup's file: %w", err)
	}
	if err := errors.Join(f.Chmod(0o600), write(f), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	if err := os.Rename(partial, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// RoomFor fails when a folder's disk has not that much free.
func RoomFor(dir string, bytes int64) error {
	free, err := broker.FreeBytes(dir)
	if err != nil {
		return fmt.Errorf("measure free disk of %s: %w", dir, err)
	}
	if bytes > free {
		return fmt.Errorf("the backup can take up to %d MiB, and %s has %d MiB free; nothing was written", bytes>>20, dir, free>>20)
	}
	return nil
}
