package deploycheck

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// A process with scenarioVariable set runs that scenario, with the folder in
// rootVariable, instead of tests. See runInside.
const (
	scenarioVariable = "PENSTOCK_DEPLOYCHECK_SCENARIO"
	rootVariable     = "PENSTOCK_DEPLOYCHECK_ROOT"
)

// container is what Docker would be told of one container.
type container struct {
	Name string
	// Root is a folder with the image's files; empty: this machine's own
	// programs, which stand for an image that has a shell.
	Root     string
	UID, GID uint32
	Dir      string
	Env      []string
	// Args are entrypoint and command. Health is the command of the check.
	Args, Health []string
	Binds        []bind
	// Capabilities are what is left to root; nil: nothing was taken away.
	Capabilities []string
}

// bind is a folder or a file of this machine within a container.
type bind struct {
	From, To string
	ReadOnly bool
}

// plan is what a scenario runs: containers by name, in the folder of the test.
type plan map[string]container

func (p plan) write(t *testing.T, dir string) {
	t.Helper()
	data, err := json.Marshal(p)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "plan.json"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readPlan(dir string) (plan, error) {
	data, err := os.ReadFile(filepath.Join(dir, "plan.json"))
	if err != nil {
		return nil, err
	}
	var p plan
	return p, json.Unmarshal(data, &p)
}
