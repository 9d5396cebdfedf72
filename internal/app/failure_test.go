package app

import (
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsServer starts an external NATS server on a port that stays the same
// over stop and start.
func natsServer(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "external", JetStream: true, StoreDir: dir, Host: "127.0.0.1", Port: port,
		NoLog: true, NoSigs: true, MaxPayload: 2 << 20, JetStreamMaxStore: 16 << 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("external NATS server is not ready within a minute")
	}
	return s
}

func TestBrokerGoneAndBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port := freePorts(t, 1)[0]
	nats := natsServer(t, dir, port)
	r := newReceiver(t, ok)
	p := run(t, "", "broker: {url: \""+nats.ClientURL()+"\", durability: process, max_bytes: 64MiB}\nsinks: {crm: {kind: http, url: "+r.URL+"}}\nroutes: [{match: [\">\"], to: [crm]}]\n")
	accepted(t, p.url(), body("before", "order.created"))

	nats.Shutdown()
	nats.WaitForShutdown()
	eventually(t, "not ready", func() bool { return ready(t, p) == http.StatusServiceUnavailable })
	got := post(t, p.url(), body("while-gone", "order.created"))
	if got.Status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("without the broker a webhook is answered %d, Retry-After %q; want 503 with one", got.Status, got.header.Get("Retry-After"))
	}

	nats = natsServer(t, dir, port)
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	eventually(t, "ready again", func() bool { return ready(t, p) == http.StatusOK })
	accepted(t, p.url(), body("while-gone", "order.created"))
	accepted(t, p.url(), body("after", "order.created"))
	eventually(t, "all three delivered", func() bool { return len(r.byID()) == 3 })
	p.stop()
}

func ready(t *testing.T, p *process) int {
	t.Helper()
	resp, err := http.Get("http://" + p.Addr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestStoreFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hang := make(chan struct{})
	r := newReceiver(t, func(int, got) int { <-hang; return http.StatusOK })
	t.Cleanup(func() { close(hang) })
	p := run(t, dir, "server: {listen: \"127.0.0.1:0\", admin: \"\", shutdown_timeout: 1s}\nbroker: {data_dir: \""+dir+"\", durability: process, max_bytes: 1MiB}\nsinks: {crm: {kind: http, url: "+r.URL+"}}\nroutes: [{match: [\">\"], to: [crm]}]\n")
	large := []byte(`{"event_id":"%","event_type":"order.created","data":"` + strings.Repeat("x", 100_000) + `"}`)
	for i := range 30 {
		got := post(t, p.url(), []byte(strings.Replace(string(large), "%", string(rune('A'+i)), 1)))
		if got.Status == http.StatusInsufficientStorage {
			if got.header.Get("Retry-After") == "" {
				t.Error("507 without Retry-After")
			}
			return
		}
		if got.Status != http.StatusAccepted {
			t.Fatalf("answered %d %s", got.Status, got.Error)
		}
	}
	t.Error("3 MB went into a stream of 1 MiB")
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	sink := "sinks: {crm: {kind: log}}\nroutes: [{match: [\">\"], to: [crm]}]\n"
	for name, tt := range map[string]struct {
		yaml string
		want []string
	}{
		"webhook port taken": {"server: {listen: \"" + taken.Addr().String() + "\", admin: \"\"}\n" + sink, []string{taken.Addr().String(), "server.listen"}},
		"admin port taken":   {"server: {listen: \"127.0.0.1:0\", admin: \"" + taken.Addr().String() + "\"}\n" + sink, []string{taken.Addr().String(), "server.admin"}},
		"no such cluster":    {"broker: {url: \"nats://127.0.0.1:1\"}\n" + sink, []string{"nats://127.0.0.1:1", "broker.url"}},
		"disk too small":     {"broker: {data_dir: \"" + t.TempDir() + "\", max_bytes: 900TiB}\n" + sink, []string{"broker.max_bytes", "free"}},
		"nats port taken":    {"broker: {data_dir: \"" + t.TempDir() + "\", max_bytes: 64MiB, listen: \"" + taken.Addr().String() + "\"}\n" + sink, []string{taken.Addr().String(), "broker.listen"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := build(t, t.TempDir(), tt.yaml, Options{Logger: slog.New(slog.DiscardHandler)})
			err := a.Open(t.Context())
			if err == nil {
				a.Close()
				t.Fatal("Open succeeded")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("Open = %q, want it to name %s", err, w)
				}
			}
		})
	}
}

func TestEmbeddedNeedsBothRoles(t *testing.T) {
	t.Parallel()
	c, ms := Parse("x.yaml", []byte(fullYAML(t.TempDir(), "sinks: {crm: {kind: log}}\nroutes: [{match: [\">\"], to: [crm]}]\n")), LoadOptions{})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatal(fatal)
	}
	if _, err := New(c, Options{Roles: []string{"ingress"}}); err == nil || !strings.Contains(err.Error(), "broker.url") {
		t.Errorf("New with the role ingress alone = %v, want an error that names broker.url", err)
	}
}

func TestQuickStartKeepsItsSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	none := func(string) (string, bool) { return "", false }
	if _, err := QuickStartSecret(dir, none); err == nil || !strings.Contains(err.Error(), "penstock serve") {
		t.Errorf("secret before the first start: %v, want an error that says what to do", err)
	}
	c, own, err := QuickStart(dir, none)
	if err != nil || !own {
		t.Fatalf("QuickStart = %t, %v", own, err)
	}
	secret, err := QuickStartSecret(dir, none)
	if err != nil || len(secret) != 64 || c.Sources[0].Secrets[0].Reveal() != secret {
		t.Errorf("QuickStartSecret gives a secret of %d characters, %v; want the one that is verified with", len(secret), err)
	}
	again, _, err := QuickStart(dir, none)
	if err != nil || again.Sources[0].Secrets[0].Reveal() != secret {
		t.Errorf("the second start has another secret: %v", err)
	}
	set := func(name string) (string, bool) { return "from-the-environment", name == secretVariable }
	if c, own, err := QuickStart(dir, set); err != nil || own || c.Sources[0].Secrets[0].Reveal() != "from-the-environment" {
		t.Errorf("QuickStart with the variable set: own %t, %v", own, err)
	}
}
