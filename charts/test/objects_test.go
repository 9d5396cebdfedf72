package charttest

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// workload is whatever makes pods.
type workload struct {
	metav1.Object
	kind     string
	selector *metav1.LabelSelector // nil: it is a pod
	meta     metav1.ObjectMeta     // of the pod
	spec     corev1.PodSpec
}

func (w workload) String() string { return w.kind + " " + w.GetName() }

func (w workload) containers() []corev1.Container {
	return slices.Concat(w.spec.InitContainers, w.spec.Containers)
}

func workloads(m manifest) []workload {
	var out []workload
	for _, o := range m.objects {
		switch o := o.Object.(type) {
		case *appsv1.StatefulSet:
			out = append(out, workload{o, "StatefulSet", o.Spec.Selector, o.Spec.Template.ObjectMeta, o.Spec.Template.Spec})
		case *appsv1.Deployment:
			out = append(out, workload{o, "Deployment", o.Spec.Selector, o.Spec.Template.ObjectMeta, o.Spec.Template.Spec})
		case *batchv1.Job:
			out = append(out, workload{o, "Job", nil, o.Spec.Template.ObjectMeta, o.Spec.Template.Spec})
		case *corev1.Pod:
			out = append(out, workload{o, "Pod", nil, o.ObjectMeta, o.Spec})
		}
	}
	return out
}

// selected are the workloads whose pods a selector finds.
func selected(t *testing.T, m manifest, s *metav1.LabelSelector) []workload {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	var out []workload
	for _, w := range workloads(m) {
		if selector.Matches(labels.Set(w.meta.Labels)) {
			out = append(out, w)
		}
	}
	return out
}

func matching(l map[string]string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: l}
}

// TestSelectorsFindTheirPods: what selects pods finds those of one workload.
func TestSelectorsFindTheirPods(t *testing.T) {
	t.Parallel()
	eachCase(t, func(t *testing.T, _ map[string]any, m manifest) {
		one := func(what string, s *metav1.LabelSelector) {
			if found := selected(t, m, s); len(found) != 1 {
				t.Errorf("%s selects %v, want one workload", what, found)
			}
		}
		for _, w := range workloads(m) {
			if w.selector != nil {
				one(w.String(), w.selector)
			}
		}
		for _, s := range all[*corev1.Service](m) {
			if !strings.HasSuffix(s.Name, "-metrics") {
				one("Service "+s.Name, matching(s.Spec.Selector))
				continue
			}
			serving := 0
			for _, w := range workloads(m) {
				if w.selector != nil && strings.Contains(w.spec.Containers[0].Image, "penstock/penstock") {
					serving++
				}
			}
			if found := selected(t, m, matching(s.Spec.Selector)); len(found) != serving {
				t.Errorf("Service %s selects %v, want all %d that have metrics", s.Name, found, serving)
			}
		}
		for _, b := range all[*policyv1.PodDisruptionBudget](m) {
			one("PodDisruptionBudget "+b.Name, b.Spec.Selector)
		}
		for _, n := range all[*networkingv1.NetworkPolicy](m) {
			if strings.HasSuffix(n.Name, "-deny") {
				if found := selected(t, m, &n.Spec.PodSelector); len(found) != len(workloads(m)) {
					t.Errorf("NetworkPolicy %s denies to %v, want all of %v", n.Name, found, workloads(m))
				}
				continue
			}
			if strings.HasSuffix(n.Name, "-test") && len(all[*corev1.Pod](m)) == 0 {
				continue // nobody to send as
			}
			one("NetworkPolicy "+n.Name, &n.Spec.PodSelector)
		}
		for _, w := range workloads(m) {
			for _, c := range w.spec.TopologySpreadConstraints {
				if found := selected(t, m, c.LabelSelector); len(found) != 1 || found[0].GetName() != w.GetName() {
					t.Errorf("%s is spread among the pods of %v", w, found)
				}
			}
		}
	})
}

// TestTargetsExist: what scales, routes or scrapes names something that is there.
func TestTargetsExist(t *testing.T) {
	t.Parallel()
	eachCase(t, func(t *testing.T, _ map[string]any, m manifest) {
		ports := func(service string) []corev1.ServicePort { return one[*corev1.Service](t, m, service).Spec.Ports }
		for _, h := range all[*autoscalingv2.HorizontalPodAutoscaler](m) {
			if d := one[*appsv1.Deployment](t, m, h.Spec.ScaleTargetRef.Name); d.Spec.Replicas != nil {
				t.Errorf("Deployment %s has replicas, which would undo what its autoscaler does", d.Name)
			}
		}
		for _, s := range all[*keda.ScaledObject](m) {
			if d := one[*appsv1.Deployment](t, m, s.Spec.ScaleTargetRef.Name); d.Spec.Replicas != nil {
				t.Errorf("Deployment %s has replicas, which would undo what KEDA does", d.Name)
			}
		}
		for _, i := range all[*networkingv1.Ingress](m) {
			for _, p := range i.Spec.Rules[0].HTTP.Paths {
				if b := p.Backend.Service; !slices.ContainsFunc(ports(b.Name), func(s corev1.ServicePort) bool { return s.Name == b.Port.Name }) {
					t.Errorf("Ingress %s leads to port %s, which Service %s does not have", i.Name, b.Port.Name, b.Name)
				}
			}
		}
		for _, r := range all[*gateway.HTTPRoute](m) {
			for _, rule := range r.Spec.Rules {
				for _, b := range rule.BackendRefs {
					if !slices.ContainsFunc(ports(string(b.Name)), func(s corev1.ServicePort) bool { return s.Port == int32(*b.Port) }) {
						t.Errorf("HTTPRoute %s leads to port %d, which Service %s does not have", r.Name, *b.Port, b.Name)
					}
				}
			}
		}
		for _, s := range all[*monitoring.ServiceMonitor](m) {
			found := 0
			for _, service := range all[*corev1.Service](m) {
				selector, _ := metav1.LabelSelectorAsSelector(&s.Spec.Selector)
				if selector.Matches(labels.Set(service.Labels)) && slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == s.Spec.Endpoints[0].Port }) {
					found++
				}
			}
			if found != 1 {
				t.Errorf("ServiceMonitor %s finds %d Services with its port, want 1", s.Name, found)
			}
		}
		for _, s := range all[*appsv1.StatefulSet](m) {
			if service := one[*corev1.Service](t, m, s.Spec.ServiceName); service.Spec.ClusterIP != corev1.ClusterIPNone {
				t.Errorf("Service %s of a StatefulSet is not headless", service.Name)
			}
		}
	})
}

// TestPortsLineUp: Services and probes name ports of the containers, and the
// network policies let them through.
func TestPortsLineUp(t *testing.T) {
	t.Parallel()
	eachCase(t, func(t *testing.T, _ map[string]any, m manifest) {
		number := func(w workload, port intstr.IntOrString) int32 {
			for _, c := range w.spec.Containers {
				for _, p := range c.Ports {
					if p.Name == port.StrVal || p.ContainerPort == port.IntVal && port.Type == intstr.Int {
						return p.ContainerPort
					}
				}
			}
			t.Errorf("%s has no port %s", w, port.String())
			return 0
		}
		for _, s := range all[*corev1.Service](m) {
			for _, w := range selected(t, m, matching(s.Spec.Selector)) {
				for _, p := range s.Spec.Ports {
					n := number(w, p.TargetPort)
					if p.Name != "monitor" && !admits(m, w, n) { // the kubelet alone asks there
						t.Errorf("the network policies let nobody to port %s of %s", p.Name, w)
					}
				}
			}
		}
		for _, w := range workloads(m) {
			for _, c := range w.containers() {
				for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
					switch {
					case p == nil:
					case p.HTTPGet != nil:
						number(w, p.HTTPGet.Port)
					case p.TCPSocket != nil:
						number(w, p.TCPSocket.Port)
					default:
						t.Errorf("a probe of %s asks nothing that an image without a shell could answer", w)
					}
				}
				if w.kind != "Job" && w.kind != "Pod" && c.Name != "reloader" && (c.StartupProbe == nil || c.LivenessProbe == nil || c.ReadinessProbe == nil) {
					t.Errorf("%s lacks a probe", w)
				}
			}
		}
	})
}

// admits reports that somebody may reach a port.
func admits(m manifest, w workload, port int32) bool {
	policies := all[*networkingv1.NetworkPolicy](m)
	for _, n := range policies {
		selector, _ := metav1.LabelSelectorAsSelector(&n.Spec.PodSelector)
		if !selector.Matches(labels.Set(w.meta.Labels)) {
			continue
		}
		for _, rule := range n.Spec.Ingress {
			for _, p := range rule.Ports {
				if p.Port.IntVal == port {
					return true
				}
			}
		}
	}
	return len(policies) == 0
}

// TestRestrictedPodSecurity: every pod passes the restricted standard, and has
// no token of the API server.
func TestRestrictedPodSecurity(t *testing.T) {
	t.Parallel()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	eachCase(t, func(t *testing.T, _ map[string]any, m manifest) {
		for _, w := range workloads(m) {
			if r := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &w.meta, &w.spec)); !r.Allowed {
				t.Errorf("%s: %s", w, r.ForbiddenDetail())
			}
			if w.spec.AutomountServiceAccountToken == nil || *w.spec.AutomountServiceAccountToken {
				t.Errorf("%s mounts a token of the API server", w)
			}
			for _, c := range w.containers() {
				if c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
					t.Errorf("%s, container %s: the root of its files can be written", w, c.Name)
				}
				if c.Resources.Requests == nil || c.Resources.Limits == nil {
					t.Errorf("%s, container %s has no resources", w, c.Name)
				}
			}
		}
	})
}

// TestNoSecretOutsideSecrets: what a Secret holds stands nowhere else.
func TestNoSecretOutsideSecrets(t *testing.T) {
	t.Parallel()
	eachCase(t, func(t *testing.T, _ map[string]any, m manifest) {
		for _, s := range all[*corev1.Secret](m) {
			for key, value := range s.Data {
				if len(value) != 40 {
					t.Errorf("Secret %s, key %s: made %d characters, want 40", s.Name, key, len(value))
				}
				for _, o := range m.objects {
					if o.kind != "Secret" && (strings.Contains(o.text, string(value)) || strings.Contains(o.text, base64.StdEncoding.EncodeToString(value))) {
						t.Errorf("%s %s holds %s of Secret %s", o.kind, o.GetName(), key, s.Name)
					}
				}
				if strings.Contains(m.notes, string(value)) {
					t.Errorf("the notes show %s of Secret %s", key, s.Name)
				}
			}
		}
	})
}

// TestReferencesExist: what pods mount or take their environment from is made
// here, or is somebody's own.
func TestReferencesExist(t *testing.T) {
	t.Parallel()
	eachCase(t, func(t *testing.T, _ map[string]any, m manifest) {
		keys := map[string][]string{}
		for _, s := range all[*corev1.Secret](m) {
			for k := range s.Data {
				keys["Secret "+s.Name] = append(keys["Secret "+s.Name], k)
			}
		}
		for _, c := range all[*corev1.ConfigMap](m) {
			keys["ConfigMap "+c.Name] = []string{}
		}
		wants := func(w workload, kind, name, key string) {
			have, made := keys[kind+" "+name]
			if !made && !strings.HasPrefix(name, "own-") {
				t.Errorf("%s needs %s %s, which is not there", w, kind, name)
			}
			if made && key != "" && !slices.Contains(have, key) {
				t.Errorf("%s needs %s of %s %s, which has %v", w, key, kind, name, have)
			}
		}
		for _, w := range workloads(m) {
			volumes := map[string]bool{}
			for _, v := range w.spec.Volumes {
				if volumes[v.Name] {
					t.Errorf("%s has volume %s twice", w, v.Name)
				}
				volumes[v.Name] = true
				if v.ConfigMap != nil {
					wants(w, "ConfigMap", v.ConfigMap.Name, "")
				}
				if v.Secret != nil {
					wants(w, "Secret", v.Secret.SecretName, "")
				}
				if v.Projected != nil {
					for _, s := range v.Projected.Sources {
						wants(w, "Secret", s.Secret.Name, "")
					}
				}
			}
			for _, c := range w.claims(m) {
				volumes[c] = true
			}
			for _, c := range w.containers() {
				for _, v := range c.VolumeMounts {
					if !volumes[v.Name] {
						t.Errorf("%s, container %s mounts %s, which is no volume", w, c.Name, v.Name)
					}
				}
				names := map[string]bool{}
				for _, e := range c.Env {
					if names[e.Name] {
						t.Errorf("%s, container %s has variable %s twice", w, c.Name, e.Name)
					}
					names[e.Name] = true
					if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
						wants(w, "Secret", e.ValueFrom.SecretKeyRef.Name, e.ValueFrom.SecretKeyRef.Key)
					}
				}
				for _, e := range c.EnvFrom {
					wants(w, "Secret", e.SecretRef.Name, "")
				}
			}
			if a := w.spec.ServiceAccountName; a != "default" {
				one[*corev1.ServiceAccount](t, m, a)
			}
		}
	})
}

func (w workload) claims(m manifest) []string {
	var out []string
	for _, s := range all[*appsv1.StatefulSet](m) {
		if s.Name == w.GetName() && w.kind == "StatefulSet" {
			for _, c := range s.Spec.VolumeClaimTemplates {
				out = append(out, c.Name)
			}
		}
	}
	return out
}

// TestNamesAreValid: every object has a name of its own that is one for a DNS
// label, also of the pods that are made of it, and labels as they may be.
func TestNamesAreValid(t *testing.T) {
	t.Parallel()
	eachCase(t, func(t *testing.T, _ map[string]any, m manifest) {
		seen := map[string]bool{}
		for _, o := range m.objects {
			id := o.kind + " " + o.GetName()
			if seen[id] {
				t.Errorf("%s is there twice", id)
			}
			seen[id] = true
			if wrong := validation.IsDNS1035Label(o.GetName()); len(wrong) > 0 {
				t.Errorf("%s: %v", id, wrong)
			}
			if o.kind == "StatefulSet" && len(o.GetName()) > 52 {
				t.Errorf("%s: its pods could not have their revision as a label", id)
			}
			for k, v := range o.GetLabels() {
				if wrong := slices.Concat(validation.IsQualifiedName(k), validation.IsValidLabelValue(v)); len(wrong) > 0 {
					t.Errorf("%s, label %s=%s: %v", id, k, v, wrong)
				}
			}
			if o.GetLabels()["app.kubernetes.io/instance"] != release {
				t.Errorf("%s does not say of which release it is", id)
			}
		}
	})
}
