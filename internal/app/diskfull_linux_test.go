package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of the given size and returns its directory.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("penstock-test", dir, "tmpfs", 0, "size="+size); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("capability: mounting a file system needs root")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestDiskFull fills the disk under a running Penstock: no false 2xx, the
// process ends so that it is started again, and nothing accepted is lost.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "160m")
	dir := filepath.Join(disk, "data")
	r := newReceiver(t, ok)
	yaml := fmt.Sprintf("broker: {data_dir: %q, durability: power, max_bytes: 40MiB}\nsinks: {crm: {kind: http, url: %s, start: beginning}}\nroutes: [{match: [\">\"], to: [crm]}]\n", dir, r.URL)
	a := build(t, dir, yaml, Options{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(context.Background()) }()
	url := (&process{App: a}).url()
	acceptedIDs := map[string]bool{}
	send := func(i int) int {
		id := fmt.Sprint("full-", i)
		b := fmt.Appendf(nil, `{"event_id":%q,"event_type":"order.created","data":%q}`, id, strings.Repeat("x", 50_000))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		got, err := tryPost(ctx, url, b)
		if err != nil {
			return 0
		}
		if got.Status == http.StatusAccepted {
			acceptedIDs[id] = true
		}
		return got.Status
	}
	for i := range 20 {
		if s := send(i); s != http.StatusAccepted {
			t.Fatalf("with room on the disk a webhook is answered %d", s)
		}
	}
	junk := filepath.Join(disk, "junk")
	fillDisk(t, junk)
	var status, n int
	for n = 20; n < 400; n++ {
		if status = send(n); status != http.StatusAccepted {
			break
		}
	}
	if status != 0 && status < 500 {
		t.Errorf("on a full disk a webhook is answered %d, want 5xx", status)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "event store") {
			t.Errorf("Run on a full disk = %v, want an error about the event store", err)
		}
	case <-time.After(patience):
		t.Fatal("the process goes on with a frozen store")
	}
	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	p := run(t, dir, yaml)
	accepted(t, p.url(), body("after", "order.created"))
	eventually(t, "everything accepted is delivered", func() bool {
		have := r.byID()
		for id := range acceptedIDs {
			if len(have[id]) == 0 {
				return false
			}
		}
		return len(have["after"]) > 0
	})
	t.Logf("%d accepted before the disk was full, then %d", len(acceptedIDs), status)
}

// fillDisk writes until nothing is left.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	for len(buf) > 0 {
		if _, err := f.Write(buf); err != nil {
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			buf = buf[:len(buf)/2]
		}
	}
}
