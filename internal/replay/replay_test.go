package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// world is all that a Manager works with, in memory.
type world struct {
	mu     sync.Mutex
	jobs   map[string]delivery.Job
	rev    uint64
	saves  int
	events []event.Event       // each for the sink that its Source names
	handed map[string][]uint64 // by sink, in the order of their coming
	out    map[string]int      // outstanding, by sink
	most   int                 // outstanding at any time
	gates  map[string]Gate
	fail   error
	// unsaved is how many were handed over since the last save, worst the most
	// of that.
	unsaved, worst int
	saveErr        error
	settle         bool // what is handed over is settled at once
}

func newWorld(perSink int, sinks ...string) *world {
	w := &world{jobs: map[string]delivery.Job{}, handed: map[string][]uint64{}, out: map[string]int{}, gates: map[string]Gate{}, settle: true}
	for n := range perSink {
		for _, s := range sinks {
			w.events = append(w.events, event.Event{Seq: uint64(len(w.events) + 1), ID: fmt.Sprint(n), Source: s, Subject: "a"})
		}
	}
	return w
}

func (w *world) SaveJob(_ context.Context, j *delivery.Job) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.saveErr != nil {
		return w.saveErr
	}
	if w.jobs[j.ID].Revision != j.Revision {
		return delivery.ErrJobTaken
	}
	w.rev++
	j.Revision = w.rev
	w.jobs[j.ID] = *j
	w.saves++
	w.unsaved = 0
	return nil
}

func (w *world) Job(_ context.Context, id string) (delivery.Job, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j, ok := w.jobs[id]
	if !ok {
		return delivery.Job{}, delivery.ErrNoJob
	}
	return j, nil
}

func (w *world) Jobs(context.Context) (out []delivery.Job, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range w.jobs {
		out = append(out, j)
	}
	return out, nil
}

func (w *world) Survey(_ context.Context, s *delivery.Selection) (out delivery.Survey, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.From, s.To = 1, uint64(len(w.events))
	for _, e := range w.events {
		if s.Sink == "" || s.Sink == e.Source {
			out.Add(e.Subject, e.Source, 10, time.Unix(int64(e.Seq), 0))
		}
	}
	return out, nil
}

func (w *world) Open(_ context.Context, s delivery.Selection, sink string, after uint64) (func(context.Context, int) ([]event.Event, error), error) {
	return func(_ context.Context, n int) (out []event.Event, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, e := range w.events {
			if e.Seq > after && e.Seq <= s.To && e.Source == sink && len(out) < n {
				out = append(out, e)
			}
		}
		if len(out) > 0 {
			after = out[len(out)-1].Seq
		}
		return out, nil
	}, nil
}

func (w *world) Hand(_ context.Context, _, sink string, e event.Event) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return false, w.fail
	}
	w.handed[sink] = append(w.handed[sink], e.Seq)
	w.unsaved++
	w.worst = max(w.worst, w.unsaved)
	if !w.settle {
		w.out[sink]++
		w.most = max(w.most, w.out[sink])
	}
	return false, nil
}

func (w *world) outstanding(_ context.Context, sink string) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out[sink], nil
}

func (w *world) gate(sink string) (Gate, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g := w.gates[sink]; g != Open {
		return g, "sink " + sink + " is held"
	}
	return Open, ""
}

// change changes the world under its lock.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) count(sink string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.handed[sink])
}

// run runs a Manager in the world until stop.
func run(t *testing.T, w *world) (m *Manager, stop func()) {
	t.Helper()
	m = New(Options{Jobs: w, Outstanding: w.outstanding, Gate: w.gate, Sources: map[delivery.JobKind]Source{delivery.Replay: w, delivery.Redrive: w}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	synctest.Wait()
	return m, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func start(t *testing.T, m *Manager, sink string, rate float64) Status {
	t.Helper()
	st, err := m.Start(t.Context(), delivery.Selection{Kind: delivery.Replay, Sink: sink}, rate)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	return st
}

func job(t *testing.T, m *Manager, id string) Status {
	t.Helper()
	st, err := m.Job(t.Context(), id)
	if err != nil {
		t.Fatalf("Job(%s): %v", id, err)
	}
	return st
}

func TestJobHandsOverEverythingOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1234, "crm", "sales")
		m, stop := run(t, w)
		defer stop()
		id := start(t, m, "crm", 0).ID
		synctest.Wait()
		st := job(t, m, id)
		if st.State != delivery.JobDone || st.Published != 1234 || st.Gone != 0 || st.Selected != 1234 {
			t.Errorf("job = %+v, want 1234 published and done", st)
		}
		seen := slices.Clone(w.handed["crm"])
		slices.Sort(seen)
		if len(slices.Compact(seen)) != 1234 || w.count("sales") != 0 {
			t.Errorf("crm got %d different of 1234, sales %d of none", len(seen), w.count("sales"))
		}
		if w.worst > MaxRepeated {
			t.Errorf("up to %d were handed over between two saves, want %d at most", w.worst, MaxRepeated)
		}
	})
}

func TestRateBoundsEveryStretchOfTime(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rate   float64
		events int
		want   time.Duration // within a tenth
	}{
		"50 a second":   {50, 500, 10 * time.Second},
		"2000 a second": {2000, 10000, 5 * time.Second},
		"six an hour":   {6.0 / 3600, 3, 20 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(tt.events, "crm")
				m, stop := run(t, w)
				defer stop()
				begin := time.Now()
				id := start(t, m, "crm", tt.rate).ID
				for job(t, m, id).State == delivery.JobRunning {
					most := int(tt.rate*time.Since(begin).Seconds()) + max(1, int(tt.rate/10)) + 1
					if n := w.count("crm"); n > most {
						t.Fatalf("%d events after %s, want %d at most", n, time.Since(begin), most)
					}
					time.Sleep(tt.want / 100) // of the bubble's own time
					synctest.Wait()
				}
				if took := time.Since(begin); took < tt.want*85/100 || took > tt.want*115/100 {
					t.Errorf("%d events took %s, want about %s", tt.events, took, tt.want)
				}
			})
		})
	}
}

func TestLaneNeverHoldsMoreThanTheBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(3000, "crm")
		w.settle = false
		m, stop := run(t, w)
		defer stop()
		ids := []string{start(t, m, "crm", 0).ID, start(t, m, "crm", 0).ID} // both share the bound
		time.Sleep(time.Second)
		if n := w.count("crm"); n != MaxOutstanding {
			t.Fatalf("%d handed to a sink that settles nothing, want %d", n, MaxOutstanding)
		}
		if st := job(t, m, ids[0]); st.Waiting == "" || st.State != delivery.JobRunning {
			t.Errorf("job = %+v, want one that says why it waits", st)
		}
		for w.count("crm") < 6000 {
			w.change(func() { w.out["crm"] = max(0, w.out["crm"]-130) })
			time.Sleep(lookEvery)
		}
		synctest.Wait()
		if w.most > MaxOutstanding {
			t.Errorf("up to %d were outstanding, want %d at most", w.most, MaxOutstanding)
		}
		for _, id := range ids {
			if st := job(t, m, id); st.State != delivery.JobDone || st.Waiting != "" {
				t.Errorf("job = %+v, want done", st)
			}
		}
	})
}

func TestHeldSinkGetsOneAndStopsNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(500, "held", "paused", "well")
		w.settle = false
		w.gates["held"], w.gates["paused"] = OneOnly, Shut
		m, stop := run(t, w)
		defer stop()
		st, err := m.Start(t.Context(), delivery.Selection{Kind: delivery.Redrive}, 0)
		if err != nil {
			t.Fatalf("Start: %v", err)
		}
		time.Sleep(time.Minute)
		if h, p, ok := w.count("held"), w.count("paused"), w.count("well"); h != 1 || p != 0 || ok != 500 {
			t.Errorf("the held sink got %d, the paused %d, the other %d; want 1, 0 and all 500", h, p, ok)
		}
		if st := job(t, m, st.ID); st.Waiting == "" || st.Published != 501 {
			t.Errorf("job = %+v, want one that waits", st)
		}
		w.change(func() { clear(w.gates) })
		time.Sleep(time.Second)
		if st := job(t, m, st.ID); st.State != delivery.JobDone || st.Published != 1500 {
			t.Errorf("once the sinks are well: %+v, want done", st)
		}
	})
}

func TestPausedJobGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(100, "crm")
		m, stop := run(t, w)
		defer stop()
		id := start(t, m, "crm", 10).ID
		time.Sleep(3*time.Second + time.Millisecond)
		st, err := m.Pause(t.Context(), id)
		if err != nil || st.State != delivery.JobPaused || st.Published != w.count("crm") {
			t.Fatalf("Pause = %+v, %v; want paused with %d", st, err, w.count("crm"))
		}
		before := w.count("crm")
		time.Sleep(time.Hour)
		if w.count("crm") != before {
			t.Errorf("a paused job went on")
		}
		if st, err = m.Resume(t.Context(), id); err != nil || st.State != delivery.JobRunning {
			t.Fatalf("Resume = %+v, %v", st, err)
		}
		if again, err := m.Resume(t.Context(), id); err != nil || again.State != delivery.JobRunning {
			t.Errorf("Resume of one that runs = %+v, %v", again, err)
		}
		time.Sleep(time.Hour)
		if st := job(t, m, id); st.State != delivery.JobDone || st.Published != 100 || w.count("crm") != 100 {
			t.Errorf("job = %+v with %d handed over, want 100 once each", st, w.count("crm"))
		}
		var no *Refusal
		if _, err := m.Resume(t.Context(), id); !errors.As(err, &no) {
			t.Errorf("Resume of one that is done = %v, want a refusal", err)
		}
	})
}

func TestAbortedJobStaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(100, "crm")
		m, stop := run(t, w)
		defer stop()
		id := start(t, m, "crm", 10).ID
		time.Sleep(time.Second)
		if st, err := m.Abort(t.Context(), id); err != nil || st.State != delivery.JobAborted {
			t.Fatalf("Abort = %+v, %v", st, err)
		}
		var no *Refusal
		if _, err := m.Resume(t.Context(), id); !errors.As(err, &no) {
			t.Errorf("Resume = %v, want a refusal", err)
		}
		if _, err := m.Pause(t.Context(), id); !errors.As(err, &no) {
			t.Errorf("Pause = %v, want a refusal", err)
		}
		if _, err := m.Abort(t.Context(), "other"); !errors.Is(err, delivery.ErrNoJob) {
			t.Errorf("Abort of an unknown job = %v, want ErrNoJob", err)
		}
	})
}

func TestStoppedProcessLeavesAJobToResume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(100, "crm")
		m, stop := run(t, w)
		id := start(t, m, "crm", 10).ID
		time.Sleep(2 * time.Second)
		stop()
		if _, err := m.Resume(t.Context(), id); err == nil {
			t.Error("a stopped manager resumes a job")
		}
		next, stopNext := run(t, w)
		defer stopNext()
		time.Sleep(time.Minute)
		if st := job(t, next, id); st.State != delivery.JobInterrupted || st.Published != w.count("crm") {
			t.Errorf("job = %+v with %d handed over, want interrupted, and nothing by itself", st, w.count("crm"))
		}
		if _, err := next.Resume(t.Context(), id); err != nil {
			t.Fatalf("Resume: %v", err)
		}
		time.Sleep(time.Minute)
		if st := job(t, next, id); st.State != delivery.JobDone || w.count("crm") != 100 {
			t.Errorf("job = %+v with %d handed over, want 100 once each", st, w.count("crm"))
		}
	})
}

// TestTakenOverJobStops: two processes have the job, and only one may go on.
func TestTakenOverJobStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1000, "crm")
		m, stop := run(t, w)
		defer stop()
		other, stopOther := run(t, w)
		defer stopOther()
		id := start(t, m, "crm", 10).ID
		time.Sleep(5*time.Second + time.Millisecond)
		if st, err := other.Resume(t.Context(), id); err != nil || st.State != delivery.JobRunning {
			t.Fatalf("Resume elsewhere = %+v, %v", st, err)
		}
		time.Sleep(5 * time.Second)
		if m.find(id) != nil {
			t.Error("the first process still works on the job")
		}
		time.Sleep(time.Hour)
		if st := job(t, other, id); st.State != delivery.JobDone || st.Published != 1000 {
			t.Errorf("job = %+v, want done", st)
		}
		if n := w.count("crm"); n > 1000+2*MaxRepeated {
			t.Errorf("%d handed over, of 1000 and those between two saves", n)
		}
	})
}

func TestFailedJobSaysWhyAndGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(100, "crm")
		w.fail = errors.New("the store is full")
		m, stop := run(t, w)
		defer stop()
		id := start(t, m, "crm", 0).ID
		synctest.Wait()
		if st := job(t, m, id); st.State != delivery.JobFailed || st.Note != "the store is full" || st.Published != 0 {
			t.Errorf("job = %+v, want failed with the reason", st)
		}
		w.change(func() { w.fail = nil })
		if _, err := m.Resume(t.Context(), id); err != nil {
			t.Fatalf("Resume: %v", err)
		}
		synctest.Wait()
		if st := job(t, m, id); st.State != delivery.JobDone || st.Published != 100 || st.Note != "" {
			t.Errorf("job = %+v, want done", st)
		}
	})
}

func TestEventsPurgedMeanwhileAreGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1000, "crm")
		m, stop := run(t, w)
		defer stop()
		id := start(t, m, "crm", 10).ID
		time.Sleep(time.Second)
		w.change(func() { w.events = w.events[600:] })
		time.Sleep(time.Hour)
		st := job(t, m, id)
		if st.State != delivery.JobDone || st.Gone == 0 || st.Published+st.Gone != 1000 {
			t.Errorf("job = %+v, want all 1000 published or gone", st)
		}
	})
}

func TestNothingSelectedIsDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, stop := run(t, newWorld(0))
		defer stop()
		if st := start(t, m, "crm", 0); st.State != delivery.JobDone {
			t.Errorf("job = %+v, want done", st)
		}
		var no *Refusal
		if _, err := m.Start(t.Context(), delivery.Selection{Kind: "odd"}, 0); !errors.As(err, &no) {
			t.Errorf("Start of an unknown kind = %v, want a refusal", err)
		}
	})
}

func TestTooManyJobsAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, stop := run(t, newWorld(100, "crm"))
		defer stop()
		for range MaxRunning {
			start(t, m, "crm", 1)
		}
		var no *Refusal
		if _, err := m.Start(t.Context(), delivery.Selection{Kind: delivery.Replay, Sink: "crm"}, 1); !errors.As(err, &no) {
			t.Errorf("Start of one more than %d = %v, want a refusal", MaxRunning, err)
		}
	})
}
