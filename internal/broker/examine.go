package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// MinServer is the first NATS server that has what we build on.
const MinServer = minServer

// Examination is what an external NATS looks like to the roles of a process.
// Nothing is changed to find out.
type Examination struct {
	// Version is the server's; Unfit why it cannot serve us.
	Version string
	Unfit   error
	// Rights says for each role what its user lacks, or nil.
	Rights []RoleCheck
	// Streams are those that are missing or not as the configuration needs
	// them; nil also when no role may look, which Looked tells.
	Streams []StreamCheck
	Looked  bool
	// Skew is how far the server's clock is ahead of ours, known when Looked.
	Skew time.Duration
}

// RoleCheck is what one role's user lacks, or nil.
type RoleCheck struct {
	Role string
	Err  error
}

// StreamCheck is a stream that is missing or differs.
type StreamCheck struct {
	Name    string
	Missing bool
	// Differs names what is not as the configuration says.
	Differs []string
}

// Examine connects to the external NATS of o as the roles of o and looks at it.
// It fails when it cannot connect.
func Examine(ctx context.Context, o Options) (x Examination, err error) {
	b := New(o)
	defer func() { err = errors.Join(err, b.Close()) }()
	b.budget = planExternal(o.Config)
	if err := b.connectAll(); err != nil {
		return x, err
	}
	for i, s := range b.opened() {
		if i == 0 {
			x.Version, x.Unfit = s.nc.ConnectedServerVersion(), b.checkServer(s.nc)
		}
		if slices.ContainsFunc(x.Rights, func(c RoleCheck) bool { return c.Role == s.role }) {
			continue
		}
		x.Rights = append(x.Rights, RoleCheck{s.role, b.checkRights(ctx, s)})
	}
	if b.admin.nc == nil {
		return x, nil
	}
	x.Looked = true
	for _, want := range streamConfigs(o, b.budget) {
		asked := time.Now()
		s, err := b.admin.js.Stream(ctx, want.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			x.Streams = append(x.Streams, StreamCheck{Name: want.Name, Missing: true})
			continue
		case err != nil:
			return x, fmt.Errorf("look up stream %s: %w", want.Name, err)
		}
		answered := time.Now()
		if at := s.CachedInfo().TimeStamp; !at.IsZero() {
			x.Skew = at.Sub(asked.Add(answered.Sub(asked) / 2))
		}
		if _, diff := reconcile(s.CachedInfo().Config, want); len(diff) > 0 {
			x.Streams = append(x.Streams, StreamCheck{Name: want.Name, Differs: diff})
		}
	}
	return x, nil
}

// Disk is where a data directory lies.
type Disk struct {
	// Free is what may still be written, Total what the disk holds, in bytes.
	Free, Total int64
	// FileSystem is its kind, "" when it is not known.
	FileSystem string
	// Volatile: a restart of the machine empties it. Network: it lies elsewhere,
	// and what a sync promises is up to that.
	Volatile, Network bool
}

// syncTries is how many syncs TrySync measures.
const syncTries = 9

// TrySync writes a small file into dir, syncs it several times, and removes it.
// It returns the median of the times.
func TrySync(dir string) (took time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".penstock-check-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	var all []time.Duration
	for n := range syncTries {
		if _, err := f.WriteAt(make([]byte, 4096), int64(n)*4096); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := f.Sync(); err != nil {
			return 0, err
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// LeastRoom is what a data directory needs to be opened, in bytes.
const LeastRoom = 2 * minMaxBytes

// InUse reports that a process holds the data directory, and which, as text.
func InUse(dir string) (bool, error) {
	if _, err := os.Stat(filepath.Join(dir, lockName)); err != nil {
		return false, nil
	}
	l, err := lockDir(dir)
	if err != nil {
		return true, err
	}
	return false, l.Close()
}
