package broker

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A cluster that has no leader yet answers nothing to what it is asked
// meanwhile: a start has to ask again, not wait for that answer.
func TestStartAsksAgainWhileTheClusterHasNoLeader(t *testing.T) {
	t.Parallel()
	var routes []string
	doors := make([]*door, 3)
	for i := range doors {
		doors[i] = newDoor(t)
		routes = append(routes, "nats-route://"+doors[i].l.Addr().String())
	}
	node := func(i int) string {
		srv := newServer(t, &server.Options{
			ServerName: fmt.Sprint("n", i), JetStream: true, StoreDir: t.TempDir(), Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
			MaxPayload: 2 << 20, JetStreamMaxStore: 16 << 30,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: -1},
			Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
		})
		doors[i].leadTo(srv.ClusterAddr().String())
		return srv.ClientURL()
	}
	o := testOptions(t, "")
	o.Config.URL, o.Config.Replicas = node(0), 3
	o.patience = patience
	again := &again{Handler: o.Logger.Handler()}
	o.Logger = slog.New(again)
	b := New(o)
	opened := make(chan error, 1)
	go func() { opened <- b.Open(t.Context()) }()
	eventually(t, "the first answer is given up", again.seen.Load)
	node(1)
	node(2)
	select {
	case err := <-opened:
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	case <-time.After(patience):
		t.Fatalf("not open %s after the cluster was whole", patience)
	}
}

// again notes that something is tried again.
type again struct {
	slog.Handler
	seen atomic.Bool
}

func (a *again) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "trying again") {
		a.seen.Store(true)
	}
	return a.Handler.Handle(ctx, r)
}

// door is an address that is known, and nobody else's, before the server
// behind it has one.
type door struct {
	l  net.Listener
	to atomic.Pointer[string]
}

func newDoor(t *testing.T) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{l: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { d.pass(c) })
		}
	})
	t.Cleanup(func() { // after the servers have closed what they have
		l.Close()
		all.Wait()
	})
	return d
}

func (d *door) leadTo(addr string) { d.to.Store(&addr) }

// pass carries bytes both ways until either side ends it; while there is no
// server behind the door, it is closed at once.
func (d *door) pass(in net.Conn) {
	defer in.Close()
	addr := d.to.Load()
	if addr == nil {
		return
	}
	out, err := net.Dial("tcp", *addr)
	if err != nil {
		return
	}
	defer out.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(in, out)
		in.Close()
	})
	_, _ = io.Copy(out, in)
	out.Close()
	back.Wait()
}
