package reference

import (
	"fmt"
	"strings"

	"github.com/penstock/penstock/internal/telemetry"
)

const metricsHead = `# Metrics

Generated from the source by ` + "`make generate`" + `; do not edit.

Every process serves its metrics in the Prometheus format at ` + "`server.admin`, path `/metrics`" + `, whatever its roles; a process without the
role console serves nothing else there, so that processes of one machine need addresses of their own. No token is needed: no metric holds
a secret or a value that a sender chose. Beside those below there are the standard ones of the Go runtime (` + "`go_*`" + `) and of the process
(` + "`process_*`" + `). Where ` + "`OTEL_EXPORTER_OTLP_ENDPOINT`" + ` (or ` + "`OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`" + `) is set, those below are pushed there as well, by
` + "`OTEL_EXPORTER_OTLP_PROTOCOL`" + ` (` + "`http/protobuf` or `grpc`" + `), every ` + "`OTEL_METRIC_EXPORT_INTERVAL`" + ` milliseconds (60000), under the same names. [tracing.md](tracing.md#switching-it-on) has all variables.

What a process cannot know is absent, not 0: a process that is ingress alone does not see the streams, and while these do not answer,
nothing is said of them. Of several replicas each counts what it did itself; the streams and the queues of the sinks are the same for all of
them, so take the ` + "`max`" + ` of their gauges and the ` + "`sum`" + ` of counters. The streams are asked at most every two seconds, however many read.

The counters of what is configured, of requests, rejected ones, attempts and deliveries, are there from the start, with 0; those by type are
not, as there are hundreds of types, and begin with their first event. Ready-made alerts and dashboards are in
[charts/penstock/files](../charts/penstock/files); what to do about an alert is in [operations.md](operations.md#runbook).
`

// MetricsPage is docs/metrics.md, in Markdown. root is the repository.
func MetricsPage(root string) (string, error) {
	alerts, err := alertsOf(root)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(metricsHead)
	b.WriteString("\n## Metrics\n\n| name | type | unit | labels | what it is | what to do with it | alerts |\n|---|---|---|---|---|---|---|\n")
	for _, m := range telemetry.Metrics() {
		var labels, used []string
		for _, l := range m.Labels {
			labels = append(labels, code(l))
		}
		for _, a := range alerts[m.Name] {
			used = append(used, fmt.Sprintf("[%s](operations.md#%s)", a, strings.ToLower(a)))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n", m.Name, m.Kind, m.Unit, strings.Join(labels, ", "), cell(m.Help), cell(m.Use), strings.Join(used, ", "))
	}
	b.WriteString("\n## Labels\n\nNo label has a value that a sender can choose, so that the number of series is bounded by the configuration and the catalogue.\n\n| label | values |\n|---|---|\n")
	for _, l := range telemetry.Labels() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", l.Name, cell(l.Values))
	}
	return b.String(), nil
}
