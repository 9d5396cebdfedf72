package reference_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/penstock/penstock/internal/reference"
)

type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []rule
	}
}

type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

// alerts are the alerts that are shipped.
func alerts(t *testing.T) []rule {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, reference.AlertsFile))
	if err != nil {
		t.Fatal(err)
	}
	var f ruleFile
	if err := yaml.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	var out []rule
	for _, g := range f.Groups {
		out = append(out, g.Rules...)
	}
	if len(out) < 15 {
		t.Fatalf("%s has %d alerts, want 15 at least", reference.AlertsFile, len(out))
	}
	return out
}

func TestAlertsSayAllTheyShould(t *testing.T) {
	t.Parallel()
	const pageURL = "https://github.com/penstock/penstock/blob/main/docs/operations.md#"
	for _, a := range alerts(t) {
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity is %q, want critical or warning", a.Alert, s)
		}
		for _, name := range []string{"summary", "description"} {
			if a.Annotations[name] == "" {
				t.Errorf("%s: has no %s", a.Alert, name)
			}
		}
		if got, want := a.Annotations["runbook_url"], pageURL+strings.ToLower(a.Alert); got != want {
			t.Errorf("%s: runbook_url is %q, want %q", a.Alert, got, want)
		}
	}
}

var runbookSection = regexp.MustCompile(`(?m)^### (Penstock\w+)$`)

// TestEveryAlertHasItsRunbook, and the other way round.
func TestEveryAlertHasItsRunbook(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(root, "docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	var sections, names []string
	at := runbookSection.FindAllStringSubmatchIndex(page, -1)
	for i, m := range at {
		sections = append(sections, page[m[2]:m[3]])
		end := len(page)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		for _, part := range []string{"**You see**", "**It means**", "**Do**"} {
			if !strings.Contains(page[m[1]:end], part) {
				t.Errorf("docs/operations.md: the section %s has no %s", page[m[2]:m[3]], part)
			}
		}
	}
	for _, a := range alerts(t) {
		names = append(names, a.Alert)
		if !slices.Contains(sections, a.Alert) {
			t.Errorf("docs/operations.md has no section %q", "### "+a.Alert)
		}
	}
	for _, s := range sections {
		if !slices.Contains(names, s) {
			t.Errorf("docs/operations.md has a section %s, but there is no such alert", s)
		}
	}
}

// TestEveryAlertIsTried: promtool tries of each that it fires and that it does
// not; see make alerts.
func TestEveryAlertIsTried(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(root, "internal/telemetry/testdata/alerts_test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Tests []struct {
			Tries []struct {
				Alert string `yaml:"alertname"`
				Fires []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range f.Tests {
		for _, try := range test.Tries {
			if len(try.Fires) > 0 {
				fires[try.Alert] = true
			} else {
				quiet[try.Alert] = true
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !quiet[a.Alert] {
			t.Errorf("%s: alerts_test.yaml tries that it fires: %v, that it does not: %v; want both", a.Alert, fires[a.Alert], quiet[a.Alert])
		}
	}
}
