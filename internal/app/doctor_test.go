package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/console"
)

// examined are the findings of one check.
func examined(t *testing.T, name string, o DoctorOptions) []Finding {
	t.Helper()
	var out []Finding
	for _, f := range Examine(t.Context(), o) {
		if f.Check == name {
			out = append(out, f)
		}
		if f.Status == StatusFail && f.Do == "" || f.Status == StatusWarn && f.Do == "" {
			t.Errorf("%s does not say what to do: %+v", f.Check, f)
		}
	}
	return out
}

// expect looks for a finding with that status and text.
func expect(t *testing.T, found []Finding, status, text string) {
	t.Helper()
	if !slices.ContainsFunc(found, func(f Finding) bool { return f.Status == status && strings.Contains(f.What, text) }) {
		t.Errorf("no %s with %q in %+v", status, text, found)
	}
}

// paper is a file that is examined without a process.
func paper(t *testing.T, dir, yaml string) DoctorOptions {
	t.Helper()
	file := filepath.Join(dir, "penstock.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"SET": "s3cr3t-of-the-environment", "EMPTY": ""}[name]
		return v, ok
	}
	o := DoctorOptions{Files: []string{file}, Env: env}
	if o.Config, o.Mistakes = Load(o.Files, LoadOptions{Env: env, Advice: true}); len(o.Mistakes.Fatal()) > 0 {
		o.Config = nil
	}
	return o
}

// wellYAML has nothing to complain about but what the machine is like.
func wellYAML(dir string) string {
	return fmt.Sprintf("server: {listen: \"127.0.0.1:0\", admin: \"\"}\nbroker: {data_dir: %q, durability: process}\n"+
		"sources: {clickfunnels: {kind: clickfunnels, secrets: [\"${SET}\"]}}\nsinks: {log: {kind: log}}\ndefault: log\n", dir)
}

func TestDoctorLooksAtTheFile(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	for name, tt := range map[string]struct {
		change       func(dir, yaml string) string
		check        string
		status, want string
	}{
		"a good file":       {nil, "config", StatusOK, "1 source, 1 sink, 0 routes"},
		"a warning":         {replacing("default: log", "default: log\nroutes: [{match: [no.such.type], to: [log]}]"), "config", StatusWarn, "1 warning"},
		"a mistake":         {replacing("default: log", "default: nobody"), "config", StatusFail, "1 mistake, the first: "},
		"variables":         {nil, "secrets", StatusOK, "set: SET"},
		"an unset one":      {replacing("${SET}", "${UNSET}"), "secrets", StatusWarn, "not set here: UNSET"},
		"an empty one":      {replacing("${SET}", "${SET}${EMPTY}"), "secrets", StatusWarn, "set to nothing: EMPTY"},
		"one with default":  {replacing("kind: log", "kind: log, path: \"${NONE:-stdout}\""), "secrets", StatusOK, "with a default: NONE"},
		"no variable":       {replacing("\"${SET}\"", testSecret), "secrets", StatusSkipped, "names no variable"},
		"no process":        {nil, "process", StatusSkipped, "no admin API to ask"},
		"a free port":       {nil, "ports", StatusOK, "server.listen 127.0.0.1:0 is free"},
		"a taken port":      {replacing("127.0.0.1:0", taken.Addr().String()), "ports", StatusFail, "is in use by another program"},
		"another machine's": {replacing("127.0.0.1:0", "192.0.2.1:8080"), "ports", StatusFail, "cannot be listened on"},
		"a data directory":  {nil, "durability", StatusOK, "measured: a sync would take"},
		"a file in its way": {func(dir, yaml string) string {
			return strings.ReplaceAll(yaml, dir, filepath.Join(dir, "penstock.yaml", "x"))
		},
			"data", StatusFail, "cannot be written"},
		"private":             {nil, "modes", StatusOK, "no secret and no event can be read by others"},
		"a directory for all": {func(dir, yaml string) string { _ = os.Chmod(dir, 0o755); return yaml }, "modes", StatusWarn, "is of mode 0755"},
		"a secret for all":    {withSecretFile(0o644), "modes", StatusWarn, "is of mode 0644"},
		"a secret in the file": {func(dir, yaml string) string {
			_ = os.WriteFile(filepath.Join(dir, "penstock.yaml"), nil, 0o644)
			return strings.Replace(yaml, "${SET}", "plainsecret123", 1)
		}, "modes", StatusWarn, "penstock.yaml is of mode 0644"},
		"a secret for us":       {withSecretFile(0o600), "modes", StatusOK, ""},
		"a file with secrets":   {withSecretFile(0o600), "secrets", StatusOK, "secret.txt"},
		"a sink on the machine": {nil, "sinks", StatusSkipped, "log (log): not checked: it writes on this machine"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			yaml := wellYAML(dir)
			if tt.change != nil {
				yaml = tt.change(dir, yaml)
			}
			found := examined(t, tt.check, paper(t, dir, yaml))
			expect(t, found, tt.status, tt.want)
			if strings.Contains(fmt.Sprint(found), "s3cr3t") {
				t.Errorf("a secret is in %+v", found)
			}
			left, err := filepath.Glob(filepath.Join(dir, ".penstock*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func replacing(old, with string) func(string, string) string {
	return func(_, yaml string) string { return strings.ReplaceAll(yaml, old, with) }
}

func withSecretFile(mode os.FileMode) func(string, string) string {
	return func(dir, yaml string) string {
		file := filepath.Join(dir, "secret.txt")
		if os.WriteFile(file, []byte("s3cr3t-in-a-file"), mode) != nil || os.Chmod(file, mode) != nil {
			return ""
		}
		return strings.Replace(yaml, "secrets: [\"${SET}\"]", fmt.Sprintf("secrets_file: %q", file), 1)
	}
}

func TestDoctorReachesSinks(t *testing.T) {
	t.Parallel()
	requests := make(chan struct{}, 10)
	well := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests <- struct{}{} }))
	t.Cleanup(well.Close)
	unknown := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(unknown.Close)
	const nobody = "http://127.0.0.1:1"
	for name, tt := range map[string]struct{ sink, status, want string }{
		"one that is there":    {"{kind: http, url: " + well.URL + "/s3cr3t}", StatusOK, "was reached in"},
		"one that is not":      {"{kind: http, url: " + nobody + "/s3cr3t}", StatusFail, "connection refused"},
		"one with a bad name":  {"{kind: http, url: 'http://nobody.invalid/s3cr3t'}", StatusFail, "nobody.invalid:80 cannot be reached"},
		"no TLS there":         {"{kind: http, url: " + strings.Replace(well.URL, "http", "https", 1) + "}", StatusFail, "cannot be reached"},
		"an unknown authority": {"{kind: http, url: " + unknown.URL + "}", StatusFail, "TLS handshake: "},
		"an AWS bucket":        {"{kind: s3, bucket: penstock-events, region: eu-central-1}", StatusSkipped, "the AWS SDK finds the endpoint"},
		"a bucket elsewhere":   {"{kind: s3, bucket: penstock-events, endpoint: " + well.URL + "}", StatusOK, "was reached in"},
		"a NATS":               {"{kind: nats, url: " + strings.Replace(well.URL, "http", "nats", 1) + "}", StatusOK, "was reached in"},
		"a NATS that is not":   {"{kind: nats, url: " + strings.Replace(nobody, "http", "nats", 1) + "}", StatusFail, "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			o := paper(t, dir, strings.Replace(wellYAML(dir), "sinks: {log: {kind: log}}\ndefault: log", "sinks: {it: "+tt.sink+"}\ndefault: it", 1))
			if o.Config == nil {
				t.Fatalf("configuration: %v", o.Mistakes)
			}
			found := examined(t, "sinks", o)
			expect(t, found, tt.status, tt.want)
			if strings.Contains(fmt.Sprint(found), "s3cr3t") {
				t.Errorf("a part of the URL that may be secret is in %+v", found)
			}
		})
	}
	t.Cleanup(func() {
		if len(requests) > 0 {
			t.Error("a request was sent")
		}
	})
}

// What to do depends on what is in the way.
func TestDoctorSaysTheWayBack(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"a name":        {&net.DNSError{Err: "no such host"}, "DNS"},
		"a certificate": {fmt.Errorf("TLS handshake: %w", &tls.CertificateVerificationError{Err: errors.New("expired")}), "certificate"},
		"no TLS":        {fmt.Errorf("TLS handshake: %w", tls.RecordHeaderError{Msg: "x"}), "speaks no TLS"},
		"refused":       {&net.OpError{Err: syscall.ECONNREFUSED}, "start the receiver"},
		"no way there":  {&net.OpError{Err: syscall.EHOSTUNREACH}, "firewall"},
		"anything else": {errors.New("odd"), "correct the sink's address"},
	} {
		if got := wayBack(tt.err); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want something of %q", name, got, tt.want)
		}
	}
}

// A variable that is not set here costs only the checks that need it.
func TestDoctorDoesWithoutVariables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := paper(t, dir, strings.Replace(wellYAML(dir), "sinks: {log: {kind: log}}", "sinks: {log: {kind: log}, crm: {kind: http, url: \"${UNSET}\"}}", 1))
	o.Missing = o.Mistakes.Fatal()
	o.Config, _ = Load(o.Files, LoadOptions{Env: o.Env, NoEnv: true})
	if len(o.Missing) == 0 || o.Config == nil {
		t.Fatalf("missing %v, configuration %v", o.Missing, o.Config)
	}
	expect(t, examined(t, "ports", o), StatusOK, "is free")
	expect(t, examined(t, "durability", o), StatusOK, "measured")
	expect(t, examined(t, "secrets", o), StatusWarn, "not set here: UNSET")
	expect(t, examined(t, "sinks", o), StatusSkipped, "crm (http): not checked: it needs what is not set here")
	o.Missing = append(o.Missing, config.Mistake{Path: "broker.data_dir", What: "UNSET is not set"})
	expect(t, examined(t, "data", o), StatusSkipped, "broker in the file needs what is not set here")
}

func TestDoctorAsksTheProcess(t *testing.T) {
	t.Parallel()
	down := httpReceiver(t, http.StatusServiceUnavailable, func(*http.Request) string { return "" })
	never := httpReceiver(t, http.StatusGone, func(*http.Request) string { return "" })
	p := run(t, t.TempDir(), "sinks: {down: {kind: http, url: "+down+", hold: {failures: 1, probe: 1h, probe_max: 1h}}, never: {kind: http, url: "+never+"}, quiet: {kind: log}}\n"+
		"routes: [{match: [\">\"], to: [down, never, quiet]}]\n")
	accepted(t, p.url(), body("one", "order.created"))
	for n := range 6 { // a sender whose clock is always as far off
		data := body(fmt.Sprint("skewed", n), "order.created")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url(), strings.NewReader(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = clickfunnels.Sign(testSecret, time.Now().Add(-time.Hour), data)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		eventually(t, "the request is kept", func() bool {
			l, err := p.client().RejectedList(t.Context(), console.RejectedQuery{})
			return err == nil && len(l.Items) > n
		})
	}
	if _, err := p.client().SinkPause(t.Context(), "quiet", 0); err != nil {
		t.Fatal(err)
	}
	o := DoctorOptions{Config: p.conf(), Client: p.client(), Version: "test"}
	var found []Finding
	eventually(t, "a held sink and a dead letter", func() bool {
		found = Examine(t.Context(), o)
		text := fmt.Sprint(found)
		return strings.Contains(text, "down is held") && strings.Contains(text, "1 dead letter")
	})
	of := func(check string) []Finding {
		return slices.DeleteFunc(slices.Clone(found), func(f Finding) bool { return f.Check != check })
	}
	expect(t, of("process"), StatusOK, "running since")
	expect(t, of("ready"), StatusOK, "ready, as")
	expect(t, of("queues"), StatusFail, "down is held since")
	expect(t, of("queues"), StatusWarn, "quiet is paused")
	expect(t, of("queues"), StatusOK, "1 sink flowing")
	expect(t, of("streams"), StatusWarn, "1 dead letter")
	expect(t, of("streams"), StatusOK, "1 event in")
	expect(t, of("clock"), StatusOK, "the clock of the running process agrees")
	expect(t, of("clock"), StatusFail, "refused in 24h because the clocks differ")
	expect(t, of("limits"), StatusOK, "of memory")

	o.Version = "another"
	expect(t, examined(t, "process", o), StatusWarn, "running, of version test; this is another")
	o.Now = func() time.Time { return time.Now().Add(3 * time.Minute) }
	expect(t, examined(t, "clock", o), StatusFail, "behind ours")
	o.Client, _ = console.NewClient("http://127.0.0.1:1", "", nil)
	expect(t, examined(t, "process", o), StatusSkipped, "not running, as far as can be told")
}

func TestDoctorJudges(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	p := func(s console.Status) *patient { return &patient{status: &s} }
	full := func(used int64) *patient {
		return p(console.Status{Events: console.EventCounts{Bytes: used, LimitBytes: 100}})
	}
	for name, tt := range map[string]struct {
		found        []Finding
		status, want string
	}{
		"room":                     {judgeRoom("d", broker.Disk{Free: 50 * gib, Total: 100 * gib}, gib), StatusOK, "50.0 GiB free"},
		"a disk nearly full":       {judgeRoom("d", broker.Disk{Free: 5 * gib, Total: 100 * gib}, gib), StatusWarn, "less than a tenth"},
		"a disk too small":         {judgeRoom("d", broker.Disk{Free: gib, Total: 2 * gib}, 2*gib), StatusWarn, "broker.max_bytes is 2.0 GiB"},
		"a full disk":              {judgeRoom("d", broker.Disk{Free: 1 << 20, Total: gib}, 0), StatusFail, "at least 64 MiB is needed"},
		"a sync":                   {judgeSync(config.Power, time.Millisecond), StatusOK, "power: measured, a sync takes 1ms"},
		"a sync that is none":      {judgeSync(config.Power, time.Microsecond), StatusWarn, "too quick"},
		"a slow sync":              {judgeSync(config.Interval, time.Second), StatusWarn, "interval: measured, a sync takes 1s"},
		"no sync wanted":           {judgeSync(config.Process, time.Microsecond), StatusOK, "no power cut"},
		"clocks that agree":        {judgeSkew("it", -time.Second), StatusOK, "agrees"},
		"a clock ahead":            {judgeSkew("it", 5*time.Second), StatusWarn, "5s ahead of ours"},
		"a clock far behind":       {judgeSkew("it", -time.Hour), StatusFail, "1h0m0s behind ours"},
		"a slow answer":            {judgeSkew("it", certainly(5*time.Second, 4*time.Second)), StatusOK, "agrees"},
		"a slow answer, far off":   {judgeSkew("it", certainly(-10*time.Minute, 4*time.Second)), StatusFail, "9m56s behind ours"},
		"few ids":                  {judgeMemory(1000, "x", time.Hour, gib), StatusOK, "145000 bytes"},
		"many ids":                 {judgeMemory(1e7, "x", time.Hour, gib), StatusWarn, "1.4 GiB of memory (x), of 1.0 GiB"},
		"many ids, memory unknown": {judgeMemory(1e7, "x", time.Hour, 0), StatusOK, ""},
		"a stream":                 {checkStreams(t.Context(), full(10)), StatusOK, "10 bytes of 100 bytes"},
		"a filling stream":         {checkStreams(t.Context(), full(85)), StatusWarn, "85 bytes of 100 bytes"},
		"a full stream":            {checkStreams(t.Context(), full(96)), StatusFail, "answered 507"},
		"messages of others":       {checkStreams(t.Context(), p(console.Status{Events: console.EventCounts{Foreign: 2}})), StatusWarn, "2 messages on our subjects"},
		"not ready":                {checkReady(t.Context(), p(console.Status{NotReady: []string{"not connected to NATS"}})), StatusFail, "not ready: not connected"},
		"a token that is wrong":    {checkProcess(t.Context(), &patient{statusErr: errors.New("the admin API wants a token")}), StatusFail, "wants a token"},
		"missing streams":          {streamFindings(broker.Examination{Looked: true, Streams: []broker.StreamCheck{{Name: "A", Missing: true}}}), StatusFail, "missing: A"},
		"other streams":            {streamFindings(broker.Examination{Looked: true, Streams: []broker.StreamCheck{{Name: "A", Differs: []string{"bytes"}}}}), StatusFail, "A in bytes"},
		"streams":                  {streamFindings(broker.Examination{Looked: true}), StatusOK, "every stream is there"},
		"streams not to be seen":   {streamFindings(broker.Examination{}), StatusSkipped, "ingress may not look"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(t, tt.found, tt.status, tt.want)
		})
	}
}

func TestDoctorOnVolatileStorage(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/dev/shm", "penstock-test-*")
	if err != nil {
		t.Skip("capability: /dev/shm, a file system in memory, to store on")
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if disk, err := broker.DiskOf(dir); err != nil || !disk.Volatile {
		t.Skip("capability: /dev/shm, a file system in memory, to store on")
	}
	expect(t, examined(t, "data", paper(t, t.TempDir(), wellYAML(dir))), StatusWarn, "on tmpfs, which a restart of the machine empties")
	expect(t, examined(t, "data", paper(t, t.TempDir(), strings.Replace(wellYAML(dir), "process", "power", 1))), StatusFail, "on tmpfs")
}

// Every check has a name of its own, and they come in the order of the table.
func TestDoctorChecksHaveNames(t *testing.T) {
	t.Parallel()
	var names []string
	for _, c := range checkups() {
		names = append(names, c.name)
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	if len(sorted) != len(names) {
		t.Errorf("two checks have one name: %v", names)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var got []string
	for _, f := range Examine(ctx, paper(t, dir, wellYAML(dir))) {
		got = append(got, f.Check)
	}
	want := []string{"config", "secrets", "process", "ports", "data", "room", "durability", "modes", "clock", "limits", "sinks", "otel"}
	if d := cmp.Diff(want, slices.Compact(got)); d != "" {
		t.Errorf("checks (-want +got):\n%s", d)
	}
}
