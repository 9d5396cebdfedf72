package charttest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestUpgradeLeavesNoEventsBehind: an upgrade that would put the store elsewhere is
// refused, with what to do, as long as nobody says that it is meant. Without a
// cluster to ask everything renders.
func TestUpgradeLeavesNoEventsBehind(t *testing.T) {
	t.Parallel()
	const external = "mode: distributed\nnats: {enabled: false}\nexternalNats: {url: 'tls://n', credentials: {existingSecret: own-nkeys}}"
	for name, tt := range map[string]struct{ before, after, want string }{
		"to distributed":      {"{}", "mode: distributed", "remove StatefulSet demo-penstock, which has the queue"},
		"to external":         {"{}", external, "remove StatefulSet demo-penstock, which has the queue"},
		"to standalone":       {"mode: distributed", "{}", "would start with an empty queue"},
		"external, to inside": {external, "{}", "would start with an empty queue"},
		"bundled to external": {"mode: distributed", external, "keeps its events in StatefulSet demo-penstock-nats"},
		"external to bundled": {external, "mode: distributed", ""},
		"standalone as it is": {"{}", "{}", ""},
		"bundled as it is":    {"mode: distributed", "mode: distributed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upgrade := rendering{upgrade: true, cluster: asCluster(t, render(t, vals(t, tt.before)))}
			v := vals(t, tt.after)
			_, err := upgrade.render(t, v)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "allowStoreChange: true") {
				t.Errorf("upgrade: %v\nwant %s", err, tt.want)
			}
			if _, err := upgrade.render(t, with(v, []string{"allowStoreChange"}, true)); err != nil {
				t.Errorf("an upgrade that is meant: %v", err)
			}
			if _, err := (rendering{upgrade: true}).render(t, v); err != nil {
				t.Errorf("without a cluster: %v", err)
			}
		})
	}
}

// TestServersAreOfTheVersionThatIsTested: the image of the bundled servers is the
// version that the product and its tests are built with.
func TestServersAreOfTheVersionThatIsTested(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(repository + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`nats-server/v2 v([0-9.]+)`).FindSubmatch(mod)
	if version == nil {
		t.Fatal("go.mod requires no nats-server")
	}
	c := container(t, render(t, vals(t, "mode: distributed")), "StatefulSet", "demo-penstock-nats", "nats")
	if want := "docker.io/nats:" + string(version[1]) + "-alpine"; c.Image != want {
		t.Errorf("the bundled servers are %s, want %s", c.Image, want)
	}
}

// toForwarded is the command by which docs/backup.md makes the file of the ConfigMap
// one for a forwarded port.
const toForwarded = `s#^  url: .*#  url: nats://${PENSTOCK_NATS_USER}:${PENSTOCK_NATS_PASSWORD}@127.0.0.1:4222#`

// forwarded is the configuration of m for a port of this machine, made as the page
// says, and the environment that a user of the servers needs for it.
func forwarded(t *testing.T, m manifest, s servers) (path string, as func(user string) []string) {
	t.Helper()
	page, err := os.ReadFile(repository + "/docs/backup.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, []byte("sed -i '"+toForwarded+"' cluster.yaml")) {
		t.Errorf("docs/backup.md does not have the command %s", toForwarded)
	}
	path = file(t, "cluster.yaml", configOf(t, m))
	if out, err := exec.Command("sed", "-i", strings.ReplaceAll(toForwarded, "127.0.0.1:4222", s.addresses[1]), path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	secret := one[*corev1.Secret](t, m, "demo-penstock-nats-auth")
	return path, func(user string) []string {
		return []string{"PENSTOCK_NATS_USER=" + user, "PENSTOCK_NATS_PASSWORD=" + string(secret.Data[user+"-password"])}
	}
}

// TestBackupOfTheBundledServers saves what the servers of the chart hold as their
// user backup, and restores it into others.
func TestBackupOfTheBundledServers(t *testing.T) {
	m := render(t, vals(t, "mode: distributed\nnats: {replicas: 1}"))
	n := bundled(t, m)
	n.testDelivery(t, n.serveRole(t, "ingress"), n.serveRole(t, "console"))

	saved := filepath.Join(t.TempDir(), "monday.backup")
	config, as := forwarded(t, m, n.servers)
	if out := must(t, as("backup"), "backup", "-c", config, saved); !strings.Contains(out, "PENSTOCK_EVENTS") {
		t.Errorf("backup printed\n%s", out)
	}
	other := bundled(t, m)
	config, as = forwarded(t, m, other.servers)
	if out := must(t, as("backup"), "restore", "-c", config, saved); !strings.Contains(out, "restored and compared") {
		t.Errorf("restore printed\n%s", out)
	}
	must(t, as("provisioner"), "provision", "-c", config)
	other.shows(t, n.last, other.serveRole(t, "console"))
}

// TestMoveFromStandaloneToTheBundledServers is what docs/backup.md says of the move
// between two releases.
func TestMoveFromStandaloneToTheBundledServers(t *testing.T) {
	single := render(t, vals(t, "{}"))
	old := installed{node: node{m: single, files: map[string]string{"penstock.yaml": configOf(t, single)}}}
	p := old.serve(t, container(t, single, "StatefulSet", "demo-penstock", "penstock"), "--data-dir="+t.TempDir())
	old.testDelivery(t, p, p)

	m := render(t, vals(t, "mode: distributed\nnats: {replicas: 1}"))
	n := bundled(t, m)
	config, as := forwarded(t, m, n.servers)
	token := one[*corev1.Secret](t, single, "demo-penstock-quickstart").Data["admin-token"]
	env := append(as("backup"), "PENSTOCK_TOKEN="+string(token))
	if out := must(t, env, "promote", "--server", "http://"+p.admin, "--to", config); !strings.Contains(out, "PENSTOCK_EVENTS") {
		t.Errorf("promote printed\n%s", out)
	}
	console := n.serveRole(t, "console")
	n.shows(t, old.last, console)
	n.testDelivery(t, n.serveRole(t, "ingress"), console)
}

// installed is a release that runs on this machine.
type installed struct {
	node
	servers servers
	last    string // the id of the event that was sent last
}

// bundled starts the servers of m, and makes the streams.
func bundled(t *testing.T, m manifest) *installed {
	t.Helper()
	s := startServers(t, m, 1, t.TempDir())
	r := &installed{node: node{m: m, files: map[string]string{"penstock.yaml": configOf(t, m)}, addresses: s.addresses}, servers: s}
	r.run(t, container(t, m, "Job", "demo-penstock-provision", "provision"))
	return r
}

func (r *installed) serveRole(t *testing.T, role string) *process {
	t.Helper()
	return r.serve(t, container(t, r.m, "Deployment", "demo-penstock-"+role, "penstock"))
}

// testDelivery is node's, and remembers what was sent.
func (r *installed) testDelivery(t *testing.T, ingress, console *process) {
	t.Helper()
	r.node.testDelivery(t, ingress, console)
	r.last = "3f0c1b1e-0000-4000-8000-000000000001"
}

// shows asks the console for an event.
func (r *installed) shows(t *testing.T, id string, console *process) {
	t.Helper()
	n := r.node
	n.addresses = append(n.addresses, "http://demo-penstock-admin:8081", "http://"+console.admin)
	n.uid = id
	if out := n.run(t, container(t, r.m, "Pod", "demo-penstock-test", "delivered")); !strings.Contains(out, id) {
		t.Errorf("events show %s printed\n%s", id, out)
	}
}

// TestStoreTakesHalfOfTheVolume: also of a large one, of which the program by itself
// would take 10 GiB.
func TestStoreTakesHalfOfTheVolume(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ values, want string }{
		"small":              {"{}", ""}, // half of what is free, by the program
		"large":              {"standalone: {persistence: {size: 50Gi}}", "25600MiB"},
		"named":              {"standalone: {persistence: {size: 50Gi}}\nconfig: {broker: {max_bytes: 30GiB}}", "30GiB"},
		"claim of one's own": {"standalone: {persistence: {size: 50Gi, existingClaim: own-claim}}", ""},
		"no volume":          {"standalone: {persistence: {size: 50Gi, enabled: false}}", ""},
		"the example":        {"", "25600MiB"},
		"bundled":            {"mode: distributed\nnats: {persistence: {size: 50Gi}}", "25600MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := valuesFile(t, "one-node.yaml")
			if tt.values != "" {
				v = vals(t, tt.values)
			}
			var c struct {
				Broker struct {
					MaxBytes string `json:"max_bytes"`
				}
			}
			if err := yaml.Unmarshal([]byte(configOf(t, render(t, v))), &c); err != nil {
				t.Fatal(err)
			}
			if c.Broker.MaxBytes != tt.want {
				t.Errorf("broker.max_bytes is %q, want %q", c.Broker.MaxBytes, tt.want)
			}
		})
	}
}

// TestRestoreOfStandalone saves a running pod through its admin API, and restores
// into another volume as docs/backup.md says: from the ConfigMap alone, with no
// secret in the environment.
func TestRestoreOfStandalone(t *testing.T) {
	t.Parallel()
	m := render(t, vals(t, "{}"))
	c := container(t, m, "StatefulSet", "demo-penstock", "penstock")
	old := installed{node: node{m: m, files: map[string]string{"penstock.yaml": configOf(t, m)}}}
	p := old.serve(t, c, "--data-dir="+t.TempDir())
	old.testDelivery(t, p, p)
	saved := filepath.Join(t.TempDir(), "monday.backup")
	token := one[*corev1.Secret](t, m, "demo-penstock-quickstart").Data["admin-token"]
	must(t, []string{"PENSTOCK_TOKEN=" + string(token)}, "backup", "--server", "http://"+p.admin, saved)

	dir := t.TempDir()
	config := file(t, "penstock.yaml", strings.ReplaceAll(configOf(t, m), "/var/lib/penstock", dir))
	must(t, nil, "restore", "--config="+config, "--replace", saved)
	fresh := installed{node: node{m: m, files: map[string]string{"penstock.yaml": configOf(t, m)}}}
	fresh.shows(t, old.last, fresh.serve(t, c, "--data-dir="+dir))
}
