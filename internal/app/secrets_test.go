package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/router"
)

// The secrets of the scenario, by what they are. The characters at their ends
// are written differently in URLs.
var scenarioSecrets = map[string]string{
	"signing secret":   testSecret,
	"second secret":    "second-signing-secret-0123456789abcdef+/=",
	"url token":        "url-token-of-a-source-8f2e",
	"path of a sink":   "path-of-a-sink-5d41+%",
	"query of a sink":  "query-of-a-sink-77aa+/=",
	"header":           "header-of-a-sink-19b0+/=%",
	"sign secret":      "c2lnbmluZy1rZXktb2YtYS1zaW5rLTAxMjM0NTY3ODk=",
	"password":         "basic-password-c0de:+/=%",
	"bearer token":     "bearer-token-31f0",
	"client secret":    "client-secret-aa17+/=%",
	"access token":     "access-token-9f00",
	"query of tokens":  "query-of-token-url-4b4b",
	"slack webhook":    "slackwebhook7XyZ0pq",
	"s3 secret":        "s3-secret-access-key-abcd/+",
	"nats password":    "nats-password-e3e3",
	"admin token":      "admin-token-6e6e0123456789",
	"collector header": "collector-header-f00d",
}

// encodings are the forms in which a secret could be shown.
func encodings(secret string) map[string]string {
	out := map[string]string{
		"as it is": secret, "in a query": url.QueryEscape(secret), "in a path": url.PathEscape(secret),
		"in hex": hex.EncodeToString([]byte(secret)), "in quotes": strings.Trim(fmt.Sprintf("%q", secret), `"`),
	}
	for shift := range 3 { // as part of something longer
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
		text = strings.TrimRight(text, "=")
		inner := text[(shift*8+5)/6 : len(text)-1]
		out[fmt.Sprint("in base64, ", shift)] = inner
		out[fmt.Sprint("in base64 of URLs, ", shift)] = strings.NewReplacer("+", "-", "/", "_").Replace(inner)
	}
	return out
}

func TestEncodingsAreFound(t *testing.T) {
	t.Parallel()
	const secret = "a-secret?of>tests~~"
	for name, hidden := range map[string]string{
		"alone":      base64.StdEncoding.EncodeToString([]byte(secret)),
		"with one":   base64.StdEncoding.EncodeToString([]byte(":" + secret + ":")),
		"with two":   base64.URLEncoding.EncodeToString([]byte("me" + secret + "x")),
		"with three": base64.RawURLEncoding.EncodeToString([]byte("me:" + secret)),
		"with more":  base64.StdEncoding.EncodeToString([]byte("user:" + secret)),
		"escaped":    "https://x/?k=" + url.QueryEscape(secret),
	} {
		if len(shown("<"+hidden+">", map[string]string{"it": secret})) == 0 {
			t.Errorf("%s: the secret is not found in %s", name, hidden)
		}
	}
	if got := shown("nothing of it", map[string]string{"it": secret}); len(got) > 0 {
		t.Errorf("found in nothing: %v", got)
	}
}

// shown are the secrets that a text shows, and how.
func shown(text string, secrets map[string]string) []string {
	var out []string
	for what, secret := range secrets {
		for form, encoded := range encodings(secret) {
			if at := strings.Index(text, encoded); at >= 0 {
				out = append(out, fmt.Sprintf("the %s %s: %s", what, form, text[max(0, at-150):min(len(text), at+len(encoded)+20)]))
				break
			}
		}
	}
	return out
}

// echo is a receiver that fails and says all that it was sent; of what comes to
// one path, the first is to be sent again and the others never.
type echo struct {
	mu   sync.Mutex
	seen map[string]int
}

// ServeHTTP implements http.Handler.
func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.URL.Path == "/token" {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": scenarioSecrets["access token"], "token_type": "Bearer", "expires_in": 3600})
		return
	}
	e.mu.Lock()
	e.seen[r.URL.Path]++
	n := e.seen[r.URL.Path]
	e.mu.Unlock()
	status := http.StatusUnprocessableEntity
	if n == 1 {
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "%s %s %v %.300s", r.Method, r.URL, r.Header, body)
}

func scenarioYAML(dir, receiver string) string {
	s := scenarioSecrets
	return fmt.Sprintf(`
server: {listen: "127.0.0.1:0", admin: "127.0.0.1:0", admin_token: %q, shutdown_timeout: 5s, tls: {cert_file: %q, key_file: %q}}
sources:
  clickfunnels: {kind: clickfunnels, secrets: [%q, %q], url_token: %q}
sinks:
  crm: {kind: http, url: "%s/crm/%s?key=%s", headers: {X-Api-Key: %q}, sign: {scheme: standard-webhooks, secrets: [%q]}, %[13]s}
  basic: {kind: http, url: "%[7]s/basic", auth: {basic: {username: penstock, password: %q}}, %[13]s}
  bearer: {kind: http, url: "%[7]s/bearer", auth: {bearer: {token: %[14]q}}, %[13]s}
  oauth: {kind: http, url: "%[7]s/oauth", auth: {oauth2: {token_url: "%[7]s/token?k=%[15]s", client_id: penstock, client_secret: %[16]q}}, %[13]s}
  sales: {kind: slack, webhook_url: "%[7]s/services/T0/B0/%[17]s", text: "{{.Subject}}", %[13]s}
  lake: {kind: s3, bucket: events, endpoint: "%[7]s", region: eu-central-1, path_style: true, access_key_id: a-key, secret_access_key: %[18]q, batch: {max_events: 1}, %[13]s}
  bus: {kind: nats, url: "nats://127.0.0.1:1", user: penstock, password: %[19]q, subject: "x.{{.Subject}}", %[13]s}
routes: [{match: [">"], to: [crm, basic, bearer, oauth, sales, lake, bus]}]
`, s["admin token"], filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"),
		s["signing secret"], s["second secret"], s["url token"],
		receiver, url.PathEscape(s["path of a sink"]), url.QueryEscape(s["query of a sink"]), s["header"], s["sign secret"], s["password"],
		"retry: {initial: 10ms, max_interval: 100ms}, hold: {failures: 0}",
		s["bearer token"], s["query of tokens"], s["client secret"], s["slack webhook"], s["s3 secret"], s["nats password"])
}

// scenario is one full run with every kind of secret, and all that it shows.
type scenario struct {
	*process
	client *http.Client
	log    *logBuffer

	mu    sync.Mutex
	spans []Span
	tries map[string]int // by sink
}

func (s *scenario) span(x Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spans = append(s.spans, x)
}

func (s *scenario) attempted(o router.Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries[o.Sink]++
}

func (s *scenario) tried(sink string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries[sink]
}

// post sends a body to the source's path and more, signed with the secret or
// not at all, and returns the status and the answer.
func (s *scenario) post(more, secret, id string) (int, string) {
	s.t.Helper()
	b := body(id, "order.created")
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "https://"+s.Addr().String()+"/webhooks/clickfunnels"+more, bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	if secret != "" {
		req.Header = clickfunnels.Sign(secret, time.Now(), b)
	}
	return s.do(req)
}

// ask is a GET of the admin API, with the token or without.
func (s *scenario) ask(path, token string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.AdminAddr().String()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return s.do(req)
}

func (s *scenario) do(req *http.Request) (int, string) {
	s.t.Helper()
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// The environment of the process is set, so these run alone.
func TestNothingShowsASecret(t *testing.T) {
	for _, text := range []bool{true, false} {
		t.Run(fmt.Sprint("text=", text), func(t *testing.T) { fullScenario(t, text) })
	}
}

func fullScenario(t *testing.T, text bool) {
	// A collector that refuses, and says what it was sent.
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintln(w, r.Header)
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50") // ms, else only the end sends them
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer "+scenarioSecrets["collector header"])
	receiver := httptest.NewServer(&echo{seen: map[string]int{}})
	defer receiver.Close()
	dir := t.TempDir()
	_, keyFile := makeCertificate(t, dir, "127.0.0.1")
	secrets := map[string]string{"private key": privateKey(t, keyFile)}
	for what, secret := range scenarioSecrets {
		secrets[what] = secret
	}

	s := &scenario{log: &logBuffer{}, tries: map[string]int{}}
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	log := NewLog(s.log, LogOptions{Level: slog.LevelDebug, Text: text})
	s.process = runWith(t, dir, scenarioYAML(dir, receiver.URL), Options{Traces: true, Spans: s.span, Attempted: s.attempted, Logger: log.Logger(), Stdout: s.log})
	shows := s.act(t)
	s.stop()
	log.Close()

	shows["the log"] = s.log.String()
	spans, err := json.Marshal(s.spans)
	if err != nil {
		t.Fatal(err)
	}
	shows["the spans"] = string(spans)
	for _, want := range []string{"attempt", "event stored", "request refused", "traces not sent"} {
		if !strings.Contains(shows["the log"], want) {
			t.Errorf("the log has no line of %q, so the scenario shows less than it should", want)
		}
	}
	if len(s.spans) < 20 {
		t.Errorf("%d spans, want 20 at least", len(s.spans))
	}
	for where, text := range shows {
		for _, found := range shown(text, secrets) {
			t.Errorf("%s shows %s", where, found)
		}
	}
}

// privateKey is the part of the key's file that is secret.
func privateKey(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	return string(block.Bytes[len(block.Bytes)-48:])
}

// act does all that can be done with the secrets, and returns the answers.
func (s *scenario) act(t *testing.T) map[string]string {
	t.Helper()
	shows := map[string]string{}
	for i, c := range []struct {
		more, secret string
		status       int
	}{
		{"", testSecret, 202}, {"", scenarioSecrets["second secret"], 202}, {"/" + scenarioSecrets["url token"], "", 202},
		{"", "not one of ours", 401}, {"", "", 401}, {"/not-the-token", "", 401},
		{"/" + scenarioSecrets["url token"] + "/more", "", 401}, {"?token=" + url.QueryEscape(testSecret), "", 401},
	} {
		status, answer := s.post(c.more, c.secret, fmt.Sprint("event-", i))
		shows[fmt.Sprintf("the answer %d to a post", status)] += answer
		if status != c.status {
			t.Errorf("POST %s answered %d %s, want %d", c.more, status, answer, c.status)
		}
	}
	eventually(t, "dead letters of all sinks but one, and attempts of that", func() bool {
		st, err := s.broker.Stats(context.Background())
		if err != nil {
			return false
		}
		for _, sink := range []string{"crm", "basic", "bearer", "oauth", "sales", "lake"} {
			if st.Sinks[sink].Dead < 3 {
				return false
			}
		}
		return s.tried("bus") > 3
	})
	s.ring(1) // the one that is signed
	eventually(t, "the log tells of the collector", func() bool { return strings.Contains(s.log.String(), "traces not sent") })
	admin := scenarioSecrets["admin token"]
	for _, path := range []string{"/metrics", "/api/v1/status", "/api/v1/sinks", "/api/v1/events", "/api/v1/events/1", "/api/v1/events/2",
		"/api/v1/dead", "/api/v1/dead/1", "/api/v1/dead/2", "/api/v1/dead/6", "/api/v1/rejected", "/api/v1/rejected/1", "/api/v1/replays"} {
		status, answer := s.ask(path, admin)
		if status != http.StatusOK {
			t.Errorf("GET %s answered %d %s", path, status, answer)
		}
		shows["the answer to GET "+path] = answer
	}
	if status, answer := s.ask("/api/v1/status", admin+"x"); status != http.StatusUnauthorized {
		t.Errorf("with a wrong token the admin API answered %d %s", status, answer)
	}
	return shows
}
