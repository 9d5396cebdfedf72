package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/backup"
)

// minBackupServer is the first NATS server whose snapshots we read and write.
const minBackupServer = "2.15"

// hdrScheduler is where the server says on which subject a message had waited.
const hdrScheduler = "Nats-Scheduler"

// promotionKey, in a stream's metadata, is the id of the promotion that made
// it. Only a stream with the id of the one at work may be replaced by it.
const promotionKey = "penstock.promotion"

// backupOrder is the order in which streams are read so that a backup made
// under load repeats and never loses. What is taken from one stream is first
// stored in another, which is read later: refused requests that are accepted
// become events, events that fail become retries or dead letters. Retries move
// on within their stream and dead letters back to it, so both are read to
// their end a second time; how far a replay is comes before what it has handed
// over.
func backupOrder(rejected bool) []string {
	order := []string{rejectedStream, deadStream, jobsStream, EventsStream, recordStream, retryStream, deadStream, retryStream, auditStream}
	if !rejected {
		order = order[1:]
	}
	return order
}

// retryKeyOf names the delivery that a message of the retry stream is: one that
// is due has the key under which it waited. What was put there as due is a
// delivery of its own.
func retryKeyOf(m *backup.Message) string {
	if strings.HasPrefix(m.Subject, retryAtPrefix) {
		return m.Subject
	}
	if h, err := nats.DecodeHeadersMsg(m.Header); err == nil && len(m.Header) > 0 {
		if s := nats.Header(h).Get(hdrScheduler); s != "" {
			return s
		}
	}
	return "due." + strconv.FormatUint(m.Seq, 10)
}

func keyOf(stream string) func(*backup.Message) string {
	if stream == retryStream {
		return retryKeyOf
	}
	return nil
}

// OpenForBackup connects, and starts the embedded server if there is to be
// one, for Backup and Restore alone: it makes no stream and delivers nothing.
// The caller must Close the Broker even when it fails.
func (b *Broker) OpenForBackup(ctx context.Context) error {
	b.o.Roles = []string{RoleBackup}
	if b.o.Config.URL == "" {
		if err := b.openEmbedded(); err != nil {
			return err
		}
	} else {
		b.budget = planExternal(b.o.Config)
	}
	if err := b.connectAll(); err != nil {
		return err
	}
	if err := b.checkServer(b.admin.nc); err != nil {
		return err
	}
	if b.embedded != nil {
		return nil
	}
	return b.checkRights(ctx, b.admin)
}

// BackupOptions say what a backup holds.
type BackupOptions struct {
	// NoRejected leaves out the requests that failed verification.
	NoRejected bool
	// Version is ours.
	Version  string
	Progress func(backup.Progress)
}

// Backup writes all streams to w. It may run while everything else does.
func (b *Broker) Backup(ctx context.Context, o BackupOptions, w io.Writer) (*backup.Manifest, error) {
	s, err := b.connect(RoleBackup)
	if err != nil {
		return nil, err
	}
	defer s.nc.Close()
	if err := checkBackupServer(s.nc); err != nil {
		return nil, err
	}
	if b.router.nc != nil { // acknowledgements under way
		if err := b.router.nc.FlushTimeout(probeTimeout); err != nil {
			return nil, fmt.Errorf("flush acknowledgements: %w", err)
		}
	}
	source := redactURL(b.o.Config.URL)
	if b.embedded != nil {
		source = b.Info().DataDir
	}
	return backup.Save(ctx, s.nc, backup.SaveOptions{
		Order: backupOrder(!o.NoRejected), Penstock: o.Version, Source: source, Progress: o.Progress,
	}, w)
}

func checkBackupServer(nc *nats.Conn) error {
	if v := nc.ConnectedServerVersion(); !versionAtLeast(v, minBackupServer) {
		return fmt.Errorf("NATS server %s makes snapshots of an older form: backup, restore and promote need %s or newer on every node", v, minBackupServer)
	}
	return nil
}

// BackupSize is at most how many bytes a backup has now.
func (b *Broker) BackupSize(ctx context.Context) (int64, error) {
	states, err := backup.Measure(ctx, b.admin.nc, ourStreams())
	if err != nil {
		return 0, err
	}
	n := int64(1 << 20)
	for _, s := range states {
		n += int64(s.Bytes)
	}
	return n, nil
}

// FreeBytes is what may still be written on the disk of a folder.
func FreeBytes(dir string) (int64, error) { return freeBytes(dir) }

// RestoreOptions say how a backup is restored.
type RestoreOptions struct {
	// Replace deletes streams of ours that hold something.
	Replace bool
	// Promotion, when set, marks the streams, and lets those be replaced that
	// have the same mark.
	Promotion string
	Progress  func(backup.Progress)
}

// Restore makes the streams of a verified backup, with the limits that this
// configuration gives them. Nobody may be using the streams.
func (b *Broker) Restore(ctx context.Context, f *backup.File, o RestoreOptions) error {
	if err := checkBackupServer(b.admin.nc); err != nil {
		return err
	}
	for _, s := range f.Streams {
		if !slices.Contains(ourStreams(), s.Name) {
			return fmt.Errorf("the backup holds stream %s, which this penstock does not know; use the version that wrote it (%s), or a newer one", s.Name, f.Penstock)
		}
	}
	if err := b.checkRoom(f); err != nil {
		return err
	}
	stale, err := b.replaceable(ctx, o)
	if err != nil {
		return err
	}
	for _, name := range stale {
		if err := backup.Delete(ctx, b.admin.nc, name); err != nil {
			return fmt.Errorf("delete stream %s, to restore it: %w", name, err)
		}
	}
	for _, want := range streamConfigs(b.o, b.budget) {
		if f.Stream(want.Name) == nil {
			continue
		}
		err := f.Restore(ctx, b.admin.nc, want.Name, backup.RestoreOptions{
			Adapt: func(c *server.StreamConfig) error { adapt(c, want, o.Promotion); return nil },
			Key:   keyOf(want.Name), Progress: o.Progress,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// adapt gives a stream of a backup the limits of the place it is restored to.
func adapt(c *server.StreamConfig, want jetstream.StreamConfig, promotion string) {
	set := map[string]bool{}
	for _, s := range slices.Concat(c.Subjects, want.Subjects) {
		set[s] = true
	}
	c.Subjects = sortedKeys(set)
	c.MaxBytes, c.Duplicates, c.MaxAge = normBytes(want.MaxBytes), want.Duplicates, want.MaxAge
	c.Replicas, c.Placement = max(want.Replicas, 1), nil
	delete(c.Metadata, promotionKey)
	if promotion != "" {
		c.Metadata[promotionKey] = promotion
	}
}

// checkRoom refuses a backup that would fill a stream beyond its limit.
func (b *Broker) checkRoom(f *backup.File) error {
	var errs []error
	for _, want := range streamConfigs(b.o, b.budget) {
		s := f.Stream(want.Name)
		if s != nil && want.MaxBytes > 0 && s.Bytes > uint64(want.MaxBytes) {
			errs = append(errs, fmt.Errorf("stream %s has %s in the backup, and may have %s here; raise broker.max_bytes", s.Name, size(int64(s.Bytes)), size(want.MaxBytes)))
		}
	}
	return errors.Join(errs...)
}

// replaceable returns the streams that are there and may be deleted.
func (b *Broker) replaceable(ctx context.Context, o RestoreOptions) ([]string, error) {
	states, err := backup.Measure(ctx, b.admin.nc, ourStreams())
	if err != nil {
		return nil, err
	}
	var stale, full []string
	for _, name := range ourStreams() {
		st, ok := states[name]
		if !ok {
			continue
		}
		c, err := backup.Config(ctx, b.admin.nc, name)
		if err != nil {
			return nil, fmt.Errorf("look up stream %s: %w", name, err)
		}
		switch {
		case c == nil:
			continue
		case c.Metadata[ownerKey] != owner:
			return nil, fmt.Errorf("stream %s was not made by Penstock and is left alone; restore into a NATS account of its own, or rename that stream", name)
		case o.Promotion != "" && c.Metadata[promotionKey] == o.Promotion:
		case st.Msgs > 0 && !o.Replace:
			full = append(full, fmt.Sprintf("%s (%d messages)", name, st.Msgs))
		}
		stale = append(stale, name)
	}
	if len(full) > 0 {
		return nil, fmt.Errorf("there is something already in %s; nothing was changed: restore elsewhere, or delete what is there with --replace", strings.Join(full, ", "))
	}
	return stale, b.checkUnused(ctx, states)
}

// checkUnused fails when a router fetches from the streams.
func (b *Broker) checkUnused(ctx context.Context, states map[string]server.StreamState) error {
	if _, ok := states[EventsStream]; !ok {
		return nil
	}
	s, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", EventsStream, err)
	}
	l := s.ListConsumers(ctx)
	for c := range l.Info() {
		if strings.HasPrefix(c.Name, sinkConsumerPrefix) && c.NumWaiting > 0 {
			return fmt.Errorf("a router is fetching from queue %s; nothing was changed: stop every penstock that uses these streams first", c.Name)
		}
	}
	return l.Err()
}

// CompareWith reads every restored stream again and compares it with the
// backup: count, first and last sequence, hash, and the positions of queues.
// Of retries, which go on waiting and becoming due, it compares which
// deliveries there are, with their bodies. It returns one line a stream.
func (b *Broker) CompareWith(ctx context.Context, f *backup.File, progress func(backup.Progress)) error {
	for _, s := range f.Streams {
		if progress != nil {
			progress(backup.Progress{Stream: s.Name, Of: s.Messages})
		}
		want, err := f.Sums(s.Name, keyOf(s.Name))
		if err != nil {
			return err
		}
		have, err := backup.SumsOf(ctx, b.admin.nc, s.Name, keyOf(s.Name))
		if err != nil {
			return err
		}
		if have != want {
			return fmt.Errorf("stream %s differs from the backup after it was restored: it has %d messages (%d to %d, hash %.12s…), the backup %d (%d to %d, hash %.12s…)",
				s.Name, have.Messages, have.First, have.Last, have.SHA256, want.Messages, want.First, want.Last, want.SHA256)
		}
		if keyOf(s.Name) == nil {
			if err := b.comparePositions(ctx, f, s.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// positionError says that a queue stands elsewhere than in the backup.
type positionError struct {
	queue, stream string
	have, want    uint64 // sequences acknowledged up to
}

func (e *positionError) Error() string {
	return fmt.Sprintf("queue %s on stream %s was acknowledged up to %d after it was restored, in the backup up to %d", e.queue, e.stream, e.have, e.want)
}

// comparePositions compares where the queues stand. A cluster makes them after
// their stream and sets their position after that, so it asks again for a while.
func (b *Broker) comparePositions(ctx context.Context, f *backup.File, stream string) error {
	positions, err := f.Positions(stream)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(b.o.patience, patienceWithCluster))
	defer cancel()
	for _, p := range positions {
		var elsewhere *positionError
		err := retrying(ctx, b.o.Logger, "compare queue "+p.Consumer, func(err error) bool {
			return transient(err) || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.As(err, &elsewhere)
		}, func() error {
			c, err := b.admin.js.Consumer(ctx, stream, p.Consumer)
			if err != nil {
				return err
			}
			if have := c.CachedInfo().AckFloor.Stream; have != p.AckFloor {
				return &positionError{p.Consumer, stream, have, p.AckFloor}
			}
			return nil
		})
		if err != nil && elsewhere != nil && ctx.Err() != nil {
			return elsewhere // says more than that the time is over
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stagingDir is where in a data directory a store is restored before it takes
// its place.
const stagingDir = "restoring"

// RestoreDataDir makes a store of the backup in the data directory of the
// embedded queue, beside what is there, compares it, and only then puts it into
// its place. With Replace a store that is there is moved aside, to the folder
// that is returned; else it is an error.
func RestoreDataDir(ctx context.Context, o Options, f *backup.File, r RestoreOptions) (aside string, err error) {
	dir := o.Config.DataDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make data directory: %w; set broker.data_dir to one that can be written", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := checkFormat(dir); err != nil {
		return "", err
	}
	store, staged := filepath.Join(dir, server.JetStreamStoreDir), filepath.Join(dir, stagingDir)
	_, err = os.Stat(store)
	there := err == nil
	if there && !r.Replace {
		return "", fmt.Errorf("data directory %s already holds a store; nothing was changed: restore into another broker.data_dir, or move what is there aside with --replace", dir)
	}
	if err := os.RemoveAll(staged); err != nil {
		return "", fmt.Errorf("remove what an earlier restore left: %w", err)
	}
	if err := restoreStaged(ctx, o, staged, f, r); err != nil {
		return "", errors.Join(err, os.RemoveAll(staged))
	}
	if there {
		aside = store + ".before-" + time.Now().UTC().Format("20060102T150405Z")
		if err := os.Rename(store, aside); err != nil {
			return "", fmt.Errorf("move the store aside: %w", err)
		}
	}
	if err := os.Rename(filepath.Join(staged, server.JetStreamStoreDir), store); err != nil {
		return aside, fmt.Errorf("put the restored store into its place: %w", err)
	}
	return aside, errors.Join(os.RemoveAll(staged), syncOnce(dir))
}

func restoreStaged(ctx context.Context, o Options, dir string, f *backup.File, r RestoreOptions) (err error) {
	o.Config.DataDir, o.Config.Listen = dir, ""
	b := New(o)
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := b.OpenForBackup(ctx); err != nil {
		return err
	}
	if err := b.Restore(ctx, f, r); err != nil {
		return err
	}
	if err := b.CompareWith(ctx, f, r.Progress); err != nil {
		return err
	}
	return syncOnce(dir)
}

// CheckRestore fails when Restore with these options would refuse.
func (b *Broker) CheckRestore(ctx context.Context, o RestoreOptions) error {
	if err := checkBackupServer(b.admin.nc); err != nil {
		return err
	}
	_, err := b.replaceable(ctx, o)
	return err
}

// Discard deletes the streams that a promotion made, unless a router uses them.
func (b *Broker) Discard(ctx context.Context, promotion string) error {
	states, err := backup.Measure(ctx, b.admin.nc, ourStreams())
	if err != nil {
		return err
	}
	if err := b.checkUnused(ctx, states); err != nil {
		return err
	}
	for _, name := range ourStreams() {
		c, err := backup.Config(ctx, b.admin.nc, name)
		if err != nil {
			return fmt.Errorf("look up stream %s: %w", name, err)
		}
		if c == nil || c.Metadata[promotionKey] != promotion || promotion == "" {
			continue
		}
		if err := backup.Delete(ctx, b.admin.nc, name); err != nil {
			return fmt.Errorf("delete stream %s: %w", name, err)
		}
	}
	return nil
}
