package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// senders post at one time, so that a slow disk does not bound the rate.
	senders = 8
	// manyEvents is from how many on a person sees progress instead of lines.
	manyEvents = 20
	// progressEvery bounds how often progress is written anew.
	progressEvery = 100 * time.Millisecond
)

// sender sends count events and prints what is answered.
type sender struct {
	p         process
	post      *poster
	samples   sampleMaker
	asJSON    bool
	count     int
	interval  time.Duration // between two events; 0: none
	serveHint string

	mu         sync.Mutex
	stored     int
	duplicates int
	shown      time.Time
	progress   bool // on the terminal's current line
}

// run returns at the first event that is not stored.
func (s *sender) run(ctx context.Context) error {
	start := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	turns := make(chan struct{})
	g.Go(func() error {
		defer close(turns)
		return s.pace(gctx, turns)
	})
	for range min(senders, s.count) {
		g.Go(func() error {
			for range turns {
				if err := s.one(gctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return s.finish(err, time.Since(start))
}

// pace hands out a turn for every event, at the asked rate.
func (s *sender) pace(ctx context.Context, turns chan<- struct{}) error {
	var tick <-chan time.Time
	if s.interval > 0 {
		t := time.NewTicker(s.interval)
		defer t.Stop()
		tick = t.C
	}
	for i := range s.count {
		if i > 0 && tick != nil {
			select {
			case <-tick:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *sender) one(ctx context.Context) error {
	body, err := s.samples.next()
	if err != nil {
		return err
	}
	a, err := s.post.send(ctx, body)
	var silent *silentError
	if errors.As(err, &silent) {
		return fmt.Errorf("%w; start `%s`", err, s.serveHint)
	}
	if err != nil {
		return err
	}
	return s.take(a)
}

// take prints one answer.
func (s *sender) take(a answer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.stored() {
		s.stored++
	}
	if a.Duplicate {
		s.duplicates++
	}
	if err := s.printAnswer(a); err != nil {
		return err
	}
	s.printProgress()
	switch {
	case a.stored():
		return nil
	case s.asJSON: // printed
		return errReported
	}
	return a.refusal()
}

func (s *sender) printAnswer(a answer) error {
	switch {
	case s.asJSON:
		line, err := json.Marshal(a)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.p.stdout, "%s\n", line)
		return err
	case !a.stored() || s.quiet():
		return nil
	}
	note := ""
	if a.Duplicate {
		note = "  duplicate"
	}
	_, err := fmt.Fprintf(s.p.stdout, "%s  %s  seq %d%s\n", printable(a.ID), printable(a.Subject), a.Seq, note)
	return err
}

// quiet reports that a person looks on, who has no use for so many lines.
func (s *sender) quiet() bool { return s.count >= manyEvents && s.p.attends(s.p.stdout) }

func (s *sender) printProgress() {
	if s.count < manyEvents || s.asJSON || !s.p.attends(s.p.stderr) || time.Since(s.shown) < progressEvery {
		return
	}
	s.shown, s.progress = time.Now(), true
	fmt.Fprintf(s.p.stderr, "\r%d of %d stored ", s.stored, s.count)
}

func (s *sender) finish(err error, took time.Duration) error {
	if s.progress {
		fmt.Fprint(s.p.stderr, "\r\x1b[K")
	}
	if s.count > 1 && !s.asJSON {
		perSecond := float64(s.stored) / max(took.Seconds(), 1e-9)
		fmt.Fprintf(s.p.stderr, "%d of %d stored, %s, in %s (%.0f/s)\n",
			s.stored, s.count, count(s.duplicates, "duplicate"), took.Round(time.Millisecond), perSecond)
	}
	return err
}
