package main

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts run this test's own binary as penstock, and
// TestEmbeddedRoots as what it needs.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"penstock": main, "penstock-roots": rootsCommand})
}

// TestScripts runs testdata/script/*.txtar, which are the specification of the
// command line. Beyond the commands of testscript they may use
//
//	waitfor FILE REGEXP [VARIABLE]
//
//	waitrun REGEXP COMMAND...
//
// which wait until FILE, written by a process in the background, or the output
// of COMMAND matches. VARIABLE is set to the first group. nats starts a NATS
// server, see natsServer, and port keeps a port for one; see reservePort.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"waitfor": waitFor, "waitrun": waitRun, "nats": natsServer, "port": reservePort},
		Setup: func(e *testscript.Env) error {
			e.Setenv("CLICKFUNNELS_WEBHOOK_SECRET", "")
			e.Setenv("PENSTOCK_TOKEN", "")
			e.Setenv("GORACE", "atexit_sleep_ms=0") // or every command takes a second more
			return nil
		},
	})
}

// waitFor and waitRun give up after patience.
const patience = 2 * time.Minute

func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: waitfor FILE REGEXP [VARIABLE]")
	}
	match := poll(ts, args[1], func() string {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		if err != nil && !os.IsNotExist(err) {
			ts.Check(err)
		}
		return string(data)
	})
	if len(args) == 3 {
		ts.Setenv(args[2], match[1])
	}
}

func waitRun(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: waitrun REGEXP COMMAND...")
	}
	poll(ts, args[0], func() string {
		ts.Check(ts.Exec(args[1], args[2:]...))
		return ts.ReadFile("stdout")
	})
}

// poll returns the first match of the pattern, by line, in what read returns.
func poll(ts *testscript.TestScript, pattern string, read func() string) []string {
	want, err := regexp.Compile("(?m)" + pattern)
	ts.Check(err)
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		text := read()
		if match := want.FindStringSubmatch(text); match != nil {
			return match
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			ts.Fatalf("nothing matches %s in:\n%s", pattern, text)
		}
	}
}
