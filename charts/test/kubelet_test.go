package charttest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// patience is how long a test waits for what should come soon.
const patience = 2 * time.Minute

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for: %s", patience, what)
		}
	}
}

// node runs containers of a manifest as processes of this machine: it gives
// them their environment and files, and other addresses than those of a cluster.
type node struct {
	m manifest
	// addresses are what stands in the manifest, and what is here.
	addresses []string
	// folder stands for the mounts; a fresh one for each container.
	files map[string]string // below /etc/penstock
	own   map[string]string // keys of Secrets that the user made
	uid   string            // of the pod
}

// environment resolves that of a container as a kubelet does.
func (n node) environment(t *testing.T, c corev1.Container) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, from := range c.EnvFrom {
		for k, v := range n.secret(t, from.SecretRef.Name) {
			env[k] = v
		}
	}
	for _, e := range c.Env {
		switch from := e.ValueFrom; {
		case from == nil:
			env[e.Name] = n.here(expand(e.Value, env))
		case from.SecretKeyRef != nil:
			env[e.Name] = n.secret(t, from.SecretKeyRef.Name)[from.SecretKeyRef.Key]
		case from.FieldRef != nil:
			env[e.Name] = map[string]string{"metadata.uid": n.uid, "metadata.name": n.uid}[from.FieldRef.FieldPath]
		}
	}
	return env
}

func (n node) secret(t *testing.T, name string) map[string]string {
	t.Helper()
	if strings.HasPrefix(name, "own-") {
		return n.own
	}
	out := map[string]string{}
	for k, v := range one[*corev1.Secret](t, n.m, name).Data {
		out[k] = string(v)
	}
	return out
}

// expand fills in $(NAME), as a kubelet does.
func expand(text string, env map[string]string) string {
	for k, v := range env {
		text = strings.ReplaceAll(text, "$("+k+")", v)
	}
	return text
}

func (n node) here(text string) string { return strings.NewReplacer(n.addresses...).Replace(text) }

// command is the container's, with more arguments of the test.
func (n node) command(t *testing.T, c corev1.Container, more ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	for name, text := range n.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(n.here(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := n.environment(t, c)
	var args []string
	for _, a := range c.Args {
		args = append(args, strings.ReplaceAll(n.here(expand(a, env)), "/etc/penstock/", dir+"/"))
	}
	cmd := exec.Command(program(t), append(args, more...)...)
	cmd.Dir = dir
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd
}

// run runs a container to its end, which has to be a success.
func (n node) run(t *testing.T, c corev1.Container) string {
	t.Helper()
	out, err := n.command(t, c).CombinedOutput()
	if err != nil {
		t.Fatalf("container %s: %v\n%s", c.Name, err, out)
	}
	return string(out)
}

// process is a container that serves.
type process struct {
	webhooks, admin string // addresses
	output          *output
	cmd             *exec.Cmd
	ended           chan struct{}
	err             error
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// serve starts a container and waits until it serves. It is stopped at the end
// of the test, and has to stop without an error.
func (n node) serve(t *testing.T, c corev1.Container, more ...string) *process {
	t.Helper()
	p := &process{output: &output{}, ended: make(chan struct{})}
	p.cmd = n.command(t, c, append([]string{"--listen=127.0.0.1:0", "--admin=127.0.0.1:0"}, more...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		<-p.ended
		if p.err != nil {
			t.Errorf("container %s: %v\n%s", c.Name, p.err, p.output)
		}
	})
	eventually(t, "container "+c.Name+" serves", func() bool {
		select {
		case <-p.ended:
			t.Fatalf("container %s has ended: %v\n%s", c.Name, p.err, p.output)
		default:
		}
		return p.serving()
	})
	return p
}

// serving reads from the log where the process listens.
func (p *process) serving() bool {
	for sc := bufio.NewScanner(strings.NewReader(p.output.String())); sc.Scan(); {
		var line struct {
			Msg, Admin string
			Metrics    string   // at the same port, where there is no admin API
			Post       []string `json:"post_to"`
		}
		if json.Unmarshal(sc.Bytes(), &line) != nil || line.Msg != "serving" {
			continue
		}
		p.admin = strings.TrimSuffix(strings.TrimPrefix(line.Admin+line.Metrics, "http://"), "/metrics")
		if len(line.Post) > 0 {
			p.webhooks, _, _ = strings.Cut(strings.TrimPrefix(line.Post[0], "http://"), "/")
		}
		return true
	}
	return false
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// container is that of a workload and a name.
func container(t *testing.T, m manifest, kind, workload, name string) corev1.Container {
	t.Helper()
	for _, w := range workloads(m) {
		if w.kind != kind || !strings.HasPrefix(w.GetName(), workload) {
			continue
		}
		for _, c := range w.containers() {
			if c.Name == name {
				return c
			}
		}
	}
	t.Fatalf("there is no container %s in a %s %s", name, kind, workload)
	return corev1.Container{}
}
