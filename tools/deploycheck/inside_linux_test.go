package deploycheck

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func scenarios() map[string]func(dir string) error {
	return map[string]func(string) error{"image": imageScenario, "compose": composeScenario, "cluster": clusterScenario}
}

// runInside runs a scenario in a process with a network and mounts of its own,
// so that it may use every port and mount what it likes.
func runInside(t *testing.T, scenario, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("capability: namespaces and chroot need root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), scenarioVariable+"="+scenario, rootVariable+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) {
		t.Skip("capability: namespaces are not allowed here")
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", scenario, err, out)
	} else {
		t.Logf("%s", out)
	}
}

// host is the inside of a scenario: it starts containers.
type host struct {
	dir   string // for what is mounted
	hosts string // the file that says where names are
	plan  plan

	mu      sync.Mutex
	running []*running
}

// running is a process of a container.
type running struct {
	name string
	cmd  *exec.Cmd
	log  lockedBuffer
	// ended is closed when it has, with err.
	ended chan struct{}
	err   error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// inside runs a scenario's steps on a host of its own, and ends what they have
// left running. The names are addresses of this host.
func inside(dir string, names map[string]string, steps func(h *host) error) (err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts apart: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	h := &host{dir: dir, hosts: filepath.Join(dir, "hosts")}
	if h.plan, err = readPlan(dir); err != nil {
		return err
	}
	text := "127.0.0.1 localhost\n"
	for name, address := range names {
		text += address + " " + name + "\n"
	}
	if err := os.WriteFile(h.hosts, []byte(text), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(h.hosts, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount hosts: %w", err)
	}
	defer h.stop()
	if err := steps(h); err != nil {
		return fmt.Errorf("%w\n%s", err, h.logs())
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// mount makes the root of a container: its image, read-only, and its binds.
func (h *host) mount(c container) (root string, err error) {
	image := c.Root
	if image == "" {
		if image, err = h.machine(c); err != nil {
			return "", err
		}
	}
	binds := append([]bind{{From: h.hosts, To: "/etc/hosts", ReadOnly: true}}, c.Binds...)
	for _, b := range binds { // Docker makes what is missing, too
		if err := mountPoint(b.From, filepath.Join(image, b.To)); err != nil {
			return "", err
		}
	}
	root, err = os.MkdirTemp(h.dir, "root-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return "", err
	}
	if err := bindMount(bind{From: image, To: root, ReadOnly: true}); err != nil {
		return "", err
	}
	for _, b := range binds {
		b.To = filepath.Join(root, b.To)
		if err := bindMount(b); err != nil {
			return "", err
		}
	}
	return root, nil
}

// machine is a root with the programs of this machine.
func (h *host) machine(c container) (string, error) {
	root, err := os.MkdirTemp(h.dir, "machine-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return "", err
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+name, filepath.Join(root, name)); err != nil {
			return "", err
		}
	}
	for _, dir := range []string{"usr", "dev"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			return "", err
		}
		if err := unix.Mount("/"+dir, filepath.Join(root, dir), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return "", fmt.Errorf("bind /%s for %s: %w", dir, c.Name, err)
		}
	}
	return root, nil
}

func mountPoint(from, at string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.MkdirAll(at, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

func bindMount(b bind) error {
	if err := unix.Mount(b.From, b.To, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", b.From, err)
	}
	if !b.ReadOnly {
		return nil
	}
	if err := unix.Mount("", b.To, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", b.To, err)
	}
	return nil
}

// command is a process in a new root of a container.
func (h *host) command(c container, args []string) (*exec.Cmd, error) {
	root, err := h.mount(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	if c.Root == "" && c.Capabilities != nil {
		left := "-all"
		for _, name := range c.Capabilities {
			left += ",+" + strings.ToLower(name)
		}
		args = append([]string{"setpriv", "--bounding-set=" + left, "--"}, args...)
	}
	if c.Root == "" { // found by the container's PATH, which is not known here
		args = append([]string{"/usr/bin/env"}, args...)
	}
	cmd := &exec.Cmd{Path: args[0], Args: args, Dir: c.Dir, Env: c.Env}
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot: root, Pdeathsig: unix.SIGKILL, Credential: &syscall.Credential{Uid: c.UID, Gid: c.GID},
	}
	return cmd, nil
}

// start starts a container of the plan.
func (h *host) start(name string) (*running, error) {
	c, ok := h.plan[name]
	if !ok {
		return nil, fmt.Errorf("the plan has no %s", name)
	}
	c.Name = name
	cmd, err := h.command(c, c.Args)
	if err != nil {
		return nil, err
	}
	r := &running{name: name, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &r.log, &r.log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { r.err = cmd.Wait(); close(r.ended) }()
	h.mu.Lock()
	h.running = append(h.running, r)
	h.mu.Unlock()
	return r, nil
}

// complete starts a container that has to end well.
func (h *host) complete(name string) error {
	r, err := h.start(name)
	if err != nil {
		return err
	}
	select {
	case <-r.ended:
		if r.err != nil {
			return fmt.Errorf("%s: %w", name, r.err)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s has not ended within %s", name, patience)
	}
}

// healthy starts a container and waits until its check is content.
func (h *host) healthy(name string) (*running, error) {
	r, err := h.start(name)
	if err != nil {
		return nil, err
	}
	return r, until(name+" is healthy", func() error {
		select {
		case <-r.ended:
			return fmt.Errorf("it has ended: %w", r.err)
		default:
		}
		_, err := h.exec(name, h.plan[name].Health...)
		return err
	})
}

// exec runs a command in a container of the plan, as docker exec would.
func (h *host) exec(name string, args ...string) (string, error) {
	c := h.plan[name]
	c.Name = name
	if len(args) == 0 {
		return "", errors.New("there is no command")
	}
	if args[0] == "wget" { // of an image that is not here; the network is
		return get(args[len(args)-1])
	}
	cmd, err := h.command(c, args)
	if err != nil {
		return "", err
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// terminate stops a container as Docker does and demands that it ends well.
func (r *running) terminate() error {
	if err := r.cmd.Process.Signal(unix.SIGTERM); err != nil {
		return err
	}
	select {
	case <-r.ended:
		if r.err != nil {
			return fmt.Errorf("%s after SIGTERM: %w", r.name, r.err)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s has not ended %s after SIGTERM", r.name, patience)
	}
}

// stop ends all that runs, last first.
func (h *host) stop() {
	for i := len(h.running) - 1; i >= 0; i-- {
		r := h.running[i]
		_ = r.cmd.Process.Kill() // an error when it has ended
		<-r.ended
	}
}

func (h *host) logs() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out strings.Builder
	for _, r := range h.running {
		fmt.Fprintf(&out, "── %s\n", r.name)
		_, _ = io.WriteString(&out, r.log.String())
	}
	return out.String()
}
