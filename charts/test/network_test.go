package charttest

import (
	"encoding/json"
	"net/netip"
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
