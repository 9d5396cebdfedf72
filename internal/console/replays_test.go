package console

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/replay"
)

// jobs is a Replays with one job, that notes what it was asked.
type jobs struct {
	mu    sync.Mutex
	asked []string
	sel   delivery.Selection
	rate  float64
	err   error
}

func (j *jobs) note(what string) (replay.Status, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = append(j.asked, what)
	return replay.Status{Waiting: "sink crm is paused", Job: delivery.Job{
		ID: "k3v9q2xa", State: delivery.JobRunning, Created: noon, Updated: noon, Rate: 50, Selected: 7, Bytes: 70, Published: 3, Gone: 1,
		Selection: delivery.Selection{Kind: delivery.Replay, Sink: "crm", Match: []string{"orders.>"}, Since: noon.Add(-time.Hour)},
	}}, j.err
}

func (j *jobs) Preview(_ context.Context, sel *delivery.Selection) (delivery.Survey, error) {
	_, err := j.note("preview")
	sel.To = 42
	var v delivery.Survey
	for n := range 12 {
		for range 12 - n {
			v.Add(fmt.Sprintf("a.%02d", n), "crm", 10, noon)
		}
	}
	return v, err
}

func (j *jobs) Start(_ context.Context, sel delivery.Selection, perSecond float64) (replay.Status, error) {
	j.sel, j.rate = sel, perSecond
	return j.note("start")
}

func (j *jobs) Jobs(context.Context) ([]replay.Status, error) {
	one, err := j.note("list")
	return []replay.Status{one}, err
}

func (j *jobs) Job(_ context.Context, id string) (replay.Status, error) { return j.note("job " + id) }
func (j *jobs) Resume(_ context.Context, id string) (replay.Status, error) {
	return j.note("resume " + id)
}
func (j *jobs) Pause(_ context.Context, id string) (replay.Status, error) {
	return j.note("pause " + id)
}
func (j *jobs) Abort(_ context.Context, id string) (replay.Status, error) {
	return j.note("abort " + id)
}

func serveJobs(t *testing.T, j *jobs) running {
	t.Helper()
	return serve(t, newLetters(0), func(o *Options) { o.Replays = j })
}

const wireJob = `{"id":"k3v9q2xa","kind":"replay","state":"running","sink":"crm","match":["orders.>"],` +
	`"since":"2026-11-23T11:00:00Z","per_second":50,"created":"2026-11-23T12:00:00Z","updated":"2026-11-23T12:00:00Z",` +
	`"selected":7,"bytes":70,"published":3,"gone":1,"waiting":"sink crm is paused"}`

func TestReplayAnswers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ method, path, body, asked, want string }{
		"list":   {"GET", "/replays", "", "list", `{"items":[` + wireJob + `]}`},
		"one":    {"GET", "/replays/k3v9q2xa", "", "job k3v9q2xa", wireJob},
		"resume": {"POST", "/replays/k3v9q2xa/resume", "{}", "resume k3v9q2xa", wireJob},
		"pause":  {"POST", "/replays/k3v9q2xa/pause", "{}", "pause k3v9q2xa", wireJob},
		"abort":  {"POST", "/replays/k3v9q2xa/abort", "{}", "abort k3v9q2xa", wireJob},
		"start":  {"POST", "/replays", `{"sink":"crm","since":"1h"}`, "start", `{"job":` + wireJob + `}`},
		"dry run": {"POST", "/replays", `{"sink":"crm","dry_run":true}`, "preview",
			`{"survey":{"events":78,"bytes":780,"first":"2026-11-23T12:00:00Z","last":"2026-11-23T12:00:00Z","up_to":42,` +
				`"subjects":[{"name":"a.00","events":12},{"name":"a.01","events":11},{"name":"a.02","events":10},{"name":"a.03","events":9},` +
				`{"name":"a.04","events":8},{"name":"a.05","events":7},{"name":"a.06","events":6},{"name":"a.07","events":5},` +
				`{"name":"a.08","events":4},{"name":"a.09","events":3}],"other_subjects":2,"sinks":[{"name":"crm","events":78}]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := &jobs{}
			s := serveJobs(t, j)
			status, got := s.ask(t, tt.method, "/api/v1"+tt.path, tt.body, jsonType)
			if d := cmp.Diff(tt.want+"\n", got); d != "" || status != 200 {
				t.Errorf("%s %s answered %d (-want +got):\n%s", tt.method, tt.path, status, d)
			}
			if d := cmp.Diff([]string{tt.asked}, j.asked); d != "" {
				t.Errorf("%s %s asked (-want +got):\n%s", tt.method, tt.path, d)
			}
			changes := tt.method == "POST" && name != "dry run"
			if audited := strings.Contains(s.log.String(), "admin change"); audited != changes {
				t.Errorf("audited: %t, want %t", audited, changes)
			}
		})
	}
}

func TestReplaySelection(t *testing.T) {
	t.Parallel()
	j := &jobs{}
	c := serveJobs(t, j).client(t, "")
	_, err := c.ReplayStart(t.Context(), ReplayRequest{
		Sink: "crm", Match: []string{"a.>"}, IDs: []string{"x"}, Since: "24h", Until: "2026-11-23T11:00:00Z", Rate: "90/m", UpTo: 9,
	})
	if err != nil {
		t.Fatalf("ReplayStart: %v", err)
	}
	want := delivery.Selection{
		Kind: delivery.Replay, Sink: "crm", Match: []string{"a.>"}, IDs: []string{"x"}, Since: noon.Add(-24 * time.Hour), Until: noon.Add(-time.Hour), To: 9,
	}
	if d := cmp.Diff(want, j.sel); d != "" || j.rate != 1.5 {
		t.Errorf("rate %g, want 1.5; selection (-want +got):\n%s", j.rate, d)
	}
}

func TestReplayErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err    error
		path   string
		status int
		says   string
	}{
		"no job":          {fmt.Errorf("%w: abc", delivery.ErrNoJob), "/replays/abc/resume", 404, "no such job: abc"},
		"a refusal":       {replay.Refuse(errors.New("job abc is done")), "/replays/abc/resume", 409, "job abc is done"},
		"taken":           {fmt.Errorf("save: %w", delivery.ErrJobTaken), "/replays/abc/abort", 409, "somebody else"},
		"no store":        {errors.New("no answer"), "/replays/abc/pause", 503, "no answer"},
		"an id that's no": {nil, "/replays/A*/abort", 400, "is not the id of a job"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveJobs(t, &jobs{err: tt.err})
			if status, body := s.ask(t, "POST", "/api/v1"+tt.path, "{}", jsonType); status != tt.status || !strings.Contains(body, tt.says) {
				t.Errorf("POST %s answered %d %s, want %d and %q", tt.path, status, body, tt.status, tt.says)
			}
		})
	}
	j := &jobs{}
	if status, body := serveJobs(t, j).ask(t, "POST", "/api/v1/replays/abc/abort", "", "Content-Type: text/plain"); status == 200 || len(j.asked) > 0 {
		t.Errorf("a form of another page aborts a job: %d %s", status, body)
	}
	if status, _ := serve(t, newLetters(0), nil).ask(t, "GET", "/api/v1/replays", ""); status != 404 {
		t.Errorf("without replays the list answers %d, want 404", status)
	}
}
