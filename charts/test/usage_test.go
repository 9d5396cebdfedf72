package charttest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common/util"
	"k8s.io/apimachinery/pkg/runtime"
)

// bases are values under which keys show: what one needs, another rules out.
func bases() []string {
	standalone := cases()["everything, standalone"]
	return []string{
		standalone,
		cases()["everything, distributed"],
		cases()["distributed"],
		cases()["distributed, scaled by KEDA"],
		cases()["distributed, credentials"],
		cases()["distributed, NKeys"],
		cases()["secrets store"],
		cases()["configured"],
		cases()["subscribers"],
		"{}",
		"service: {type: NodePort}",
	}
}

// kubeExamples are values of the types of Kubernetes.
const kubeExamples = `
LocalObjectReference: {name: other}
ResourceRequirements: {requests: {cpu: 77m}}
Toleration: {key: other, operator: Exists}
Affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: other, labelSelector: {matchLabels: {a: b}}}}]}}
TopologySpreadConstraint: {maxSkew: 2, topologyKey: other, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {a: b}}}
PodDNSConfig: {options: [{name: ndots, value: "1"}]}
PodSecurityContext: {runAsUser: 7777}
SecurityContext: {runAsUser: 7777}
EnvVar: {name: OTHER, value: thing}
EnvFromSource: {secretRef: {name: own-other}}
Volume: {name: other, emptyDir: {}}
VolumeMount: {name: tmp, mountPath: /other}
Container: {name: other, image: other}
MetricSpec: {type: Pods, pods: {metric: {name: other}, target: {type: AverageValue, averageValue: "7"}}}
HorizontalPodAutoscalerBehavior: {scaleDown: {stabilizationWindowSeconds: 77}}
DeploymentStrategy: {rollingUpdate: {maxSurge: 7}}
NetworkPolicyPeer: {podSelector: {matchLabels: {other: thing}}}
NetworkPolicyIngressRule: {from: [{podSelector: {matchLabels: {other: thing}}}]}
NetworkPolicyEgressRule: {to: [{podSelector: {matchLabels: {other: thing}}}]}
RelabelConfig: {action: labeldrop, regex: other}
ParentReference: {name: other}
HTTPRouteFilter: {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Other, value: thing}]}}
`

// special are examples for keys whose values are about one another.
const special = `
config: {default: [log], sinks: {log: {kind: log}}, sources: {main: {kind: clickfunnels, path: /other, secrets: ["${S}"]}}}
metrics.rules.disabled: [PenstockDown]
`

// leaf is a key of the values that holds no further keys of the chart.
type leaf struct {
	path     []string
	examples []any
}

func (l leaf) String() string { return strings.Join(l.path, ".") }

// leaves walks the schema.
func leaves(t *testing.T, root schemaNode) []leaf {
	t.Helper()
	examples := vals(t, kubeExamples)
	specials := vals(t, special)
	var out []leaf
	var walk func(n schemaNode, path []string)
	walk = func(n schemaNode, path []string) {
		if ref, _ := n["$ref"].(string); ref != "" {
			name := strings.TrimPrefix(ref, "#/$defs/")
			if _, typ, isKube := cutLast(name); isKube {
				out = append(out, leaf{path, []any{examples[typ]}})
				return
			}
			n = root["$defs"].(schemaNode)[name].(schemaNode)
		}
		if s, has := specials[strings.Join(path, ".")]; has {
			out = append(out, leaf{path, []any{s}})
			return
		}
		if given, has := n["examples"].([]any); has {
			out = append(out, leaf{path, given})
			return
		}
		if properties, has := n["properties"].(schemaNode); has {
			for _, key := range slices.Sorted(maps.Keys(properties)) {
				walk(properties[key].(schemaNode), append(slices.Clone(path), key))
			}
			return
		}
		out = append(out, leaf{path, examplesOf(t, n, path, examples)})
	}
	for _, key := range slices.Sorted(maps.Keys(root["properties"].(schemaNode))) {
		if key != "global" { // Helm's own
			walk(root["properties"].(schemaNode)[key].(schemaNode), []string{key})
		}
	}
	return out
}

// cutLast splits the name of a type of Kubernetes; others have no dot.
func cutLast(name string) (pkg, typ string, isKube bool) {
	i := strings.LastIndex(name, ".")
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

func examplesOf(t *testing.T, n schemaNode, path []string, kube map[string]any) []any {
	t.Helper()
	if enum, has := n["enum"].([]any); has {
		return enum
	}
	switch n["type"] {
	case "boolean":
		return []any{true, false}
	case "integer":
		least := 0
		if m, has := n["minimum"]; has {
			fmt.Sscan(fmt.Sprint(m), &least)
		}
		return []any{int64(least + 41), int64(least + 1)}
	case "string":
		return []any{"other"}
	case "array":
		item := n["items"].(schemaNode)
		if ref, _ := item["$ref"].(string); ref != "" {
			_, typ, _ := cutLast(ref)
			return []any{[]any{kube[typ]}}
		}
		return []any{[]any{"other"}}
	}
	t.Fatalf("no example for %s: %v", strings.Join(path, "."), n)
	return nil
}

// TestEveryKeyIsUsed changes every key of the values, and wants what is rendered
// to change: under one of the bases at least.
func TestEveryKeyIsUsed(t *testing.T) {
	t.Parallel()
	root := valuesSchema(t)
	all := leaves(t, root)
	if len(all) < 250 {
		t.Fatalf("the schema has %d keys, want 250 at least: this test has lost some", len(all))
	}
	type rendered struct {
		values  map[string]any
		files   map[string]string
		cluster []runtime.Object
	}
	var start []rendered
	for _, text := range bases() {
		v := vals(t, text)
		first := render(t, v)
		// The Secrets alone: with what runs an upgrade refuses to change where the events are.
		secrets := slices.DeleteFunc(asCluster(t, first), func(o runtime.Object) bool { return o.GetObjectKind().GroupVersionKind().Kind != "Secret" })
		r := rendered{values: v, cluster: secrets}
		var err error
		if r.files, err = (rendering{cluster: r.cluster, upgrade: true}).files(t, v); err != nil {
			t.Fatal(err)
		}
		start = append(start, r)
	}
	groups := map[string][]leaf{}
	for _, l := range all {
		groups[l.path[0]] = append(groups[l.path[0]], l)
	}
	for group, some := range groups {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			for _, l := range some {
				used := slices.ContainsFunc(start, func(r rendered) bool {
					return slices.ContainsFunc(l.examples, func(example any) bool {
						v := with(r.values, l.path, example)
						if same(t, r.values, v) {
							return false
						}
						files, err := rendering{cluster: r.cluster, upgrade: true, skipSchema: true}.files(t, v)
						return err == nil && !maps.Equal(files, r.files)
					})
				})
				if !used {
					t.Errorf("%s changes nothing that is rendered", l)
				}
			}
		})
	}
}

// TestExamplesOfKeysAreTaken: what the schema gives as examples is valid by it.
func TestExamplesOfKeysAreTaken(t *testing.T) {
	t.Parallel()
	v := map[string]any{}
	for _, l := range leaves(t, valuesSchema(t)) {
		v = with(v, l.path, l.examples[0])
	}
	if err := util.ValidateAgainstSchema(theChart(t), v); err != nil {
		t.Error(err)
	}
}

// with is v with one more value in it; v stays as it is.
func with(v map[string]any, path []string, value any) map[string]any {
	out := maps.Clone(v)
	if out == nil {
		out = map[string]any{}
	}
	if len(path) == 1 {
		out[path[0]] = value
		return out
	}
	below, _ := out[path[0]].(map[string]any)
	out[path[0]] = with(below, path[1:], value)
	return out
}

// same reports that both mean the same, defaults filled in.
func same(t *testing.T, a, b map[string]any) bool {
	t.Helper()
	x, err := util.CoalesceValues(theChart(t), a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := util.CoalesceValues(theChart(t), b)
	if err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}
