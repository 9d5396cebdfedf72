package reference

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// AlertsFile is where the alerts are, from the root of the repository.
const AlertsFile = "charts/penstock/files/alerts.yaml"

var (
	alertLine = regexp.MustCompile(`(?m)^ *- alert: (\w+)$`)
	inRules   = regexp.MustCompile(`\bpenstock_\w+`)
)

// alertsOf says, by the name of a metric, which alerts use it, in their order.
func alertsOf(root string) (map[string][]string, error) {
	data, err := os.ReadFile(filepath.Join(root, AlertsFile))
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	out := map[string][]string{}
	starts := alertLine.FindAllStringSubmatchIndex(string(data), -1)
	for i, at := range starts {
		end := len(data)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		alert := string(data[at[2]:at[3]])
		for _, metric := range inRules.FindAllString(string(data[at[1]:end]), -1) {
			metric = baseName(metric)
			if !slices.Contains(out[metric], alert) {
				out[metric] = append(out[metric], alert)
			}
		}
	}
	return out, nil
}

// baseName is a metric's name without what a histogram's series add to it.
func baseName(series string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(series, suffix); ok {
			return base
		}
	}
	return series
}
