package app

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/penstock/penstock/config"
)

// intervalSlack is what a machine may add to the 250 ms that durability
// interval can lose: the sync itself, and the timer's delay. What a busy one
// adds beyond that is measured; see busy.
const intervalSlack = 500 * time.Millisecond

// TestPowerLoss cuts the power: the data lies on a file system of its own whose
// disk is a file; the process is killed, and what the file holds then, without
// what the kernel had still in memory, is all that the next process gets.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	load := 2 * time.Second
	if long() {
		load = 20 * time.Second
	}
	image := newDisk(t)
	for _, tt := range []struct {
		durability config.Durability
		loses      time.Duration // at most what was accepted within this before the cut; < 0: not promised
	}{
		{config.Power, 0},
		{config.Interval, 250*time.Millisecond + intervalSlack},
		{config.Process, -1},
	} {
		t.Run(string(tt.durability), func(t *testing.T) {
			accepted, cut, late, disk := acceptUntilPowerCut(t, image, tt.durability, load)
			have := recovered(t, disk, tt.durability)
			lost, oldest := 0, time.Duration(0)
			for id, at := range accepted {
				if have[id] == nil {
					lost++
					oldest = max(oldest, cut.Sub(at))
				}
			}
			t.Logf("durability %s: %d accepted in %s, %d lost, the oldest accepted %s before the cut",
				tt.durability, len(accepted), load, lost, oldest.Round(time.Millisecond))
			if len(accepted) == 0 {
				t.Error("nothing was accepted")
			}
			if tt.loses == 0 && lost > 0 || tt.loses > 0 && oldest > tt.loses+2*late {
				t.Errorf("durability %s lost %d accepted events, the oldest from %s before the cut; a sync of ours was up to %s late", tt.durability, lost, oldest, late)
			}
		})
	}
}

// newDisk makes an empty disk with a file system, or skips where it cannot be mounted.
func newDisk(t *testing.T) (image string) {
	t.Helper()
	image = filepath.Join(t.TempDir(), "disk.img")
	for _, command := range [][]string{{"truncate", "-s", "256M", image}, {"mkfs.ext4", "-q", "-F", image}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("capability: loop device: %s: %v %s", command[0], err, out)
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("capability: loop device: mount: %v %s", err, out)
	}
	unmount(t, dir)
	return image
}

// insert makes a copy of a disk, mounts it and returns both.
func insert(t *testing.T, image string) (disk, dir string) {
	t.Helper()
	disk, dir = filepath.Join(t.TempDir(), "disk.img"), t.TempDir()
	for _, command := range [][]string{{"cp", "--sparse=always", image, disk}, {"mount", "-o", "loop", disk, dir}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", command[0], err, out)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return disk, dir
}

func unmount(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatalf("unmount: %v", err)
	}
}

// acceptUntilPowerCut lets a Penstock on a new disk accept events for a while,
// cuts the power, and returns what was accepted when, the time of the cut, how
// late a sync could be meanwhile, and the disk as the cut left it.
func acceptUntilPowerCut(t *testing.T, image string, d config.Durability, load time.Duration) (accepted map[string]time.Time, cut time.Time, late time.Duration, disk string) {
	t.Helper()
	image, dir := insert(t, image)
	v := startVictim(t, powerYAML(dir, d, ""), "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	accepted = map[string]time.Time{}
	var mu sync.Mutex
	var senders sync.WaitGroup
	for g := range 16 {
		senders.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprintf("power-%02d-%06d", g, n)
				got, err := tryPost(ctx, v.url, body(id, "order.created"))
				if err != nil || got.Status != http.StatusAccepted {
					return // the power is off
				}
				mu.Lock()
				accepted[id] = time.Now()
				mu.Unlock()
			}
		})
	}
	senders.Go(func() { late = busy(ctx, t) })
	select {
	case <-time.After(load):
	case <-v.dead:
		t.Fatal("the process ended by itself")
	}
	cut = time.Now() // the latest that is before it
	v.signal(syscall.SIGKILL)
	disk = filepath.Join(t.TempDir(), "cut.img")
	if out, err := exec.Command("cp", "--sparse=always", image, disk).CombinedOutput(); err != nil {
		t.Fatalf("copy disk: %v %s", err, out)
	}
	cancel()
	senders.Wait()
	unmount(t, dir)
	return accepted, cut, late, disk
}

// busy does until ctx is done what durability interval does, on a file system
// where that says nothing of the test's disk, and returns how late it came at worst.
func busy(ctx context.Context, t *testing.T) (late time.Duration) {
	f, err := os.Create(filepath.Join(t.TempDir(), "busy"))
	if err != nil {
		t.Error(err)
		return 0
	}
	defer f.Close()
	for ctx.Err() == nil {
		began := time.Now()
		<-time.After(250 * time.Millisecond)
		if _, err := f.WriteString("x"); err != nil || f.Sync() != nil {
			t.Errorf("write and sync a file: %v", err)
			return late
		}
		late = max(late, time.Since(began)-250*time.Millisecond)
	}
	return late
}

// recovered starts a Penstock on the disk and returns what it delivers.
func recovered(t *testing.T, disk string, d config.Durability) map[string][][]byte {
	t.Helper()
	_, dir := insert(t, disk)
	r := newReceiver(t, ok)
	v := startVictim(t, powerYAML(dir, d, fmt.Sprintf(`
sinks: {check: {kind: http, url: %s, concurrency: 1, start: beginning}}
routes: [{match: [">"], to: [check]}]
`, r.URL)), "")
	accepted(t, v.url, body("last", "order.created")) // one at a time: after it nothing is left
	eventually(t, "the last event is delivered", func() bool { return len(r.byID()["last"]) > 0 })
	v.signal(syscall.SIGTERM)
	unmount(t, dir)
	return r.byID()
}

func powerYAML(disk string, d config.Durability, rest string) string {
	return fullYAML("", fmt.Sprintf(`
server: {listen: "127.0.0.1:0", admin: ""}
broker: {data_dir: %q, durability: %s, max_bytes: 64MiB, dedupe_window: 10m}
`, filepath.Join(disk, "data"), d)+rest)
}
