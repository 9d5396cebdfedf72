package charttest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	corev1 "k8s.io/api/core/v1"
)

// TestStandaloneDelivers runs what the default values install: the container
// that serves, its probes, and the test of a delivery.
func TestStandaloneDelivers(t *testing.T) {
	t.Parallel()
	m := render(t, vals(t, "{}"))
	n := node{m: m, files: map[string]string{"penstock.yaml": configOf(t, m)}}
	c := container(t, m, "StatefulSet", "demo-penstock", "penstock")
	p := n.serve(t, c, "--data-dir="+t.TempDir())
	p.answersProbes(t, c)
	if status, _ := get(t, "http://"+p.admin+"/api/v1/status"); status != 401 {
		t.Errorf("the admin API answered %d without its token, want 401", status)
	}
	n.testDelivery(t, p, p)
}

// answersProbes asks what the kubelet would: whether the process works, which an
// open port does not show, and at the end whether it has what it needs.
func (p *process) answersProbes(t *testing.T, c corev1.Container) {
	t.Helper()
	for path, probes := range map[string][]*corev1.Probe{"/healthz": {c.StartupProbe, c.LivenessProbe}, "/readyz": {c.ReadinessProbe}} {
		for _, probe := range probes {
			if probe.HTTPGet == nil || probe.HTTPGet.Path != path {
				t.Errorf("container %s %v has the probe %v, want GET %s", c.Name, c.Args, probe.ProbeHandler, path)
				continue
			}
			address := map[string]string{"http": p.webhooks, "admin": p.admin}[probe.HTTPGet.Port.StrVal]
			if status, body := get(t, "http://"+address+path); status != 200 {
				t.Errorf("GET %s of %v: %d %s, want 200", path, c.Args, status, body)
			}
		}
	}
}

// testDelivery runs the pod of helm test, twice, as people do.
func (n node) testDelivery(t *testing.T, ingress, console *process) {
	t.Helper()
	test := one[*corev1.ConfigMap](t, n.m, "demo-penstock-test")
	n.files = map[string]string{"penstock.yaml": test.Data["penstock.yaml"]}
	n.addresses = append(n.addresses, "http://demo-penstock:80", "http://"+ingress.webhooks, "http://demo-penstock-admin:8081", "http://"+console.admin)
	for i := range 2 {
		n.uid = fmt.Sprintf("3f0c1b1e-0000-4000-8000-00000000000%d", i)
		n.run(t, container(t, n.m, "Pod", "demo-penstock-test", "send"))
		out := n.run(t, container(t, n.m, "Pod", "demo-penstock-test", "delivered"))
		if !strings.Contains(out, "contact.created  delivered") || !strings.Contains(out, n.uid) {
			t.Errorf("the test of a delivery printed\n%s", out)
		}
	}
}

// TestDistributedDelivers runs everything that mode distributed installs, on
// this machine: three servers from the rendered file, the Job that provisions,
// ingress, router and console with no more rights than the chart gives them, and
// the test of a delivery.
func TestDistributedDelivers(t *testing.T) {
	for name, values := range map[string]string{
		"plain": "mode: distributed",
		"TLS":   "mode: distributed\nnats: {auth: {reader: true}, tls: {existingSecret: own-tls}}",
	} {
		t.Run(name, func(t *testing.T) { distributedDelivers(t, render(t, vals(t, values))) })
	}
}

func distributedDelivers(t *testing.T, m manifest) {
	certificates := certificate(t)
	servers := startServers(t, m, 3, certificates)
	n := node{m: m, files: map[string]string{"penstock.yaml": configOf(t, m)}, addresses: append(servers.addresses, "/etc/penstock-nats/", certificates+"/")}
	eventually(t, "the servers are a cluster", servers.whole)

	printed := n.run(t, container(t, m, "Job", "demo-penstock-provision", "provision"))
	if !strings.Contains(printed, "PENSTOCK_EVENTS") {
		t.Errorf("the Job printed\n%s\nwant the streams it made", printed)
	}
	ingress := n.serve(t, container(t, m, "Deployment", "demo-penstock-ingress", "penstock"))
	router := n.serve(t, container(t, m, "Deployment", "demo-penstock-router", "penstock"))
	console := n.serve(t, container(t, m, "Deployment", "demo-penstock-console", "penstock"))
	for role, p := range map[string]*process{"ingress": ingress, "router": router, "console": console} {
		p.metrics(t)
		p.answersProbes(t, container(t, m, "Deployment", "demo-penstock-"+role, "penstock"))
	}
	n.testDelivery(t, ingress, console)

	for _, s := range servers.all {
		info, err := s.Jsz(&server.JSzOptions{Streams: true, Config: true, Accounts: true})
		if err != nil {
			t.Fatal(err)
		}
		if info.Config.SyncAlways != true {
			t.Error("a server does not sync before it answers")
		}
		for _, a := range info.AccountDetails {
			for _, stream := range a.Streams {
				if stream.Config.Replicas != 3 {
					t.Errorf("stream %s has %d replicas, want 3", stream.Name, stream.Config.Replicas)
				}
			}
		}
	}
}

// servers are NATS servers that run from the rendered configuration.
type servers struct {
	all       []*server.Server
	addresses []string // in the manifest, here
	here      []*strings.Replacer
	files     []string // their configurations
}

// whole reports that all see one another and have a leader.
func (s servers) whole() bool {
	leaders := 0
	for _, one := range s.all {
		if one.JetStreamIsLeader() {
			leaders++
		}
		if one.NumRoutes() == 0 || !one.JetStreamIsCurrent() {
			return false
		}
	}
	return leaders == 1
}

// startServers starts the servers of the chart. The environment is the
// process's, for that is where the server looks.
func startServers(t *testing.T, m manifest, replicas int, certificates string) servers {
	t.Helper()
	text := one[*corev1.ConfigMap](t, m, "demo-penstock-nats").Data["nats.conf"]
	c := container(t, m, "StatefulSet", "demo-penstock-nats", "nats")
	var out servers
	type ports struct{ client, route, monitor string }
	var each []ports
	for i := range replicas {
		p := ports{freePort(t), freePort(t), freePort(t)}
		each = append(each, p)
		host := fmt.Sprintf("demo-penstock-nats-%d.demo-penstock-nats-headless.events.svc.cluster.local", i)
		out.addresses = append(out.addresses, host+":4222", "127.0.0.1:"+p.client, host+":6222", "127.0.0.1:"+p.route)
	}
	for i, p := range each {
		n := node{m: m, addresses: out.addresses, uid: fmt.Sprintf("demo-penstock-nats-%d", i)}
		for k, v := range n.environment(t, c) {
			t.Setenv(k, v)
		}
		dir := t.TempDir()
		conf := filepath.Join(dir, "nats.conf")
		here := strings.NewReplacer("0.0.0.0:4222", "127.0.0.1:"+p.client, "0.0.0.0:6222", "127.0.0.1:"+p.route, "0.0.0.0:8222", "127.0.0.1:"+p.monitor,
			`"/data"`, `"`+dir+`/data"`, "/var/run/nats/", dir+"/", "/etc/nats-tls/", certificates+"/")
		own := here.Replace(text)
		if err := os.WriteFile(conf, []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
		opts, err := server.ProcessConfigFile(conf)
		if err != nil {
			t.Fatalf("%v\n%s", err, own)
		}
		opts.NoSigs, opts.NoLog = true, true
		if opts.ServerName != n.uid {
			t.Errorf("server is named %q, want %q", opts.ServerName, n.uid)
		}
		s, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		out.all = append(out.all, s)
		out.here, out.files = append(out.here, here), append(out.files, conf)
	}
	return out
}

// TestServersTakeANewSinkWithoutARestart: what the reloader has a server read when
// a sink was added is something that it can reload.
func TestServersTakeANewSinkWithoutARestart(t *testing.T) {
	const sinks = "mode: distributed\nnats: {replicas: 1}\nconfig: {sources: {a: {kind: clickfunnels, secrets: [\"${S}\"]}}, default: [b], sinks: {b: {kind: log}"
	m, more := render(t, vals(t, sinks+"}}")), render(t, vals(t, sinks+", added: {kind: log}}}"))
	running := startServers(t, m, 1, t.TempDir())
	text := running.here[0].Replace(one[*corev1.ConfigMap](t, more, "demo-penstock-nats").Data["nats.conf"])
	if err := os.WriteFile(running.files[0], []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(running.files[0])
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	if err := running.all[0].ReloadOptions(opts); err != nil {
		t.Fatal(err)
	}
	for _, u := range opts.Users {
		if u.Username == "router" && !strings.Contains(strings.Join(u.Permissions.Publish.Allow, " "), "sink-added") {
			t.Errorf("the router has no right to the new sink: %v", u.Permissions.Publish.Allow)
		}
	}
}

// freePort is a port for a server that takes no other's word for which one it
// has. It is none of those that a system gives away by itself, so that nobody
// else is given it before the server has begun.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(16_000 + rand.IntN(16_000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		l.Close()
		return port
	}
	t.Fatal("of 100 ports none is free")
	return ""
}

// TestUsersHaveTheRightsOfTheirRoles: what the rendered file gives its users is
// what the program says that they need, for the configuration at hand.
func TestUsersHaveTheRightsOfTheirRoles(t *testing.T) {
	for _, name := range []string{"distributed", "everything, distributed", "long names"} {
		t.Run(name, func(t *testing.T) {
			m := render(t, vals(t, cases()[name]))
			var conf string
			for _, c := range all[*corev1.ConfigMap](m) {
				if c.Data["nats.conf"] != "" {
					conf = c.Data["nats.conf"]
				}
			}
			for _, v := range append(variables(conf), "POD_NAME") {
				t.Setenv(v, "p"+strings.ToLower(v))
			}
			conf = withoutFiles(conf)
			opts, err := server.ProcessConfigFile(file(t, "nats.conf", conf))
			if err != nil {
				t.Fatalf("%v\n%s", err, conf)
			}
			found := 0
			for _, u := range opts.Users {
				want := rights{}
				switch u.Username {
				case "console":
					for _, role := range []string{"ingress", "router", "console"} {
						want = want.and(printedRights(t, configOf(t, m), role))
					}
				case "system":
					continue
				default:
					want = printedRights(t, configOf(t, m), u.Username).sorted()
				}
				found++
				if d := cmp.Diff(want, rightsOf(u).sorted()); d != "" {
					t.Errorf("user %s: %s", u.Username, d)
				}
			}
			if found < 3 {
				t.Errorf("found %d users, want 3 at least", found)
			}
		})
	}
}

func rightsOf(u *server.User) rights {
	p := u.Permissions
	return rights{
		"publish":   {"allow": p.Publish.Allow, "deny": p.Publish.Deny},
		"subscribe": {"allow": p.Subscribe.Allow, "deny": p.Subscribe.Deny},
	}
}
