package app

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/event"
)

// oneSink is a configuration that sends everything to a sink.
func oneSink(url, keys string) string {
	return "sinks: {crm: {kind: http, url: " + url + keys + "}}\nroutes: [{match: [\">\"], to: [crm]}]\n"
}

func TestABadFileChangesNothing(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	dir := t.TempDir()
	p := runFile(t, dir, oneSink(r.URL, ""), nil)
	if m := metrics(t, p.process); !strings.Contains(m, "penstock_config_last_reload_successful 1\n") {
		t.Errorf("before any reload the metric is not 1")
	}
	for name, tt := range map[string]struct{ yaml, want string }{
		"not YAML":        {"sinks: {", "not valid YAML"},
		"a mistake":       {oneSink(r.URL, ", timeout: soon"), "sinks.crm.timeout: needs a duration"},
		"server":          {"server: {listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", max_body: 2MiB}\n" + oneSink(r.URL, ""), "server.max_body: cannot be changed"},
		"broker":          {fmt.Sprintf("broker: {data_dir: %q, durability: process, max_bytes: 256MiB, dedupe_window: 20m}\n", dir) + oneSink(r.URL, ""), "broker.dedupe_window: cannot be changed"},
		"two wrong sinks": {"sinks: {a: {kind: log, x: 1}, b: {kind: log, y: 1}}\n", "sinks.b.y: unknown key"},
	} {
		p.write(t, dir, tt.yaml)
		got := p.reloads.Reload(t.Context(), false)
		var texts []string
		for _, m := range got.Mistakes {
			texts = append(texts, m.Text)
		}
		if all := strings.Join(texts, "\n"); got.OK || !strings.Contains(all, tt.want) || !strings.Contains(all, p.file+":") && !strings.Contains(all, "penstock.yaml") {
			t.Errorf("%s: %+v, want it refused with %q", name, got, tt.want)
		}
	}
	s := p.reloads.ReloadState()
	if s.OK || s.By != byAPI || s.Error == "" || len(s.Mistakes) == 0 {
		t.Errorf("the state is %+v, want the last refusal", s)
	}
	if m := metrics(t, p.process); !strings.Contains(m, "penstock_config_last_reload_successful 0\n") {
		t.Errorf("after a refusal the metric is not 0")
	}
	accepted(t, p.url(), body("still", "order.created"))
	eventually(t, "the old configuration still delivers", func() bool { return len(r.got()) == 1 })
	p.write(t, dir, oneSink(r.URL, ""))
	p.reloaded(t)
	if s := p.reloads.ReloadState(); !s.OK || s.Error != "" || len(s.Mistakes) != 0 {
		t.Errorf("the state of a mended file is %+v", s)
	}
	m := metrics(t, p.process)
	if !strings.Contains(m, "penstock_config_last_reload_successful 1\n") || !strings.Contains(m, "penstock_config_last_reload_success_timestamp_seconds 1.") {
		t.Errorf("the metrics of a mended file:\n%s", m)
	}
}

// TestChangesOfFilesAreNoticed changes files in the ways in which editors,
// ConfigMaps and secrets do.
func TestChangesOfFilesAreNoticed(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	root, data := t.TempDir(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	path := func(parts ...string) string { return filepath.Join(append([]string{root}, parts...)...) }
	text := func(name string) []byte {
		return []byte(fullYAML(data, strings.ReplaceAll(oneSink(r.URL+"/"+name, ", auth: {bearer: {token_file: "+path("token")+"}}"), "PATH", name)))
	}
	// As kubelet lays a ConfigMap out: the file is a link to ..data, which is one.
	version := func(n int, content []byte) {
		t.Helper()
		at := fmt.Sprintf("..v%d", n)
		must(os.Mkdir(path("map", at), 0o755))
		must(os.WriteFile(path("map", at, "penstock.yaml"), content, 0o600))
		must(os.Symlink(at, path("map", "..data_tmp")))
		must(os.Rename(path("map", "..data_tmp"), path("map", "..data")))
		if n > 1 {
			must(os.RemoveAll(path("map", fmt.Sprintf("..v%d", n-1))))
		}
	}
	must(os.Mkdir(path("map"), 0o755))
	must(os.WriteFile(path("token"), []byte("t1"), 0o600))
	version(1, text("one"))
	must(os.Symlink(filepath.Join("..data", "penstock.yaml"), path("map", "penstock.yaml")))
	file := path("map", "penstock.yaml")
	paths := []string{file, path("more")}
	must(os.Mkdir(path("more"), 0o755))
	must(os.WriteFile(path("more", "empty.yaml"), nil, 0o600))
	p := runFile(t, data, "sinks: {x: {kind: log}}\nroutes: [{match: [\">\"], to: [x]}]\n", func(o *Options) {
		o.Load = func() (*config.Config, config.Mistakes) { return Load(paths, LoadOptions{}) }
		o.Paths = paths
	})
	n := 0
	reaches := func(what, path, token string) {
		t.Helper()
		eventually(t, what, func() bool {
			n++
			accepted(t, p.url(), body(fmt.Sprint("e", n), "order.created"))
			for _, g := range r.got() {
				if g.path == path && g.header.Get("Authorization") == "Bearer "+token {
					return true
				}
			}
			return false
		})
	}
	reaches("what changed between the loading and the start", "/one", "t1")
	version(2, text("two"))
	reaches("a ConfigMap's swap", "/two", "t1")
	version(3, text("three"))
	reaches("another one", "/three", "t1")
	must(os.WriteFile(path("token"), []byte("t2"), 0o600))
	reaches("a secret's file", "/three", "t2")
	must(os.WriteFile(path("token~"), []byte("t3"), 0o600))
	must(os.Rename(path("token~"), path("token")))
	reaches("a renamed secret's file", "/three", "t3")
	must(os.WriteFile(path("more", "extra.yaml"), []byte("sinks: {extra: {kind: http, url: "+r.URL+"/extra, auth: {bearer: {token: x}}}}\nroutes: [{match: [\">\"], to: [extra]}]\n"), 0o600))
	reaches("another file in a folder", "/extra", "x")
	must(os.Remove(path("more", "extra.yaml")))
	eventually(t, "a file taken out of a folder", func() bool { return p.router.Worker("extra") == nil })
	// A bad file is told of once, however often the files are compared.
	must(os.WriteFile(path("more", "bad.yaml"), []byte("sinks: {"), 0o600))
	eventually(t, "a bad file", func() bool { return !p.reloads.ReloadState().OK })
	must(os.WriteFile(path("more", "other.txt"), nil, 0o600))
	p.reloads.Reload(t.Context(), true) // a dry run is no look
	must(os.Remove(path("more", "bad.yaml")))
	eventually(t, "the mended folder", func() bool { return p.reloads.ReloadState().OK })
	if got := strings.Count(p.logs.String(), "configuration not reloaded"); got != 1 {
		t.Errorf("the bad file was logged %d times, want once", got)
	}
}

// TestVersionsInUse: routes of before are in use while events of their time
// wait, and not because they are remembered a little longer.
func TestVersionsInUse(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	r := newReceiver(t, func(int, got) int { <-release; return http.StatusOK })
	dir := t.TempDir()
	yaml := func(pattern string) string { return strings.Replace(oneSink(r.URL, ""), ">", pattern, 1) }
	p := runFile(t, dir, yaml(">"), nil)
	reload := func(pattern string) {
		t.Helper()
		p.write(t, dir, yaml(pattern))
		p.reloaded(t)
	}
	versions := func() int { return p.reloads.ReloadState().Versions }
	reload("order.>")
	if n := versions(); n != 1 {
		t.Errorf("%d versions are in use of an empty store, want 1", n)
	}
	accepted(t, p.url(), body("one", "order.created"))
	eventually(t, "the event is under way", func() bool { return p.router.Worker("crm").State().Running == 1 })
	reload("contact.>")
	if n := versions(); n != 2 {
		t.Errorf("%d versions are in use while an event waits, want 2", n)
	}
	close(release)
	eventually(t, "one version is in use when it is delivered", func() bool { return versions() == 1 })
	if s := p.reloads.ReloadState(); s.RulesAt != s.LoadedAt || s.RulesAt.IsZero() {
		t.Errorf("the rules are in force since %s, loaded at %s; want the same", s.RulesAt, s.LoadedAt)
	}
}

// TestComparingNoticesWhatNobodyTells asks as the ticker does.
func TestComparingNoticesWhatNobodyTells(t *testing.T) {
	t.Parallel()
	p, dir := &reloading{file: filepath.Join(t.TempDir(), "penstock.yaml")}, t.TempDir()
	p.write(t, dir, oneSink("http://127.0.0.1:1/one", ""))
	load := func() (*config.Config, config.Mistakes) { return Load([]string{p.file}, LoadOptions{}) }
	c, ms := load()
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatal(fatal)
	}
	a, err := New(c, Options{Load: load, Paths: []string{p.file}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	w := &watch{r: a.reloads}
	a.reloads.load(false)
	if w.settled(t.Context()) || a.reloads.stale() {
		t.Error("the same files have changed")
	}
	p.write(t, dir, oneSink("http://127.0.0.1:1/two", ""))
	if !w.settled(t.Context()) || !a.reloads.stale() {
		t.Error("the change of a file was not noticed")
	}
	a.reloads.load(true)
	if !w.settled(t.Context()) {
		t.Error("a change that a dry run has read is not noticed any more")
	}
	a.reloads.load(false)
	if w.settled(t.Context()) {
		t.Error("a change that was read is noticed again")
	}
}

// TestASinkThatIsHeldOrPaused keeps what it has over reloads, and its backlog
// goes where a mended file says.
func TestASinkThatIsHeldOrPaused(t *testing.T) {
	t.Parallel()
	sick := newReceiver(t, func(int, got) int { return http.StatusServiceUnavailable })
	well := newReceiver(t, ok)
	dir := t.TempDir()
	yaml := func(url, more string) string {
		return "sinks: {crm: {kind: http, url: " + url + ", hold: {failures: 3, probe: 1h, probe_max: 1h}, retry: {initial: 200ms, max_interval: 200ms}}" + more + "}\nroutes: [{match: [\">\"], to: [crm]}]\n"
	}
	p := runFile(t, dir, yaml(sick.URL, ""), nil)
	const events = 30
	for i := range events {
		accepted(t, p.url(), body(fmt.Sprint("e", i), "order.created"))
	}
	w := p.router.Worker("crm")
	eventually(t, "the sink is held", func() bool { return w.State().State == "held" })
	p.write(t, dir, yaml(sick.URL, ", other: {kind: log}"))
	p.reloaded(t)
	if p.router.Worker("crm") != w || w.State().State != "held" {
		t.Errorf("after a change elsewhere the sink is %s, want held as before", w.State().State)
	}
	// Its retries and its backlog go to the new address.
	p.write(t, dir, yaml(well.URL, ""))
	p.reloaded(t)
	eventually(t, "everything delivered", func() bool { return len(well.byID()) == events })
	eventually(t, "nothing is under way", func() bool { n, retries := underWay(p.AdminAddr().String()); return n+retries == 0 })
	if n := len(well.got()); n != events {
		t.Errorf("%d deliveries of %d events", n, events)
	}
	// A pause is on record: it holds for a sink that is removed and comes back.
	if err := (sinkControl{p.broker, p.App}).PauseSink(t.Context(), "crm", time.Time{}); err != nil {
		t.Fatal(err)
	}
	p.write(t, dir, "sinks: {other: {kind: log}}\nroutes: [{match: [\">\"], to: [other]}]\n")
	p.reloaded(t)
	accepted(t, p.url(), body("meanwhile", "order.created"))
	p.write(t, dir, yaml(well.URL, ""))
	p.reloaded(t)
	if s := p.router.Worker("crm").State().State; s != "paused" {
		t.Errorf("the sink came back %s, want paused", s)
	}
	accepted(t, p.url(), body("later", "order.created"))
	if err := (sinkControl{p.broker, p.App}).ResumeSink(t.Context(), "crm"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what came after its return", func() bool { return len(well.byID()["later"]) == 1 })
	if n := len(well.byID()["meanwhile"]); n != 0 {
		t.Error("what was stored while the sink was not configured was delivered to it")
	}
}

// TestRetriesOverAReload: a retry that waits is made by the rules and the sink
// of the time when it is made, and one of a removed sink stays.
func TestRetriesOverAReload(t *testing.T) {
	t.Parallel()
	sick := newReceiver(t, func(int, got) int { return http.StatusServiceUnavailable })
	well := newReceiver(t, ok)
	dir := t.TempDir()
	yaml := func(url string) string {
		return strings.Replace(`
sinks: {crm: {kind: http, url: URL, retry: {initial: 1s, max_interval: 1s}}, gone: {kind: http, url: `+sick.URL+`, retry: {initial: 2s, max_interval: 2s}}}
routes: [{match: [">"], to: [crm, gone]}]
`, "URL", url, 1)
	}
	p := runFile(t, dir, yaml(sick.URL), nil)
	accepted(t, p.url(), body("one", "order.created"))
	eventually(t, "both wait for a retry", func() bool {
		return p.broker.Outstanding("crm") == 1 && p.broker.Outstanding("gone") == 1
	})
	p.write(t, dir, oneSink(well.URL, ""))
	p.reloaded(t)
	eventually(t, "the retry by the new sink", func() bool { return len(well.byID()["one"]) == 1 })
	eventually(t, "the removed sink gone has a retry", func() bool { // it may be coming due, from one subject to another
		removed, err := p.broker.RemovedSinks(t.Context())
		return err == nil && len(removed) == 1 && removed[0].Name == "gone" && removed[0].Retries == 1
	})
	p.write(t, dir, strings.ReplaceAll(yaml(well.URL), sick.URL, well.URL+"/gone"))
	p.reloaded(t)
	eventually(t, "the retry of the sink that came back", func() bool {
		return len(well.byID()["one"]) == 2
	})
}

func TestSecretsAndPathsOfSources(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	dir := t.TempDir()
	yaml := func(sources string) string { return "sources: {" + sources + "}\n" + oneSink(r.URL, "") }
	p := runFile(t, dir, yaml("clickfunnels: {kind: clickfunnels, secrets: ["+testSecret+"]}"), nil)
	accepted(t, p.url(), body("one", "order.created"))
	p.write(t, dir, yaml("clickfunnels: {kind: clickfunnels, secrets: [another-secret-of-ours]}, shop: {kind: clickfunnels, path: /webhooks/shop, secrets: ["+testSecret+"], subject_prefix: shop}"))
	p.reloaded(t)
	if got := post(t, p.url(), body("two", "order.created")); got.Status != http.StatusUnauthorized {
		t.Errorf("the old secret is answered %d, want 401", got.Status)
	}
	shop := strings.Replace(p.url(), "clickfunnels", "shop", 1)
	if got := accepted(t, shop, body("three", "order.created")); got.Subject != "shop.order.created" {
		t.Errorf("the new source stores as %s, want shop.order.created", got.Subject)
	}
	eventually(t, "the refused request is kept", func() bool {
		all, _, err := p.broker.Rejected(t.Context(), event.RejectedFilter{Limit: 10})
		return err == nil && len(all) == 1
	})
	eventually(t, "both delivered", func() bool { return len(r.byID()) == 2 })
	p.write(t, dir, yaml("clickfunnels: {kind: clickfunnels, secrets: ["+testSecret+"]}"))
	p.reloaded(t)
	if got := post(t, shop, body("four", "order.created")); got.Status != http.StatusNotFound {
		t.Errorf("the address of a removed source is answered %d, want 404", got.Status)
	}
	accepted(t, p.url(), body("five", "order.created"))
}

// TestManyReloadsAtOnce: they take turns, also with the end of the process.
func TestManyReloadsAtOnce(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	dir := t.TempDir()
	p := runFile(t, dir, oneSink(r.URL, ""), nil)
	var asking sync.WaitGroup
	results := make(chan console.ReloadResult, 400)
	for i := range 4 {
		asking.Go(func() {
			for k := range 20 {
				if i == 0 {
					p.write(t, dir, oneSink(fmt.Sprintf("%s/%d", r.URL, k%2), ""))
				}
				results <- p.reloads.Reload(t.Context(), k%5 == 4)
			}
		})
	}
	asking.Wait()
	close(results)
	for got := range results {
		if !got.OK {
			t.Errorf("a reload was refused: %s", got.Error)
		}
	}
	var ends sync.WaitGroup
	ends.Go(p.stop)
	for range 4 {
		ends.Go(func() {
			for {
				got := p.reloads.Reload(t.Context(), false)
				if got.Error == errStopping.Error() {
					return
				}
			}
		})
	}
	ends.Wait()
}

// TestAReloadRotatesTokens: who may call the admin API changes without a restart.
func TestAReloadRotatesTokens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	with := func(token string) string {
		return "server: {listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", admin_token: " + token + "}\nsinks: {a: {kind: log}}\nroutes: [{match: [\">\"], to: [a]}]\n"
	}
	p := runFile(t, dir, with("first-token"), nil)
	status := func(token string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.AdminAddr().String()+"/api/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if got := status("first-token"); got != http.StatusOK {
		t.Fatalf("the first token: %d", got)
	}
	p.write(t, dir, with("second-token"))
	if r := p.reloaded(t); !r.Changed || !r.Tokens {
		t.Errorf("the reload tells %+v, want other tokens", r)
	}
	if old, now := status("first-token"), status("second-token"); old != http.StatusUnauthorized || now != http.StatusOK {
		t.Errorf("after the reload the first token gets %d and the second %d, want 401 and 200", old, now)
	}
}
