package app

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/penstock/penstock/internal/broker"
)

// childNATS, set to a NATS server's configuration file, makes the test that server.
const childNATS = "PENSTOCK_TEST_CHILD_NATS"

func runNATS(conf string) error {
	opts, err := server.ProcessConfigFile(conf)
	if err != nil {
		return err
	}
	opts.NoLog = true
	srv, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	srv.Start()
	srv.WaitForShutdown()
	return nil
}

// natsCluster is three NATS servers, each a process of its own, with TLS and
// a user for each of our roles that may do what Permissions says and no more.
type natsCluster struct {
	t     *testing.T
	dir   string
	ports []int // of the clients, then of the routes
	nodes [3]*exec.Cmd
	keys  map[string]string // role → file of its NKey seed
	ca    string
	nc    *nats.Conn // of a user who may do everything
	js    jetstream.JetStream
}

// startNATS starts a cluster for the configuration that yaml makes.
func startNATS(t *testing.T, rights func(role string) broker.Rights) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t, dir: t.TempDir(), ports: freePorts(t, 6), keys: map[string]string{}}
	c.ca, _ = makeCertificate(t, c.dir, "127.0.0.1")
	users := "{user: everything, password: everything}\n"
	for _, role := range broker.PermissionRoles() {
		users += fmt.Sprintf("{nkey: %s, %s}\n", c.makeKey(role), rights(role).Snippet())
	}
	for i := range c.nodes {
		conf := fmt.Sprintf(`
server_name: n%d
listen: "127.0.0.1:%d"
max_payload: 2MB
jetstream { store_dir: %q, sync_interval: always, max_file_store: 8GB }
cluster { name: penstock, listen: "127.0.0.1:%d", routes: [%s] }
tls { cert_file: %q, key_file: %q }
authorization { users: [
%s] }
`, i, c.ports[i], filepath.Join(c.dir, fmt.Sprint("n", i)), c.ports[3+i], c.routes(), c.path("server.pem"), c.path("server.key"), users)
		if err := os.WriteFile(c.conf(i), []byte(conf), 0o600); err != nil {
			t.Fatal(err)
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
	c.connect()
	return c
}

func (c *natsCluster) path(name string) string { return filepath.Join(c.dir, name) }
func (c *natsCluster) conf(i int) string       { return c.path(fmt.Sprintf("n%d.conf", i)) }

func (c *natsCluster) routes() string {
	var out []string
	for _, p := range c.ports[3:] {
		out = append(out, fmt.Sprintf("%q", fmt.Sprintf("nats-route://127.0.0.1:%d", p)))
	}
	return strings.Join(out, ", ")
}

func (c *natsCluster) url() string {
	var out []string
	for _, p := range c.ports[:3] {
		out = append(out, fmt.Sprintf("tls://127.0.0.1:%d", p))
	}
	return strings.Join(out, ",")
}

// start starts a node; kill ends it as a power cut of one machine would its process.
func (c *natsCluster) start(i int) {
	c.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childNATS+"="+c.conf(i))
	cmd.Stderr = c.t.Output()
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.nodes[i] = cmd
}

func (c *natsCluster) kill(i int) {
	if cmd := c.nodes[i]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	c.nodes[i] = nil
}

func (c *natsCluster) connect() {
	c.t.Helper()
	var err error
	eventually(c.t, "the NATS cluster is up", func() bool {
		if c.nc == nil {
			if c.nc, err = nats.Connect(c.url(), nats.RootCAs(c.ca), nats.UserInfo("everything", "everything"),
				nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond)); err != nil {
				c.nc = nil
				return false
			}
			c.t.Cleanup(c.nc.Close)
			c.js, _ = jetstream.New(c.nc)
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
		defer cancel()
		// A stream of three replicas can be made once all three are there.
		_, err = c.js.CreateStream(ctx, jetstream.StreamConfig{Name: "READY", Subjects: []string{"ready"}, Replicas: 3})
		return err == nil
	})
}

// leader is the node that leads the stream of events.
func (c *natsCluster) leader() int {
	c.t.Helper()
	node := -1
	eventually(c.t, "the stream of events has a leader", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
		defer cancel()
		s, err := c.js.Stream(ctx, broker.EventsStream)
		if err != nil || s.CachedInfo().Cluster == nil {
			return false
		}
		_, err = fmt.Sscanf(s.CachedInfo().Cluster.Leader, "n%d", &node)
		return err == nil
	})
	return node
}

// stepDown makes another node lead.
func (c *natsCluster) stepDown() {
	c.t.Helper()
	// While the stream has no leader there is nobody to answer.
	eventually(c.t, "the leader steps down", func() bool {
		m, err := c.nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+broker.EventsStream, nil, 5*time.Second)
		var answer struct{ Success bool }
		return err == nil && json.Unmarshal(m.Data, &answer) == nil && answer.Success
	})
}

// inSync waits until every replica of the stream of events is there again.
func (c *natsCluster) inSync() {
	c.t.Helper()
	eventually(c.t, "every replica is current", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
		defer cancel()
		s, err := c.js.Stream(ctx, broker.EventsStream)
		if err != nil || len(s.CachedInfo().Cluster.Replicas) != 2 {
			return false
		}
		for _, r := range s.CachedInfo().Cluster.Replicas {
			if !r.Current || r.Offline {
				return false
			}
		}
		return true
	})
}

func (c *natsCluster) makeKey(role string) (public string) {
	c.t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		c.t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		c.t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		c.t.Fatal(err)
	}
	c.keys[role] = c.path(role + ".nk")
	if err := os.WriteFile(c.keys[role], seed, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return public
}
