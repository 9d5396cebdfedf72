package deploycheck

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// TestComposeRuns runs the services of the default and of the profile s3 as the
// file says, with the commands, users, mounts and checks that are in it; where
// it names an image that is not ours, by this machine's programs. An event
// comes to the receiver and into the bucket.
func TestComposeRuns(t *testing.T) {
	t.Parallel()
	runCompose(t, "compose", project(t, []string{"s3"}, "PENSTOCK_CONFIG=s3"),
		tool{"versitygw", "../s3server", "github.com/versity/versitygw/cmd/versitygw"})
}

// TestComposeClusterRuns does so with the profile cluster, on three servers of
// NATS with the configuration that is there.
func TestComposeClusterRuns(t *testing.T) {
	t.Parallel()
	runCompose(t, "cluster", project(t, []string{"cluster"}), tool{"nk", ".", "github.com/nats-io/nkeys/nk"})
}

// tool is a program of another image, from a module of this repository.
type tool struct{ name, module, pkg string }

func runCompose(t *testing.T, scenario string, p *types.Project, tools ...tool) {
	t.Helper()
	b := buildImage(t)
	bin := filepath.Join(b.dir, "tools")
	for _, tool := range tools {
		if made := inRepo("dist/tools", tool.name); exists(made) { // by make tools, since it takes a while
			copyFile(t, made, filepath.Join(bin, tool.name))
			continue
		}
		build := exec.Command("go", "-C", tool.module, "build", "-o", filepath.Join(bin, tool.name), tool.pkg)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", tool.name, err, out)
		}
	}
	list := plan{}
	for name, s := range p.Services {
		list[name] = b.service(t, p, s, bin)
	}
	list.write(t, b.dir)
	open(t, b.dir)
	runInside(t, scenario, b.dir)
}

func exists(file string) bool { _, err := os.Stat(file); return err == nil }

// service is what docker compose makes of a service.
func (b *built) service(t *testing.T, p *types.Project, s types.ServiceConfig, tools string) container {
	t.Helper()
	var c container
	if stage := stageOf(p, s); stage != "" {
		c = b.container(t, stage)
		if s.Command != nil {
			c.Args = append(c.Args[:1:1], s.Command...)
		}
	} else {
		c.Args = append(append([]string{}, s.Entrypoint...), s.Command...)
		c.Env = []string{"PATH=/opt/tools:/usr/bin:/usr/sbin"}
		c.Binds = []bind{{From: tools, To: "/opt/tools", ReadOnly: true}}
		if len(s.CapDrop) > 0 {
			c.Capabilities = append([]string{}, s.CapAdd...)
		}
	}
	if s.User != "" {
		if _, err := fmt.Sscanf(s.User, "%d:%d", &c.UID, &c.GID); err != nil {
			t.Fatalf("user %s: %v", s.User, err)
		}
	}
	for name, value := range s.Environment {
		if value != nil {
			c.Env = append(c.Env, name+"="+*value)
		}
	}
	if h := s.HealthCheck; h != nil && !h.Disable {
		c.Health = h.Test[1:]
	} else if h != nil {
		c.Health = nil
	}
	for _, v := range s.Volumes {
		from := v.Source
		if v.Type == types.VolumeTypeVolume {
			from = b.volume(t, v, c)
		}
		c.Binds = append(c.Binds, bind{From: from, To: v.Target, ReadOnly: v.ReadOnly})
	}
	return c
}

// volume is the folder of a volume. A new one has what the image has there,
// which is only ever its owner.
func (b *built) volume(t *testing.T, v types.ServiceVolumeConfig, c container) string {
	t.Helper()
	dir := filepath.Join(b.dir, "volumes", v.Source)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if c.Root != "" && strings.HasPrefix(v.Target, dataDir) {
		b.chown(t, dir, fmt.Sprintf("%d:%d", c.UID, c.GID))
	}
	return dir
}
