package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// errSyncStopped is returned to those who wait for a sync when the process stops.
var errSyncStopped = errors.New("stopped before the data was synced to disk")

// syncer makes writes survive a power cut by group commit: everybody who asks
// before a sync of the file system begins is released by that one sync. It
// rests on the server having written a message to its file before it answers
// the publisher, which the power-loss test pins.
type syncer struct {
	flush   func() error
	observe func(writes int, took time.Duration) // nil: nobody looks

	mu      sync.Mutex
	next    *cohort
	stopped error
	wake    chan struct{} // capacity 1
}

// cohort is everybody who waits for the same sync.
type cohort struct {
	done chan struct{}
	n    uint64
	err  error
}

func newSyncer(flush func() error) *syncer {
	return &syncer{flush: flush, wake: make(chan struct{}, 1)}
}

// Wait returns once all that was written before the call is on disk. A nil
// syncer returns at once: the durability does not ask for it.
func (s *syncer) Wait(ctx context.Context) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	if s.stopped != nil {
		s.mu.Unlock()
		return s.stopped
	}
	c := s.next
	if c == nil {
		c = &cohort{done: make(chan struct{})}
		s.next = c
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	c.n++
	s.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run makes the syncs until ctx is done. It fails when one fails: a failed
// sync cannot be repeated with any meaning, for the kernel may have dropped
// the pages, so the process must start again from what is on disk.
func (s *syncer) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			s.stop(errSyncStopped)
			return nil
		case <-s.wake:
		}
		s.mu.Lock()
		c := s.next
		s.next = nil
		s.mu.Unlock()
		began := time.Now()
		c.err = s.flush()
		if s.observe != nil {
			s.observe(int(c.n), time.Since(began))
		}
		close(c.done)
		if c.err != nil {
			err := fmt.Errorf("sync data to disk: %w", c.err)
			s.stop(err)
			return err
		}
	}
}

// stop refuses later callers and releases those who already wait.
func (s *syncer) stop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = err
	if s.next != nil {
		s.next.err = err
		close(s.next.done)
		s.next = nil
	}
}
