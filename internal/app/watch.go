package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/penstock/penstock/config"
)

const (
	// watchSettles is how long the files have to stay the same before they are
	// read, when one was put in the place of another: ConfigMaps change several.
	watchSettles = 150 * time.Millisecond
	// watchWritten is how long when one was written to: who writes it may pause,
	// and what is there so far may be a configuration.
	watchWritten = time.Second
	// watchPatience bounds the wait for that; then it begins anew by and by.
	watchPatience = 10 * time.Second
	// watchGathers is how long what the system tells is gathered.
	watchGathers = 50 * time.Millisecond
	// watchEvery is how often the files are compared where nobody tells of a
	// change, as on network mounts.
	watchEvery = 5 * time.Second
	// watchedBytes is how much of one file is compared.
	watchedBytes = 8 << 20
)

// run reloads on every hangup and when what the files hold has changed, until
// ctx is done.
func (r *reloads) run(ctx context.Context) error {
	if t := r.app.telemetry; t != nil {
		r.mu.Lock()
		at := r.state.LoadedAt
		r.mu.Unlock()
		t.Reloaded(at)
	}
	w := r.newWatch()
	defer w.close()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	// What changed between the loading and now is a change as well.
	if w.on && r.stale() {
		r.forgetSeen()
		r.reload(ctx, byFile, false)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.app.o.Hangups:
			r.reload(ctx, bySignal, false)
			w.follow()
			continue
		case e := <-w.events():
			w.note(e)
			w.gather(ctx)
		case err := <-w.errors():
			r.log.Warn("changes of files may have gone unnoticed, comparing them", "err", err)
		case <-tick.C:
		}
		if w.on && w.settled(ctx) {
			r.reload(ctx, byFile, false)
			w.follow()
			w.written = nil
		}
	}
}

// stale reports that the files do not say what is in force.
func (r *reloads) stale() bool {
	next, _ := r.app.o.Load()
	return next == nil || !r.app.conf().ChangesTo(next).Empty() || len(r.app.conf().Fixed(next)) > 0
}

// forgetSeen makes what the files hold count as a change.
func (r *reloads) forgetSeen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.print = ""
}

// watch knows when the files hold something else. Directories are watched, not
// files: an editor or a ConfigMap puts another file in the place of one.
type watch struct {
	r      *reloads
	on     bool
	notify *fsnotify.Watcher // nil: there is only the comparing
	dirs   []string
	// written are the files that were written to, as the system tells, since the
	// files were read last.
	written map[string]bool
	sleep   func(context.Context, time.Duration) error // nil: sleep
}

func (r *reloads) newWatch() *watch {
	w := &watch{r: r, on: r.app.o.Load != nil && len(r.app.o.Paths) > 0}
	if !w.on {
		return w
	}
	var err error
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		r.log.Warn("changes of files are not told of by the system, comparing them now and then", "err", err, "every", watchEvery)
	}
	r.mu.Lock()
	r.seen = r.look(r.watched)
	r.mu.Unlock()
	w.follow()
	return w
}

func (w *watch) close() {
	if w.notify != nil {
		_ = w.notify.Close() // nothing is to be saved
		w.notify = nil
	}
}

func (w *watch) events() <-chan fsnotify.Event {
	if w.notify == nil {
		return nil
	}
	return w.notify.Events
}

func (w *watch) errors() <-chan error {
	if w.notify == nil {
		return nil
	}
	return w.notify.Errors
}

// gather lets what comes together count as one change.
func (w *watch) gather(ctx context.Context) { _ = w.pause(ctx, watchGathers) }

// pause waits, and notes what the system has told meanwhile.
func (w *watch) pause(ctx context.Context, d time.Duration) error {
	wait := w.sleep
	if wait == nil {
		wait = sleep
	}
	if err := wait(ctx, d); err != nil {
		return err
	}
	for {
		select {
		case e := <-w.events():
			w.note(e)
		default:
			return nil
		}
	}
}

// note remembers what was written to.
func (w *watch) note(e fsnotify.Event) {
	if !e.Has(fsnotify.Write) {
		return
	}
	if w.written == nil {
		w.written = map[string]bool{}
	}
	w.written[e.Name] = true
}

// follow watches the directories of all files that are read now, and of those
// that symbolic links lead to.
func (w *watch) follow() {
	if w.notify == nil {
		return
	}
	var dirs []string
	w.r.mu.Lock()
	files := w.r.files(w.r.watched)
	w.r.mu.Unlock()
	for _, file := range files {
		places := []string{file}
		if target, err := filepath.EvalSymlinks(file); err == nil {
			places = append(places, target)
		}
		for _, place := range places {
			if abs, err := filepath.Abs(filepath.Dir(place)); err == nil && !slices.Contains(dirs, abs) {
				dirs = append(dirs, abs)
			}
		}
	}
	for _, dir := range w.dirs {
		if !slices.Contains(dirs, dir) {
			_ = w.notify.Remove(dir) // it may be gone
		}
	}
	w.dirs = nil
	for _, dir := range dirs {
		// Also a directory that is watched already: it may be another of that name.
		if err := w.notify.Add(dir); err != nil {
			w.r.log.Debug("a directory is not watched, its files are compared now and then", "dir", dir, "err", err, "every", watchEvery)
			continue
		}
		w.dirs = append(w.dirs, dir)
	}
}

// files are those that would be read now, and more that were named.
func (r *reloads) files(named []string) []string {
	var out []string
	add := func(file string) {
		if !slices.Contains(out, file) {
			out = append(out, file)
		}
	}
	for _, path := range r.app.o.Paths {
		entries, err := os.ReadDir(path)
		if err != nil {
			add(path)
			continue
		}
		add(filepath.Join(path, ".")) // where the folder is, when it is empty
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); !strings.HasPrefix(e.Name(), ".") && (ext == ".yaml" || ext == ".yml") {
				add(filepath.Join(path, e.Name()))
			}
		}
	}
	for _, file := range named {
		add(file)
	}
	return out
}

// look is what files were found to be.
type look struct {
	print string // of the contents, and of which files there are
	files map[string]found
}

// found is one file: which it is, and what it holds.
type found struct {
	info  os.FileInfo // nil: there is none, or no regular one
	print string
}

// look looks at the files that are named and those that would be read now.
func (r *reloads) look(named []string) look {
	l, all := look{files: map[string]found{}}, sha256.New()
	for _, file := range r.files(named) {
		h := sha256.New()
		f := found{info: digest(h, file)}
		f.print = string(h.Sum(nil))
		l.files[file] = f
		fmt.Fprintf(all, "%q %x\n", file, f.print)
	}
	l.print = string(all.Sum(nil))
	return l
}

// same reports that nothing was done to the files between two looks.
func (l look) same(o look) bool {
	return l.print == o.print && maps.EqualFunc(l.files, o.files, func(a, b found) bool {
		return (a.info == nil) == (b.info == nil) && (a.info == nil || os.SameFile(a.info, b.info) && a.info.ModTime().Equal(b.info.ModTime()))
	})
}

// digest adds what a file holds, or that it cannot be read.
func digest(h io.Writer, file string) os.FileInfo {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() {
		fmt.Fprintf(h, "no file %t\n", errors.Is(err, os.ErrNotExist))
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		fmt.Fprintf(h, "unreadable\n")
		return info
	}
	defer f.Close()
	if _, err := io.Copy(h, io.LimitReader(f, watchedBytes)); err != nil {
		fmt.Fprintf(h, "torn\n")
	}
	return info
}

// changed looks at the files, and says whether they hold something else than
// what was read last.
func (r *reloads) changed() (now, seen look, other bool) {
	r.mu.Lock()
	named, seen := r.watched, r.seen
	r.mu.Unlock()
	now = r.look(named)
	return now, seen, now.print != seen.print
}

// settled reports that the files hold something else than when they were last
// read, once nothing is done to them for as long as it takes to believe that
// they are whole.
func (w *watch) settled(ctx context.Context) bool {
	now, _, other := w.r.changed()
	quiet := time.Duration(0)
	for waited := time.Duration(0); other && waited < watchPatience; waited += watchSettles {
		if w.pause(ctx, watchSettles) != nil {
			return false
		}
		before, seen := now, look{}
		now, seen, other = w.r.changed()
		if quiet += watchSettles; !now.same(before) {
			quiet = 0
		}
		if other && quiet >= w.needed(now, seen) {
			return true
		}
	}
	return false
}

// needed is how long the files have to stay the same. One that has come into
// the place of another, by a rename or a link, was whole before.
func (w *watch) needed(now, seen look) time.Duration {
	for file, f := range now.files {
		before := seen.files[file]
		if f.info == nil || f.print == before.print {
			continue
		}
		if before.info == nil || os.SameFile(f.info, before.info) || w.wasWritten(file) {
			return watchWritten
		}
	}
	return watchSettles
}

// wasWritten reports that the system told of a file under its name, or under
// that which a link leads to, that it was written to.
func (w *watch) wasWritten(file string) bool {
	names := []string{file}
	if target, err := filepath.EvalSymlinks(file); err == nil {
		names = append(names, target)
	}
	return slices.ContainsFunc(names, func(name string) bool {
		abs, err := filepath.Abs(name)
		return err == nil && w.written[abs]
	})
}

// load reads the files and, unless dryRun, remembers what they held.
func (r *reloads) load(dryRun bool) (*config.Config, config.Mistakes) {
	if dryRun {
		return r.app.o.Load()
	}
	r.mu.Lock()
	named := r.watched
	r.mu.Unlock()
	before := r.look(named)
	next, ms := r.app.o.Load()
	if next != nil {
		named = next.WatchFiles
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// A change meanwhile is one to be seen.
	if same := r.look(r.watched).print == before.print; same {
		before = r.look(named)
	}
	r.watched, r.seen = named, before
	return next, ms
}
