//go:build !linux

package broker

// DiskOf looks at the disk on which dir lies. Its kind and size are not known
// here.
func DiskOf(dir string) (Disk, error) {
	free, err := freeBytes(dir)
	return Disk{Free: free}, err
}

// OpenFiles is how many files this process may have open, 0 when not known.
func OpenFiles() uint64 { return 0 }

// Memory is what this process may use at most, in bytes, 0 when not known.
func Memory() int64 { return 0 }

// ClockKept reports whether something keeps the machine's clock; known is false
// where nobody says.
func ClockKept() (kept, known bool) { return false, false }
