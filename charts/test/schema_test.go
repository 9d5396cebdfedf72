package charttest

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// TestSchemaIsGenerated: values.schema.json is what its parts say.
func TestSchemaIsGenerated(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(valuesSchema(t)); err != nil {
		t.Fatal(err)
	}
	generated(t, chartDir+"/values.schema.json", text.Bytes())
}

type schemaNode = map[string]any

// valuesSchema puts the schema of the values together.
func valuesSchema(t *testing.T) schemaNode {
	t.Helper()
	source, err := os.ReadFile("values.schema.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b := &schemaBuilder{t: t, defs: schemaNode{}}
	written := vals(t, string(source))
	root := b.node(written).(schemaNode)
	for name, def := range written["$defs"].(schemaNode) {
		b.defs[name] = b.node(def)
	}
	root["$defs"] = b.defs
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Values of the Penstock chart"
	for path, doc := range valueDocs(t) {
		describe(root, strings.Split(path, "."), doc.text)
	}
	return root
}

// describe writes the comment of values.yaml into the schema of its key, where
// that stands in the tree itself.
func describe(n schemaNode, path []string, text string) {
	for _, key := range path {
		properties, _ := n["properties"].(schemaNode)
		if n, _ = properties[key].(schemaNode); n == nil {
			return
		}
	}
	if _, isRef := n["$ref"]; !isRef {
		n["description"] = text
	}
}

type schemaBuilder struct {
	t    *testing.T
	defs schemaNode
}

const dnsName = `[a-z0-9]([-a-z0-9.]*[a-z0-9])?`

// words are what a key of the source may be instead of a schema.
func words() map[string]schemaNode {
	text := func(pattern string, example any) schemaNode {
		return schemaNode{"type": "string", "pattern": pattern, "examples": []any{example}}
	}
	return map[string]schemaNode{
		"string":              {"type": "string"},
		"boolean":             {"type": "boolean"},
		"name-or-empty":       text("^$|^"+dnsName+"$", "other"),
		"host":                text("^"+dnsName+"$", "other.example"),
		"key":                 text("^[-._a-zA-Z0-9]+$", "other-key"),
		"path":                text("^/.+[^/]$", "/etc/other"),
		"url":                 text("^https?://[^ ]+$", "http://other:9090"),
		"quantity":            text(`^[0-9]+(\.[0-9]+)?([KMGT]i?)?$`, "33Gi"),
		"prometheus-duration": text("^$|^([0-9]+(ms|s|m|h))+$", "17s"),
		"port":                {"type": "integer", "minimum": 1, "maximum": 65535},
		"high-port":           {"type": "integer", "minimum": 1024, "maximum": 65535},
		"networks": {"type": "array", "examples": []any{[]any{"198.51.100.0/24"}}, "items": schemaNode{
			"type": "string", "pattern": "^[0-9a-fA-F:.]+/[0-9]{1,3}$"}},
		"strings": {"type": "object", "additionalProperties": schemaNode{"type": "string"}, "examples": []any{schemaNode{"other": "thing"}}},
		"labels": {"type": "object", "examples": []any{schemaNode{"other": "thing"}},
			"propertyNames":        schemaNode{"pattern": "^([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"},
			"additionalProperties": schemaNode{"type": "string", "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"}},
	}
}

// node makes a schema of what the source says.
func (b *schemaBuilder) node(v any) any {
	switch v := v.(type) {
	case string:
		return b.word(v)
	case schemaNode:
		out := schemaNode{}
		for key, value := range v {
			switch key {
			case "$defs":
			case "properties":
				properties := schemaNode{}
				for name, p := range value.(schemaNode) {
					properties[name] = b.node(p)
				}
				out[key] = properties
				out["type"], out["additionalProperties"] = "object", false
			case "items":
				out[key] = b.node(value)
			default:
				out[key] = value
			}
		}
		return out
	}
	return v
}

func (b *schemaBuilder) word(word string) schemaNode {
	if item, isList := strings.CutPrefix(word, "list "); isList {
		return schemaNode{"type": "array", "items": b.word(item)}
	}
	if name, isKube := strings.CutPrefix(word, "k8s:"); isKube {
		typ, known := kubeTypes()[name]
		if !known {
			b.t.Fatalf("values.schema.yaml names the unknown type %s", name)
		}
		return b.kube(typ)
	}
	if word == "penstock" {
		return b.penstock()
	}
	n, known := words()[word]
	if !known {
		b.t.Fatalf("values.schema.yaml has the unknown word %q", word)
	}
	return n
}

// chartOwns are the keys of penstock.yaml that the chart sets itself.
func chartOwns() map[string][]string {
	return map[string][]string{
		"server": {"listen", "admin", "admin_token", "admin_token_file", "tls"},
		"broker": {"url", "url_file", "creds_file", "nkey_file", "ca_file", "cert_file", "key_file", "data_dir", "listen"},
	}
}

// penstock is the schema that the program prints, without what the chart sets.
func (b *schemaBuilder) penstock() schemaNode {
	text := strings.ReplaceAll(must(b.t, nil, "schema"), `"#/$defs/`, `"#/$defs/penstock.`)
	var s schemaNode
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		b.t.Fatal(err)
	}
	for section, keys := range chartOwns() {
		part := s["properties"].(schemaNode)[section].(schemaNode)
		delete(part, "allOf") // about keys that are gone
		for _, key := range keys {
			delete(part["properties"].(schemaNode), key)
		}
	}
	for name, def := range s["$defs"].(schemaNode) {
		b.defs["penstock."+name] = def
	}
	delete(s, "$defs")
	delete(s, "$schema")
	return s
}

// kubeTypes are the types of Kubernetes that values may hold.
func kubeTypes() map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for _, v := range []any{
		corev1.LocalObjectReference{}, corev1.ResourceRequirements{}, corev1.Toleration{}, corev1.Affinity{}, corev1.TopologySpreadConstraint{},
		corev1.PodDNSConfig{}, corev1.PodSecurityContext{}, corev1.SecurityContext{}, corev1.EnvVar{}, corev1.EnvFromSource{}, corev1.Volume{},
		corev1.VolumeMount{}, corev1.Container{}, autoscalingv2.MetricSpec{}, autoscalingv2.HorizontalPodAutoscalerBehavior{},
		appsv1.DeploymentStrategy{}, networkingv1.NetworkPolicyPeer{}, networkingv1.NetworkPolicyIngressRule{}, networkingv1.NetworkPolicyEgressRule{},
		monitoring.RelabelConfig{}, gateway.ParentReference{}, gateway.HTTPRouteFilter{},
	} {
		out[reflect.TypeOf(v).Name()] = reflect.TypeOf(v)
	}
	return out
}

// kube is the schema of a Go type of Kubernetes.
func (b *schemaBuilder) kube(t reflect.Type) schemaNode {
	switch reflect.Zero(t).Interface().(type) {
	case resource.Quantity:
		return schemaNode{"type": []any{"string", "number"}, "pattern": `^[0-9]+(\.[0-9]+)?(m|[kKMGTPE]i?)?$`}
	case intstr.IntOrString:
		return schemaNode{"type": []any{"integer", "string"}}
	case metav1.Time, metav1.MicroTime, metav1.Duration:
		return schemaNode{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return b.kube(t.Elem())
	case reflect.Bool:
		return schemaNode{"type": "boolean"}
	case reflect.String:
		return schemaNode{"type": "string"}
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint64, reflect.Uint32, reflect.Uint16:
		return schemaNode{"type": "integer"}
	case reflect.Slice:
		return schemaNode{"type": "array", "items": b.kube(t.Elem())}
	case reflect.Map:
		return schemaNode{"type": "object", "additionalProperties": b.kube(t.Elem())}
	case reflect.Struct:
		return b.kubeStruct(t)
	}
	b.t.Fatalf("no schema for %s", t)
	return nil
}

func (b *schemaBuilder) kubeStruct(t reflect.Type) schemaNode {
	name := strings.ReplaceAll(strings.TrimPrefix(t.PkgPath(), "k8s.io/"), "/", ".") + "." + t.Name()
	if i := strings.LastIndex(name, "apis."); i > 0 {
		name = name[i+len("apis."):]
	}
	if _, done := b.defs[name]; !done {
		properties := schemaNode{}
		b.defs[name] = schemaNode{"type": "object", "additionalProperties": false, "properties": properties}
		b.fields(t, properties)
	}
	return schemaNode{"$ref": "#/$defs/" + name}
}

func (b *schemaBuilder) fields(t reflect.Type, into schemaNode) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case name == "" && f.Anonymous:
			b.fields(f.Type, into)
		case name != "":
			into[name] = b.kube(f.Type)
		}
	}
}

// TestBadValuesAreRefused: by the schema, with a message that says where and
// what, or where only the whole shows it, by the templates.
func TestBadValuesAreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ values, want string }{
		"mode":                     {"mode: cluster", "at '/mode': value must be one of 'standalone', 'distributed'"},
		"unknown key":              {"replicaCount: 2", "additional properties 'replicaCount' not allowed"},
		"unknown key, deep":        {"ingress: {autoscaling: {max: 3}}", "at '/ingress/autoscaling': additional properties 'max' not allowed"},
		"text for a number":        {"ingress: {replicas: two}", "at '/ingress/replicas': got string, want integer"},
		"no replica":               {"ingress: {replicas: 0}", "at '/ingress/replicas': minimum: got 0, want 1"},
		"two servers":              {"nats: {replicas: 2}", "at '/nats/replicas': value must be one of 1, 3, 5"},
		"low port":                 {"ports: {http: 80}", "at '/ports/http': minimum: got 80, want 1,024"},
		"number for text":          {"commonAnnotations: {a: 1}", "at '/commonAnnotations/a': got number, want string"},
		"label":                    {"commonLabels: {a: b c}", "at '/commonLabels/a': 'b c' does not match pattern"},
		"name":                     {"secrets: {existingSecret: My_Secret}", "at '/secrets/existingSecret': 'My_Secret' does not match pattern"},
		"digest":                   {"image: {digest: abc}", "at '/image/digest': 'abc' does not match pattern"},
		"size":                     {"standalone: {persistence: {size: 10 GB}}", "at '/standalone/persistence/size': '10 GB' does not match pattern"},
		"misspelt toleration":      {"pod: {tolerations: [{opertor: Exists}]}", "at '/pod/tolerations/0': additional properties 'opertor' not allowed"},
		"misspelt security":        {"router: {pod: {containerSecurityContext: {runAsNonroot: true}}}", "at '/router/pod/containerSecurityContext': additional properties 'runAsNonroot' not allowed"},
		"resources":                {"test: {resources: {limit: {memory: 1Gi}}}", "at '/test/resources': additional properties 'limit' not allowed"},
		"cidr":                     {"networkPolicy: {sinks: {cidrs: [internal]}}", "at '/networkPolicy/sinks/cidrs/0': 'internal' does not match pattern"},
		"configuration, unknown":   {"config: {snks: {}}", "at '/config': additional properties 'snks' not allowed"},
		"configuration, sink":      {"config: {sinks: {crm: {kind: http, url: 'http://x', retries: 3}}}", "additional properties 'retries' not allowed"},
		"what the chart sets":      {"config: {server: {listen: ':9000'}}", "at '/config/server': additional properties 'listen' not allowed"},
		"where the chart stores":   {"config: {broker: {data_dir: /data}}", "at '/config/broker': additional properties 'data_dir' not allowed"},
		"secret in clear":          {`config: {sources: {a: {kind: clickfunnels, secrets: [hunter2hunter2]}}}`, "written in clear, which would stand in a ConfigMap: config.sources.a.secrets[0]. Write ${NAME}"},
		"secret of the servers":    {`{mode: distributed, nats: {extraConfig: "leafnodes { remotes: [{url: \"nats://me:hunter2@n\"}] }"}}`, "would stand in a ConfigMap: nats.extraConfig"},
		"token in the URL":         {"mode: distributed\nnats: {enabled: false}\nexternalNats: {url: 'nats://hunter2@n:4222', credentials: {type: none}}", "externalNats.url holds a token in clear"},
		"password in the URL":      {"mode: distributed\nnats: {enabled: false}\nexternalNats: {url: 'nats://me:hunter2@n:4222', credentials: {type: none}}", "externalNats.url holds a password in clear"},
		"no NATS":                  {"mode: distributed\nnats: {enabled: false}", "set externalNats.url"},
		"no credentials":           {"mode: distributed\nnats: {enabled: false}\nexternalNats: {url: 'tls://n'}", "externalNats.credentials.existingSecret: name the Secret"},
		"certificate without file": {"mode: distributed\nnats: {enabled: false}\nexternalNats: {url: 'tls://n', credentials: {type: none}, tls: {clientCertificate: true}}", "externalNats.tls.clientCertificate needs"},
		"two scalers":              {"mode: distributed\nrouter: {autoscaling: {enabled: true}, keda: {enabled: true}}", "two would scale the same Deployment"},
		"nothing to scale by":      {"mode: distributed\ningress: {autoscaling: {enabled: true, targetCPU: 0}}", "there is nothing to scale by"},
		"too short to drain":       {"standalone: {terminationGracePeriodSeconds: 10}", "terminationGracePeriodSeconds: 10 would cut off the drain: it has to be above 25"},
		"files twice":              {"secrets: {existingSecret: a, asFiles: true, secretProviderClass: b}", "secrets.asFiles and secrets.secretProviderClass would both be mounted"},
		"open port":                {"standalone: {subscribers: {enabled: true}}", "standalone.subscribers: without config.broker.users anybody"},
		"route without a gateway":  {"expose: {httpRoute: {enabled: true}}", "expose.httpRoute.parentRefs: name the Gateway"},
		"one port twice":           {"ports: {http: 8081}", "ports.http and ports.admin are both 8081"},
		"subscribers' port":        {"ports: {nats: 8080}\nstandalone: {subscribers: {enabled: true}}\nconfig: {broker: {users: [{name: a, nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4}]}}", "ports.http and ports.nats are both 8080"},
		"replicas upside down":     {"mode: distributed\ningress: {autoscaling: {enabled: true, minReplicas: 5, maxReplicas: 2}}", "ingress.autoscaling.minReplicas is 5, above maxReplicas 2"},
		"KEDA upside down":         {"mode: distributed\nrouter: {keda: {enabled: true, maxReplicas: 1}}", "router.keda.minReplicas is 2, above maxReplicas 1"},
		"no pod is replaced":       {"mode: distributed\nrouter: {strategy: {rollingUpdate: {maxSurge: 0}}}", "router.strategy.rollingUpdate: maxSurge and maxUnavailable are both 0"},
		"node port inside":         {"service: {nodePort: 30080}", "service.nodePort is of type NodePort or LoadBalancer, and service.type is ClusterIP"},
		"networks inside":          {"service: {loadBalancerSourceRanges: [192.0.2.0/24]}", "service.loadBalancerSourceRanges is of type LoadBalancer, and service.type is ClusterIP"},
		"class at a node":          {"service: {type: NodePort, loadBalancerClass: a/b}", "service.loadBalancerClass is of type LoadBalancer, and service.type is NodePort"},
		"policy inside":            {"service: {externalTrafficPolicy: Local}", "service.externalTrafficPolicy is of type NodePort or LoadBalancer, and service.type is ClusterIP"},
		"no majority":              {"mode: distributed\nnats: {podDisruptionBudget: {maxUnavailable: 2}}", "nats.podDisruptionBudget.maxUnavailable 2 lets 2 of 3 servers go"},
		"no majority, percent":     {"mode: distributed\nnats: {podDisruptionBudget: {maxUnavailable: 34%}}", "maxUnavailable 34% lets 2 of 3 servers go"},
		"no sources":               {"config: {sinks: {a: {kind: log}}, default: [a]}", "config has sinks or routes and no sources"},
		"one key twice":            {"adminToken: {key: CLICKFUNNELS_WEBHOOK_SECRET}", "adminToken.key: CLICKFUNNELS_WEBHOOK_SECRET is the key of the signing secret"},
		"several at once":          {"ports: {http: 8081}\nservice: {nodePort: 30080}", "which one process cannot listen twice service.nodePort"},
		"alive twice":              {"probes: {liveness: {successThreshold: 2}}", "at '/probes/liveness': additional properties 'successThreshold' not allowed"},
		"nothing left":             {"networkPolicy: {sinks: {cidrs: [169.254.169.254/32]}}", "networkPolicy.sinks.cidrs: 169.254.169.254/32 is within 169.254.0.0/16"},
		"port of a variable":       {"mode: distributed\nnats: {enabled: false}\nexternalNats: {url: 'tls://n:${PORT}', credentials: {type: none}}", "networkPolicy.externalNats.port: externalNats.url has a port that is a variable"},
		"unknown alert":            {"metrics: {rules: {enabled: true, disabled: [Nonsense]}}", `there is no alert "Nonsense"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := rendering{}.render(t, vals(t, tt.values))
			if err == nil || !strings.Contains(strings.Join(strings.Fields(err.Error()), " "), tt.want) {
				t.Errorf("rendering %s: %v\nwant %s", tt.values, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message shows the secret: %v", err)
			}
		})
	}
}
