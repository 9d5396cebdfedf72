package broker

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fileSystems are those worth telling apart, by the number Linux gives them.
var fileSystems = map[int64]Disk{
	unix.EXT4_SUPER_MAGIC:      {FileSystem: "ext4"},
	unix.XFS_SUPER_MAGIC:       {FileSystem: "xfs"},
	unix.BTRFS_SUPER_MAGIC:     {FileSystem: "btrfs"},
	unix.OVERLAYFS_SUPER_MAGIC: {FileSystem: "overlay"},
	unix.TMPFS_MAGIC:           {FileSystem: "tmpfs", Volatile: true},
	unix.RAMFS_MAGIC:           {FileSystem: "ramfs", Volatile: true},
	unix.NFS_SUPER_MAGIC:       {FileSystem: "nfs", Network: true},
	unix.SMB2_SUPER_MAGIC:      {FileSystem: "smb", Network: true},
	unix.CIFS_SUPER_MAGIC:      {FileSystem: "cifs", Network: true},
	unix.FUSE_SUPER_MAGIC:      {FileSystem: "fuse", Network: true},
	unix.V9FS_MAGIC:            {FileSystem: "9p", Network: true},
	0x2fc12fc1:                 {FileSystem: "zfs"},
}

// DiskOf looks at the disk on which dir lies.
func DiskOf(dir string) (Disk, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Disk{}, err
	}
	d := fileSystems[int64(st.Type)]
	d.Free, d.Total = int64(st.Bavail)*int64(st.Bsize), int64(st.Blocks)*int64(st.Bsize)
	return d, nil
}

// OpenFiles is how many files this process may have open, 0 when not known.
func OpenFiles() uint64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	return r.Max // Go raises the soft limit to the hard one
}

// Memory is what this process may use at most, in bytes: of the machine or of
// its control group; 0 when not known.
func Memory() int64 {
	var total int64
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
				kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				total = kib << 10
			}
		}
	}
	if data, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && (total == 0 || limit < total) {
			total = limit
		}
	}
	return total
}

// ClockKept reports whether something keeps the machine's clock, as the kernel
// says; known is false where it does not say.
func ClockKept() (kept, known bool) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, false
	}
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, true
}
