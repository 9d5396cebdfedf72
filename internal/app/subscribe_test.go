package app

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// program builds a main package of this module and returns the executable.
func program(t *testing.T, pkg string) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-o", exe, pkg)
	cmd.Dir = moduleRoot
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return exe
}

// output is what a process has written so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
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

// reader is the README's subscriber, as a process.
type reader struct {
	t   *testing.T
	cmd *exec.Cmd
	out output
}

func startReader(t *testing.T, exe, url, name, subject string) *reader {
	t.Helper()
	r := &reader{t: t, cmd: exec.Command(exe, "-url", url, "-name", name, "-subject", subject)}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			_ = r.cmd.Process.Kill()
			_ = r.cmd.Wait()
		}
	})
	return r
}

// has waits for n lines and returns the ids on them.
func (r *reader) has(n int) []string {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%s has read %d events", r.cmd.Args, n), func() bool {
		return strings.Count(r.out.String(), "\n") >= n
	})
	var ids []string
	for line := range strings.Lines(r.out.String()) {
		f := strings.Fields(line)
		ids = append(ids, f[len(f)-1])
	}
	return ids
}

func (r *reader) stop() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		r.t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		r.t.Errorf("%s: %v\n%s", r.cmd.Args, err, r.out.String())
	}
}

// listening is the configuration of a store that one user may read from.
func listening(dir string) string {
	return fmt.Sprintf("broker: {data_dir: %q, durability: process, max_bytes: 256MiB, dedupe_window: 10m, listen: \"127.0.0.1:0\", users: [{name: app, password: a-password}]}\n"+
		"sinks: {screen: {kind: log}}\nroutes: [{match: [\">\"], to: [screen]}]\n", dir)
}

func natsURL(p *process) string { return "nats://app:a-password@" + p.Store().Listen }

func TestReadmeSubscriber(t *testing.T) {
	t.Parallel()
	exe := program(t, "./examples/subscribe")
	dir := t.TempDir()
	p := run(t, dir, listening(dir))
	one := startReader(t, exe, natsURL(p), "billing", "orders.invoice.paid")
	all := startReader(t, exe, natsURL(p), "paid", "*.invoice.paid")
	for i, typ := range []string{"orders/invoice.paid", "subscription/invoice.paid", "contact.created", "orders/invoice.paid"} {
		accepted(t, p.url(), body(fmt.Sprint("e", i), typ))
	}
	if got := fmt.Sprint(one.has(2)); got != "[e0 e3]" {
		t.Errorf("orders.invoice.paid: read %s, want [e0 e3]", got)
	}
	if got := fmt.Sprint(all.has(3)); got != "[e0 e1 e3]" {
		t.Errorf("*.invoice.paid: read %s, want [e0 e1 e3]", got)
	}
	one.stop()
	all.stop()

	// What is stored while nobody reads is read later, once, even after a
	// restart of the store.
	accepted(t, p.url(), body("e4", "orders/invoice.paid"))
	p.stop()
	p = run(t, dir, listening(dir))
	accepted(t, p.url(), body("e5", "one-time-order.invoice.paid"))
	one = startReader(t, exe, natsURL(p), "billing", "orders.invoice.paid")
	all = startReader(t, exe, natsURL(p), "paid", "*.invoice.paid")
	if got := fmt.Sprint(one.has(1)); got != "[e4]" {
		t.Errorf("orders.invoice.paid: after a restart read %s, want [e4]", got)
	}
	// The server may have handed e4 to the reader that was just gone: then it
	// comes again, after e5.
	got := all.has(2)
	slices.Sort(got)
	if fmt.Sprint(got) != "[e4 e5]" {
		t.Errorf("*.invoice.paid: after a restart read %s, want e4 and e5", got)
	}
	one.stop()
	all.stop()
}

// A plain subscription sees what is stored, as it is stored; the same user
// cannot publish.
func TestCoreSubscriberReadsAndCannotPublish(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := run(t, dir, listening(dir))
	denied := make(chan error, 16)
	nc, err := nats.Connect(natsURL(p), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync("orders.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	sent := body("6A1C1D2E-0F7B-4E51-9D55-1B1A3F6F2C01", "orders/invoice.paid")
	stored := accepted(t, p.url(), sent)
	m, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatalf("core subscription: %v", err)
	}
	if m.Subject != "orders.invoice.paid" || !bytes.Equal(m.Data, sent) || m.Header.Get("Ce-Id") != stored.ID ||
		m.Header.Get("Ce-Type") != "orders/invoice.paid" {
		t.Errorf("core subscriber got %s %v\n%s", m.Subject, m.Header, m.Data)
	}
	// Only the stream tells duplicates apart.
	if again := accepted(t, p.url(), sent); !again.Duplicate {
		t.Errorf("the same body again: %+v, want a duplicate", again)
	}
	if _, err := sub.NextMsg(patience); err != nil {
		t.Errorf("core subscription, of the duplicate: %v", err)
	}

	if err := nc.Publish("orders.invoice.paid", []byte("forged")); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-denied:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("publishing as a reader: %v, want a permissions violation", err)
		}
	case <-time.After(patience):
		t.Error("a reader may publish")
	}
	if next := accepted(t, p.url(), body("next", "orders/invoice.paid")); next.Seq != stored.Seq+1 {
		t.Errorf("the next event has sequence %d, want %d: something was stored between", next.Seq, stored.Seq+1)
	}
}

// The page shows the code that the test above runs.
func TestReadmeShowsTheSubscriber(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(filepath.Join(moduleRoot, "examples/subscribe/main.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(source), "// begin\n")
	region, _, end := strings.Cut(rest, "// end\n")
	if !ok || !end {
		t.Fatal("examples/subscribe/main.go has no region between the marks")
	}
	var shown []string
	for _, b := range fences(t, "docs/subscribing.md") {
		if b.tag == "go" {
			shown = append(shown, b.text)
		}
	}
	if len(shown) != 1 || strings.TrimSpace(shown[0]) != strings.TrimSpace(region) {
		t.Errorf("docs/subscribing.md shows %d blocks of Go, want one, the region of examples/subscribe/main.go:\n%s", len(shown), region)
	}
}
