package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
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
	// read: editors and ConfigMaps change them in several steps.
	watchSettles = 150 * time.Millisecond
	// watchPatience bounds the wait for that.
	watchPatience = 3 * time.Second
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
		t.Reloaded(r.ReloadState().LoadedAt)
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
		case <-w.events():
			w.gather(ctx)
		case err := <-w.errors():
			r.log.Warn("changes of files may have gone unnoticed, comparing them", "err", err)
		case <-tick.C:
		}
		if w.on && r.settled(ctx) {
			r.reload(ctx, byFile, false)
			w.follow()
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
	r.seen = ""
}

// watch knows when the files hold something else. Directories are watched, not
// files: an editor or a ConfigMap puts another file in the place of one.
type watch struct {
	r      *reloads
	on     bool
	notify *fsnotify.Watcher // nil: there is only the comparing
	dirs   []string
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
	r.seen = r.print(r.watched)
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
func (w *watch) gather(ctx context.Context) {
	if sleep(ctx, watchGathers) != nil {
		return
	}
	for {
		select {
		case <-w.events():
		default:
			return
		}
	}
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

// print changes when the content of a file does, or which files there are.
func (r *reloads) print(named []string) string {
	h := sha256.New()
	for _, file := range r.files(named) {
		fmt.Fprintf(h, "%q\n", file)
		digest(h, file)
	}
	return string(h.Sum(nil))
}

// digest adds what a file holds, or that it cannot be read.
func digest(h io.Writer, file string) {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() {
		fmt.Fprintf(h, "no file %t\n", errors.Is(err, os.ErrNotExist))
		return
	}
	f, err := os.Open(file)
	if err != nil {
		fmt.Fprintf(h, "unreadable\n")
		return
	}
	defer f.Close()
	if _, err := io.Copy(h, io.LimitReader(f, watchedBytes)); err != nil {
		fmt.Fprintf(h, "torn\n")
	}
}

// changed returns the print of the files when it is another than that of what
// was read last.
func (r *reloads) changed() (print string, other bool) {
	r.mu.Lock()
	named, seen := r.watched, r.seen
	r.mu.Unlock()
	print = r.print(named)
	return print, print != seen
}

// settled reports that the files hold something else than when they were last
// read, once they stay as they are.
func (r *reloads) settled(ctx context.Context) bool {
	now, other := r.changed()
	for end := time.Now().Add(watchPatience); other && time.Now().Before(end); {
		if sleep(ctx, watchSettles) != nil {
			return false
		}
		before := now
		if now, other = r.changed(); now == before {
			break
		}
	}
	return other
}

// load reads the files and, unless dryRun, remembers what they held.
func (r *reloads) load(dryRun bool) (*config.Config, config.Mistakes) {
	if dryRun {
		return r.app.o.Load()
	}
	r.mu.Lock()
	named := r.watched
	r.mu.Unlock()
	before := r.print(named)
	next, ms := r.app.o.Load()
	if next != nil {
		named = next.WatchFiles
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// A change meanwhile is one to be seen.
	if same := r.print(r.watched) == before; same {
		before = r.print(named)
	}
	r.watched, r.seen = named, before
	return next, ms
}
