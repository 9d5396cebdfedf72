package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

// buffer is what a process writes to; it may be read while that runs.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// world is a process whose outside belongs to a test.
type world struct {
	process
	out, err *buffer
	signals  chan os.Signal
}

// newWorld returns a process with an environment and, if attended, a person at
// every stream.
func newWorld(env map[string]string, attended bool, args ...string) *world {
	w := &world{out: &buffer{}, err: &buffer{}, signals: make(chan os.Signal, 2)}
	w.process = process{
		args: args, stdin: strings.NewReader(""), stdout: w.out, stderr: w.err, signals: w.signals,
		env:     func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		attends: func(any) bool { return attended },
	}
	return w
}

// secretEnv has the secret that commands sign with.
func secretEnv() map[string]string {
	return map[string]string{"CLICKFUNNELS_WEBHOOK_SECRET": "not-to-be-seen"}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(secretEnv(), false, "send", "contact.created", "--data", "-")
	stdin, release := io.Pipe() // reading from it cannot be interrupted
	defer release.Close()
	w.stdin = stdin
	w.signals <- os.Interrupt
	w.signals <- syscall.SIGTERM
	if code := run(w.process); code != exitCut {
		t.Errorf("run after two signals = %d, want %d", code, exitCut)
	}
	if want := "second signal, ending at once"; !strings.Contains(w.err.String(), want) {
		t.Errorf("stderr = %q, want %q in it", w.err, want)
	}
}

func TestFirstSignalInterruptsWhatIsNotAServer(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	}))
	defer s.Close()
	defer close(release)
	w := newWorld(secretEnv(), false, "send", "contact.created", "--url", s.URL)
	go func() {
		<-asked
		w.signals <- os.Interrupt
	}()
	if code := run(w.process); code != exitCut {
		t.Errorf("run = %d, want %d", code, exitCut)
	}
	if got, want := w.err.String(), "penstock: interrupted\n"; got != want {
		t.Errorf("stderr = %q, want %q", got, want)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		code int
		text string
	}{
		"nothing":        {nil, exitOK, ""},
		"told already":   {errReported, exitFailure, ""},
		"a failure":      {errors.New("no room"), exitFailure, "penstock: no room\n"},
		"two failures":   {errors.Join(errors.New("a"), errors.New("b")), exitFailure, "penstock: a\npenstock: b\n"},
		"a wrong usage":  {usagef("no such flag"), exitUsage, "penstock: no such flag\n"},
		"a usage within": {errors.Join(usagef("%w", io.EOF)), exitUsage, "penstock: EOF\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(nil, false)
			if code := w.report(tt.err); code != tt.code || w.err.String() != tt.text {
				t.Errorf("report(%v) = %d with %q, want %d with %q", tt.err, code, w.err, tt.code, tt.text)
			}
		})
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	root, _ := newRoot(newWorld(nil, false).process)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || c.Long == "" || c.Example == "" {
			t.Errorf("%s: short %q, long %q, example %q: none may be empty", c.CommandPath(), c.Short, c.Long, c.Example)
		}
		if c.HasParent() && c.Parent() == root && c.GroupID == "" {
			t.Errorf("%s is in no group", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// secretOfDemo is the form of the secret that a demo makes up.
var secretOfDemo = regexp.MustCompile(`demo-[0-9a-f]{8}-[0-9a-f]{4}-`)

func TestDemoOnATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(nil, true, "demo")
	if code := run(w.process); code != exitOK {
		t.Fatalf("demo = %d, want 0; stderr: %s", code, w.err)
	}
	if !strings.Contains(w.out.String(), "\x1b[32m") {
		t.Errorf("no colours on a terminal in:\n%s", w.out)
	}
	if leak := secretOfDemo.FindString(w.out.String() + w.err.String()); leak != "" {
		t.Errorf("the secret %s... was shown", leak)
	}
	if secret := demoSecret(); !secretOfDemo.MatchString(secret) {
		t.Errorf("a demo's secret is like %s now; change secretOfDemo too", secret)
	}
}

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		env      map[string]string
		attended bool
		want     bool
	}{
		"a terminal":              {nil, true, true},
		"a file":                  {nil, false, false},
		"NO_COLOR":                {map[string]string{"NO_COLOR": "1"}, true, false},
		"an empty NO_COLOR":       {map[string]string{"NO_COLOR": ""}, true, true},
		"a terminal without them": {map[string]string{"TERM": "dumb"}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(tt.env, tt.attended)
			if got := w.paintOn(w.stdout).on; got != tt.want {
				t.Errorf("colours = %t, want %t", got, tt.want)
			}
		})
	}
}
