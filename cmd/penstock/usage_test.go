package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("not-to-be-seen"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		line string
		code int
		want string // in what is written to stderr
	}{
		"a role nobody has":            {"serve --roles router,web", exitUsage, `--roles: "web" is none of ingress, router, console`},
		"a port for an address":        {"serve --listen 8080", exitUsage, `--listen "8080" is not an address; write host:port, or :8080 for every interface`},
		"a format nobody writes":       {"serve --log-format xml", exitUsage, `--log-format "xml" is none of auto, text, json`},
		"an argument too many":         {"serve penstock.yaml", exitUsage, `unknown command "penstock.yaml" for "penstock serve"`},
		"no type":                      {"send", exitUsage, "name one event type, as in `penstock send orders/invoice.paid`"},
		"no events":                    {"send contact.created --count 0", exitUsage, "--count must be at least 1, got 0"},
		"not a number":                 {"send contact.created --count x", exitUsage, `invalid argument "x" for "--count" flag`},
		"not a rate":                   {"send contact.created --rate fast", exitUsage, `--rate "fast" is not a rate; write 50/s, 600/m or 10/h`},
		"not an assignment":            {"send contact.created --set data", exitUsage, `--set: "data" is not an assignment; write path=value`},
		"a path through a number":      {"send contact.created --set data.id.x=1", exitFailure, "set data.id.x: data.id is neither an object nor an array"},
		"not JSON":                     {"send contact.created --data {", exitFailure, "--data is not JSON"},
		"no data file":                 {"send contact.created --data @none.json", exitFailure, "read --data: open none.json: no such file or directory"},
		"a version that is not":        {"send contact.created --version 3", exitFailure, "API version 3 does not exist; 1 and 2 do"},
		"a URL without a scheme":       {"send contact.created --secret-file " + secret + " --url localhost:8080", exitUsage, "--url is not a URL; write it as http://127.0.0.1:8080/webhooks/clickfunnels"},
		"a catalogue of the future":    {"catalog --version V3", exitUsage, `--version "V3" is none of V1, V2`},
		"a kind nobody knows":          {"catalog --kind new", exitUsage, `--kind "new" is none of listed, extra, alias, old, weak`},
		"two processes":                {"dead ls --server http://127.0.0.1:1 -c x.yaml", exitUsage, "-c and --server both name a process; give one of them"},
		"a server that is no URL":      {"dead ls --server here", exitUsage, "--server: the server must be an address such as http://127.0.0.1:8081"},
		"nothing to retry":             {"dead retry", exitUsage, "name what to retry: numbers as in `penstock dead ls`, or --all, --sink, --class, --since"},
		"one to drop and all to drop":  {"dead drop 1 --all", exitUsage, "give either numbers or --all, --sink, --class, --since"},
		"a dead letter without number": {"dead show x", exitUsage, "\"x\" is not the number of a dead letter; see `penstock dead ls`"},
		"nothing to accept":            {"rejected accept", exitUsage, "name what to accept: numbers as in `penstock rejected ls`, or --all, --source, --since"},
		"one to accept and all":        {"rejected accept 1 --all", exitUsage, "give either numbers or --all, --source, --since"},
		"a request without number":     {"rejected show 0", exitUsage, "\"0\" is not the number of a rejected request; see `penstock rejected ls`"},
		"fewer requests than none":     {"rejected ls --limit -1", exitUsage, "--limit must be at least 0, got -1"},
		"a pause of no time":           {"sinks pause crm --for 0s", exitUsage, "--for must be at least 1s, got 0s"},
		"a pause of no sink":           {"sinks pause", exitUsage, "accepts 1 arg(s), received 0"},
		"fewer changes than none":      {"audit --limit -1", exitUsage, "--limit must be at least 0, got -1"},
		"two system users":             {"doctor --system-creds a --system-nkey b", exitUsage, "give --system-creds or --system-nkey"},
		"both halves of a tail":        {"tail --accepts --deliveries", exitUsage, "give --accepts or --deliveries, or none of them for both"},
		"fewer than none":              {"dead ls --limit -1", exitUsage, "--limit must be at least 0, got -1"},
		"a replay to nobody":           {"replay --since 1h", exitUsage, "name the sink that gets the events: --sink NAME"},
		"a job and a selection":        {"replay --job x --sink crm", exitUsage, "--job and --abort name a job that exists"},
		"numbers and a rate":           {"dead retry 1 --rate 5/s", exitUsage, "give either numbers or --all"},
		"a finding that is none":       {"diff -c x.yaml --fail-on lost", exitUsage, `--fail-on: "lost" is none of gain, lose, transform, error`},
		"a form that is none":          {"diff -c x.yaml --format html", exitUsage, `--format "html" is not known; use text, json or markdown`},
		"two forms":                    {"diff -c x.yaml --json --format markdown", exitUsage, "--json and --format markdown contradict each other; keep one"},
		"fewer examples than none":     {"diff -c x.yaml --examples -1", exitUsage, "--examples must be 0 to 100, got -1"},
		"fewer events than none":       {"diff -c x.yaml --limit -1", exitUsage, "--limit must be at least 0, got -1"},
		"no rules to try":              {"diff", exitUsage, "no file is named, and there is no penstock.yaml here; name the new rules with -c FILE"},
		"rules that are not there":     {"diff -c none.yaml", exitUsage, "none.yaml: cannot be read: no such file or directory"},
		"a file that is not there":     {"dead ls -c none.yaml", exitFailure, "none.yaml: cannot be read: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(secretEnv(), false, strings.Fields(tt.line)...)
			if code := run(w.process); code != tt.code || !strings.Contains(w.err.String(), tt.want) {
				t.Errorf("penstock %s = %d with %q, want %d with %q in it", tt.line, code, w.err, tt.code, tt.want)
			}
			if w.out.String() != "" {
				t.Errorf("penstock %s wrote %q to stdout", tt.line, w.out)
			}
			if strings.Contains(w.err.String(), "not-to-be-seen") {
				t.Errorf("penstock %s shows the secret", tt.line)
			}
		})
	}
}
