package config_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/penstock/penstock/config"
)

// compare ignores places and the options of sinks, which have their own tests.
var compare = cmp.Options{
	cmpopts.IgnoreTypes(config.Pos{}, config.Node{}),
	cmpopts.IgnoreUnexported(config.Config{}),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// parse reads text that has no mistakes.
func parse(t *testing.T, text string, o config.Options) *config.Config {
	t.Helper()
	cfg, ms := config.Parse("conf/penstock.yaml", []byte(text), o)
	if len(ms) > 0 {
		t.Fatalf("mistakes:\n%v", ms)
	}
	return cfg
}

func environment(pairs ...string) config.Options {
	o := testOptions()
	o.Env = func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
	return o
}

const minimal = `
sources:
  shop: {kind: clickfunnels, secrets: [hunter2]}
sinks:
  log: {kind: log}
routes:
  - {match: ">", to: log}
`

func TestDefaults(t *testing.T) {
	t.Parallel()
	want := &config.Config{
		Files:      []string{"conf/penstock.yaml"},
		WatchFiles: []string{"conf/penstock.yaml"},
		Server: config.Server{
			Listen: ":8080", Admin: "127.0.0.1:8081", MaxBody: 1 << 20, MaxInFlight: 1024, MaxInFlightBytes: 64 << 20,
			ShutdownTimeout: 20 * time.Second,
		},
		Broker: config.Broker{
			DataDir: "./penstock-data", Durability: config.Power, Retention: 168 * time.Hour, DedupeWindow: 48 * time.Hour, Replicas: 1,
		},
		Sources: []config.Source{{
			Name: "shop", Kind: "clickfunnels", Path: "/webhooks/shop", Secrets: []config.Secret{config.NewSecret("hunter2")},
		}},
		Sinks: []config.Sink{{
			Name: "log", Kind: "log", Timeout: 10 * time.Second, Concurrency: 16,
			Retry: config.Retry{
				Initial: 5 * time.Second, Multiplier: 3, MaxInterval: time.Hour, Jitter: 0.2, MaxAge: 72 * time.Hour,
				PermanentStatuses: []int{400, 410, 413, 415, 422},
			},
			Hold: config.Hold{Failures: 10, Probe: 5 * time.Second, ProbeMax: time.Minute},
		}},
		Routes: []config.Route{{Name: "route-1", Match: []config.Ref{{Name: ">"}}, To: []config.Ref{{Name: "log"}}}},
	}
	if diff := cmp.Diff(want, parse(t, minimal, testOptions()), compare); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestEverythingSet(t *testing.T) {
	t.Parallel()
	got := parse(t, `
server:
  listen: 10.0.0.1:80
  admin: ""
  tls: {cert_file: tls/cert.pem, key_file: /abs/key.pem}
  trusted_proxies: [10.1.2.3/8, "::1"]
  max_body: 2MiB
  max_in_flight: 5
  max_in_flight_bytes: 10MB
  shutdown_timeout: 1m
broker:
  data_dir: data
  listen: 127.0.0.1:4222
  users: [{name: tail, password: hunter2}, {name: key, nkey: UB4G32YJ2GVZG3KTC3Z7BLIU3PXPJC2Y4QF6SNJUN2XIF3M3E3NDEUCA}]
  durability: interval
  retention: 30d
  max_bytes: 10GB
  dedupe_window: 3d
  extra_roots: [own, other.thing]
sources:
  b: {kind: clickfunnels, path: /b, secrets: [one, two], subject_prefix: b}
  a: {kind: clickfunnels, url_token: hunter2-hunter2-hunter2}
sinks:
  z: {kind: log, timeout: 1s, concurrency: 2, rate: {rate: 60/m, burst: 3}, start: beginning}
  a: {kind: log, retry: {initial: 1s, permanent_statuses: []}, hold: {failures: 0}}
routes:
  - {name: first, match: [orders/invoice.paid, form_submission.created], to: [z, a]}
default: a
`, config.Options{})
	want := config.Server{
		Listen: "10.0.0.1:80", MaxBody: 2 << 20, MaxInFlight: 5, MaxInFlightBytes: 10e6, ShutdownTimeout: time.Minute,
		TLS:            config.TLS{CertFile: "conf/tls/cert.pem", KeyFile: "/abs/key.pem"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}
	if diff := cmp.Diff(want, got.Server, compare); diff != "" {
		t.Errorf("server (-want +got)\n%s", diff)
	}
	wantBroker := config.Broker{
		DataDir: "data", Listen: "127.0.0.1:4222", Durability: config.Interval, Retention: 720 * time.Hour, MaxBytes: 10e9,
		DedupeWindow: 72 * time.Hour, Replicas: 1, ExtraRoots: []string{"own", "other.thing"},
		Users: []config.User{
			{Name: "tail", Password: config.NewSecret("hunter2")},
			{Name: "key", NKey: "UB4G32YJ2GVZG3KTC3Z7BLIU3PXPJC2Y4QF6SNJUN2XIF3M3E3NDEUCA"},
		},
	}
	if diff := cmp.Diff(wantBroker, got.Broker, compare); diff != "" {
		t.Errorf("broker (-want +got)\n%s", diff)
	}
	z, a := got.Sinks[0], got.Sinks[1]
	if z.Name != "z" || z.Rate != (config.Rate{PerSecond: 1, Burst: 3}) || !z.Start.Beginning || z.Retry.Multiplier != 3 {
		t.Errorf("sink z = %+v", z)
	}
	if a.Retry.Initial != time.Second || a.Retry.MaxInterval != time.Hour || len(a.Retry.PermanentStatuses) != 0 || a.Hold.Failures != 0 {
		t.Errorf("sink a = %+v", a)
	}
	wantRoute := config.Route{
		Name:  "first", // without a catalogue, only the slash is known to be a dot
		Match: []config.Ref{{Name: "orders.invoice.paid"}, {Name: "form_submission.created"}},
		To:    []config.Ref{{Name: "z"}, {Name: "a"}},
	}
	if diff := cmp.Diff(wantRoute, got.Routes[0], compare); diff != "" {
		t.Errorf("route (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]config.Ref{{Name: "a"}}, got.Default, compare); diff != "" {
		t.Errorf("default (-want +got)\n%s", diff)
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	cfg := parse(t, minimal, testOptions())
	for name, tt := range map[string]struct {
		got  config.Pos
		want string
	}{
		"source": {cfg.Sources[0].Pos, "conf/penstock.yaml:3:3"},
		"sink":   {cfg.Sinks[0].Pos, "conf/penstock.yaml:5:3"},
		"route":  {cfg.Routes[0].Pos, "conf/penstock.yaml:7:5"},
		"match":  {cfg.Routes[0].Match[0].Pos, "conf/penstock.yaml:7:13"},
		"to":     {cfg.Routes[0].To[0].Pos, "conf/penstock.yaml:7:22"},
	} {
		if tt.got.String() != tt.want {
			t.Errorf("%s is at %v, want %s", name, tt.got, tt.want)
		}
	}
}

func TestCanonicalMatch(t *testing.T) {
	t.Parallel()
	cfg, ms := config.Parse("x.yaml", []byte(strings.Replace(minimal, `">"`,
		"[orders/invoice.paid, form_submission/created, form_submission.created, contact.created, orders/*.paid, p.form_submission.created]", 1)), literalsOnly(testOptions()))
	want := []config.Ref{
		{Name: "orders.invoice.paid"}, {Name: "form.submission.created"}, {Name: "form.submission.created"},
		{Name: "contact.created"}, {Name: "orders.*.paid"}, {Name: "p.form_submission.created"},
	}
	if diff := cmp.Diff(want, cfg.Routes[0].Match, compare); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Errorf("spellings are warnings, got\n%v", fatal)
	}
}

// literalsOnly asserts that no pattern is looked up in the catalogue.
func literalsOnly(o config.Options) config.Options {
	inner := o.Canonical
	o.Canonical = func(entry string) (string, bool, string) {
		if strings.ContainsAny(entry, "*>") {
			panic("a pattern was looked up in the catalogue: " + entry)
		}
		return inner(entry)
	}
	return o
}

func TestVariables(t *testing.T) {
	t.Parallel()
	o := environment("S", "hunter2", "EMPTY", "", "WILD", "*: &[#\n\"${S}$$")
	for written, want := range map[string]string{
		"${S}": "hunter2", "a${S}b${S}": "ahunter2bhunter2", "${EMPTY:-x}": "x", "${NONE:-x}": "x", "${NONE:-}x": "x", "x${EMPTY}": "x",
		"$${S}": "${S}", "$$$$": "$$", "$S": "$S", "5$": "5$", "$ {S}": "$ {S}", "${WILD}": "*: &[#\n\"${S}$$", "${NONE:-a:-b}": "a:-b",
		"$${${S}}": "${hunter2}",
	} {
		cfg := parse(t, strings.Replace(minimal, "[hunter2]", `["`+written+`"]`, 1), o)
		if got := cfg.Sources[0].Secrets[0].Reveal(); got != want {
			t.Errorf("%s is %q, want %q", written, got, want)
		}
	}
}

func TestOptionsAreExpandedAndWithoutCommonKeys(t *testing.T) {
	t.Parallel()
	cfg := parse(t, strings.Replace(minimal, "{kind: log}", `{kind: slack, timeout: 1s, webhook_url: "${URL}", text: "$x"}`, 1), environment("URL", "hunter2"))
	n := cfg.Sinks[0].Options
	if diff := cmp.Diff([]string{"webhook_url", "text"}, n.Keys()); diff != "" {
		t.Errorf("keys (-want +got)\n%s", diff)
	}
	var o struct {
		WebhookURL config.Secret `yaml:"webhook_url"`
		Text       string        `yaml:"text"`
	}
	if ms := n.Decode(&o); len(ms) > 0 || o.WebhookURL.Reveal() != "hunter2" || o.Text != "$x" || n.Unresolved() {
		t.Errorf("options = %+v, %v, unresolved %v", o, ms, n.Unresolved())
	}
	if out := fmt.Sprintf("%v %+v %#v", cfg.Sinks, cfg.Sinks[0], *cfg); strings.Contains(out, "hunter2") {
		t.Errorf("a printed configuration shows a secret: %s", out)
	}
}

func TestPlaceholders(t *testing.T) {
	t.Parallel()
	o := testOptions()
	o.NoEnv = true
	cfg := parse(t, `
sources:
  shop: {kind: clickfunnels, secrets: ["${S}"]}
sinks:
  one: {kind: slack, webhook_url: "${SLACK_URL}", timeout: "${T}"}
  two: {kind: slack, webhook_url_file: nowhere}
  three: {kind: slack, webhook_url: x}
default: [one, two, three]
`, o)
	if got := cfg.Sinks[0].Timeout; got != 10*time.Second {
		t.Errorf("a timeout without a value is %v, want the default", got)
	}
	for i, want := range []bool{true, true, false} {
		if got := cfg.Sinks[i].Options.Unresolved(); got != want {
			t.Errorf("sink %s: Unresolved = %v, want %v", cfg.Sinks[i].Name, got, want)
		}
	}
	if got := cfg.WatchFiles; len(got) != 1 {
		t.Errorf("files were read: %v", got)
	}
}

func TestLoadReadsSecretFilesOnceAndListsThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"penstock.yaml": strings.Replace(minimal, "secrets: [hunter2]", "secrets_file: s/list, url_token_file: s/token", 1) +
			"server: {admin_token_file: s/token}\n",
		"s/list":  "one\r\n\n two \n",
		"s/token": "hunter2-hunter2-hunter2\n",
	} {
		if err := os.MkdirAll(filepath.Join(dir, "s"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	main := filepath.Join(dir, "penstock.yaml")
	cfg, ms := config.Load([]string{main, main}, testOptions())
	if len(ms) > 0 {
		t.Fatal(ms)
	}
	want := []string{main, filepath.Join(dir, "s/token"), filepath.Join(dir, "s/list")}
	if diff := cmp.Diff(want, cfg.WatchFiles); diff != "" {
		t.Errorf("WatchFiles (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{main}, cfg.Files); diff != "" {
		t.Errorf("Files (-want +got)\n%s", diff)
	}
	s := cfg.Sources[0]
	if len(s.Secrets) != 2 || s.Secrets[0].Reveal() != "one" || s.Secrets[1].Reveal() != " two " {
		t.Errorf("%d secrets, want one and two with its blanks", len(s.Secrets))
	}
	if s.URLToken.Reveal() != "hunter2-hunter2-hunter2" || !cfg.Server.AdminToken.Equal(s.URLToken) {
		t.Error("the line break at a secret's end is not part of it")
	}
}

func TestLoadWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, make([]byte, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		paths []string
		want  string
	}{
		"nothing":          {nil, "no configuration file is named"},
		"no such file":     {[]string{filepath.Join(dir, "none.yaml")}, dir + "/none.yaml: cannot be read: no such file or directory"},
		"too large":        {[]string{big}, big + ": cannot be read: larger than 4MiB"},
		"a device":         {[]string{"/dev/null"}, "/dev/null: cannot be read: not a regular file"},
		"a file as folder": {[]string{big + "/x"}, big + "/x: cannot be read: not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, ms := config.Load(tt.paths, testOptions())
			if ms.Error() != tt.want || cfg != nil {
				t.Errorf("Load = %v, %v, want %s", cfg, ms, tt.want)
			}
		})
	}
}

func TestBestEffort(t *testing.T) {
	t.Parallel()
	cfg, ms := config.Parse("x.yaml", []byte(minimal+"  - {match: >, to: log}\n"), testOptions())
	if cfg != nil || len(ms) != 1 {
		t.Errorf("what is not YAML gives %v, %v", cfg, ms)
	}
	cfg, ms = config.Parse("x.yaml", []byte(minimal+"server: {listen: [], shutdown_timeout: 3s}\n"), testOptions())
	if len(ms) != 1 || cfg == nil || cfg.Server.Listen != ":8080" || cfg.Server.ShutdownTimeout != 3*time.Second || len(cfg.Routes) != 1 {
		t.Errorf("one mistake leaves the rest: %+v, %v", cfg, ms)
	}
}

func TestQuickStart(t *testing.T) {
	t.Parallel()
	cfg, ms := config.Parse("", []byte(config.QuickStartYAML), environment("CLICKFUNNELS_WEBHOOK_SECRET", "hunter2"))
	if len(ms) > 0 {
		t.Fatal(ms)
	}
	if len(cfg.Files) != 0 || len(cfg.WatchFiles) != 0 {
		t.Errorf("the built-in configuration has files %v, %v", cfg.Files, cfg.WatchFiles)
	}
	s := cfg.Sources[0]
	if s.Name != "clickfunnels" || s.Path != "/webhooks/clickfunnels" || s.Secrets[0].Reveal() != "hunter2" {
		t.Errorf("source = %+v", s)
	}
}

func ExampleParse() {
	text := `
sources:
  clickfunnels: {kind: clickfunnels, secrets: ["${CLICKFUNNELS_WEBHOOK_SECRET}"]}
sinks:
  crm: {kind: http, timeout: 10}
routes:
  - {match: ["orders.>"], to: [cmr]}
`
	_, mistakes := config.Parse("penstock.yaml", []byte(text), config.Options{
		Env: func(string) (string, bool) { return "", false },
	})
	for _, m := range mistakes {
		fmt.Println(m)
	}
	// Output:
	// penstock.yaml:3:48: sources.clickfunnels.secrets[0]: environment variable CLICKFUNNELS_WEBHOOK_SECRET is not set; export it, or write ${CLICKFUNNELS_WEBHOOK_SECRET:-...} for a default
	// penstock.yaml:5:3: warning: sinks.crm: no route leads to it; name it in the to of a route, or in default
	// penstock.yaml:5:30: sinks.crm.timeout: needs a duration, got "10"; write 500ms, 10s, 5m, 1h30m or 7d
	// penstock.yaml:7:32: routes[0].to[0]: no sink is named "cmr"; did you mean crm?
}
