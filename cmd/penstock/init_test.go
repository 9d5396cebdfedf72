package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/app"
)

// initFor runs init with answers, and returns what it said and wrote.
func initFor(t *testing.T, answers string, args ...string) (w *world, code int, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "penstock.yaml")
	w = newWorld(nil, true, append([]string{"init", "--output", file}, args...)...)
	w.stdin = strings.NewReader(answers)
	code = run(w.process)
	data, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err == nil {
		check := newWorld(nil, false, "check", "--strict", "--no-env", file)
		if got := run(check.process); got != exitOK {
			t.Errorf("check --strict --no-env = %d\n%s%s\n%s", got, check.out, check.err, data)
		}
	}
	return w, code, string(data)
}

func TestInitAsks(t *testing.T) {
	t.Parallel()
	w, code, text := initFor(t, strings.Join([]string{
		"https://crm.example.com/hooks", "", // its name is suggested
		"order.invoice.paid", "orders.invoice.paid", // the first is no type
		"carrier-pigeon", // no kind, which is said before its name is asked for
		"log", "No Name", // no name
		"log", "screen", "",
		"",
	}, "\n")+"\n")
	if code != exitOK {
		t.Fatalf("init = %d\n%s%s", code, w.out, w.err)
	}
	for _, want := range []string{
		"Its name [crm]: ", "did you mean orders.invoice.paid?", "not a kind; known kinds: ", "not a valid name", "wrote ",
	} {
		if !strings.Contains(w.out.String(), want) {
			t.Errorf("%q was not said:\n%s", want, w.out)
		}
	}
	if strings.Contains(w.out.String(), "[carrier-pigeon]") {
		t.Errorf("the name of what is no kind was asked for:\n%s", w.out)
	}
	for _, want := range []string{
		"  crm:\n    kind: http\n    url: \"https://crm.example.com/hooks\"\n  screen:\n    kind: log\n",
		"match: [\"orders.invoice.paid\"]\n    to: [crm]\n", "match: [\">\"]\n    to: [screen]\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the file lacks %q:\n%s", want, text)
		}
	}
}

func TestInitWritesNothingWithoutTheLastAnswer(t *testing.T) {
	t.Parallel()
	w, code, text := initFor(t, "log\nscreen\n")
	if code != exitFailure || text != "" || !strings.Contains(w.err.String(), "nothing is written") {
		t.Errorf("init = %d, %q\n%s", code, text, w.err)
	}
}

func TestInitKnowsEveryKind(t *testing.T) {
	t.Parallel()
	for _, kind := range app.SinkKinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w, code, text := initFor(t, "", "--sink", "one="+kind)
			if code != exitOK || !strings.Contains(text, "kind: "+kind+"\n") {
				t.Errorf("init = %d\n%s%s", code, w.err, text)
			}
		})
	}
}
