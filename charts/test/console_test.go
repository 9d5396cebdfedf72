package charttest

import (
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestStatesOfSinks is what docs/operations.md says of a console that has no other
// role, as with an external NATS: it does not know how sinks stand, and the metrics
// of a router do. With the roles that the page names it does.
func TestStatesOfSinks(t *testing.T) {
	for name, tt := range map[string]struct{ values, state string }{
		"console alone": {"\nconsole: {roles: [console]}", "-"},
		"all roles":     {"\nconsole: {roles: [ingress, router, console]}", "open"},
	} {
		t.Run(name, func(t *testing.T) {
			m := render(t, vals(t, "mode: distributed\nnats: {replicas: 1}"+tt.values))
			n := bundled(t, m)
			router, console := n.serveRole(t, "router"), n.serveRole(t, "console")
			token := one[*corev1.Secret](t, m, "demo-penstock-quickstart").Data["admin-token"]
			list := must(t, []string{"PENSTOCK_TOKEN=" + string(token)}, "sinks", "ls", "--server", "http://"+console.admin)
			row := regexp.MustCompile(`(?m)^log .*$`).FindString(list)
			if len(strings.Fields(row)) < 3 || !strings.Contains(row, " "+tt.state+" ") {
				t.Errorf("sinks ls printed\n%s\nwant the state %s", list, tt.state)
			}
			if !regexp.MustCompile(`(?m)^penstock_sink_state\{.*state="open".* 1$`).MatchString(router.metrics(t)) {
				t.Errorf("the metrics of the router do not say that the sink is open:\n%s", router.metrics(t))
			}
		})
	}
}
