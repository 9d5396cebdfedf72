package router

import (
	"slices"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/sinks"
)

// Change is what Apply replaces routes and sinks by. Config, Table and Sinks
// are required.
type Change struct {
	Config *config.Config
	// Table are the routes from now on, those of Config unless other routes
	// were recorded since.
	Table *Table
	// Sinks are the sinks of Config that are new or other than before, opened.
	Sinks map[string]sinks.Sink
	// Last is the sequence of the last event stored before the change, as far
	// as is known: the new routes hold for later events only.
	Last uint64
	// Late is what is known of the time before the change of sinks that come with
	// new routes: see Past.Return. When the routes are what they were, it is what
	// counts of any sink that is new here.
	Late map[string]Past
	// Paused are the new sinks that nothing is to be delivered to for now.
	Paused []string
	// Record is told from which sequence the new routes hold, before they do,
	// while no rules are picked for any event. If it fails nothing changes.
	// It is not called when the routes are what they were. Nil: nobody is told.
	Record func(from uint64) error
}

// Retired is a sink that is delivered to no more, or with other settings.
type Retired struct {
	Name string
	Sink sinks.Sink
	wait func()
}

// Wait returns when what began on the sink has ended.
func (r Retired) Wait() { r.wait() }

// Plan returns what every sink will want of the queue once c is applied, and
// what it still wants of events that were stored before. Queues have to let
// that through before Apply.
func (r *Router) Plan(c Change) []delivery.Subscription {
	r.turn.RLock()
	defer r.turn.RUnlock()
	var out []delivery.Subscription
	for _, s := range c.Config.Sinks {
		w, opened := find(r.workers, s.Name), c.Sinks[s.Name]
		switch {
		case w == nil:
			w = &Worker{name: s.Name, engine: &engine{sink: s, deliver: opened, batcher: newBatcher(opened)}}
		case opened != nil:
			w = &Worker{name: s.Name, engine: &engine{sink: s, deliver: opened, batcher: newBatcher(opened)}, eras: w.eras, past: w.past}
		}
		_, late := c.Late[s.Name]
		out = append(out, w.engine.shape().subscription(s, w.filters(c.Table), late || w.past.Counts()))
	}
	return out
}

// Apply replaces routes and sinks between two events. Events stored up to then
// are still routed by the routes of their time, so that none is routed by half
// of each. A sink that is configured as before keeps everything; one that is
// not keeps its worker, its place in the queue and its gate. What began on a
// sink that is replaced or removed ends on it: the caller is to wait for the
// sinks returned, and then to close them.
func (r *Router) Apply(c Change) ([]Retired, error) {
	for _, s := range c.Config.Sinks {
		if r.Worker(s.Name) == nil && c.Sinks[s.Name] == nil {
			return nil, notOpened(s.Name)
		}
	}
	r.turn.Lock()
	defer r.turn.Unlock()
	from := max(c.Last, r.turn.judged.Load()) + 1
	isNew := c.Table.version != r.table.version
	if isNew && c.Record != nil {
		if err := c.Record(from); err != nil {
			return nil, err
		}
	}
	r.enter(from, c.Table)
	var retired []Retired
	var workers, fresh []*Worker
	for _, s := range c.Config.Sinks {
		w, opened := find(r.workers, s.Name), c.Sinks[s.Name]
		switch {
		case w == nil:
			w = r.newWorker(s, opened, c.Table)
			w.eras, w.past = w.newEras(r.eras), c.Late[s.Name]
			if slices.Contains(c.Paused, s.Name) {
				w.gate.pause()
			}
			fresh = append(fresh, w)
		case opened != nil:
			retired = append(retired, w.replace(s, opened))
			if w.run != nil && w.run.shape != w.engine.shape() {
				close(w.run.closing)
				fresh = append(fresh, w)
			}
		}
		if past, ok := c.Late[s.Name]; ok && isNew { // a worker of before may come as well
			w.past = past.Return(from)
		}
		workers = append(workers, w)
	}
	for _, w := range r.workers {
		if !slices.Contains(workers, w) {
			retired = append(retired, w.remove())
		}
	}
	r.workers = workers
	if r.launch != nil {
		for _, w := range fresh {
			r.launch(w)
		}
	}
	return retired, nil
}

// enter begins an era for the workers that there are.
func (r *Router) enter(from uint64, t *Table) {
	last := len(r.eras) - 1
	if t.version == r.table.version {
		from = r.eras[last].From
		r.eras = r.eras[:last]
	}
	r.table, r.eras = t, append(slices.Clone(r.eras), Era{From: from, Table: t})
	for _, w := range r.workers {
		e := w.newEra(from, t)
		if last := len(w.eras) - 1; w.eras[last].from == from {
			w.eras = w.eras[:last]
		}
		w.eras = append(slices.Clone(w.eras), e)
	}
}

func (w *Worker) newEras(all []Era) []era {
	out := make([]era, len(all))
	for i, e := range all {
		out[i] = w.newEra(e.From, e.Table)
	}
	return out
}

// replace gives the worker another sink and returns the one it had.
func (w *Worker) replace(s config.Sink, deliver sinks.Sink) Retired {
	old := w.engine
	w.engine = newEngine(s, deliver)
	w.gate.reconfigure(old.sink, s, w.engine.batcher != nil)
	return Retired{Name: w.name, Sink: old.deliver, wait: old.users.Wait}
}

// remove ends the worker's consumption and returns its sink.
func (w *Worker) remove() Retired {
	old, run := w.engine, w.run
	if run != nil {
		close(run.closing)
	}
	return Retired{Name: w.name, Sink: old.deliver, wait: func() {
		if run != nil {
			<-run.ended
		}
		old.users.Wait()
	}}
}

// Era is a table and the sequence from which on it holds.
type Era struct {
	From  uint64
	Table *Table
}

// Follow replaces the eras of all workers, and with them the routes in force,
// by what is recorded with the queue. There must be at least one era.
func (r *Router) Follow(eras []Era, past map[string]Past) {
	r.turn.Lock()
	defer r.turn.Unlock()
	for _, w := range r.workers {
		w.eras, w.past = w.newEras(eras), past[w.name]
	}
	r.table, r.eras = eras[len(eras)-1].Table, slices.Clone(eras)
}

// Settled is told up to which sequence each sink has settled everything. It
// lets go of the routes that a sink needs no more, and returns the sinks whose
// queues may let less through.
func (r *Router) Settled(up map[string]uint64) (narrowed []delivery.Subscription) {
	r.turn.Lock()
	defer r.turn.Unlock()
	for _, w := range r.workers {
		n := 0
		for n+1 < len(w.eras) && w.eras[n+1].from <= up[w.name]+1 {
			n++
		}
		before := w.past.Counts()
		w.past = w.past.Settled(up[w.name])
		if n > 0 || before && !w.past.Counts() {
			w.eras = slices.Clone(w.eras[n:])
			narrowed = append(narrowed, w.subscription())
		}
	}
	n := 0
	for n+1 < len(r.eras) && !slices.ContainsFunc(r.workers, func(w *Worker) bool { return w.eras[0].from < r.eras[n+1].From }) {
		n++
	}
	r.eras = slices.Clone(r.eras[n:])
	return narrowed
}

// Eras is how many tables the worker with the most of them routes by: more
// than one while events wait that were stored before a change.
func (r *Router) Eras() int {
	r.turn.RLock()
	defer r.turn.RUnlock()
	n := 0
	for _, w := range r.workers {
		n = max(n, len(w.eras))
	}
	return n
}

// InUse is how many tables are needed: the one in force, and each earlier one
// that held while events were stored which a sink has not settled. up says up to
// which sequence each sink has settled everything.
func (r *Router) InUse(up map[string]uint64) int {
	r.turn.RLock()
	defer r.turn.RUnlock()
	needed := map[uint64]bool{}
	for _, w := range r.workers {
		for i := range len(w.eras) - 1 {
			if next := w.eras[i+1].from; max(w.eras[i].from, up[w.name]+1) < next {
				needed[w.eras[i].from] = true
			}
		}
	}
	return 1 + len(needed)
}
