package app

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/console"
)

// reloading is a Penstock that runs a file.
type reloading struct {
	*process
	file string
	logs *lines
}

// lines is a log that can be read while it is written.
type lines struct {
	t  *testing.T
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// runFile is run of a file that can be changed afterwards. change adapts the
// options.
func runFile(t *testing.T, dir, yaml string, change func(*Options)) *reloading {
	t.Helper()
	p := &reloading{file: filepath.Join(t.TempDir(), "penstock.yaml"), logs: &lines{t: t}}
	p.write(t, dir, yaml)
	load := func() (*config.Config, config.Mistakes) { return Load([]string{p.file}, LoadOptions{}) }
	c, ms := load()
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatal(fatal)
	}
	o := Options{Version: "test", forgetAfter: 2 * time.Second, Load: load, Logger: slog.New(slog.NewTextHandler(p.logs, nil))}
	if change != nil {
		change(&o)
	}
	a, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	p.process = &process{App: a, t: t}
	var once sync.Once
	p.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
			if t.Failed() {
				t.Logf("log:\n%s", p.logs)
			}
		})
	}
	t.Cleanup(p.stop)
	return p
}

// write puts another content in the place of the file, as an editor does.
func (p *reloading) write(t *testing.T, dir, yaml string) {
	t.Helper()
	if err := os.WriteFile(p.file+"~", []byte(fullYAML(dir, yaml)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(p.file+"~", p.file); err != nil {
		t.Fatal(err)
	}
}

// reloaded expects the file to be taken.
func (p *reloading) reloaded(t *testing.T) console.ReloadResult {
	t.Helper()
	r := p.reloads.Reload(t.Context(), false)
	if !r.OK {
		t.Fatalf("the reload was refused: %s %+v", r.Error, r.Mistakes)
	}
	return r
}

// versions are the sets of rules that the storm changes between. The paths are
// what an event of each kind reaches under them.
var versions = []struct {
	yaml    string
	reaches func(eventType string) []string
}{
	{`
sinks: {left: {kind: http, url: URL/left}, right: {kind: http, url: URL/right}}
routes: [{match: [">"], to: [left]}]
`, func(string) []string { return []string{"/left"} }},
	{`
sinks: {left: {kind: http, url: URL/left}, right: {kind: http, url: URL/right}, extra: {kind: http, url: URL/extra}}
routes: [{match: [">"], to: [right, extra]}]
`, func(string) []string { return []string{"/extra", "/right"} }},
	{`
sinks: {left: {kind: http, url: URL/left, concurrency: 3}, right: {kind: http, url: URL/right, headers: {X-A: b}}}
routes:
  - {match: ["order.>"], when: data.id == 7, to: [left]}
  - {match: ["contact.>"], to: [right]}
`, func(eventType string) []string {
		if strings.HasPrefix(eventType, "order") {
			return []string{"/left"}
		}
		return []string{"/right"}
	}},
}

// TestReloadsWhileEventsFlow changes the file under load again and again. Each
// event reaches exactly what the rules say that were in force when it was
// stored, once.
func TestReloadsWhileEventsFlow(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	dir := t.TempDir()
	yaml := func(i int) string { return strings.ReplaceAll(versions[i].yaml, "URL", r.URL) }
	p := runFile(t, dir, yaml(0), nil)
	var mu sync.Mutex
	stored := map[uint64]string{} // the type by sequence
	ids := map[uint64]string{}
	ctx, stop := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for s := range 4 {
		senders.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				typ := []string{"order.created", "contact.created"}[n%2]
				id := fmt.Sprintf("e-%d-%d", s, n)
				got, err := tryPost(t.Context(), p.url(), body(id, typ))
				if err != nil || got.Status != http.StatusAccepted {
					t.Errorf("%s was answered %d %s, %v", id, got.Status, got.Error, err)
					return
				}
				mu.Lock()
				stored[got.Seq], ids[got.Seq] = typ, id
				mu.Unlock()
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(stored) }
	type change struct {
		from    uint64
		version int
	}
	changes := []change{{0, 0}}
	const reloads = 40
	for k := 1; k <= reloads; k++ {
		before := count()
		eventually(t, "some events between two reloads", func() bool { return count() >= before+10 })
		v := k % len(versions)
		if k == reloads {
			v = 1 // so that the sink that comes and goes is there
		}
		p.write(t, dir, yaml(v))
		if got := p.reloaded(t); got.FromSeq > 0 {
			changes = append(changes, change{got.FromSeq, v})
		}
	}
	before := count()
	eventually(t, "some events at the end", func() bool { return count() >= before+10 })
	stop()
	senders.Wait()
	want := map[string][]string{}
	for seq, typ := range stored {
		v := 0
		for _, c := range changes {
			if c.from <= seq {
				v = c.version
			}
		}
		want[ids[seq]] = versions[v].reaches(typ)
	}
	total := 0
	for _, paths := range want {
		total += len(paths)
	}
	eventually(t, "all is delivered and nothing is under way", func() bool {
		n, _ := underWay(p.AdminAddr().String())
		return n == 0 && len(r.got()) >= total
	})
	got := map[string][]string{}
	for _, g := range r.got() {
		id := g.header.Get("Webhook-Id")
		got[id] = append(got[id], g.path)
	}
	wrong := 0
	for _, id := range slices.Sorted(maps.Keys(want)) {
		slices.Sort(got[id])
		if !slices.Equal(got[id], want[id]) && wrong < 20 {
			wrong++
			t.Errorf("%s reached %v, want %v", id, got[id], want[id])
		}
	}
	if len(changes) < reloads {
		t.Errorf("%d changes of the rules, want %d", len(changes)-1, reloads)
	}
	eventually(t, "one version of the routes is left", func() bool { return p.reloads.ReloadState().Versions == 1 })
	t.Logf("%d events, %d deliveries, %d changes", len(want), total, len(changes)-1)
}
