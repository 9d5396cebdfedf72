// Package replay hands events to sinks once more: kept events to one sink, or
// dead letters to the sinks they were for. Both go through the sinks' retry
// lanes, beside the normal traffic, paced so that a lane never holds many. A
// job outlives the process that works on it.
package replay

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// Bounds of all jobs.
const (
	// MaxOutstanding is how many replayed and redriven deliveries of one sink
	// may be unsettled for more to be handed over.
	MaxOutstanding = 1000
	// MaxRepeated is how many deliveries a job may repeat that goes on after a
	// crash: what it hands over between two saves.
	MaxRepeated = 100
	// MaxRunning is how many jobs run at one time.
	MaxRunning = 8

	// saveEvery is how long a slow job goes on without being saved.
	saveEvery = time.Second
	// lookEvery is how often a job that has to wait looks again.
	lookEvery = 100 * time.Millisecond
	// atOnce is how many deliveries are handed over at one time.
	atOnce = 32
)

// Jobs keeps jobs. Its methods may be called concurrently.
type Jobs interface {
	// SaveJob stores j and sets its revision, or fails with
	// delivery.ErrJobTaken when somebody else saved it since.
	SaveJob(ctx context.Context, j *delivery.Job) error
	// Job returns one, or delivery.ErrNoJob.
	Job(ctx context.Context, id string) (delivery.Job, error)
	Jobs(ctx context.Context) ([]delivery.Job, error)
}

// Source is what the jobs of one kind work through. Its methods may be called
// concurrently.
type Source interface {
	// Survey sets the sequences of s and counts what it selects. It does not
	// look beyond s.To when that is set.
	Survey(ctx context.Context, s *delivery.Selection) (delivery.Survey, error)
	// Open reads what s selects for one sink after a sequence, in order. next
	// returns at most n; none: there are no more.
	Open(ctx context.Context, s delivery.Selection, sink string, after uint64) (next func(ctx context.Context, n int) ([]event.Event, error), err error)
	// Hand puts one into the sink's retry lane, or reports that it is gone.
	Hand(ctx context.Context, job, sink string, e event.Event) (gone bool, err error)
}

// Gate is whether a sink takes deliveries.
type Gate int

// The gates. A held sink finds out whether it is back by trying one delivery,
// so that it may be given one.
const (
	Open Gate = iota
	OneOnly
	Shut
)

// Options is what a Manager works with. All but Logger and Now are required.
type Options struct {
	Jobs    Jobs
	Sources map[delivery.JobKind]Source
	// Outstanding is how many replayed and redriven deliveries of the sink are
	// not settled yet.
	Outstanding func(ctx context.Context, sink string) (int, error)
	// Gate says whether the sink takes deliveries, and if not, why.
	Gate func(sink string) (Gate, string)
	// Logger; nil discards.
	Logger *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Manager makes jobs and works on them. It is safe for concurrent use.
type Manager struct {
	o   Options
	log *slog.Logger

	mu      sync.Mutex
	base    context.Context // of the jobs; nil: not running
	running map[string]*work
	lanes   map[string]*sync.Mutex // by sink
	wg      sync.WaitGroup
}

// New returns a Manager that does not run yet.
func New(o Options) *Manager {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Manager{o: o, log: o.Logger, running: map[string]*work{}, lanes: map[string]*sync.Mutex{}}
}

// Run lets jobs run until ctx is done, then saves those that do and returns
// when all have stopped. No job goes on by itself that an earlier process left:
// somebody has to resume it.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	m.base = ctx
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	m.base = nil
	m.mu.Unlock()
	m.wg.Wait()
	return nil
}

// Status is a job and what only the process knows that works on it.
type Status struct {
	delivery.Job
	// Waiting says why the job hands nothing over right now; "" when it does.
	Waiting string
}

// Refusal is a request that makes no sense for the job or the selection. Its
// text is for whoever asked.
type Refusal struct{ text string }

func (e *Refusal) Error() string { return e.text }

// Refuse makes err a Refusal.
func Refuse(err error) error { return &Refusal{err.Error()} }

// ErrNoSink says: the configuration has no such sink.
var ErrNoSink = errors.New("there is no sink")

func refusef(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

func (m *Manager) source(k delivery.JobKind) (Source, error) {
	if s := m.o.Sources[k]; s != nil {
		return s, nil
	}
	return nil, refusef("unknown kind of job %q", k)
}

// Preview counts what sel selects and sets its sequences. It changes nothing.
func (m *Manager) Preview(ctx context.Context, sel *delivery.Selection) (delivery.Survey, error) {
	s, err := m.source(sel.Kind)
	if err != nil {
		return delivery.Survey{}, err
	}
	return s.Survey(ctx, sel)
}

// Start makes a job of sel and begins with it, at most rate events a second (0:
// as fast as the sink takes them). A selection of nothing makes a job that is
// done.
func (m *Manager) Start(ctx context.Context, sel delivery.Selection, rate float64) (Status, error) {
	survey, err := m.Preview(ctx, &sel)
	if err != nil {
		return Status{}, err
	}
	now := m.o.Now().UTC()
	j := delivery.Job{
		ID: strings.ToLower(rand.Text()[:8]), Selection: sel, Rate: rate, State: delivery.JobRunning, Created: now, Updated: now,
		Selected: survey.Events, Bytes: survey.Bytes, Partial: survey.Partial, Positions: map[string]uint64{},
	}
	for sink := range survey.Sinks {
		j.Positions[sink] = 0
	}
	if survey.Partial && sel.Sink == "" {
		return Status{}, refusef("there are more than %d, too many to count; name a sink", survey.Events)
	}
	if j.Selected == 0 {
		j.State = delivery.JobDone
		return Status{Job: j}, m.o.Jobs.SaveJob(ctx, &j)
	}
	return m.launch(ctx, j)
}

// Resume goes on with a job that was paused or failed, or whose process ended.
// One that runs already is left alone. A job that another process works on is
// taken over from it.
func (m *Manager) Resume(ctx context.Context, id string) (Status, error) {
	if w := m.find(id); w != nil {
		return w.status(), nil
	}
	j, err := m.o.Jobs.Job(ctx, id)
	if err != nil {
		return Status{}, err
	}
	if j.State.Ended() {
		return Status{}, refusef("job %s is %s", id, j.State)
	}
	j.State, j.Note = delivery.JobRunning, ""
	return m.launch(ctx, j)
}

// launch saves j and begins with it.
func (m *Manager) launch(ctx context.Context, j delivery.Job) (Status, error) {
	src, err := m.source(j.Selection.Kind)
	if err != nil {
		return Status{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.base == nil:
		return Status{}, errors.New("this process is starting or stopping")
	case m.running[j.ID] != nil:
		return m.running[j.ID].status(), nil
	case len(m.running) >= MaxRunning:
		return Status{}, refusef("%d jobs are running already; wait for one of them, or abort it", MaxRunning)
	}
	w := newWork(m, src, j)
	if err := w.save(ctx); err != nil {
		return Status{}, err
	}
	m.running[j.ID] = w
	st := w.status()
	base := m.base
	m.wg.Go(func() {
		w.run(base)
		m.mu.Lock()
		delete(m.running, j.ID)
		m.mu.Unlock()
		close(w.ended)
	})
	return st, nil
}

func (m *Manager) find(id string) *work {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running[id]
}

// lane is held by whoever hands something to the sink.
func (m *Manager) lane(sink string) *sync.Mutex {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lanes[sink] == nil {
		m.lanes[sink] = &sync.Mutex{}
	}
	return m.lanes[sink]
}

// Pause stops a job so that it can be resumed, Abort for good. What is in a
// retry lane already is delivered.
func (m *Manager) Pause(ctx context.Context, id string) (Status, error) {
	return m.end(ctx, id, delivery.JobPaused)
}

// Abort stops a job for good.
func (m *Manager) Abort(ctx context.Context, id string) (Status, error) {
	return m.end(ctx, id, delivery.JobAborted)
}

func (m *Manager) end(ctx context.Context, id string, as delivery.JobState) (Status, error) {
	if w := m.find(id); w != nil {
		w.stop(as)
		select {
		case <-w.ended:
		case <-ctx.Done():
			return Status{}, ctx.Err()
		}
	}
	j, err := m.o.Jobs.Job(ctx, id)
	if err != nil || j.State == as {
		return Status{Job: j}, err
	}
	if j.State.Ended() {
		return Status{}, refusef("job %s is %s", id, j.State)
	}
	j.State, j.Updated = as, m.o.Now().UTC()
	return Status{Job: j}, m.o.Jobs.SaveJob(ctx, &j)
}

// Jobs returns all jobs that are kept, newest last.
func (m *Manager) Jobs(ctx context.Context) ([]Status, error) {
	jobs, err := m.o.Jobs.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Status, len(jobs))
	for i, j := range jobs {
		out[i] = m.now(j)
	}
	return out, nil
}

// Job returns one job, or delivery.ErrNoJob.
func (m *Manager) Job(ctx context.Context, id string) (Status, error) {
	if w := m.find(id); w != nil {
		return w.status(), nil
	}
	j, err := m.o.Jobs.Job(ctx, id)
	if err != nil {
		return Status{}, err
	}
	return m.now(j), nil
}

// now is how a saved job stands: running only if it does so here.
func (m *Manager) now(j delivery.Job) Status {
	if w := m.find(j.ID); w != nil {
		return w.status()
	}
	if j.State == delivery.JobRunning {
		j.State = delivery.JobInterrupted
	}
	return Status{Job: j}
}

// describe is what a job is about, for the log.
func describe(s delivery.Selection) string {
	return string(s.Kind) + " to " + cmp.Or(s.Sink, "every sink")
}
