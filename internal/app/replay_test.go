package app

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/replay"
	"github.com/penstock/penstock/router"
)

// admin returns a client of the process's admin API.
func (p *process) admin() *console.Client {
	p.t.Helper()
	c, err := console.NewClient("http://"+p.AdminAddr().String(), "", describedClient(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// at are the ids that were delivered to a path, in the order of their coming.
func (r *receiver) at(path string) []string {
	var out []string
	for _, g := range r.got() {
		if g.path == path {
			out = append(out, g.header.Get("Webhook-Id"))
		}
	}
	return out
}

func twoSinks(r *receiver) string {
	return fmt.Sprintf(`
sinks:
  crm: {kind: http, url: %s/crm}
  sales: {kind: http, url: %s/sales}
  unrouted: {kind: http, url: %s/unrouted, timeout: 10m}
routes:
  - {match: [">"], to: [crm, sales]}
`, r.URL, r.URL, r.URL)
}

func startReplay(t *testing.T, c *console.Client, r console.ReplayRequest) console.Replay {
	t.Helper()
	j, err := c.ReplayStart(t.Context(), r)
	if err != nil {
		t.Fatalf("ReplayStart(%+v): %v", r, err)
	}
	return j
}

// finished waits until a job is no longer running.
func finished(t *testing.T, c *console.Client, id string) console.Replay {
	t.Helper()
	var j console.Replay
	eventually(t, "job "+id+" ends", func() bool {
		var err error
		if j, err = c.ReplayJob(t.Context(), id); err != nil {
			t.Fatalf("ReplayJob: %v", err)
		}
		return j.State != "running"
	})
	return j
}

func TestReplayReachesOneSinkOnly(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	var origins sync.Map // of the attempts at the sink that no route names
	p := runObserved(t, t.TempDir(), twoSinks(r), func(o router.Observation) {
		if o.Sink == "unrouted" {
			origins.Store(o.History.Origin, o.Decision.Route)
		}
	})
	c := p.admin()
	for n := range 30 {
		typ := "orders/invoice.paid"
		if n%3 == 0 {
			typ = "contact.created"
		}
		accepted(t, p.url(), body(fmt.Sprintf("id-%02d", n), typ))
	}
	eventually(t, "every event at both sinks", func() bool { return len(r.at("/crm")) == 30 && len(r.at("/sales")) == 30 })

	v, err := c.ReplayPreview(t.Context(), console.ReplayRequest{Sink: "unrouted", Match: []string{"orders/invoice.paid"}})
	if err != nil || v.Events != 20 || v.Subjects[0] != (console.Tally{Name: "orders.invoice.paid", Events: 20}) {
		t.Fatalf("ReplayPreview = %+v, %v; want the 20 of orders.invoice.paid", v, err)
	}
	if jobs, err := c.ReplayJobs(t.Context()); err != nil || len(jobs) != 0 {
		t.Errorf("a dry run left jobs %+v, %v", jobs, err)
	}

	accepted(t, p.url(), body("after-the-count", "orders/invoice.paid"))
	j := finished(t, c, startReplay(t, c, console.ReplayRequest{Sink: "unrouted", Match: []string{"orders/invoice.paid"}, UpTo: v.UpTo}).ID)
	if j.State != "done" || j.Published != 20 || j.Gone != 0 {
		t.Errorf("job = %+v, want 20 published", j)
	}
	eventually(t, "the replayed events at their sink", func() bool { return len(r.at("/unrouted")) == 20 })
	origins.Range(func(origin, route any) bool {
		if origin != "replay/"+j.ID || route != "" {
			t.Errorf("an attempt has origin %q and route %q, want the job's and none", origin, route)
		}
		return true
	})
	bodies := r.byID()
	for _, id := range r.at("/unrouted") {
		for _, b := range bodies[id] {
			if !bytes.Equal(b, bodies[id][0]) {
				t.Errorf("%s was replayed as %s, want %s", id, b, bodies[id][0])
			}
		}
		if len(bodies[id]) != 3 {
			t.Errorf("%s was delivered %d times, want once to each sink", id, len(bodies[id]))
		}
	}
	if crm, sales := len(r.at("/crm")), len(r.at("/sales")); crm > 31 || sales > 31 {
		t.Errorf("after the replay crm has %d and sales %d deliveries, want 31", crm, sales)
	}

	one := finished(t, c, startReplay(t, c, console.ReplayRequest{Sink: "crm", IDs: []string{"id-07"}}).ID)
	eventually(t, "id-07 at crm once more", func() bool { return len(r.at("/crm")) == 32 })
	if got := r.at("/crm"); one.Published != 1 || got[len(got)-1] != "id-07" && !slices.Contains(got[30:], "id-07") {
		t.Errorf("a replay of id-07 is %+v and delivered %v", one, got[30:])
	}
	if st, err := p.broker.Stats(t.Context()); err != nil || st.Events != 31 {
		t.Errorf("the stream of events holds %d, %v; want the 31 that came in", st.Events, err)
	}
}

func TestReplayRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), twoSinks(r))
	c := p.admin()
	for name, tt := range map[string]struct {
		request console.ReplayRequest
		says    string
	}{
		"no sink":             {console.ReplayRequest{}, "needs a sink"},
		"an unknown sink":     {console.ReplayRequest{Sink: "other"}, `there is no sink "other"`},
		"a pattern":           {console.ReplayRequest{Sink: "crm", Match: []string{"a..b"}}, "token 2 is empty"},
		"a since":             {console.ReplayRequest{Sink: "crm", Since: "soon"}, "neither a time nor a duration"},
		"an until":            {console.ReplayRequest{Sink: "crm", Until: "soon"}, "until"},
		"a span that is none": {console.ReplayRequest{Sink: "crm", Since: "1h", Until: "2h"}, "until is before since"},
		"a rate":              {console.ReplayRequest{Sink: "crm", Rate: "fast"}, "is not a rate"},
		"a class":             {console.ReplayRequest{Sink: "crm", Class: "sink"}, "no class"},
		"every dead letter":   {console.ReplayRequest{Kind: "redrive"}, "every dead letter"},
		"ids of dead letters": {console.ReplayRequest{Kind: "redrive", All: true, IDs: []string{"x"}}, "no match, ids"},
		"a kind":              {console.ReplayRequest{Kind: "odd", Sink: "crm"}, "unknown kind"},
	} {
		t.Run(name, func(t *testing.T) {
			for what, ask := range map[string]func() error{
				"preview": func() error { _, err := c.ReplayPreview(t.Context(), tt.request); return err },
				"start":   func() error { _, err := c.ReplayStart(t.Context(), tt.request); return err },
			} {
				if err := ask(); err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%s = %v, want %q", what, err, tt.says)
				}
			}
		})
	}
	for what, err := range map[string]error{
		"job":    second(c.ReplayJob(t.Context(), "none")),
		"resume": second(c.ReplayResume(t.Context(), "none")),
		"abort":  second(c.ReplayAbort(t.Context(), "none")),
		"pause":  second(c.ReplayPause(t.Context(), "a.b")),
	} {
		if err == nil {
			t.Errorf("%s of a job that is not there was answered", what)
		}
	}
	if n := len(r.got()); n != 0 {
		t.Errorf("refused requests delivered %d events", n)
	}
}

func second[T any](_ T, err error) error { return err }

// TestReplayToABlockedSinkKeepsTheBound: the sink answers nothing until it may.
func TestReplayToABlockedSinkKeepsTheBound(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	r := newReceiver(t, func(_ int, g got) int {
		if g.path == "/unrouted" {
			<-release
		}
		return http.StatusNoContent
	})
	p := run(t, t.TempDir(), twoSinks(r))
	const events = replay.MaxOutstanding + 200
	for n := range events {
		accepted(t, p.url(), body(fmt.Sprintf("id-%04d", n), "order.created"))
	}
	c := p.admin()
	id := startReplay(t, c, console.ReplayRequest{Sink: "unrouted"}).ID
	var j console.Replay
	var err error
	eventually(t, "the job waits for the sink", func() bool {
		j, err = c.ReplayJob(t.Context(), id)
		return err != nil || j.Waiting != ""
	})
	if err != nil || j.Published != replay.MaxOutstanding || !strings.Contains(j.Waiting, "unrouted") {
		t.Errorf("job = %+v, %v; want %d published and a reason", j, err, replay.MaxOutstanding)
	}
	// The other sinks, and new events, are not concerned.
	accepted(t, p.url(), body("meanwhile", "order.created"))
	eventually(t, "a new event at the other sinks", func() bool {
		return slices.Contains(r.at("/crm"), "meanwhile") && slices.Contains(r.at("/sales"), "meanwhile")
	})
	if n := p.broker.Outstanding("unrouted"); n != 0 {
		t.Errorf("%d replays count towards the cap of retries, want none", n)
	}
	close(release)
	if j := finished(t, c, id); j.State != "done" || j.Published != events {
		t.Errorf("job = %+v, want all %d published", j, events)
	}
	eventually(t, "every event at the sink", func() bool { return len(r.at("/unrouted")) == events })
}

// TestReplayGoesOnAfterACrash kills the server in the middle of a replay.
func TestReplayGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	const events = replay.MaxOutstanding + 400
	const before = 250 // so many are delivered until the kill, and so many more at most are handed over
	dir := t.TempDir()
	var replayed atomic.Int64
	killed := make(chan struct{})
	kill := sync.OnceFunc(func() { close(killed) })
	r := newReceiver(t, func(_ int, g got) int {
		if g.path == "/unrouted" && replayed.Add(1) > before {
			<-killed
		}
		return http.StatusNoContent
	})
	t.Cleanup(kill)
	admin := "127.0.0.1:" + freePort(t)
	yaml := fullYAML(dir, fmt.Sprintf("server: {listen: \"127.0.0.1:0\", admin: %q}\n", admin)+twoSinks(r))
	v := startVictim(t, yaml, "")
	for n := range events {
		if got, err := tryPost(t.Context(), v.url, body(fmt.Sprintf("id-%04d", n), "order.created")); err != nil || got.Status != http.StatusAccepted {
			t.Fatalf("POST: %+v, %v", got, err)
		}
	}
	c, err := console.NewClient("http://"+admin, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	id := startReplay(t, c, console.ReplayRequest{Sink: "unrouted"}).ID
	eventually(t, "a part is replayed", func() bool { return replayed.Load() >= before })
	v.signal(syscall.SIGKILL)
	kill()
	killedAt := replayed.Load()
	if killedAt >= events {
		t.Fatalf("all %d were replayed before the kill", killedAt)
	}

	v = startVictim(t, yaml, "")
	defer v.signal(syscall.SIGTERM)
	j, err := c.ReplayJob(t.Context(), id)
	if err != nil || j.State != "interrupted" || j.Published == 0 || j.Published >= events {
		t.Fatalf("after the crash job = %+v, %v; want interrupted on its way", j, err)
	}
	saved := j.Published
	if _, err := c.ReplayResume(t.Context(), id); err != nil {
		t.Fatalf("ReplayResume: %v", err)
	}
	if j = finished(t, c, id); j.State != "done" || j.Published != events {
		t.Errorf("job = %+v, want all %d published", j, events)
	}
	distinct := func() int {
		ids := r.at("/unrouted")
		slices.Sort(ids)
		return len(slices.Compact(ids))
	}
	eventually(t, "every event at the sink", func() bool { return distinct() == events })
	// What is handed over twice is dropped by its id. What the sink had taken
	// when the kill came may be delivered again, as after any crash.
	repeated := len(r.at("/unrouted")) - events
	if repeated > replay.MaxRepeated+300 {
		t.Errorf("%d deliveries were repeated", repeated)
	}
	if crm := r.at("/crm"); len(crm) > events+300 {
		t.Errorf("crm, which the replay is not for, has %d deliveries of %d events", len(crm), events)
	}
	t.Logf("killed after %d deliveries with %d saved; %d repeated", killedAt, saved, repeated)
}

// TestRedriveOfManySinks retries the dead letters of two sinks, one of which is
// paused.
func TestRedriveOfManySinks(t *testing.T) {
	t.Parallel()
	var well atomic.Bool
	r := newReceiver(t, func(int, got) int {
		if well.Load() {
			return http.StatusNoContent
		}
		return http.StatusUnprocessableEntity
	})
	p := run(t, t.TempDir(), twoSinks(r))
	const events = 120
	for n := range events {
		accepted(t, p.url(), body(fmt.Sprintf("id-%03d", n), "order.created"))
	}
	dead := func() int {
		l, _, err := p.broker.DeadLetters(t.Context(), delivery.DeadFilter{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return len(l)
	}
	eventually(t, "every event is a dead letter of both sinks", func() bool { return dead() == 2*events })
	well.Store(true)
	before := len(r.got())
	c := p.admin()
	v, err := c.ReplayPreview(t.Context(), console.ReplayRequest{Kind: "redrive", All: true})
	if err != nil || v.Events != 2*events || len(v.Sinks) != 2 {
		t.Fatalf("ReplayPreview = %+v, %v; want %d of two sinks", v, err, 2*events)
	}
	if _, err := c.SinkPause(t.Context(), "sales", 0); err != nil {
		t.Fatalf("SinkPause: %v", err)
	}
	id := startReplay(t, c, console.ReplayRequest{Kind: "redrive", All: true}).ID
	eventually(t, "the dead letters of the sink that is not paused", func() bool { return len(r.got()) == before+events })
	eventually(t, "the job has handed over all but those, and waits for the other", func() bool {
		j, err := c.ReplayJob(t.Context(), id)
		return err == nil && j.Waiting == "sink sales is paused" && j.Published == events
	})
	if _, err := c.SinkResume(t.Context(), "sales"); err != nil {
		t.Fatalf("SinkResume: %v", err)
	}
	if j := finished(t, c, id); j.State != "done" || j.Published != 2*events || j.Gone != 0 {
		t.Errorf("job = %+v, want all %d published", j, 2*events)
	}
	eventually(t, "all delivered, none dead", func() bool { return len(r.got()) == before+2*events && dead() == 0 })
}
