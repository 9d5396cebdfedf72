package promcheck

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v2"
)

const root = "../../"

// metric is what docs/metrics.md says of one: a test of the product sees to it
// that this is what is exposed.
type metric struct {
	kind   string
	labels []string
}

type known struct {
	metrics map[string]metric
	// values are, by label, those it can have; none: it depends on the configuration.
	values map[string][]string
}

var (
	metricRow = regexp.MustCompile("(?m)^\\| `(penstock_\\w+)` \\| (\\w+) \\| [^|]* \\| ([^|]*) \\|")
	labelRow  = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ([^|]*) \\|$")
	inCode    = regexp.MustCompile("`([^`]+)`")
)

func readKnown(t *testing.T) known {
	t.Helper()
	data, err := os.ReadFile(root + "docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	k := known{metrics: map[string]metric{}, values: map[string][]string{}}
	for _, m := range metricRow.FindAllStringSubmatch(string(data), -1) {
		k.metrics[m[1]] = metric{kind: m[2], labels: codes(m[3])}
	}
	_, table, _ := strings.Cut(string(data), "\n## Labels\n")
	for _, m := range labelRow.FindAllStringSubmatch(table, -1) {
		if !strings.Contains(m[2], "names of") && !strings.Contains(m[2], "subjects of") && m[2] != "one" {
			k.values[m[1]] = codes(m[2])
		}
	}
	if len(k.metrics) < 30 || len(k.values) < 5 {
		t.Fatalf("docs/metrics.md has %d metrics and %d labels with fixed values, want 30 and 5 at least", len(k.metrics), len(k.values))
	}
	return k
}

func codes(cell string) []string {
	var out []string
	for _, m := range inCode.FindAllStringSubmatch(cell, -1) {
		out = append(out, m[1])
	}
	return out
}

// foreign are metrics and labels that are not ours.
var (
	foreignMetrics = []string{"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
	targetLabels   = []string{"job", "instance", "namespace"}
)

// fromElsewhere is documented with what exposes it.
var fromElsewhere = map[string]metric{"penstock_config_last_reload_successful": {kind: "gauge"}}

func (k known) metric(name string) (metric, bool) {
	if m, ok := k.metrics[name]; ok {
		return m, m.kind != "histogram"
	}
	if m, ok := fromElsewhere[name]; ok {
		return m, true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		base, cut := strings.CutSuffix(name, suffix)
		if m := k.metrics[base]; cut && m.kind == "histogram" {
			if suffix == "_bucket" {
				m.labels = append(slices.Clone(m.labels), "le")
			}
			return m, true
		}
	}
	return metric{}, false
}

// check parses an expression and looks at every metric and label in it.
func (k known) check(t *testing.T, where, expr string) {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v in %s", where, err, expr)
		return
	}
	k.labelsOf(t, where, e)
}

// labelsOf returns the labels that the series below e can have, and checks those
// that are named on the way.
func (k known) labelsOf(t *testing.T, where string, e parser.Node) []string {
	t.Helper()
	var have []string
	if v, ok := e.(*parser.VectorSelector); ok {
		return k.selector(t, where, v)
	}
	for child := range parser.ChildrenIter(e) {
		have = append(have, k.labelsOf(t, where, child)...)
	}
	named := func(what string, names []string) {
		for _, l := range names {
			if !slices.Contains(have, l) && !slices.Contains(targetLabels, l) {
				t.Errorf("%s: %s (%s), but nothing in it has that label: %s", where, what, l, e)
			}
		}
	}
	switch e := e.(type) {
	case *parser.AggregateExpr:
		named("by", e.Grouping)
		if !e.Without && e.Op != parser.TOPK && e.Op != parser.BOTTOMK {
			return e.Grouping
		}
	case *parser.BinaryExpr:
		if e.VectorMatching != nil {
			named("on", e.VectorMatching.MatchingLabels)
		}
	}
	return have
}

func (k known) selector(t *testing.T, where string, v *parser.VectorSelector) []string {
	t.Helper()
	if slices.Contains(foreignMetrics, v.Name) {
		return targetLabels
	}
	m, ok := k.metric(v.Name)
	if !ok {
		t.Errorf("%s: there is no metric %s in docs/metrics.md", where, v.Name)
	}
	for _, match := range v.LabelMatchers {
		if match.Name == labels.MetricName || slices.Contains(targetLabels, match.Name) {
			continue
		}
		if !slices.Contains(m.labels, match.Name) {
			t.Errorf("%s: %s has no label %s", where, v.Name, match.Name)
		}
		values := k.values[match.Name]
		for _, value := range strings.Split(match.Value, "|") {
			if len(values) > 0 && !slices.Contains(values, value) {
				t.Errorf("%s: the label %s of %s never is %q", where, match.Name, v.Name, value)
			}
		}
	}
	return m.labels
}

func TestAlerts(t *testing.T) {
	k := readKnown(t)
	data, err := os.ReadFile(root + "charts/penstock/files/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			n++
			k.check(t, r.Alert, r.Expr)
			k.checkTemplate(t, r.Alert, r.Expr, r.Annotations["description"])
		}
	}
	if n < 15 {
		t.Errorf("%d alerts, want 15 at least", n)
	}
}

var templateLabel = regexp.MustCompile(`\$labels\.(\w+)`)

// checkTemplate: a label that the alert does not have would be shown as nothing.
func (k known) checkTemplate(t *testing.T, where, expr, text string) {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return // told already
	}
	have := k.labelsOf(t, where, e)
	for _, m := range templateLabel.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(have, m[1]) {
			t.Errorf("%s: its description names the label %s, which it does not have", where, m[1])
		}
	}
}

// variables of Grafana, with a value in their place.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$job", "penstock", "$sink", "crm")

func TestDashboards(t *testing.T) {
	k := readKnown(t)
	for _, file := range []string{"penstock.json", "sink.json"} {
		data, err := os.ReadFile(root + "charts/penstock/files/dashboards/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var b struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr, LegendFormat string }
			}
			Templating struct {
				List []struct{ Name, Type, Query string }
			}
		}
		if err := json.Unmarshal(data, &b); err != nil {
			t.Fatal(err)
		}
		for _, v := range b.Templating.List {
			if v.Type == "query" {
				k.checkVariable(t, file+", variable "+v.Name, v.Query)
			}
		}
		n := 0
		for _, p := range b.Panels {
			for _, target := range p.Targets {
				n++
				k.check(t, file+", panel "+p.Title, variables.Replace(target.Expr))
				k.checkLegend(t, file+", panel "+p.Title, variables.Replace(target.Expr), target.LegendFormat)
			}
		}
		if n < 15 {
			t.Errorf("%s asks %d questions, want 15 at least", file, n)
		}
	}
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

func (k known) checkVariable(t *testing.T, where, query string) {
	t.Helper()
	m := labelValues.FindStringSubmatch(query)
	if m == nil {
		t.Errorf("%s: %s is no label_values(series, label)", where, query)
		return
	}
	k.check(t, where, variables.Replace(fmt.Sprintf("count by (%s) (%s)", m[2], m[1])))
}

var legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)

func (k known) checkLegend(t *testing.T, where, expr, legend string) {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return // told already
	}
	have := append(k.labelsOf(t, where, e), targetLabels...)
	for _, m := range legendLabel.FindAllStringSubmatch(legend, -1) {
		if !slices.Contains(have, m[1]) {
			t.Errorf("%s: its legend names the label %s, which it does not have", where, m[1])
		}
	}
}

// TestWrongExpressionsAreFound: the checks above can fail.
func TestWrongExpressionsAreFound(t *testing.T) {
	k := readKnown(t)
	for _, expr := range []string{
		`penstock_request_total`,
		`penstock_requests_total{sink="crm"}`,
		`penstock_requests_total{outcome="fulll"}`,
		`sum by (sink) (penstock_requests_total)`,
		`penstock_accept_duration_seconds`,
		`sum by (`,
	} {
		inner := &testing.T{}
		k.check(inner, "test", expr)
		if !inner.Failed() {
			t.Errorf("nothing was found wrong with %s", expr)
		}
	}
}
