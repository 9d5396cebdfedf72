package charttest

import (
	"os"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// kubernetesPages are the pages with commands for a release.
func kubernetesPages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range []string{"backup.md", "operations.md", "external-nats.md"} {
		text, err := os.ReadFile(repository + "/docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(text)
	}
	return out
}

// TestPagesNameWhatIsThere: the objects and keys that the commands of the pages name
// are those of a release.
func TestPagesNameWhatIsThere(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	keys := map[string]bool{}
	for _, values := range []string{"{}", "mode: distributed\nrouter: {keda: {enabled: true}}"} {
		m := render(t, vals(t, values))
		for _, o := range m.objects {
			there[strings.ToLower(o.kind)+"/"+o.GetName()] = true
		}
		for _, s := range all[*corev1.Secret](m) {
			for key := range s.Data {
				keys[s.Name+"/"+key] = true
			}
		}
	}
	named := regexp.MustCompile(`(secret|service|configmap|deployment|statefulset|scaledobject)[ /]((?:hooks2?-penstock[-a-z]* ?)+)`)
	key := regexp.MustCompile(`secret (hooks2?-penstock[-a-z]*) -o jsonpath='\{\.data\.([A-Za-z_-]+)\}'`)
	release := regexp.MustCompile(`hooks2?-`)
	found := 0
	for page, text := range kubernetesPages(t) {
		for _, n := range named.FindAllStringSubmatch(text, -1) {
			for name := range strings.FieldsSeq(n[2]) {
				found++
				if o := n[1] + "/" + release.ReplaceAllString(name, "demo-"); !there[o] {
					t.Errorf("docs/%s names %s, which no release has", page, o)
				}
			}
		}
		for _, n := range key.FindAllStringSubmatch(text, -1) {
			found++
			if k := release.ReplaceAllString(n[1], "demo-") + "/" + n[2]; !keys[k] {
				t.Errorf("docs/%s reads %s, which no Secret of a release has", page, k)
			}
		}
	}
	if found < 25 {
		t.Errorf("found %d names in the pages, want 25 at least: this test has lost some", found)
	}
}

// TestPodThatRestores: that of docs/backup.md is one that the API server takes, also
// where only restricted pods are let in, with the volume and file of a release.
func TestPodThatRestores(t *testing.T) {
	t.Parallel()
	_, rest, _ := strings.Cut(kubernetesPages(t)["backup.md"], "apply -f - <<EOF\n")
	text, _, found := strings.Cut(rest, "\nEOF\n")
	if !found {
		t.Fatal("docs/backup.md has no pod that restores")
	}
	text = regexp.MustCompile(`\$\(kubectl .*\)`).ReplaceAllString(strings.ReplaceAll(text, "hooks-", "demo-"), "penstock")
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(text), &pod); err != nil {
		t.Fatal(err)
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	if r := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec)); !r.Allowed {
		t.Error(r.ForbiddenDetail())
	}
	m := render(t, vals(t, "{}"))
	s := one[*appsv1.StatefulSet](t, m, "demo-penstock")
	served := s.Spec.Template.Spec
	claim := s.Spec.VolumeClaimTemplates[0].Name + "-" + s.Name + "-0"
	for _, v := range pod.Spec.Volumes {
		switch {
		case v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName != claim:
			t.Errorf("the pod mounts claim %s, the release has %s", v.PersistentVolumeClaim.ClaimName, claim)
		case v.ConfigMap != nil:
			one[*corev1.ConfigMap](t, m, v.ConfigMap.Name)
		}
	}
	if pod.Spec.SecurityContext.FSGroup == nil || *pod.Spec.SecurityContext.FSGroup != *served.SecurityContext.FSGroup || *pod.Spec.SecurityContext.RunAsUser != *served.SecurityContext.RunAsUser {
		t.Error("the pod has another user or group than the one that serves, which could not read what it writes")
	}
	for _, mount := range served.Containers[0].VolumeMounts {
		own := false
		for _, v := range pod.Spec.Containers[0].VolumeMounts {
			own = own || v.MountPath == mount.MountPath
		}
		if !own {
			t.Errorf("the pod does not mount %s, as the one that serves does", mount.MountPath)
		}
	}
}
