package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
)

const (
	aReceiver   = "http://127.0.0.1:1"
	endpointVar = "OTEL_EXPORTER_OTLP_ENDPOINT"
)

// Each variable with a value that is of no use is told of once, by the name
// that was set, and costs no more than what it is about.
func TestVariablesOfNoUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	noCert := filepath.Join(dir, "none.pem")
	if err := os.WriteFile(noCert, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, value     string
		traces, metrics bool // are sent all the same
		instead         string
	}{
		{"OTEL_SDK_DISABLED", "yes", true, true, "false it is"},
		{"OTEL_RESOURCE_ATTRIBUTES", "nonsense-of-hunter2", true, true, "is left out"},
		{"OTEL_TRACES_EXPORTER", "bogus", false, true, "traces are off"},
		{"OTEL_METRICS_EXPORTER", "bogus", true, false, "metrics are not pushed"},
		{endpointVar, "http://user:hunter2@127.0.0.1:4318%%", false, false, "traces are off, metrics are not pushed"},
		{endpointVar, "user:hunter2@127.0.0.1:4318", false, false, "traces are off, metrics are not pushed"},
		{endpointVar, "127.0.0.1:4317", false, false, "traces are off, metrics are not pushed"},
		{endpointVar, "http://user:hunter2@127.0.0.1:4318", true, true, "the rest of it is used"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "hunter2", false, true, "traces are off"},
		{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "hunter2", true, false, "metrics are not pushed"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", true, true, "http/protobuf it is"},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", true, true, "http/protobuf it is"},
		{"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json", true, true, "http/protobuf it is"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "hunter2", false, false, "traces are off, metrics are not pushed"},
		{"OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=hunter2%", true, false, "metrics are not pushed"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "abc", true, true, "10000 it is"},
		{"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1", true, true, "10000 it is"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", true, true, "none it is"},
		{"OTEL_EXPORTER_OTLP_INSECURE", "1", true, true, "false it is"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent/hunter2", false, false, "traces are off, metrics are not pushed"},
		{"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", noCert, false, true, "traces are off"},
		{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", noCert, false, false, "traces are off, metrics are not pushed"},
		{"OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "hunter2", true, false, "metrics are not pushed"},
		{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sometimes", true, true, "cumulative it is"},
		{"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "x", true, true, "explicit_bucket_histogram it is"},
		{"OTEL_METRIC_EXPORT_INTERVAL", "1m", true, true, "60000 it is"},
		{"OTEL_METRIC_EXPORT_TIMEOUT", "0", true, true, "30000 it is"},
		{"OTEL_TRACES_SAMPLER", "jaeger_remote", true, true, "parentbased_always_on it is"},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "abc", true, true, "16384 it is"},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0", true, true, "2048 it is"},
		{"OTEL_BSP_SCHEDULE_DELAY", "5s", true, true, "5000 it is"},
		{"OTEL_BSP_EXPORT_TIMEOUT", "30s", true, true, "30000 it is"},
		{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many", true, true, "128 it is"},
	} {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			t.Parallel()
			vars := map[string]string{endpointVar: aReceiver}
			vars[tt.name] = tt.value
			e := env(vars)
			if p := e.Problems(); len(p) != 1 || p[0].Variable != tt.name || !strings.Contains(p[0].Instead, tt.instead) {
				t.Errorf("problems %q, want one of %s with %q", p, tt.name, tt.instead)
			}
			if traces, metrics := e.Sends(); traces != tt.traces || metrics != tt.metrics {
				t.Errorf("traces are sent: %t, metrics: %t; want %t, %t", traces, metrics, tt.traces, tt.metrics)
			}
			if text := fmt.Sprint(e.Problems()); strings.Contains(text, "hunter2") {
				t.Errorf("a secret is in %s", text)
			}
			vars["OTEL_SDK_DISABLED"] = "true"
			if e := env(vars); len(e.Problems()) != 0 || !e.Disabled() {
				t.Errorf("with OTEL_SDK_DISABLED: %q, want nothing looked at", e.Problems())
			}
		})
	}
}

// The page lists every variable that is read.
func TestEveryVariableIsDocumented(t *testing.T) {
	t.Parallel()
	var asked []string
	e := ReadEnv(func(name string) (string, bool) {
		asked = append(asked, name)
		return "", false
	})
	if len(e.Problems()) != 0 || len(e.Set()) != 0 {
		t.Errorf("nothing is set, and %q %q", e.Set(), e.Problems())
	}
	page, err := os.ReadFile("../../docs/tracing.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range asked {
		general := strings.NewReplacer("OTLP_TRACES_", "OTLP_", "OTLP_METRICS_", "OTLP_").Replace(name)
		if !strings.Contains(string(page), "`"+name+"`") && !strings.Contains(string(page), "`"+general+"`") {
			t.Errorf("docs/tracing.md does not mention %s", name)
		}
	}
}

// Not parallel: the library's logger is that of the process.
func TestTheLibrarysLinesAreClean(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hunter2-token")
	t.Setenv(endpointVar, "http://user:hunter2-password@127.0.0.1:4318")
	var out bytes.Buffer
	AdoptLibrary(slog.New(slog.NewJSONHandler(&out, nil)))
	t.Cleanup(func() { AdoptLibrary(slog.New(slog.DiscardHandler)) })
	otel.Handle(errors.New("parse http://user:hunter2-password@127.0.0.1:4318 with hunter2-token"))
	line := out.String()
	if !strings.HasPrefix(line, "{") || !strings.Contains(line, `"level":"WARN"`) || !strings.Contains(line, "[hidden]") || strings.Contains(line, "hunter2") {
		t.Errorf("the library's error is written %q, want JSON without a secret", line)
	}
}
