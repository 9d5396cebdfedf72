package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/console"
)

// How often a job's progress is looked at, and written where it is not a
// terminal that can be written over.
const (
	lookEvery = 200 * time.Millisecond
	lineEvery = 5 * time.Second
)

// follow shows how a job comes along until it stops. When ctx ends it pauses
// the job and says how to go on.
func (p process) follow(ctx context.Context, c *console.Client, j console.Replay, asJSON bool) error {
	meter := newMeter(p.stderr, p.attends(p.stderr), time.Now(), j)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for j.State == "running" {
		meter.show(time.Now(), j)
		select {
		case <-ctx.Done():
			meter.end()
			return p.pauseJob(ctx, c, j.ID)
		case <-tick.C:
		}
		next, err := c.ReplayJob(ctx, j.ID)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			meter.end()
			p.resumeHint(j.ID)
			return err
		default:
			j = next
		}
	}
	meter.end()
	return p.jobEnd(j, asJSON)
}

func (p process) pauseJob(ctx context.Context, c *console.Client, id string) error {
	last, cancel := cut(ctx)
	defer cancel()
	j, err := c.ReplayPause(last, id)
	var refused *console.APIError
	if errors.As(err, &refused) { // it ended just before
		if j, err = c.ReplayJob(last, id); err == nil {
			return p.jobEnd(j, false)
		}
	}
	if err == nil && j.Ended() {
		return p.jobEnd(j, false)
	}
	p.resumeHint(id)
	if err != nil {
		return fmt.Errorf("pause job %s, which may still run: %w", id, err)
	}
	return ctx.Err()
}

func (p process) resumeHint(id string) {
	fmt.Fprintf(p.stderr, "resume with: penstock replay --job %s\n", id)
}

// jobEnd says how a job stands that does not run any more. Only one that is
// not what was wanted is an error.
func (p process) jobEnd(j console.Replay, asJSON bool) error {
	if asJSON {
		if err := writeJSON(p.stdout, j); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(p.stdout, jobSummary(j))
	}
	if j.Ended() {
		return nil
	}
	p.resumeHint(j.ID)
	if j.Note == "" {
		return fmt.Errorf("job %s is %s", j.ID, j.State)
	}
	return fmt.Errorf("job %s is %s: %s", j.ID, j.State, j.Note)
}

// jobSummary is what a job did.
func jobSummary(j console.Replay) string {
	did := fmt.Sprintf("handed %s to sink %s", count(j.Published, "event"), j.Sink)
	if j.Kind == kindRedrive {
		did = "retried " + count(j.Published, "dead letter")
	}
	if j.State != "done" {
		did += fmt.Sprintf(" of %d", j.Selected)
	}
	if j.Gone > 0 && j.State == "done" {
		did += fmt.Sprintf("; %d were gone meanwhile", j.Gone)
	}
	return did + fmt.Sprintf(" (job %s, %s)", j.ID, j.State)
}

// meter writes progress: over the same line on a terminal, else a line now and
// then.
type meter struct {
	out      io.Writer
	terminal bool
	begun    time.Time
	first    int // done before begun
	written  time.Time
	width    int // of the line that stands on the terminal
}

func newMeter(out io.Writer, terminal bool, now time.Time, j console.Replay) *meter {
	return &meter{out: out, terminal: terminal, begun: now, first: j.Published + j.Gone, written: now}
}

func (m *meter) show(now time.Time, j console.Replay) {
	line := progressLine(j, m.first, now.Sub(m.begun), m.terminal)
	if m.terminal {
		fmt.Fprintf(m.out, "\r%s%s", line, strings.Repeat(" ", max(0, m.width-len([]rune(line)))))
		m.width = len([]rune(line))
		return
	}
	if now.Sub(m.written) >= lineEvery {
		fmt.Fprintln(m.out, line)
		m.written = now
	}
}

// end clears the terminal's line for what comes after.
func (m *meter) end() {
	if m.terminal && m.width > 0 {
		fmt.Fprintf(m.out, "\r%s\r", strings.Repeat(" ", m.width))
		m.width = 0
	}
}

// progressLine is how far a job has come after some time, of which it did what
// is beyond first.
func progressLine(j console.Replay, first int, took time.Duration, bar bool) string {
	const width = 24
	done := j.Published + j.Gone
	share := 1.0
	if j.Selected > 0 {
		share = min(float64(done)/float64(j.Selected), 1)
	}
	var b strings.Builder
	if bar {
		n := int(share * width)
		fmt.Fprintf(&b, "[%s%s] ", strings.Repeat("#", n), strings.Repeat("-", width-n))
	}
	fmt.Fprintf(&b, "%d of %d  %.0f %%", done, j.Selected, 100*share)
	if rate := float64(done-first) / took.Seconds(); took > 0 && done > first {
		left := time.Duration(float64(max(j.Selected-done, 0)) / rate * float64(time.Second))
		fmt.Fprintf(&b, "  %s/s  %s left", trimmedRate(rate), left.Round(time.Second))
	}
	if j.Waiting != "" {
		fmt.Fprintf(&b, "  waiting: %.60s", printable(j.Waiting))
	}
	return b.String()
}

// trimmedRate writes a rate with no more digits than say something.
func trimmedRate(r float64) string {
	if r < 10 {
		return fmt.Sprintf("%.1f", r)
	}
	return fmt.Sprintf("%.0f", r)
}
