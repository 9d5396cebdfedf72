package app

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestKillsAroundReloads changes the rules of a process again and again, kills
// it at any moment around that, and starts it anew. Every event reaches what
// one version of the rules says, and nothing else.
func TestKillsAroundReloads(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	dir, p := t.TempDir(), &reloading{file: t.TempDir() + "/penstock.yaml"}
	server := fmt.Sprintf("server: {listen: \"127.0.0.1:0\", admin: \"127.0.0.1:%s\"}\n", freePort(t))
	write := func(v int) { p.write(t, dir, server+strings.ReplaceAll(versions[v].yaml, "URL", r.URL)) }
	start := func() *victim {
		t.Helper()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childConfig+"=-", childFile+"="+p.file)
		return startChild(t, cmd)
	}
	l := &ledger{accepted: map[string]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var senders sync.WaitGroup
	write(0)
	kills := 6
	if long() {
		kills = 40
	}
	for k := range kills {
		v := start()
		l.url.Store(&v.url)
		if k == 0 {
			for range 4 {
				senders.Go(func() { l.send(ctx) })
			}
		}
		before := l.count()
		eventually(t, "some events", func() bool { return l.count() >= before+20+rand.IntN(40) })
		write((k + 1) % 2) // what changed is noticed a fifth of a second later
		before = l.count()
		until := time.Now().Add(time.Duration(rand.IntN(600)) * time.Millisecond)
		eventually(t, "a moment around the reload", func() bool { return time.Now().After(until) && l.count() > before })
		v.signal(syscall.SIGKILL)
		if k%3 == 2 { // the file is another at the start
			write(k % 2)
		}
	}
	write(1)
	v := start()
	l.url.Store(&v.url)
	before := l.count()
	eventually(t, "events after the last start", func() bool { return l.count() >= before+50 })
	cancel()
	senders.Wait()
	admin := strings.Split(server, "\"")[3]
	eventually(t, "everything has reached what one version of the rules says", func() bool {
		reached := reachedPaths(r)
		for id := range l.accepted {
			paths := slices.Sorted(maps.Keys(reached[id]))
			if !slices.Equal(paths, versions[0].reaches("")) && !slices.Equal(paths, versions[1].reaches("")) {
				return false
			}
		}
		return true
	})
	eventually(t, "everything is settled", func() bool { n, retries := underWay(admin); return n == 0 && retries == 0 })
	v.signal(syscall.SIGTERM)
	reached := reachedPaths(r)
	wrong, by := 0, [2]int{}
	for id := range l.accepted {
		paths := slices.Sorted(maps.Keys(reached[id]))
		switch {
		case slices.Equal(paths, versions[0].reaches("")):
			by[0]++
		case slices.Equal(paths, versions[1].reaches("")):
			by[1]++
		default:
			if wrong++; wrong <= 20 {
				t.Errorf("%s reached %v, want what one version of the rules says", id, paths)
			}
		}
	}
	if by[0] == 0 || by[1] == 0 {
		t.Errorf("%d events by the one version and %d by the other, want some of each", by[0], by[1])
	}
	t.Logf("%d kills, %d events, %v by version", kills, len(l.accepted), by)
}

// reachedPaths are the paths that each event was delivered to, by its id.
func reachedPaths(r *receiver) map[string]map[string]bool {
	reached := map[string]map[string]bool{}
	for _, g := range r.got() {
		id := g.header.Get("Webhook-Id")
		if reached[id] == nil {
			reached[id] = map[string]bool{}
		}
		reached[id][g.path] = true
	}
	return reached
}
