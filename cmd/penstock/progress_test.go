package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/console"
)

func TestProgressLine(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		job   console.Replay
		first int
		took  time.Duration
		bar   bool
		want  string
	}{
		"at the start": {console.Replay{Selected: 200}, 0, 0, true,
			"[------------------------] 0 of 200  0 %"},
		"half way": {console.Replay{Selected: 200, Published: 100}, 0, 10 * time.Second, true,
			"[############------------] 100 of 200  50 %  10/s  10s left"},
		"what was done before does not count for the rate": {console.Replay{Selected: 200, Published: 100}, 80, 10 * time.Second, false,
			"100 of 200  50 %  2.0/s  50s left"},
		"some are gone": {console.Replay{Selected: 200, Published: 90, Gone: 10}, 100, time.Second, false,
			"100 of 200  50 %"},
		"more than was counted": {console.Replay{Selected: 200, Published: 400}, 0, 10 * time.Second, true,
			"[########################] 400 of 200  100 %  40/s  0s left"},
		"it waits": {console.Replay{Selected: 2, Waiting: "sink crm is paused"}, 0, 0, false,
			"0 of 2  0 %  waiting: sink crm is paused"},
		"somebody else's text": {console.Replay{Selected: 2, Waiting: "a\x1b[2J"}, 0, 0, false,
			`0 of 2  0 %  waiting: a\x1b[2J`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := progressLine(tt.job, tt.first, tt.took, tt.bar); got != tt.want {
				t.Errorf("progressLine = %q, want %q", got, tt.want)
			}
		})
	}
}

// jobServer is an admin API with one job that comes along by a step with every
// look at it, and of which lookedAt is told.
type jobServer struct {
	mu       sync.Mutex
	job      console.Replay
	step     int
	lookedAt func(console.Replay)
}

// ServeHTTP implements http.Handler.
func (s *jobServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var answer any = &s.job
	switch {
	case r.URL.Path == "/api/v1/replays":
		var req console.ReplayRequest
		_ = json.NewDecoder(r.Body).Decode(&req)
		v := &console.Survey{Events: s.job.Selected, Bytes: 2048, UpTo: 9, Subjects: []console.Tally{{Name: "a.b", Events: s.job.Selected}}}
		if answer = (console.ReplayAnswer{Survey: v}); !req.DryRun {
			answer = console.ReplayAnswer{Job: &s.job}
		}
	case strings.HasSuffix(r.URL.Path, "/pause"):
		s.job.State = "paused"
	case r.Method == http.MethodGet:
		if s.job.Published += s.step; s.job.Published >= s.job.Selected {
			s.job.Published, s.job.State = s.job.Selected, "done"
		}
		s.lookedAt(s.job)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func serveJob(t *testing.T, step int, lookedAt func(console.Replay)) string {
	t.Helper()
	s := httptest.NewServer(&jobServer{step: step, lookedAt: lookedAt, job: console.Replay{ID: "abc", Kind: "replay", Sink: "crm", State: "running", Selected: 10}})
	t.Cleanup(s.Close)
	return s.URL
}

func TestReplayOnATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(nil, true, "replay", "--sink", "crm", "--server", serveJob(t, 5, func(console.Replay) {}))
	w.stdin = strings.NewReader("y\n")
	if code := run(w.process); code != exitOK {
		t.Fatalf("replay = %d, want 0; stderr %s", code, w.err)
	}
	for _, want := range []string{"selected  10 events, 2 KiB", "Replay 10 events to sink crm? [y/N]", "\r[############------------] 5 of 10  50 %"} {
		if !strings.Contains(w.err.String(), want) {
			t.Errorf("stderr = %q, want %q in it", w.err, want)
		}
	}
	if got, want := w.out.String(), "handed 10 events to sink crm (job abc, done)\n"; got != want {
		t.Errorf("stdout = %q, want %q", got, want)
	}
}

func TestReplayThatIsNotWanted(t *testing.T) {
	t.Parallel()
	w := newWorld(nil, true, "replay", "--sink", "crm", "--server", serveJob(t, 5, func(console.Replay) { t.Error("the job was started") }))
	w.stdin = strings.NewReader("n\n")
	if code := run(w.process); code != exitFailure || !strings.Contains(w.err.String(), "nothing was done") {
		t.Errorf("replay answered with no = %d, %q", code, w.err)
	}
}

func TestInterruptPausesTheJob(t *testing.T) {
	t.Parallel()
	var w *world
	looks := 0
	w = newWorld(nil, true, "replay", "--job", "abc", "--server", serveJob(t, 0, func(console.Replay) {
		if looks++; looks == 3 {
			w.signals <- os.Interrupt
		}
	}))
	if code := run(w.process); code != exitCut {
		t.Errorf("run = %d, want %d", code, exitCut)
	}
	if !strings.HasSuffix(w.err.String(), "resume with: penstock replay --job abc\npenstock: interrupted\n") {
		t.Errorf("stderr = %q, want it to end with how to resume", w.err)
	}
}

func TestServerThatGoesAwayLeavesAHint(t *testing.T) {
	t.Parallel()
	var url string
	var s *httptest.Server
	looks := 0
	job := console.Replay{ID: "abc", Sink: "crm", State: "running", Selected: 10}
	s = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if looks++; looks > 2 {
			panic(http.ErrAbortHandler)
		}
		_ = json.NewEncoder(rw).Encode(job)
	}))
	defer s.Close()
	url = s.URL
	w := newWorld(nil, false, "replay", "--job", "abc", "--server", url)
	if code := run(w.process); code != exitFailure || !strings.HasPrefix(w.err.String(), "resume with: penstock replay --job abc\npenstock: ask "+url) {
		t.Errorf("run = %d with %q, want the hint and the reason", code, w.err)
	}
}
