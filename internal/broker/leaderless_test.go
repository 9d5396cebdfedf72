package broker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
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
	ports := make([]int, 3)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
		routes = append(routes, fmt.Sprintf("nats-route://127.0.0.1:%d", ports[i]))
		l.Close()
	}
	node := func(i int) string {
		return startServer(t, &server.Options{
			ServerName: fmt.Sprint("n", i), JetStream: true, StoreDir: t.TempDir(), Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
			MaxPayload: 2 << 20, JetStreamMaxStore: 16 << 30,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: ports[i]},
			Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
		})
	}
	o := testOptions(t, "")
	o.Config.URL, o.Config.Replicas = node(0), 3
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
	case <-time.After(time.Minute):
		t.Fatal("not open a minute after the cluster was whole")
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
