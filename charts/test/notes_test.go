package charttest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

var secretFile = regexp.MustCompile(`--secret-file (\S+)`)

// TestNotesTellWhatIsThere: what the notes advise can be done with what was made.
func TestNotesTellWhatIsThere(t *testing.T) {
	t.Parallel()
	eachCase(t, func(t *testing.T, _ map[string]any, m manifest) {
		tested := slices.ContainsFunc(m.objects, func(o object) bool { return o.kind == "Pod" })
		if advised := strings.Contains(m.notes, "helm test demo"); advised != tested {
			t.Errorf("the notes advise helm test: %t, and there is one: %t\n%s", advised, tested, m.notes)
		}
		if of := secretFile.FindStringSubmatch(m.notes); of != nil && !strings.Contains(m.notes, "> "+of[1]) {
			t.Errorf("the notes do not say how to get %s, the file of the secret\n%s", of[1], m.notes)
		}
		if wants := `.data.MAIN_SECRET}' | base64 -d > signing-secret`; strings.Contains(configOf(t, m), "${MAIN_SECRET}") && !strings.Contains(m.notes, wants) && strings.Contains(m.notes, "/webhooks/main") {
			t.Errorf("the notes do not take the variable of the configuration from its Secret\n%s", m.notes)
		}
		if strings.Contains(m.notes, "get secret demo-penstock-quickstart -o jsonpath='{.data.CLICKFUNNELS_WEBHOOK_SECRET}'") {
			if len(one[*corev1.Secret](t, m, "demo-penstock-quickstart").Data["CLICKFUNNELS_WEBHOOK_SECRET"]) == 0 {
				t.Error("the notes take a key from a Secret that does not have it")
			}
		}
	})
}

// TestNotesNameTheHostsOfTheCertificate: of every server, and of the Service.
func TestNotesNameTheHostsOfTheCertificate(t *testing.T) {
	t.Parallel()
	m := render(t, vals(t, "mode: distributed\nclusterDomain: example.internal\nnats: {tls: {existingSecret: own-tls}}"))
	for _, s := range all[*corev1.Service](m) {
		if s.Name != "demo-penstock-nats" && s.Name != "demo-penstock-nats-headless" {
			continue
		}
		host := s.Name + ".events.svc.example.internal"
		if s.Spec.ClusterIP == corev1.ClusterIPNone {
			host = "*." + host
		}
		if !slices.Contains(strings.Fields(m.notes), host) {
			t.Errorf("the notes do not say that the certificate has to name %s\n%s", host, m.notes)
		}
	}
	plain := render(t, vals(t, "mode: distributed"))
	if strings.Contains(plain.notes, "certificate") {
		t.Errorf("the notes speak of a certificate where there is none\n%s", plain.notes)
	}
}
