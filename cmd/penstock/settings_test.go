package main

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
)

func TestBaseURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		address string
		tls     bool
		want    string
	}{
		{":8080", false, "http://127.0.0.1:8080"},
		{"0.0.0.0:8080", false, "http://127.0.0.1:8080"},
		{"[::]:8443", true, "https://127.0.0.1:8443"},
		{"10.0.0.7:80", false, "http://10.0.0.7:80"},
		{"[::1]:80", false, "http://[::1]:80"},
		{"hooks.example.com:443", true, "https://hooks.example.com:443"},
	} {
		if got := baseURL(tt.address, tt.tls); got != tt.want {
			t.Errorf("baseURL(%q, %t) = %q, want %q", tt.address, tt.tls, got, tt.want)
		}
	}
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	cluster := config.Config{Broker: config.Broker{URL: "nats://nats.example.com"}}
	guarded := config.Config{Server: config.Server{AdminToken: config.NewSecret("token")}}
	for name, tt := range map[string]struct {
		c    config.Config
		o    overrides
		want string // in the error
	}{
		"none":                             {config.Config{}, overrides{}, ""},
		"all":                              {config.Config{}, overrides{"data", ":1", "localhost:2"}, ""},
		"admin for all without a token":    {config.Config{}, overrides{admin: ":2"}, "server.admin_token is required"},
		"admin for all with a token":       {guarded, overrides{admin: ":2"}, ""},
		"a folder, but an external broker": {cluster, overrides{dataDir: "data"}, "--data-dir has no meaning here"},
		"a port alone":                     {config.Config{}, overrides{listen: "8080"}, "write host:port"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.o.apply(&tt.c)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("apply = %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestPromiseNamesWhatMayBeLost(t *testing.T) {
	t.Parallel()
	for durability, want := range map[config.Durability]string{
		config.Process:  "not a power cut",
		config.Interval: "a power cut may take the last 250 ms",
		config.Power:    "survives a crash and a power cut",
	} {
		if got := promise(broker.Info{Durability: durability, Embedded: true}); !strings.Contains(got, want) || strings.Contains(got, "asserts") {
			t.Errorf("promise(%s) = %q, want %q in it", durability, got, want)
		}
		if got := promise(broker.Info{Durability: durability}); !strings.Contains(got, "asserts") {
			t.Errorf("promise(%s) of a cluster = %q, want it to say who asserts it", durability, got)
		}
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	for text, yes := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false, "": false, "yes, but\n": false} {
		w := newWorld(nil, true)
		w.stdin = strings.NewReader(text)
		if err := w.confirm("drop it?"); (err == nil) != yes {
			t.Errorf("confirm with %q typed = %v, want yes: %t", text, err, yes)
		}
		if got := w.err.String(); !strings.HasPrefix(got, "Drop it? [y/N] ") {
			t.Errorf("asked %q", got)
		}
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"über $5": "über $5", "a\nb": `a\nb`, "\x1b[2J": `\x1b[2J`, "\xff": `\xff`,
	} {
		if got := printable(text); got != want {
			t.Errorf("printable(%q) = %q, want %q", text, got, want)
		}
	}
}

// The most entitled token of a file is the one that its commands present.
func TestAdminToken(t *testing.T) {
	t.Parallel()
	read := config.AdminToken{Name: "r", Role: config.AdminRead, Tokens: []config.Secret{config.NewSecret("reads")}}
	operator := config.AdminToken{Name: "o", Role: config.AdminOperator, Tokens: []config.Secret{config.NewSecret("operates"), config.NewSecret("old")}}
	for want, s := range map[string]config.Server{
		"":         {},
		"only":     {AdminToken: config.NewSecret("only"), AdminTokens: []config.AdminToken{operator}},
		"operates": {AdminTokens: []config.AdminToken{read, operator}},
		"reads":    {AdminTokens: []config.AdminToken{read}},
	} {
		if got := adminToken(s); got != want {
			t.Errorf("adminToken of %d named tokens = %q, want %q", len(s.AdminTokens), got, want)
		}
	}
}
