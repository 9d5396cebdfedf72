package charttest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// configOf is the penstock.yaml of the ConfigMap.
func configOf(t *testing.T, m manifest) string {
	t.Helper()
	for _, c := range all[*corev1.ConfigMap](m) {
		if c.Data["penstock.yaml"] != "" && !strings.HasSuffix(c.Name, "-test") {
			return c.Data["penstock.yaml"]
		}
	}
	t.Fatal("no ConfigMap holds penstock.yaml")
	return ""
}

// penstocks are the containers that run our program, with their workloads.
func penstocks(m manifest) (out []corev1.Container) {
	for _, w := range workloads(m) {
		for _, c := range w.containers() {
			if strings.Contains(c.Image, "penstock/penstock") {
				out = append(out, c)
			}
		}
	}
	return out
}

// TestConfigPassesCheck: the program takes every file that the chart makes for
// it, without as much as a warning.
func TestConfigPassesCheck(t *testing.T) {
	t.Parallel()
	eachCase(t, func(t *testing.T, _ map[string]any, m manifest) {
		for _, c := range all[*corev1.ConfigMap](m) {
			if text := c.Data["penstock.yaml"]; text != "" {
				if _, err := penstock(t, nil, "check", "--no-env", "--strict", "-c", file(t, "penstock.yaml", text)); err != nil {
					t.Errorf("ConfigMap %s: %v\n%s", c.Name, err, text)
				}
			}
		}
	})
}

var (
	variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
	flag_    = regexp.MustCompile(`^(--[a-z-]+)`)
)

// TestVariablesAreSet: every variable of the configuration without a default is
// in the environment of what reads it, or may be in a Secret of the user's.
func TestVariablesAreSet(t *testing.T) {
	t.Parallel()
	eachCase(t, func(t *testing.T, _ map[string]any, m manifest) {
		for _, found := range variable.FindAllStringSubmatch(configOf(t, m), -1) {
			for _, c := range penstocks(m) {
				if c.Name == "send" || c.Name == "delivered" || !needs(c, found[1]) {
					continue
				}
				has := slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == found[1] })
				if !has && len(c.EnvFrom) == 0 {
					t.Errorf("container %s has no variable %s, which the configuration names", c.Name, found[1])
				}
			}
		}
	})
}

// needs reports that the program reads a variable in the roles of c. The sources'
// secrets are the ingress's, the token is the console's.
func needs(c corev1.Container, variable string) bool {
	roles := ""
	for _, a := range c.Args {
		if r, found := strings.CutPrefix(a, "--roles="); found {
			roles = r
		}
	}
	switch {
	case c.Args[0] == "provision":
		return strings.HasPrefix(variable, "PENSTOCK_NATS")
	case variable == "PENSTOCK_ADMIN_TOKEN":
		return roles == "" || strings.Contains(roles, "console")
	case variable == "CLICKFUNNELS_WEBHOOK_SECRET":
		return roles == "" || strings.Contains(roles, "ingress")
	}
	return true
}

// TestArgumentsAreTheProgramsOwn: the commands and flags of containers exist,
// and the values of those that choose are known.
func TestArgumentsAreTheProgramsOwn(t *testing.T) {
	t.Parallel()
	m := render(t, vals(t, cases()["everything, distributed"]))
	single := render(t, vals(t, "{}"))
	seen := map[string]bool{}
	for _, c := range append(penstocks(m), penstocks(single)...) {
		var command []string
		for _, a := range c.Args {
			if strings.HasPrefix(a, "-") || strings.Contains(a, ".") || strings.Contains(a, "$") {
				break
			}
			command = append(command, a)
		}
		seen[command[0]] = true
		help := must(t, nil, append(command, "--help")...)
		for _, a := range c.Args {
			name := flag_.FindString(a)
			if name != "" && !regexp.MustCompile(`(?m)^ +(-\w, )?`+name+`\b`).MatchString(help) {
				t.Errorf("penstock %s has no flag %s", strings.Join(command, " "), name)
			}
		}
		if c.Command != nil {
			t.Errorf("container %s overrides the image's entrypoint", c.Name)
		}
	}
	for _, want := range []string{"serve", "provision", "send", "events"} {
		if !seen[want] {
			t.Errorf("no container runs penstock %s", want)
		}
	}
}

// TestServeTakesTheArguments: the program understands the whole command line of
// every container that serves: it gets as far as the file, which is not here.
func TestServeTakesTheArguments(t *testing.T) {
	t.Parallel()
	for _, values := range []string{"{}", "mode: distributed", "log: {format: text, level: warn}"} {
		for _, c := range penstocks(render(t, vals(t, values))) {
			if c.Args[0] != "serve" && c.Args[0] != "provision" {
				continue
			}
			_, err := penstock(t, nil, c.Args...)
			if err == nil || !strings.Contains(err.Error(), "/etc/penstock/penstock.yaml") || strings.Contains(err.Error(), "--help") {
				t.Errorf("penstock %s: %v; want it to look for its file", strings.Join(c.Args, " "), err)
			}
		}
	}
}

// TestPathsAndPortsOfTheConfiguration: what the file says is what the pod has.
func TestPathsAndPortsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	eachCase(t, func(t *testing.T, _ map[string]any, m manifest) {
		var c struct {
			Server struct {
				Listen, Admin   string
				ShutdownTimeout string `json:"shutdown_timeout"`
			}
			Broker struct {
				DataDir string `json:"data_dir"`
				Listen  string
				CA      string `json:"ca_file"`
				Cert    string `json:"cert_file"`
				Key     string `json:"key_file"`
				NKey    string `json:"nkey_file"`
				Creds   string `json:"creds_file"`
			}
		}
		if err := yaml.Unmarshal([]byte(configOf(t, m)), &c); err != nil {
			t.Fatal(err)
		}
		for _, w := range workloads(m) {
			for _, container := range w.spec.Containers {
				if len(container.Args) == 0 || container.Args[0] != "serve" {
					continue
				}
				for _, p := range container.Ports {
					want := map[string]string{"http": c.Server.Listen, "admin": c.Server.Admin, "nats": c.Broker.Listen}[p.Name]
					if have := ":" + strconv.Itoa(int(p.ContainerPort)); have != want {
						t.Errorf("%s has port %s at %s, the configuration at %s", w, p.Name, have, want)
					}
				}
				for _, path := range []string{c.Broker.DataDir, c.Broker.CA, c.Broker.Cert, c.Broker.Key, c.Broker.NKey, c.Broker.Creds} {
					if path != "" && !mounted(w, container, path) {
						t.Errorf("%s does not mount %s, which the configuration names", w, path)
					}
				}
				drain, err := time.ParseDuration("20s")
				if c.Server.ShutdownTimeout != "" {
					drain, err = time.ParseDuration(c.Server.ShutdownTimeout)
				}
				if err != nil {
					t.Fatal(err)
				}
				if container.Lifecycle != nil {
					drain += time.Duration(container.Lifecycle.PreStop.Sleep.Seconds) * time.Second
				}
				if grace := time.Duration(*w.spec.TerminationGracePeriodSeconds) * time.Second; grace <= drain {
					t.Errorf("%s is killed after %s, and may take %s to stop", w, grace, drain)
				}
			}
		}
	})
}

// mounted reports that a container has a file or folder at path.
func mounted(w workload, c corev1.Container, path string) bool {
	for _, m := range c.VolumeMounts {
		if m.MountPath == path {
			return true
		}
		name, below := strings.CutPrefix(path, m.MountPath+"/")
		if !below {
			continue
		}
		for _, v := range w.spec.Volumes {
			if v.Name != m.Name || v.Projected == nil {
				continue
			}
			for _, s := range v.Projected.Sources {
				if slices.ContainsFunc(s.Secret.Items, func(i corev1.KeyToPath) bool { return i.Path == name }) {
					return true
				}
			}
		}
	}
	return false
}

// TestMetricsOfTheProgram: what the autoscaler asks for is what the program
// tells, states of sinks included.
func TestMetricsOfTheProgram(t *testing.T) {
	t.Parallel()
	m := render(t, vals(t, cases()["distributed, scaled by KEDA"]))
	p := startPenstock(t, configOf(t, render(t, vals(t, "{}"))))
	raw, err := json.Marshal(m.objects)
	if err != nil {
		t.Fatal(err)
	}
	asked := regexp.MustCompile(`penstock_[a-z_]+`).FindAllString(string(raw), -1)
	var wanted []string
	for _, name := range asked {
		if strings.HasPrefix(name, "penstock_sink") {
			wanted = append(wanted, "\n"+name+"{")
		}
	}
	names := len(wanted)
	states := regexp.MustCompile(`state=~\\*"([a-z|-]+)`).FindStringSubmatch(string(raw))
	if names != 2 || states == nil {
		t.Fatalf("the ScaledObject asks for %d metrics of sinks, states %v; want 2 and some", names, states)
	}
	for state := range strings.SplitSeq(states[1], "|") {
		wanted = append(wanted, `state="`+state+`"`)
	}
	// The program looks at its sinks from time to time, and has not at first.
	for _, text := range wanted {
		eventually(t, fmt.Sprintf("the program tells %q, for which the ScaledObject asks", text), func() bool {
			return strings.Contains(p.metrics(t), text)
		})
	}
}

// startPenstock runs a configuration of mode standalone.
func startPenstock(t *testing.T, config string) *process {
	t.Helper()
	m := render(t, vals(t, "{}"))
	n := node{m: m, files: map[string]string{"penstock.yaml": config}}
	return n.serve(t, container(t, m, "StatefulSet", "demo-penstock", "penstock"), "--data-dir="+t.TempDir())
}

func (p *process) metrics(t *testing.T) string {
	t.Helper()
	status, body := get(t, "http://"+p.admin+"/metrics")
	if status != 200 {
		t.Fatalf("GET /metrics: %d %s", status, body)
	}
	return body
}

var natsVariable = regexp.MustCompile(`\$([A-Z_0-9]+)`)

// variables are those of a NATS server's configuration.
func variables(conf string) []string {
	var out []string
	for _, found := range natsVariable.FindAllStringSubmatch(conf, -1) {
		if strings.HasPrefix(found[1], "NATS_") {
			out = append(out, found[1])
		}
	}
	return out
}

var tlsBlock = regexp.MustCompile(`(?s)\n *tls \{.*?\}`)

// withoutFiles leaves out what names files that are not here.
func withoutFiles(conf string) string { return tlsBlock.ReplaceAllString(conf, "") }
