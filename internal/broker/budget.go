package broker

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"

	"github.com/penstock/penstock/config"
)

// Bounds of what we store besides events.
const (
	autoMaxBytes = 10 << 30  // events, when broker.max_bytes is auto
	minMaxBytes  = 32 << 20  // below this, auto gives up
	maxDeadBytes = 1 << 30   // dead letters
	minDeadBytes = 16 << 20  //
	maxRecords   = 1 << 30   // attempt records
	minRecords   = 8 << 20   //
	retryBytes   = 512 << 20 // waiting retries of one sink, counted in memory
	minRetry     = 64 << 20  // what a start needs for retries
	// maxRejectedBytes bounds the requests that failed verification.
	maxRejectedBytes = 256 << 20
	minRejectedBytes = 8 << 20
)

// budget is how the disk is shared between the streams, in bytes.
type budget struct {
	events, dead, rejected, records, changes int64
	// store is the sum, with an allowance for retries: the server's limit.
	store int64
}

// planEmbedded shares the free disk. An explicit broker.max_bytes that does
// not fit is refused at start: on a full disk the store freezes.
func planEmbedded(c config.Broker, sinks int) (budget, error) {
	free, err := freeBytes(c.DataDir)
	if err != nil {
		return budget{}, fmt.Errorf("measure free disk of %s: %w", c.DataDir, err)
	}
	used, err := dirSize(c.DataDir)
	if err != nil {
		return budget{}, fmt.Errorf("measure data directory %s: %w", c.DataDir, err)
	}
	room := free + used
	b := budget{events: int64(c.MaxBytes)}
	if b.events == 0 {
		b.events = min(autoMaxBytes, room/2)
		if b.events < minMaxBytes {
			return budget{}, fmt.Errorf("only %s is free for data directory %s; at least %s is needed: free some, or set broker.data_dir to another disk", size(room), c.DataDir, size(2*minMaxBytes))
		}
	}
	b = budgetFor(b.events)
	retry := min(max(minRetry, room/4), int64(max(sinks, 1))*retryBytes)
	b.store = b.events + b.besides() + retry
	if c.MaxBytes != 0 && b.events+b.besides()+minRetry > room {
		return budget{}, fmt.Errorf("broker.max_bytes %s, with %s for dead letters, rejected requests and records, and at least %s for retries, needs more than the %s free for %s; set it to %s or less", size(b.events), size(b.besides()), size(minRetry), size(room), c.DataDir, size(largestEvents(room)))
	}
	return b, nil
}

func deadBytes(events int64) int64 { return min(maxDeadBytes, max(minDeadBytes, events/10)) }

func recordBytes(events int64) int64 { return min(maxRecords, max(minRecords, events/10)) }

// changeBytes is less than maxChangeBytes only for a small store: what an
// upgrade needs has to fit on a disk that was enough before.
func changeBytes(events int64) int64 { return min(maxChangeBytes, max(minChangeBytes, events/32)) }

// rejectedBytes is less than maxRejectedBytes only for a small store.
func rejectedBytes(events int64) int64 {
	return min(maxRejectedBytes, max(minRejectedBytes, events/4))
}

// besides is what all streams but those of events and retries may hold.
func (b budget) besides() int64 { return b.dead + b.rejected + b.records + b.changes + jobBytes }

// budgetFor is the budget of every stream around the given bytes of events.
func budgetFor(events int64) budget {
	return budget{events: events, dead: deadBytes(events), rejected: rejectedBytes(events), records: recordBytes(events), changes: changeBytes(events)}
}

// largestEvents is the largest broker.max_bytes that fits into room, rounded down.
func largestEvents(room int64) int64 {
	fits := func(events int64) bool { return events+budgetFor(events).besides()+minRetry <= room }
	const step = 1 << 20
	n := sort.Search(int(max(0, room)/step), func(i int) bool { return !fits(int64(i+1) * step) })
	return int64(n) * step
}

// planExternal has no disk to look at: the cluster's limits are its operator's.
func planExternal(c config.Broker) budget {
	events := int64(c.MaxBytes)
	if events == 0 {
		events = autoMaxBytes
	}
	return budgetFor(events)
}

func dirSize(dir string) (int64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		n += info.Size()
		return nil
	})
	return n, err
}

// size is n bytes as a person reads them.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}
