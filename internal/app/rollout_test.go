package app

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// externalNATS is a NATS server that is not ours.
func externalNATS(t *testing.T) (url string) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, MaxPayload: 4 << 20,
		JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 8 << 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server is not ready within a minute")
	}
	return srv.ClientURL()
}

// TestRolloutOfOtherRules has two processes with different files on one NATS:
// the second is started with new rules while the first delivers by the old
// ones, the first comes back once with the old ones, and at last both have the
// new ones. Each event reaches what one version of the rules says, once, and
// no event waits for ever.
func TestRolloutOfOtherRules(t *testing.T) {
	t.Parallel()
	url, r := externalNATS(t), newReceiver(t, ok)
	yaml := func(v int) string {
		return fmt.Sprintf("broker: {url: %q, max_bytes: 256MiB, dedupe_window: 10m, durability: process}\n", url) +
			strings.ReplaceAll(versions[v].yaml, "URL", r.URL)
	}
	logs := &lines{t: t}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", logs)
		}
	})
	var current atomic.Pointer[string] // where webhooks are taken
	start := func(name string, v int) (*App, func()) {
		t.Helper()
		a := build(t, "", yaml(v), Options{Version: "test", forgetAfter: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(logs, nil)).With("process", name)})
		if err := a.Open(t.Context()); err != nil {
			t.Fatalf("open %s: %v", name, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		at := "http://" + a.Addr().String() + "/webhooks/clickfunnels"
		current.Store(&at)
		var once sync.Once
		stop := func() {
			once.Do(func() {
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("run %s: %v", name, err)
				}
			})
		}
		t.Cleanup(stop)
		return a, stop
	}
	eras := map[uint64]string{}
	note := func(a *App) string {
		t.Helper()
		have, err := a.broker.Routing(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range have.Eras {
			eras[e.From] = e.Version
		}
		return have.Eras[len(have.Eras)-1].Version
	}
	first, stopFirst := start("first", 0)
	reaches := map[string]func(string) []string{note(first): versions[0].reaches}

	var mu sync.Mutex
	stored := map[uint64][2]string{} // id and type by sequence
	ctx, stop := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for s := range 2 {
		senders.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				typ := []string{"order.created", "contact.created"}[n%2]
				id := fmt.Sprintf("e-%d-%d", s, n)
				for ctx.Err() == nil {
					got, err := tryPost(t.Context(), *current.Load(), body(id, typ))
					if err == nil && got.Status == http.StatusAccepted {
						mu.Lock()
						stored[got.Seq] = [2]string{id, typ}
						mu.Unlock()
						break
					}
					<-time.After(5 * time.Millisecond)
				}
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(stored) }
	flow := func() {
		t.Helper()
		before := count()
		eventually(t, "some events", func() bool { return count() >= before+60 })
	}
	flow()
	second, _ := start("second", 2)
	reaches[note(second)] = versions[2].reaches
	flow()
	eventually(t, "the first routes by the rules recorded last", func() bool {
		return first.router.Table().Version() == second.router.Table().Version()
	})
	if s := first.reloads.ReloadState(); s.Rules == s.FileRules || !s.RulesAt.After(s.LoadedAt) {
		t.Errorf("the first has rules %s in force since %s, its own since %s; want others, since later", s.Rules, s.RulesAt, s.LoadedAt)
	}
	// The first crashes and comes back before it has the new file.
	at := "http://" + second.Addr().String() + "/webhooks/clickfunnels"
	current.Store(&at)
	flow()
	stopFirst()
	third, stopThird := start("third", 0)
	note(third)
	flow()
	current.Store(&at)
	flow()
	stopThird()
	fourth, _ := start("fourth", 2)
	note(fourth)
	flow()
	stop()
	senders.Wait()

	wanted := func(seq uint64) []string {
		version := ""
		for _, from := range slices.Sorted(maps.Keys(eras)) {
			if from <= seq {
				version = eras[from]
			}
		}
		return reaches[version](stored[seq][1])
	}
	total := 0
	for seq := range stored {
		total += len(wanted(seq))
	}
	eventually(t, "all is delivered and nothing is under way", func() bool {
		n, _ := underWay(fourth.AdminAddr().String())
		return n == 0 && len(r.got()) >= total
	})
	got := map[string][]string{}
	for _, g := range r.got() {
		id := g.header.Get("Webhook-Id")
		got[id] = append(got[id], g.path)
	}
	begins := slices.Sorted(maps.Keys(eras))
	wrong := 0
	for _, seq := range slices.Sorted(maps.Keys(stored)) {
		id, want := stored[seq][0], wanted(seq)
		slices.Sort(got[id])
		if !slices.Equal(got[id], want) && wrong < 20 {
			wrong++
			t.Errorf("%s, stored as %d, reached %v, want %v", id, seq, got[id], want)
		}
	}
	if len(begins) != 4 {
		t.Errorf("rules came into force at %v, want 4 times", begins)
	}
	eventually(t, "one version of the rules is left", func() bool {
		have, err := second.broker.Routing(t.Context())
		return err == nil && len(have.Eras) == 1 && have.Eras[0].Version == second.now().table.Version()
	})
	t.Logf("%d events under rules from %v", len(stored), begins)
}
