package charttest

import (
	"encoding/json"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// lets reports that the policies let a pod of w connect to an address and port
// outside the cluster.
func lets(m manifest, w workload, to string, port int32) bool {
	address := netip.MustParseAddr(to)
	for _, n := range all[*networkingv1.NetworkPolicy](m) {
		selector, _ := metav1.LabelSelectorAsSelector(&n.Spec.PodSelector)
		if !selector.Matches(labels.Set(w.meta.Labels)) {
			continue
		}
		for _, rule := range n.Spec.Egress {
			open := len(rule.Ports) == 0
			for _, p := range rule.Ports {
				open = open || p.Port.IntVal == port
			}
			if open && (len(rule.To) == 0 || peers(rule.To, address)) {
				return true
			}
		}
	}
	return false
}

func peers(to []networkingv1.NetworkPolicyPeer, address netip.Addr) bool {
	for _, p := range to {
		if p.IPBlock == nil || !netip.MustParsePrefix(p.IPBlock.CIDR).Contains(address) {
			continue
		}
		except := false
		for _, e := range p.IPBlock.Except {
			except = except || netip.MustParsePrefix(e).Contains(address)
		}
		if !except {
			return true
		}
	}
	return false
}

// TestPoliciesLetOutWhatIsNeeded: sinks are reached by what delivers to them,
// and the addresses at which clouds hand out credentials by nobody.
func TestPoliciesLetOutWhatIsNeeded(t *testing.T) {
	t.Parallel()
	type egress struct {
		component, to string
		port          int32
		want          bool
	}
	for name, rows := range map[string][]egress{
		"default": {
			{"standalone", "192.0.2.7", 443, true}, {"standalone", "10.1.2.3", 8080, true}, {"standalone", "2001:db8::7", 443, true},
			{"standalone", "169.254.169.254", 80, false}, {"standalone", "fd00:ec2::254", 80, false}, {"standalone", "100.100.100.200", 80, false},
			{"standalone", "fd00:ec2::23", 80, false}, {"standalone", "fd20:ce::254", 80, false}, {"standalone", "192.0.0.192", 80, false},
			{"test", "192.0.2.7", 443, false},
		},
		"distributed": {
			{"router", "192.0.2.7", 443, true}, {"router", "169.254.169.254", 80, false}, {"console", "192.0.2.7", 443, true},
			{"ingress", "192.0.2.7", 443, false}, {"ingress", "192.0.2.7", 4222, false}, {"provision", "192.0.2.7", 443, false},
			{"nats", "192.0.2.7", 443, false}, {"ingress", "169.254.169.254", 80, false}, {"ingress", "192.0.2.7", 53, true},
		},
		"distributed, NKeys": {
			{"ingress", "192.0.2.7", 4222, true}, {"ingress", "192.0.2.7", 443, false}, {"provision", "192.0.2.7", 4222, true},
			{"console", "192.0.2.7", 4222, true}, {"console", "192.0.2.7", 443, false}, {"router", "192.0.2.7", 443, true},
		},
		"everything, standalone": {{"standalone", "192.0.2.7", 443, true}, {"standalone", "192.0.2.7", 80, false}},
	} {
		m := rendered(t, name, vals(t, cases()[name]))
		for _, row := range rows {
			found := selected(t, m, matching(map[string]string{"app.kubernetes.io/component": row.component}))
			if len(found) != 1 {
				t.Fatalf("%s: there are %d %s", name, len(found), row.component)
			}
			if got := lets(m, found[0], row.to, row.port); got != row.want {
				t.Errorf("%s: the policies let %s to %s port %d: %t, want %t", name, row.component, row.to, row.port, got, row.want)
			}
		}
	}
}

// TestPoliciesForbidWhatTheProgramForbids: the addresses that hand out credentials
// are those of the guard of sinks, within whatever networks sinks are in.
func TestPoliciesForbidWhatTheProgramForbids(t *testing.T) {
	t.Parallel()
	guard, err := os.ReadFile(repository + "/sinks/guard.go")
	if err != nil {
		t.Fatal(err)
	}
	forbidden := regexp.MustCompile(`MustParsePrefix\("([^"]+)"\), metadataWhy`).FindAllSubmatch(guard, -1)
	if len(forbidden) < 6 {
		t.Fatalf("sinks/guard.go forbids %d addresses that this test finds", len(forbidden))
	}
	for _, values := range []string{
		"{}",
		`networkPolicy: {sinks: {cidrs: [0.0.0.0/1, 128.0.0.0/1, "::/1", "8000::/1"]}}`,
		`networkPolicy: {sinks: {cidrs: [100.64.0.0/10, 168.63.0.0/16, 192.0.0.0/8, "fd00::/8", "fc00::/6", 10.0.0.0/8]}}`,
	} {
		m := render(t, vals(t, values))
		pod := selected(t, m, matching(map[string]string{"app.kubernetes.io/component": "standalone"}))[0]
		for _, f := range forbidden {
			prefix := netip.MustParsePrefix(string(f[1]))
			if lets(m, pod, prefix.Addr().String(), 80) {
				t.Errorf("%s: the policies let a sink to %s", values, prefix)
			}
		}
		for _, p := range all[*networkingv1.NetworkPolicy](m) {
			validExcept(t, p)
		}
	}
	open := render(t, vals(t, `networkPolicy: {sinks: {cidrs: [100.64.0.0/10, "fd00::/8"]}}`))
	pod := selected(t, open, matching(map[string]string{"app.kubernetes.io/component": "standalone"}))[0]
	for to, want := range map[string]bool{"100.64.1.1": true, "fd00::1": true, "10.0.0.1": false, "fe80::1": false} {
		if got := lets(open, pod, to, 443); got != want {
			t.Errorf("the policies let a sink to %s: %t, want %t", to, got, want)
		}
	}
}

// validExcept looks at what the API server does: exceptions are within their network.
func validExcept(t *testing.T, n *networkingv1.NetworkPolicy) {
	t.Helper()
	for _, rule := range n.Spec.Egress {
		for _, peer := range rule.To {
			if peer.IPBlock == nil {
				continue
			}
			outer := netip.MustParsePrefix(peer.IPBlock.CIDR)
			for _, e := range peer.IPBlock.Except {
				if inner := netip.MustParsePrefix(e); !outer.Contains(inner.Addr()) || inner.Bits() <= outer.Bits() {
					t.Errorf("NetworkPolicy %s: %s is not within %s", n.Name, e, outer)
				}
			}
		}
	}
}

// TestPoliciesOpenThePortsOfNATS: those of the URL, or the one that is named.
func TestPoliciesOpenThePortsOfNATS(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		url, more string
		want      []int32
	}{
		"none in the URL":      {url: "tls://n1,tls://n2", want: []int32{4222}},
		"one":                  {url: "tls://n1:4333", want: []int32{4333}},
		"several":              {url: "tls://n1:4333,tls://n2,tls://n3:4333/", want: []int32{4222, 4333}},
		"after a login":        {url: "nats://${U}:${P}@n1:4444", want: []int32{4444}},
		"of a host a variable": {url: "nats://${HOST}", want: []int32{4222}},
		"IPv6":                 {url: "nats://[fd00::1]:4555,nats://[fd00::2]", want: []int32{4222, 4555}},
		"websockets":           {url: "wss://n1,ws://n2", want: []int32{80, 443}},
		"named":                {url: "tls://n1:4333", more: "networkPolicy: {externalNats: {port: 9222}}", want: []int32{9222}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := render(t, vals(t, "mode: distributed\nnats: {enabled: false}\nexternalNats: {url: '"+tt.url+"', credentials: {type: none}}\n"+tt.more))
			pod := selected(t, m, matching(map[string]string{"app.kubernetes.io/component": "ingress"}))[0]
			var got []int32
			for _, port := range []int32{80, 443, 4222, 4333, 4444, 4555, 9222} {
				if lets(m, pod, "192.0.2.7", port) {
					got = append(got, port)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("the policies let the ingress to %v, want %v", got, tt.want)
			}
		})
	}
}

// TestMoreRulesAreForEveryPod: what traces are sent to is let in by extraEgress, for
// all that send some.
func TestMoreRulesAreForEveryPod(t *testing.T) {
	t.Parallel()
	m := render(t, vals(t, "mode: distributed\nnetworkPolicy: {extraEgress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}], ports: [{port: 4318}]}]}"))
	for _, component := range []string{"ingress", "router", "console", "provision"} {
		n := one[*networkingv1.NetworkPolicy](t, m, "demo-penstock-"+component)
		if !slices.ContainsFunc(n.Spec.Egress, func(r networkingv1.NetworkPolicyEgressRule) bool {
			return len(r.Ports) == 1 && r.Ports[0].Port.IntVal == 4318 && len(r.To) == 1 && r.To[0].NamespaceSelector != nil
		}) {
			t.Errorf("NetworkPolicy %s lacks the rule of extraEgress", n.Name)
		}
	}
}

// TestAlertsAndDashboardsAreAll: what is in files arrives whole.
func TestAlertsAndDashboardsAreAll(t *testing.T) {
	t.Parallel()
	m := render(t, vals(t, "metrics: {rules: {enabled: true, alertLabels: {team: web}}, dashboards: {enabled: true}}"))
	var want struct{ Groups []monitoring.RuleGroup }
	alerts := 0
	for _, f := range theChart(t).Files {
		switch {
		case f.Name == "files/alerts.yaml":
			if err := yaml.UnmarshalStrict(f.Data, &want); err != nil {
				t.Fatal(err)
			}
		case strings.HasPrefix(f.Name, "files/dashboards/"):
			name := strings.TrimPrefix(f.Name, "files/dashboards/")
			c := one[*corev1.ConfigMap](t, m, "demo-penstock-dash-"+strings.TrimSuffix(name, ".json"))
			if have := strings.TrimSpace(c.Data[name]); have != strings.TrimSpace(string(f.Data)) || !json.Valid([]byte(have)) {
				t.Errorf("ConfigMap %s is not %s, or no JSON", c.Name, f.Name)
			}
		}
	}
	groups := one[*monitoring.PrometheusRule](t, m, "demo-penstock").Spec.Groups
	if len(groups) != len(want.Groups) {
		t.Fatalf("the PrometheusRule has %d groups, want %d", len(groups), len(want.Groups))
	}
	for i, g := range groups {
		for j, r := range g.Rules {
			w := want.Groups[i].Rules[j]
			if r.Alert != w.Alert || r.Expr != w.Expr || r.Alert != "" && r.Labels["team"] != "web" || len(g.Rules) != len(want.Groups[i].Rules) {
				t.Errorf("rule %d of group %s is %+v, want %+v with the label team", j, g.Name, r, w)
			}
			alerts++
		}
	}
	if alerts == 0 {
		t.Error("there are no alerts")
	}
}
