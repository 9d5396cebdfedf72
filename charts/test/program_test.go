package charttest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// repository is the module of the product.
const repository = "../.."

var (
	buildOnce sync.Once
	built     string
	buildErr  error
)

// TestMain removes the program when all is done.
func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(filepath.Dir(built))
	}
	os.Exit(code)
}

// program is the penstock of this repository, as its image has it.
func program(t *testing.T) string {
	t.Helper()
	buildOnce.Do(func() {
		dir, err := os.MkdirTemp("", "charttest")
		if err != nil {
			buildErr = err
			return
		}
		built = filepath.Join(dir, "penstock")
		cmd := exec.Command("go", "build", "-o", built, "./cmd/penstock")
		cmd.Dir = repository
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			buildErr = err
			built = string(out)
		}
	})
	if buildErr != nil {
		t.Fatalf("build penstock: %v\n%s", buildErr, built)
	}
	return built
}

// penstock runs a command with an environment of its own, and returns what it
// printed.
func penstock(t *testing.T, env []string, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t), args...)
	cmd.Env = env
	cmd.Dir = t.TempDir()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), &commandError{args: args, err: err, stderr: errs.String()}
	}
	return out.String(), nil
}

type commandError struct {
	args   []string
	err    error
	stderr string
}

func (e *commandError) Error() string {
	return "penstock " + strings.Join(e.args, " ") + ": " + e.err.Error() + "\n" + e.stderr
}

func (e *commandError) Unwrap() error { return e.err }

// must is penstock for a command that has to succeed.
func must(t *testing.T, env []string, args ...string) string {
	t.Helper()
	out, err := penstock(t, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// file writes a file into a folder of the test.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
