package deploycheck

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestMain runs the tests or, in a process that they started in namespaces of
// its own, one scenario.
func TestMain(m *testing.M) {
	if name := os.Getenv(scenarioVariable); name != "" {
		if err := scenarios()[name](os.Getenv(rootVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// repo is the repository.
var repo = sync.OnceValue(func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
})

// inRepo is the path of a file of the repository.
func inRepo(path ...string) string { return filepath.Join(append([]string{repo()}, path...)...) }

// penstock is the program, built from the tree as it is.
var penstock = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "penstock-deploycheck-")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "penstock")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/penstock")
	build.Dir, build.Env = repo(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build penstock: %w\n%s", err, out)
	}
	return binary, nil
})

// patience is how long until gives up.
const patience = 2 * time.Minute

// until waits for a condition, whose text it returns as what has been missing.
func until(what string, met func() error) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := met()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("%s: not within %s: %w", what, patience, err)
		}
	}
}
