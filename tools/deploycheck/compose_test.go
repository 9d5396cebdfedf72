package deploycheck

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"go.yaml.in/yaml/v3"
)

// everyProfile are the profiles of docker-compose.yml.
var everyProfile = []string{"s3", "monitoring", "cluster"}

// project is what docker compose makes of the file, with these profiles and
// variables, and without what is in a .env of this machine.
func project(t *testing.T, profiles []string, env ...string) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{inRepo("docker-compose.yml")},
		cli.WithWorkingDirectory(repo()), cli.WithProfiles(profiles), cli.WithEnv(env), cli.WithoutEnvironmentResolution)
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(context.Background())
	if err != nil {
		t.Fatalf("docker-compose.yml with the profiles %s: %v", profiles, err)
	}
	return p
}

// TestComposeProfiles loads each profile alone: what a service of it needs has
// to be in it, too.
func TestComposeProfiles(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":           "penstock receiver secrets",
		"s3":         "bucket penstock receiver s3 secrets",
		"monitoring": "grafana penstock prometheus receiver secrets",
		"cluster":    "cluster-secrets console ingress nats-1 nats-2 nats-3 penstock provision receiver router secrets",
	} {
		p := project(t, strings.Fields(name))
		if got := strings.Join(slices.Sorted(maps.Keys(p.Services)), " "); got != want {
			t.Errorf("profile %q starts %s, want %s", name, got, want)
		}
	}
	declared := map[string]bool{}
	for _, s := range project(t, everyProfile).Services {
		for _, p := range s.Profiles {
			declared[p] = true
		}
	}
	if got := slices.Sorted(maps.Keys(declared)); len(got) != len(everyProfile) {
		t.Errorf("docker-compose.yml has the profiles %s, this test knows %s", got, everyProfile)
	}
}

// TestCompose resolves every reference of the file.
func TestCompose(t *testing.T) {
	t.Parallel()
	stages, _ := readDockerfile(t)
	p := project(t, everyProfile)
	published := map[string]string{}
	usedVolumes, usedNetworks := map[string]bool{}, map[string]bool{}
	for name, s := range p.Services {
		t.Run(name, func(t *testing.T) {
			checkComposeImage(t, p, s, stages)
			checkHardened(t, s)
			for _, v := range s.Volumes {
				checkVolume(t, p, v)
				usedVolumes[v.Source] = true
			}
			for n := range s.Networks {
				if _, ok := p.Networks[n]; !ok {
					t.Errorf("the network %s is not there", n)
				}
				usedNetworks[n] = true
			}
			for _, port := range s.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("port %s is open to others than this machine", port.Published)
				}
				if other := published[port.Published]; other != "" {
					t.Errorf("port %s is %s's already", port.Published, other)
				}
				published[port.Published] = name
			}
			for on, d := range s.DependsOn {
				checkDependency(t, p, stages, on, d)
			}
		})
	}
	for name := range p.Volumes {
		if !usedVolumes[name] {
			t.Errorf("nobody uses the volume %s", name)
		}
	}
	for name := range p.Networks {
		if !usedNetworks[name] {
			t.Errorf("nobody uses the network %s", name)
		}
	}
}

func checkComposeImage(t *testing.T, p *types.Project, s types.ServiceConfig, stages map[string]instructions.Stage) {
	t.Helper()
	if stage := stageOf(p, s); stage != "" {
		if _, ok := stages[stage]; !ok {
			t.Errorf("the Dockerfile has no stage %s", stage)
		}
		return
	}
	if !pinned.MatchString(s.Image) {
		t.Errorf("%s is not pinned by a full version", s.Image)
	}
	if version, is := strings.CutPrefix(s.Image, "nats:"); is {
		mod, err := os.ReadFile(inRepo("go.mod"))
		if err != nil || !bytes.Contains(mod, []byte("nats-server/v2 v"+strings.TrimSuffix(version, "-alpine")+"\n")) {
			t.Errorf("%s is not the version of nats-server in go.mod, %v", s.Image, err)
		}
	}
}

// stageOf is the stage of our Dockerfile that a service runs, or empty.
func stageOf(p *types.Project, s types.ServiceConfig) string {
	for _, other := range p.Services {
		if other.Image == s.Image && other.Build != nil {
			return other.Build.Target
		}
	}
	return ""
}

// checkHardened demands that a service cannot do what it need not.
func checkHardened(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || s.Privileged {
		t.Errorf("read_only %t, cap_drop %v, privileged %t, want the least", s.ReadOnly, s.CapDrop, s.Privileged)
	}
	oneShot := s.NetworkMode == "none" // which makes files for others, and ends
	if !oneShot && (len(s.CapAdd) > 0 || !slices.Contains(s.SecurityOpt, "no-new-privileges:true")) {
		t.Errorf("cap_add %v, security_opt %v, want no privileges", s.CapAdd, s.SecurityOpt)
	}
	for name, value := range s.Environment {
		secret := regexp.MustCompile(`(?i)(PASSWORD|TOKEN|SECRET|KEY)$`).MatchString(name)
		if secret && value != nil && *value != "" {
			t.Errorf("the environment has a secret, %s", name)
		}
	}
}

func checkVolume(t *testing.T, p *types.Project, v types.ServiceVolumeConfig) {
	t.Helper()
	switch v.Type {
	case types.VolumeTypeBind:
		if _, err := os.Stat(v.Source); err != nil {
			t.Errorf("mounts what is not there: %v", err)
		}
		if !v.ReadOnly {
			t.Errorf("%s can be written to: this is the repository", v.Source)
		}
	case types.VolumeTypeVolume:
		if _, ok := p.Volumes[v.Source]; !ok {
			t.Errorf("the volume %s is not there", v.Source)
		}
	}
}

// checkDependency demands that what is waited for comes to pass: a check where
// health is, an end where an end is.
func checkDependency(t *testing.T, p *types.Project, stages map[string]instructions.Stage, on string, d types.ServiceDependency) {
	t.Helper()
	other, ok := p.Services[on]
	if !ok {
		t.Errorf("depends on %s, which is not there", on)
		return
	}
	switch d.Condition {
	case types.ServiceConditionHealthy:
		inherits := other.HealthCheck == nil && len(all[*instructions.HealthCheckCommand](stages[stageOf(p, other)])) > 0
		if !inherits && (other.HealthCheck == nil || other.HealthCheck.Disable) {
			t.Errorf("waits for the health of %s, which has no check", on)
		}
	case types.ServiceConditionCompletedSuccessfully:
		if other.Restart == types.RestartPolicyUnlessStopped || other.Restart == types.RestartPolicyAlways {
			t.Errorf("waits for the end of %s, which is started again and again", on)
		}
	default:
		t.Errorf("waits only for the start of %s: say for what", on)
	}
}

// TestComposeVariables demands that every variable is explained at the top of
// the file, and stands in example.env with the default that the file has.
func TestComposeVariables(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(inRepo("docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]any
	if err := yaml.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	used := template.ExtractVariables(raw, template.DefaultPattern)
	example, err := os.ReadFile(inRepo("deploy/compose/example.env"))
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#   ([A-Z0-9_]+)  +\S`).FindAllSubmatch(text, -1) {
		explained[string(m[1])] = true
	}
	defaults := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^([A-Z0-9_]+)=(.*)$`).FindAllSubmatch(example, -1) {
		defaults[string(m[1])] = string(m[2])
	}
	for name, v := range used {
		if !explained[name] {
			t.Errorf("%s is not explained at the top of docker-compose.yml", name)
		}
		if d, ok := defaults[name]; !ok || d != v.DefaultValue {
			t.Errorf("example.env has %s=%s (%t), docker-compose.yml has the default %q", name, d, ok, v.DefaultValue)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(defaults)) {
		if _, ok := used[name]; !ok || !explained[name] {
			t.Errorf("example.env has %s, which docker-compose.yml does not use or explain", name)
		}
	}
	if len(used) < 10 {
		t.Errorf("found %d variables, want 10 at least", len(used))
	}
}

// TestComposeCommands holds the command lines of our services against the
// program: it has every command and flag, also of the health checks.
func TestComposeCommands(t *testing.T) {
	t.Parallel()
	binary, err := penstock()
	if err != nil {
		t.Fatal(err)
	}
	p, n := project(t, everyProfile), 0
	for name, s := range p.Services {
		if stageOf(p, s) != "penstock" {
			continue
		}
		lines := [][]string{s.Command}
		if s.HealthCheck != nil && !s.HealthCheck.Disable {
			lines = append(lines, s.HealthCheck.Test[2:]) // after CMD and the program
		}
		for _, line := range lines {
			n++
			out, err := exec.Command(binary, append(slices.Clone(line), "--help")...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "penstock "+line[0]) {
				t.Errorf("%s: penstock %s: %v\n%s", name, strings.Join(line, " "), err, out)
			}
		}
	}
	if n < 6 {
		t.Errorf("found %d command lines, want 6 at least", n)
	}
}

// TestComposeConfigs checks the configurations as penstock check does, and that
// the addresses in them are those of services.
func TestComposeConfigs(t *testing.T) {
	t.Parallel()
	binary, err := penstock()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(inRepo("deploy/compose/penstock/*/penstock.yaml"))
	if err != nil || len(files) != 3 {
		t.Fatalf("found %s, %v, want three configurations", files, err)
	}
	p := project(t, everyProfile)
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			t.Parallel()
			if out, err := exec.Command(binary, "check", "--no-env", "--strict", "-c", file).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?:http|nats)://([a-z0-9-]+):(\d+)`).FindAllSubmatch(data, -1) {
				if _, ok := p.Services[string(m[1])]; !ok {
					t.Errorf("%s is no service", m[1])
				}
			}
			for _, m := range regexp.MustCompile(`(?m)_file: (/run/penstock/\S+)$`).FindAllSubmatch(data, -1) {
				script, err := os.ReadFile(inRepo("deploy/compose/secrets.sh"))
				if want := strings.TrimPrefix(string(m[1]), "/run/"); err != nil || !bytes.Contains(script, []byte(" "+want+" ")) {
					t.Errorf("nobody makes %s, %v", m[1], err)
				}
			}
		})
	}
}

// TestComposePermissions holds what the nodes let each role do against what
// Penstock asks for.
func TestComposePermissions(t *testing.T) {
	t.Parallel()
	binary, err := penstock()
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"ingress", "router", "console", "provisioner"} {
		cmd := exec.Command(binary, "provision", "-c", inRepo("deploy/compose/penstock/cluster/penstock.yaml"), "--print-permissions", role)
		cmd.Env = append(os.Environ(), "PENSTOCK_NKEY_FILE=role.nk")
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		file := inRepo("deploy/compose/nats/permissions", role+".conf")
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s, %v, is not what this prints: penstock provision --print-permissions %s -c deploy/compose/penstock/cluster/penstock.yaml", file, err, role)
		}
	}
}

// TestComposeMonitoring demands that Prometheus and Grafana find what is
// mounted for them.
func TestComposeMonitoring(t *testing.T) {
	t.Parallel()
	p := project(t, everyProfile)
	var prometheus struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			DNS []struct {
				Names []string
				Port  int
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	decode(t, inRepo("deploy/compose/prometheus/prometheus.yml"), &prometheus)
	for _, s := range prometheus.ScrapeConfigs {
		for _, name := range s.DNS[0].Names {
			if !sharesNetwork(p.Services[name], p.Services["prometheus"]) {
				t.Errorf("prometheus does not reach %s", name)
			}
		}
	}
	var rules struct {
		Groups []struct{ Rules []map[string]any }
	}
	decode(t, mounted(t, p.Services["prometheus"], prometheus.RuleFiles[0]), &rules)
	if len(rules.Groups) == 0 {
		t.Error("there are no alerts")
	}
	var dashboards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	decode(t, inRepo("deploy/compose/grafana/provisioning/dashboards/penstock.yaml"), &dashboards)
	dir := mounted(t, p.Services["grafana"], dashboards.Providers[0].Options.Path)
	if found, err := filepath.Glob(filepath.Join(dir, "*.json")); err != nil || len(found) == 0 {
		t.Errorf("there is no dashboard in %s, %v", dir, err)
	}
	var sources struct{ Datasources []struct{ URL string } }
	decode(t, inRepo("deploy/compose/grafana/provisioning/datasources/prometheus.yaml"), &sources)
	if got, want := sources.Datasources[0].URL, fmt.Sprintf("http://prometheus:%d", p.Services["prometheus"].Ports[0].Target); got != want {
		t.Errorf("grafana asks %s, prometheus is at %s", got, want)
	}
}

func sharesNetwork(a, b types.ServiceConfig) bool {
	for n := range a.Networks {
		if _, ok := b.Networks[n]; ok {
			return true
		}
	}
	return false
}

// mounted is the file of the repository that a service finds at a path, which
// may be a pattern.
func mounted(t *testing.T, s types.ServiceConfig, at string) string {
	t.Helper()
	for _, v := range s.Volumes {
		if ok, _ := filepath.Match(at, v.Target); ok {
			return v.Source
		}
	}
	t.Fatalf("nothing is mounted for %s at %s", s.Name, at)
	return ""
}

func decode(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
