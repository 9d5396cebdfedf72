package app

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/clickfunnels"
)

// delivered says what an event sent to an example has to come to.
type delivered struct {
	path, eventType string
	sinks           []string // paths of the receiver, names of log sinks, objects, or "elsewhere"
}

// exampleDeliveries has an event at least for every sink of every file in examples.
var exampleDeliveries = map[string][]delivered{
	"nats.yaml":       {{"/webhooks/clickfunnels", "orders/invoice.paid", []string{"elsewhere"}}},
	"log-file.yaml":   {{"/webhooks/clickfunnels", "orders/invoice.paid", []string{"elsewhere"}}},
	"quickstart.yaml": {{"/webhooks/clickfunnels", "orders/invoice.paid", []string{"log"}}},
	"s3.yaml":         {{"/webhooks/clickfunnels", "orders/invoice.paid", []string{"objects"}}},
	"http.yaml":       {{"/webhooks/clickfunnels", "orders/invoice.paid", []string{"/crm"}}},
	"http-signed.yaml": {
		{"/webhooks/clickfunnels", "orders/invoice.paid", []string{"/partner", "/legacy"}},
	},
	"fan-out.yaml": {
		{"/webhooks/clickfunnels", "orders/invoice.paid", []string{"/crm", "/billing"}},
		{"/webhooks/clickfunnels", "form_submission.created", []string{"/crm"}},
		{"/webhooks/clickfunnels", "courses/enrollment.created", []string{"/courses"}},
		{"/webhooks/clickfunnels", "subscription.canceled", []string{"rest"}},
	},
	"slack.yaml": {
		{"/webhooks/clickfunnels", "orders/invoice.paid", []string{"/sales_webhook"}},
		{"/webhooks/clickfunnels", "orders/invoice.refunded", []string{"/refunds_webhook"}},
		{"/webhooks/clickfunnels", "contact.created", []string{"/everything_webhook"}},
	},
	"conditions.yaml": {
		{"/webhooks/clickfunnels", "orders/invoice.paid", []string{"/billing"}},
		{"/webhooks/clickfunnels", "orders/invoice.paid", []string{"archive"}},
		{"/webhooks/clickfunnels", "contact.created", []string{"/crm"}},
		{"/webhooks/clickfunnels", "contact.created", []string{"archive"}},
		{"/webhooks/clickfunnels", "subscription.canceled", []string{"archive"}},
	},
	"two-workspaces.yaml": {
		{"/webhooks/main", "contact.created", []string{"/crm"}},
		{"/webhooks/shop", "contact.updated", []string{"/crm"}},
		{"/webhooks/steps/" + testSecret, "anything/else", []string{"/crm"}},
	},
}

// exampleData are the data of an example's events, in their order, where those
// of any event do not do.
var exampleData = map[string][]string{
	"conditions.yaml": {
		`{"total_amount":"100.00","currency":"USD"}`,
		`{"total_amount":"99.99","currency":"USD"}`,
		`{"email_address":"ada@example.org"}`,
		`{"email_address":"ada@example.com"}`,
	},
}

func TestExamplesDeliver(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(moduleRoot, "examples/*.yaml"))
	if err != nil || len(files) < len(exampleDeliveries) {
		t.Fatalf("examples: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			events := exampleDeliveries[filepath.Base(file)]
			if len(events) == 0 {
				t.Fatal("no delivery is expected of this file; add one to exampleDeliveries")
			}
			deliverThrough(t, file, events)
		})
	}
}

// deliverThrough runs an example with every variable that names a URL pointing
// to one receiver, under the variable's name.
func deliverThrough(t *testing.T, file string, events []delivered) {
	r := newReceiver(t, ok)
	values, arrived := elsewhere(t, filepath.Base(file))
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, ms := Parse(filepath.Base(file), data, LoadOptions{Env: func(name string) (string, bool) {
		if value, ok := values[name]; ok {
			return value, true
		}
		if sink, ok := strings.CutSuffix(name, "_URL"); ok {
			return r.URL + "/" + strings.ToLower(sink), true
		}
		if name == "PENSTOCK_NATS_LISTEN" {
			return "127.0.0.1:0", true
		}
		return testSecret, true
	}})
	if len(ms) > 0 {
		t.Fatalf("an example has mistakes or warnings:\n%v", ms)
	}
	c.Server.Listen, c.Server.Admin = "127.0.0.1:0", "127.0.0.1:0"
	c.Broker.DataDir, c.Broker.MaxBytes = t.TempDir(), 64<<20
	var logged output
	base := startExample(t, c, Options{Stdout: &logged})
	want := 0
	for i, e := range events {
		b := body(fmt.Sprint("event-", i), e.eventType)
		if data := exampleData[filepath.Base(file)]; i < len(data) {
			b = fmt.Appendf(nil, `{"data":%s,"event_id":"event-%d","event_type":%q}`, data[i], i, e.eventType)
		}
		sendSigned(t, base+e.path, b)
		want += len(e.sinks)
	}
	eventually(t, "all delivered", func() bool { return len(r.got())+strings.Count(logged.String(), "\n")+len(arrived()) >= want })
	got := map[string]bool{}
	for _, g := range r.got() {
		got[g.path+" "+g.header.Get("Webhook-Id")] = true
		if strings.HasSuffix(g.path, ".ndjson.gz") {
			for _, id := range idsIn(t, g) {
				got["objects "+id] = true
			}
		}
	}
	for i, e := range events {
		for _, sink := range e.sinks {
			id := fmt.Sprint("event-", i)
			inLog := strings.Contains(logged.String(), fmt.Sprintf(`"sink":%q`, sink)) && strings.Contains(logged.String(), fmt.Sprintf(`"id":%q`, id))
			if sink == "elsewhere" && slices.Contains(arrived(), id) {
				continue
			}
			// A Slack message names no event: one at its path will do.
			if !got[sink+" "+id] && !got[sink+" "] && !inLog {
				t.Errorf("%s did not reach %s; delivered: %v\n%s", e.eventType, sink, got, logged.String())
			}
		}
	}
	if n := len(r.got()) + strings.Count(logged.String(), "\n") + len(arrived()); n != want {
		t.Errorf("%d deliveries, want %d: %v", n, want, got)
	}
}

// sendSigned posts a body with the secret that all examples are given.
func sendSigned(t *testing.T, url string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = clickfunnels.Sign(testSecret, time.Now(), body)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("POST %s answered %d %s", url, resp.StatusCode, answer)
	}
}

// startExample runs a configuration that was loaded elsewhere, until the test
// has ended, and returns where it takes webhooks.
func startExample(t *testing.T, c *config.Config, o Options) string {
	t.Helper()
	return "http://" + runConfig(t, c, o).Addr().String()
}
