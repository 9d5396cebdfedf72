package charttest

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestUpgradeKeepsSecretsAndClaims: another version of the chart, with other
// values, leaves alone what cannot change and what must not.
func TestUpgradeKeepsSecretsAndClaims(t *testing.T) {
	t.Parallel()
	next, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	meta := *next.Metadata
	meta.Version, meta.AppVersion = "9.9.9", "9.9.9"
	next.Metadata = &meta
	for name, values := range map[string]string{
		"standalone":  "{}",
		"distributed": "mode: distributed\nnats: {auth: {reader: true}}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := render(t, vals(t, values))
			v := vals(t, values)
			for path, value := range map[string]any{
				"commonLabels": map[string]any{"team": "web"}, "commonAnnotations": map[string]any{"owner": "web"},
				"pod.labels": map[string]any{"a": "b"}, "image.tag": "next", "log.level": "debug",
				"config.server.max_body": "2MiB",
			} {
				v = with(v, strings.Split(path, "."), value)
			}
			after, err := rendering{upgrade: true, cluster: asCluster(t, before), chart: next}.render(t, v)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range all[*corev1.Secret](before) {
				if d := cmp.Diff(s.Data, one[*corev1.Secret](t, after, s.Name).Data); d != "" {
					t.Errorf("Secret %s changes with an upgrade: %s", s.Name, d)
				}
			}
			for _, s := range all[*appsv1.StatefulSet](before) {
				a := one[*appsv1.StatefulSet](t, after, s.Name)
				type fixed struct{ Selector, Claims, Service, Management any }
				if d := cmp.Diff(fixed{s.Spec.Selector, s.Spec.VolumeClaimTemplates, s.Spec.ServiceName, s.Spec.PodManagementPolicy},
					fixed{a.Spec.Selector, a.Spec.VolumeClaimTemplates, a.Spec.ServiceName, a.Spec.PodManagementPolicy}); d != "" {
					t.Errorf("StatefulSet %s could not be upgraded: %s", s.Name, d)
				}
			}
			for _, d := range all[*appsv1.Deployment](before) {
				if diff := cmp.Diff(d.Spec.Selector, one[*appsv1.Deployment](t, after, d.Name).Spec.Selector); diff != "" {
					t.Errorf("Deployment %s could not be upgraded: %s", d.Name, diff)
				}
			}
			for _, j := range all[*batchv1.Job](before) {
				for _, other := range all[*batchv1.Job](after) {
					if j.Name == other.Name {
						t.Errorf("Job %s has another template under the same name, which the API server refuses", j.Name)
					}
				}
			}
		})
	}
}

// TestSecretsAreNew: two installations share no secret.
func TestSecretsAreNew(t *testing.T) {
	t.Parallel()
	a, b := render(t, vals(t, "mode: distributed")), render(t, vals(t, "mode: distributed"))
	seen := map[string]bool{}
	for _, m := range []manifest{a, b} {
		for _, s := range all[*corev1.Secret](m) {
			for key, value := range s.Data {
				if seen[string(value)] {
					t.Errorf("%s of Secret %s is there twice", key, s.Name)
				}
				seen[string(value)] = true
			}
		}
	}
}

// TestWhatReplacesPods: a change of the configuration replaces pods as
// configReload says, and a new version of the chart alone replaces none of NATS.
func TestWhatReplacesPods(t *testing.T) {
	t.Parallel()
	templates := func(values string) map[string]string {
		m := render(t, vals(t, values))
		out := map[string]string{}
		for _, w := range workloads(m) {
			if w.selector != nil {
				text := w.meta.String() + w.spec.String()
				out[strings.TrimPrefix(w.GetName(), "demo-penstock")] = text
			}
		}
		return out
	}
	const routes = "\nconfig: {sources: {a: {kind: clickfunnels, secrets: [\"${S}\"]}}, sinks: {b: {kind: log}}, default: [b]"
	const live, distributed = "\nconfigReload: live", "\nmode: distributed"
	for name, tt := range map[string]struct {
		before, after string
		replaced      []string
	}{
		"a sink, by checksum":              {"{}", strings.TrimPrefix(routes, "\n") + "}", []string{""}},
		"a sink, live":                     {"{configReload: live}", routes + "}" + live, nil},
		"the server, live":                 {routes + "}" + live, routes + ", server: {max_body: 2MiB}}" + live, []string{""}},
		"a sink, distributed":              {"mode: distributed", routes + "}" + distributed, []string{"-console", "-ingress", "-router"}},
		"a sink, distributed and live":     {"mode: distributed\nconfigReload: live", routes + "}" + distributed + live, nil},
		"a sink, without the reloader":     {"mode: distributed\nconfigReload: live\nnats: {reloader: {enabled: false}}", routes + "}" + distributed + live + "\nnats: {reloader: {enabled: false}}", []string{"-nats"}},
		"the broker, distributed and live": {routes + "}" + distributed + live, routes + ", broker: {retention: 20d}}" + distributed + live, []string{"-console", "-ingress", "-router"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, after := templates(tt.before), templates(tt.after)
			var replaced []string
			for w := range maps.Keys(before) {
				if before[w] != after[w] {
					replaced = append(replaced, w)
				}
			}
			less := func(a, b string) bool { return a < b }
			if d := cmp.Diff(tt.replaced, replaced, cmpopts.SortSlices(less)); d != "" {
				t.Errorf("replaced: %s", d)
			}
		})
	}
}

// TestStrategyIsOneThatTheServerTakes: of type Recreate it refuses the rest, which
// the default values have.
func TestStrategyIsOneThatTheServerTakes(t *testing.T) {
	t.Parallel()
	m := render(t, vals(t, "mode: distributed\nrouter: {strategy: {type: Recreate}}"))
	for name, rolling := range map[string]bool{"demo-penstock-router": false, "demo-penstock-ingress": true} {
		if s := one[*appsv1.Deployment](t, m, name).Spec.Strategy; (s.RollingUpdate != nil) != rolling {
			t.Errorf("Deployment %s has the strategy %v", name, s)
		}
	}
}

// TestLint: helm lint --strict finds nothing.
func TestLint(t *testing.T) {
	t.Parallel()
	lint := func(t *testing.T, v map[string]any) {
		l := action.NewLint()
		l.Strict, l.WithSubcharts, l.Namespace = true, true, namespace
		dir, err := filepath.Abs(chartDir)
		if err != nil {
			t.Fatal(err)
		}
		result := l.Run([]string{dir}, v)
		if result.TotalChartsLinted != 1 {
			t.Errorf("linted %d charts, want 1", result.TotalChartsLinted)
		}
		for _, m := range result.Messages {
			t.Errorf("%s", m)
		}
		for _, err := range result.Errors {
			t.Errorf("%v", err)
		}
	}
	for _, name := range []string{"default", "everything, standalone", "everything, distributed"} {
		t.Run(name, func(t *testing.T) { t.Parallel(); lint(t, vals(t, cases()[name])) })
	}
	for _, name := range []string{"laptop", "one-node", "production"} {
		t.Run(name, func(t *testing.T) { t.Parallel(); lint(t, valuesFile(t, name+".yaml")) })
	}
}
