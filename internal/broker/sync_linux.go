package broker

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// groupCommit reports that durability "power" is made by syncing the file
// system once per cohort. Elsewhere the server syncs every message itself.
const groupCommit = true

// syncDir writes everything that the file system of dir has pending to disk.
// It needs the directory open for as long as it is used; close ends that.
func syncDir(dir string) (flush func() error, close func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("open data directory for syncing: %w", err)
	}
	return func() error { return unix.Syncfs(int(f.Fd())) }, f.Close, nil
}
