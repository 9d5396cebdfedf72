package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/console"
)

// The files in the data directory that outlive a process: a hold that has not
// run out, and the mark of a store that was moved.
const (
	holdFile     = "penstock.hold"
	promotedFile = "penstock.promoted"
)

// intake says whether webhooks are taken and delivered. It is held while the
// embedded store is moved to a cluster: webhooks are answered 503, nothing is
// delivered or changed, and what was under way comes to its end. A hold that
// nobody renews ends by itself, so that a move that died stops nothing; a store
// that was moved is never opened again.
type intake struct {
	dir string // of the files; "": an external store, which is never held
	log *slog.Logger
	// more reports that something is left to store that came before a hold; set
	// before use, nil: nothing ever is.
	more func() bool

	mu      sync.Mutex
	hold    hold
	moved   *promotion
	changed chan struct{} // closed at the next change
	busy    int           // requests and parts under way
}

// hold is what of a hold is written down. The zero hold is none.
type hold struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

// promotion is what is written down of a store that was moved.
type promotion struct {
	ID  string    `json:"id"`
	URL string    `json:"url"`
	At  time.Time `json:"at"`
}

func newIntake(dir string, log *slog.Logger) *intake {
	return &intake{dir: dir, log: log, changed: make(chan struct{})}
}

// load takes over what an earlier process left. It fails for a store that was
// moved.
func (i *intake) load() error {
	if i.dir == "" {
		return nil
	}
	var p promotion
	path := filepath.Join(i.dir, promotedFile)
	if found, err := readState(path, &p); err != nil {
		return err
	} else if found {
		return fmt.Errorf("the events of data directory %s were moved to %s on %s: start with the configuration that has that broker.url; only to go back to what was left here, without what came since, remove %s",
			i.dir, p.URL, p.At.Format(time.RFC3339), path)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	_, err := readState(filepath.Join(i.dir, holdFile), &i.hold)
	return err
}

func readState(path string, to any) (found bool, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(text, to); err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	return true, nil
}

// writeState replaces a file so that a power cut leaves the old or the new.
func writeState(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// run ends a hold that has run out.
func (i *intake) run(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		i.mu.Lock()
		if i.moved == nil && i.hold.ID != "" && time.Now().After(i.hold.Until) {
			i.log.Warn("the move to another store was not renewed in time; webhooks are taken again", "held_since", i.hold.Since)
			if err := i.release(); err != nil {
				i.log.Error("end the hold of webhooks", "err", err)
			}
		}
		i.mu.Unlock()
	}
}

// open reports that webhooks are taken. The caller holds mu.
func (i *intake) open() bool { return i.hold.ID == "" && i.moved == nil }

// enter lets one request in unless the intake is held; leave must be called.
func (i *intake) enter() (leave func(), ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.open() {
		return nil, false
	}
	i.busy++
	return i.leave, true
}

// underWay reports that something from before a hold is not over. The caller holds mu.
func (i *intake) underWay() bool { return i.busy > 0 || i.more != nil && i.more() }

func (i *intake) leave() {
	i.mu.Lock()
	i.busy--
	i.mu.Unlock()
}

// held says why nothing is taken or changed now, "" when it is.
func (i *intake) held() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.moved != nil:
		return "the events were moved to " + i.moved.URL
	case i.hold.ID != "":
		return "the events are being moved to another store"
	}
	return ""
}

// whileOpen is run, stopped while the intake is held and started again after.
func (i *intake) whileOpen(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			i.mu.Lock()
			open, changed := i.open(), i.changed
			if open {
				i.busy++
			}
			i.mu.Unlock()
			var err error
			if open {
				err = until(ctx, changed, run)
				i.leave()
			}
			if ctx.Err() != nil || err != nil && !errors.Is(err, context.Canceled) {
				return err
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

// until runs run until it returns or stop is closed.
func until(ctx context.Context, stop <-chan struct{}, run func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	})
	err := run(ctx)
	cancel()
	watch.Wait()
	return err
}

// change tells everybody who waits. The caller holds mu.
func (i *intake) change() {
	close(i.changed)
	i.changed = make(chan struct{})
}

// Hold implements console.Intake.
func (i *intake) Hold(id string, lease time.Duration) (console.IntakeStatus, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.dir == "":
		return console.IntakeStatus{}, &console.IntakeError{Text: "this process has no embedded queue: there is nothing to move"}
	case i.moved != nil:
		return i.status(), &console.IntakeError{Text: "the events were moved already, to " + i.moved.URL}
	case i.hold.ID != "" && i.hold.ID != id:
		return i.status(), &console.IntakeError{Text: "another move is under way"}
	}
	next := hold{ID: id, Since: time.Now().UTC(), Until: time.Now().Add(lease).UTC()}
	if i.hold.ID == id {
		next.Since = i.hold.Since
	}
	if err := writeState(filepath.Join(i.dir, holdFile), next); err != nil {
		return i.status(), fmt.Errorf("write down the hold: %w", err)
	}
	began := i.hold.ID == ""
	i.hold = next
	if began {
		i.log.Warn("webhooks are answered 503 and nothing is delivered while the events are moved", "until", next.Until)
		i.change()
	}
	return i.status(), nil
}

// Release implements console.Intake.
func (i *intake) Release(id string) (console.IntakeStatus, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.moved != nil:
		return i.status(), &console.IntakeError{Text: "the events were moved already, to " + i.moved.URL}
	case i.hold.ID == "":
		return i.status(), nil
	case i.hold.ID != id:
		return i.status(), &console.IntakeError{Text: "another move is under way"}
	}
	i.log.Info("webhooks are taken again")
	return i.status(), i.release()
}

// release ends the hold. The caller holds mu.
func (i *intake) release() error {
	if err := os.Remove(filepath.Join(i.dir, holdFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	i.hold = hold{}
	i.change()
	return nil
}

// Promoted implements console.Intake.
func (i *intake) Promoted(id string, since time.Time, url string) (console.IntakeStatus, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.moved != nil && i.moved.ID == id:
		return i.status(), nil
	case i.moved != nil || i.hold.ID != id || !i.hold.Since.Equal(since):
		return i.status(), &console.IntakeError{Text: "the hold of this move is over: webhooks may have been taken since"}
	case i.underWay():
		return i.status(), &console.IntakeError{Text: "something is still under way"}
	}
	p := &promotion{ID: id, URL: url, At: time.Now().UTC()}
	if err := writeState(filepath.Join(i.dir, promotedFile), p); err != nil {
		return i.status(), fmt.Errorf("write down the move: %w", err)
	}
	i.moved = p
	i.log.Warn("the events were moved; this process takes and delivers nothing more, stop it", "to", url)
	return i.status(), nil
}

// Status implements console.Intake.
func (i *intake) Status() console.IntakeStatus {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.status()
}

func (i *intake) status() console.IntakeStatus {
	s := console.IntakeStatus{State: console.IntakeOpen, Embedded: i.dir != "", ID: i.hold.ID, Since: i.hold.Since, Until: i.hold.Until}
	switch {
	case i.moved != nil:
		s.State, s.URL, s.ID = console.IntakePromoted, i.moved.URL, i.moved.ID
	case i.hold.ID != "" && i.underWay():
		s.State = console.IntakeDraining
	case i.hold.ID != "":
		s.State = console.IntakeHeld
	}
	return s
}
