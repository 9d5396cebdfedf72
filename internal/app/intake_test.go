package app

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/console"
)

const intakeYAML = `
sinks: {out: {kind: http, url: "%s"}}
routes: [{match: [">"], to: [out]}]
`

// While the intake is held nothing is taken, delivered or changed; a hold
// outlives the process, and ends when it is released or not renewed.
func TestIntakeIsHeld(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t, ok)
	dir, yaml := t.TempDir(), strings.ReplaceAll(intakeYAML, "%s", rec.URL)
	p := run(t, dir, yaml)
	accepted(t, p.url(), body("one", "order.created"))
	eventually(t, "the first event is delivered", func() bool { return len(rec.got()) == 1 })
	c := p.client()
	held := func(c *console.Client, lease time.Duration) {
		t.Helper()
		eventually(t, "nothing is under way", func() bool {
			st, err := c.IntakeHold(t.Context(), "move", lease)
			if err != nil {
				t.Fatal(err)
			}
			return st.State == console.IntakeHeld
		})
	}
	held(c, time.Hour)
	refused(t, p.url())
	if _, err := c.SinkPause(t.Context(), "out", 0); err == nil || !strings.Contains(err.Error(), "being moved to another store") {
		t.Errorf("pausing a sink while the events are moved = %v", err)
	}
	if _, err := c.IntakeHold(t.Context(), "other", time.Hour); err == nil || !strings.Contains(err.Error(), "another move is under way") {
		t.Errorf("a second move = %v", err)
	}
	if _, err := c.IntakePromoted(t.Context(), "other", time.Now(), "nats://x"); err == nil || !strings.Contains(err.Error(), "the hold of this move is over") {
		t.Errorf("the switch of a move that holds nothing = %v", err)
	}
	if _, err := c.IntakePromoted(t.Context(), "move", time.Now(), "nats://x"); err == nil || !strings.Contains(err.Error(), "the hold of this move is over") {
		t.Errorf("the switch of a move whose hold has ended in between = %v", err)
	}
	if r, err := http.Get("http://" + p.Addr().String() + "/readyz"); err != nil || r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/readyz = %v, %v; want 503", r.StatusCode, err)
	}
	p.stop()

	p = run(t, dir, yaml)
	refused(t, p.url())
	c = p.client()
	if st, err := c.IntakeStatus(t.Context()); err != nil || st.State != console.IntakeHeld || st.ID != "move" {
		t.Errorf("after a restart the intake is %+v, %v", st, err)
	}
	if _, err := c.IntakeRelease(t.Context(), "move"); err != nil {
		t.Fatal(err)
	}
	accepted(t, p.url(), body("two", "order.created"))
	eventually(t, "deliveries go on", func() bool { return len(rec.got()) == 2 })

	held(c, time.Second)
	eventually(t, "a hold that nobody renews ends", func() bool {
		return post(t, p.url(), body("three", "order.created")).Status == http.StatusAccepted
	})
	eventually(t, "deliveries go on", func() bool { return len(rec.got()) == 3 })
}

// A move that cannot be made leaves everything as it was.
func TestPromotionThatCannotBe(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t, ok)
	yaml := strings.ReplaceAll(intakeYAML, "%s", rec.URL)
	p := run(t, t.TempDir(), yaml)
	accepted(t, p.url(), body("one", "order.created"))
	used := run(t, t.TempDir(), "\nbroker: {data_dir: \""+t.TempDir()+"\", listen: \"127.0.0.1:0\", durability: process, max_bytes: 64MiB}\n"+yaml)
	for name, tc := range map[string]struct{ url, want string }{
		"nobody there":    {"nats://127.0.0.1:1", "no server answers"},
		"no rights there": {"nats://" + used.Store().Listen, "lacks permissions"},
		"no url":          {"", "has no broker.url"},
	} {
		t.Run(name, func(t *testing.T) {
			c := build(t, t.TempDir(), yaml, Options{}).Config()
			c.Broker.URL = tc.url
			_, err := Promote(t.Context(), PromoteOptions{From: p.client(), To: c, Dir: t.TempDir()})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Promote = %v, want %q", err, tc.want)
			}
			if r := post(t, p.url(), body("after "+name, "order.created")); r.Status != http.StatusAccepted {
				t.Errorf("after it a webhook is answered %d", r.Status)
			}
		})
	}
}
