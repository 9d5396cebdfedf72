package app

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/backup"
	"github.com/penstock/penstock/internal/broker"
)

// setUpNATS runs examples/nats/setup.sh and starts the nodes it wrote.
func setUpNATS(t *testing.T, sinks string) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t, dir: t.TempDir(), ports: freePorts(t, 6), keys: map[string]string{}}
	c.ca, _ = makeCertificate(t, c.dir, "127.0.0.1")
	yaml := c.path("penstock.yaml")
	if err := os.WriteFile(yaml, []byte(fullYAML("unused", sinks)), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{filepath.Join(moduleRoot, "examples/nats/setup.sh"), yaml, c.dir}
	for i := range c.nodes {
		args = append(args, fmt.Sprintf("n%d=127.0.0.1:%d:%d", i, c.ports[i], c.ports[3+i]))
	}
	env := append(os.Environ(), "PENSTOCK="+program(t, "./cmd/penstock"), "STORE="+c.path("data"), "MAX_STORE=8GB",
		"TLS_CERT="+c.path("server.pem"), "TLS_KEY="+c.path("server.key"), "TLS_CA="+c.path("server.pem"))
	for range 2 { // the second time changes no key
		cmd := exec.Command("sh", args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("setup.sh: %v\n%s", err, out)
		}
		if text := string(out); strings.Contains(text, "made key") != (len(c.keys) == 0) || !strings.Contains(text, "url: "+c.url()+"\n") {
			t.Errorf("setup.sh printed:\n%s", out)
		}
		for _, role := range broker.PermissionRoles() {
			c.keys[role] = c.path(role + ".nk")
		}
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.kill(i)
		}
	})
	for i := range c.nodes {
		c.start(i)
	}
	return c
}

// as connects as the user of a role.
func (c *natsCluster) as(role string) *nats.Conn {
	c.t.Helper()
	key, err := nats.NkeyOptionFromSeed(c.keys[role])
	if err != nil {
		c.t.Fatal(err)
	}
	opts := []nats.Option{nats.RootCAs(c.ca), key, nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}
	if role != broker.RoleReader {
		opts = append(opts, nats.CustomInboxPrefix("_INBOX_"+role))
	}
	var nc *nats.Conn
	eventually(c.t, "a node lets role "+role+" in", func() bool {
		nc, err = nats.Connect(c.url(), opts...)
		return err == nil
	})
	c.t.Cleanup(nc.Close)
	return nc
}

// TestExternalSetup sets a cluster up by the script, runs the roles with its
// keys, and upgrades everything one after another under load: each process,
// then each node, shut down as an upgrade does. Then it tries what no role may.
func TestExternalSetup(t *testing.T) {
	t.Parallel()
	rounds := 1
	if long() {
		rounds = 5
	}
	rec := crashReceiver(t)
	r := &replicas{t: t, sinks: replicaSinks(rec.URL)}
	r.nats = setUpNATS(t, r.sinks)
	r.nats.nc = r.nats.as(broker.RoleReader)
	r.nats.js, _ = jetstream.New(r.nats.nc)
	provisionCluster(t, r)
	roles := []string{config.RoleIngress, config.RoleIngress, config.RoleRouter, config.RoleRouter}
	stops := make([]func(), len(roles))
	for i, role := range roles {
		_, stops[i] = r.start(role)
	}
	r.start(config.RoleConsole)
	l := &load{r: r, accepted: map[string]time.Time{}, refused: map[int]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() { l.send(ctx) })
	}
	l.more(100)
	checkClusterBackup(t, l)
	for round := range rounds {
		from := l.mark()
		for i, role := range roles {
			stops[i]()
			_, stops[i] = r.start(role)
			l.more(20)
		}
		l.log(round, "upgrade of every ingress and router", from)
		for node := range r.nats.nodes {
			from = l.mark()
			r.nats.upgrade(node)
			l.more(50)
			l.log(round, fmt.Sprint("upgrade of node ", node), from)
		}
	}
	cancel()
	senders.Wait()
	checkCluster(t, l, rec)
	checkRefusals(t, r.nats)
}

// checkClusterBackup saves the cluster under load as the user for backups, and
// restores that into a data directory.
func checkClusterBackup(t *testing.T, l *load) {
	t.Helper()
	before := uint64(l.count())
	parse := func(yaml string) *config.Config {
		c, ms := Parse("backup.yaml", []byte(yaml), LoadOptions{Roles: []string{RoleProvisioner}})
		if fatal := ms.Fatal(); len(fatal) > 0 {
			t.Fatal(fatal)
		}
		return c
	}
	path := filepath.Join(t.TempDir(), "cluster.backup")
	o := StoreOptions{NKeyFile: l.r.nats.keys[broker.RoleBackup]}
	err := WriteBackup(path, func(f *os.File) error {
		return Save(t.Context(), parse(fullYAML("", l.r.yaml(config.RoleIngress))), o, broker.BackupOptions{}, func(int64) error { return nil }, f)
	})
	if err != nil {
		t.Fatalf("back the cluster up: %v", err)
	}
	f, err := backup.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if n := f.Stream(broker.EventsStream).Messages; n < before {
		t.Errorf("%d events are in the backup, %d were accepted before it", n, before)
	}
	if _, err := Restore(t.Context(), parse(fullYAML(t.TempDir(), l.r.sinks)), StoreOptions{}, f, broker.RestoreOptions{}); err != nil {
		t.Errorf("restore the cluster's backup into a data directory: %v", err)
	}
}

// upgrade shuts a node down as its service manager does, starts it again, and
// waits until it has caught up.
func (c *natsCluster) upgrade(node int) {
	c.t.Helper()
	_ = c.nodes[node].Process.Signal(syscall.SIGTERM)
	_ = c.nodes[node].Wait()
	c.start(node)
	c.inSync()
}

// checkRefusals tries for each role what it may not do, and something it may.
func checkRefusals(t *testing.T, c *natsCluster) {
	t.Helper()
	const events = broker.EventsStream
	everybody := []string{"$JS.API.STREAM.PURGE.PENSTOCK_DEAD", "$JS.API.ACCOUNT.PURGE.PENSTOCK", "$JS.API.STREAM.CREATE.MINE", "$SYS.REQ.SERVER.PING"}
	for role, tc := range map[string]struct{ may, mayNot []string }{
		config.RoleIngress: {
			[]string{"penstock.rejected.clickfunnels"},
			[]string{"$JS.API.STREAM.INFO." + events, "$JS.API.CONSUMER.CREATE." + events, "$JS.API.STREAM.DELETE." + events, "penstock.retry.due.all", "penstock.dead.all.x"},
		},
		config.RoleRouter: {
			[]string{"$JS.API.STREAM.INFO." + events},
			[]string{"orders.invoice.paid", "$JS.API.STREAM.DELETE." + events, "$JS.API.CONSUMER.DELETE." + events + ".sink-all", "$JS.API.STREAM.SNAPSHOT." + events, "$JS.API.STREAM.MSG.DELETE." + events},
		},
		config.RoleConsole: {
			[]string{"$JS.API.STREAM.INFO." + events},
			[]string{"orders.invoice.paid", "$JS.API.STREAM.DELETE." + events, "$JS.ACK." + events + ".sink-all.1.1.1.1.1", "$JS.API.STREAM.SNAPSHOT." + events},
		},
		broker.RoleProvisioner: {
			[]string{"$JS.API.STREAM.INFO." + events},
			[]string{"orders.invoice.paid", "$JS.API.STREAM.DELETE." + events, "$JS.API.CONSUMER.MSG.NEXT." + events + ".sink-all", "$JS.API.STREAM.RESTORE." + events},
		},
		broker.RoleReader: {
			[]string{"$JS.API.STREAM.INFO." + events},
			[]string{"orders.invoice.paid", "$JS.API.CONSUMER.MSG.NEXT." + events + ".sink-all", "$JS.API.CONSUMER.DELETE." + events + ".sink-all", "$JS.API.STREAM.INFO.PENSTOCK_DEAD", "$JS.ACK." + events + ".sink-all.1.1.1.1.1"},
		},
		broker.RoleBackup: {
			[]string{"$JS.API.STREAM.INFO." + events},
			[]string{"orders.invoice.paid", "$JS.API.CONSUMER.MSG.NEXT." + events + ".sink-all", "$JS.ACK." + events + ".sink-all.1.1.1.1.1", "$JS.API.STREAM.RESTORE.OTHER"},
		},
	} {
		nc := c.as(role)
		for _, subject := range tc.may {
			if err := deniedBy(nc, subject); err != nil {
				t.Errorf("role %s is refused what it needs: %v", role, err)
			}
		}
		for _, subject := range append(tc.mayNot, everybody...) {
			if err := deniedBy(nc, subject); err == nil {
				t.Errorf("role %s may publish to %s", role, subject)
			}
		}
	}
	if nc, err := nats.Connect(c.url(), nats.RootCAs(c.ca)); err == nil {
		nc.Close()
		t.Error("a client without a key is let in")
	}
}

// deniedBy is the server's refusal of a message that does nothing where it is let through.
func deniedBy(nc *nats.Conn, subject string) error {
	before := nc.LastError()
	m := &nats.Msg{Subject: subject, Header: nats.Header{"Nats-Expected-Stream": {"NOBODY"}}, Data: []byte(`{"nothing`)}
	if err := nc.PublishMsg(m); err != nil {
		return err
	}
	if err := nc.FlushTimeout(patience); err != nil {
		return err
	}
	if after := nc.LastError(); after != before && strings.Contains(after.Error(), `"`+subject+`"`) {
		return after
	}
	return nil
}
