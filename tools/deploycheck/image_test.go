package deploycheck

import (
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// built are the file systems of the stages, made from the Dockerfile's lines.
type built struct {
	dir    string // has a folder for each stage
	stages map[string]instructions.Stage
}

func (b *built) root(stage string) string { return filepath.Join(b.dir, stage) }

// buildImage does what docker build would with the stages build, receiver and
// penstock, in a folder instead of a container: it copies what COPY names of
// what .dockerignore lets through, and runs the lines of RUN with this
// machine's Go instead of that of the base.
func buildImage(t *testing.T) *built {
	t.Helper()
	stages, _ := readDockerfile(t)
	b := &built{dir: t.TempDir(), stages: stages}
	b.runBuildStage(t, buildContext(t))
	for _, name := range []string{"receiver", "penstock"} {
		for _, c := range all[*instructions.CopyCommand](stages[name]) {
			b.copyFromBuild(t, name, c)
		}
	}
	return b
}

func (b *built) runBuildStage(t *testing.T, context []string) {
	t.Helper()
	root, dir := b.root("build"), ""
	env := append(os.Environ(), "TARGETOS=linux", "TARGETARCH="+goEnv(t, "GOARCH"))
	for _, c := range b.stages["build"].Commands {
		switch c := c.(type) {
		case *instructions.WorkdirCommand:
			dir = filepath.Join(root, c.Path)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		case *instructions.CopyCommand:
			for _, source := range c.SourcePaths {
				copyContext(t, context, source, destination(root, dir, c.DestPath))
			}
		case *instructions.EnvCommand:
			for _, kv := range c.Env {
				env = append(env, kv.Key+"="+kv.Value)
			}
		case *instructions.ArgCommand:
			for _, a := range c.Args {
				if a.Value != nil {
					env = append(env, a.Key+"="+*a.Value)
				}
			}
			env = append(env, "VERSION=v1.2.3-test", "REVISION=0123456789abcdef", "CREATED=2026-01-02T03:04:05Z")
		case *instructions.RunCommand:
			line := strings.Join(c.CmdLine, " ")
			for _, at := range []string{"/out", "/data"} { // absolute, hence within the stage's root
				line = strings.ReplaceAll(line, " "+at, " "+root+at)
			}
			cmd := exec.Command("sh", "-ec", line)
			cmd.Dir, cmd.Env = dir, env
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("RUN %s: %v\n%s", line, err, out)
			}
		}
	}
}

// destination is where a COPY goes to.
func destination(root, dir, dest string) string {
	if filepath.IsAbs(dest) {
		dir = root
	}
	return filepath.Join(dir, dest)
}

// copyContext copies a file into a folder, or the content of a folder.
func copyContext(t *testing.T, context []string, source, dest string) {
	t.Helper()
	for _, f := range context {
		switch {
		case f == source:
			copyFile(t, inRepo(f), filepath.Join(dest, filepath.Base(f)))
		case strings.HasSuffix(source, "/") && strings.HasPrefix(f, source):
			copyFile(t, inRepo(f), filepath.Join(dest, strings.TrimPrefix(f, source)))
		}
	}
}

func (b *built) copyFromBuild(t *testing.T, stage string, c *instructions.CopyCommand) {
	t.Helper()
	if c.From != "build" {
		t.Fatalf("%s copies from %q, want build", stage, c.From)
	}
	for _, source := range c.SourcePaths {
		from, to := filepath.Join(b.root("build"), source), filepath.Join(b.root(stage), c.DestPath)
		err := filepath.WalkDir(from, func(name string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(from, name)
			at := filepath.Join(to, rel)
			if d.IsDir() {
				return os.MkdirAll(at, 0o755)
			}
			copyFile(t, name, at)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if c.Chown != "" {
			b.chown(t, to, c.Chown)
		}
	}
}

func (b *built) chown(t *testing.T, path, owner string) {
	t.Helper()
	var uid, gid int
	if _, err := fmt.Sscanf(owner, "%d:%d", &uid, &gid); err != nil {
		t.Fatalf("--chown=%s is not by number", owner)
	}
	if os.Geteuid() == 0 { // else nobody can, and nothing will be run
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// maxImage bounds the size of the program, so that a growth is a decision.
const maxImage = 64 << 20

// checkProgram demands a static program that says what it is made of.
func (b *built) checkProgram(t *testing.T) {
	t.Helper()
	binary := filepath.Join(b.root("penstock"), "penstock")
	f, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program has a segment %s: it is not static", p.Type)
		}
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 30 {
		t.Errorf("the program names %d modules, want all that it is made of, for an SBOM", len(info.Deps))
	}
	size, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the program has %.1f MiB", float64(size.Size())/(1<<20))
	if size.Size() > maxImage {
		t.Errorf("the program has %d bytes, more than the %d that were thought of", size.Size(), maxImage)
	}
	var files []string
	root := b.root("penstock")
	err = filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, name)
			files = append(files, rel)
		}
		return err
	})
	if want := "licenses/LICENSE licenses/THIRD_PARTY_LICENSES.md penstock"; err != nil || strings.Join(files, " ") != want {
		t.Errorf("the image has %s, %v, want %s", files, err, want)
	}
}

// TestImage builds the image and runs it as its user, in its root, read-only:
// once without any argument, as docker run does, and once with a file.
func TestImage(t *testing.T) {
	t.Parallel()
	b := buildImage(t)
	b.checkProgram(t)
	dir := b.dir
	first := b.container(t, "penstock", volume(t, b, "first"))
	second := b.container(t, "penstock", volume(t, b, "second"))
	etc := filepath.Join(dir, "etc")
	if err := os.Mkdir(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	second.Binds = append(second.Binds, bind{From: etc, To: "/etc/penstock", ReadOnly: true})
	second.Args = append(second.Args, "-c", "/etc/penstock/penstock.yaml")
	plan{"default": first, "configured": second}.write(t, dir)
	open(t, dir)
	runInside(t, "image", dir)
}

// container is what docker run makes of an image with a volume for its data.
func (b *built) container(t *testing.T, stage string, binds ...bind) container {
	t.Helper()
	s := b.stages[stage]
	c := container{Root: b.root(stage), Binds: binds, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	for _, command := range s.Commands {
		switch command := command.(type) {
		case *instructions.UserCommand:
			if _, err := fmt.Sscanf(command.User, "%d:%d", &c.UID, &c.GID); err != nil {
				t.Fatalf("USER %s: %v", command.User, err)
			}
		case *instructions.WorkdirCommand:
			c.Dir = command.Path
		case *instructions.EntrypointCommand:
			c.Args = append(append([]string{}, command.CmdLine...), c.Args...)
		case *instructions.CmdCommand:
			c.Args = append(c.Args, command.CmdLine...)
		case *instructions.HealthCheckCommand:
			c.Health = command.Health.Test[1:]
		}
	}
	return c
}

// volume is a new one, with the owner of the folder in the image, as Docker
// makes it.
func volume(t *testing.T, b *built, name string) bind {
	t.Helper()
	dir := filepath.Join(b.dir, "volume-"+name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range all[*instructions.CopyCommand](b.stages["penstock"]) {
		if c.DestPath == dataDir {
			b.chown(t, dir, c.Chown)
		}
	}
	return bind{From: dir, To: dataDir}
}

// open lets every user through the folders above, which tests make for one.
func open(t *testing.T, dir string) {
	t.Helper()
	for ; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
