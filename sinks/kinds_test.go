package sinks

import (
	"os"
	"testing"
)

// TestEveryKindIsComplete: a kind has what CONTRIBUTING.md asks for in this
// package. Its fixture is looked for by TestEveryKindHasAFixture, its comments,
// section and example by the tests of internal/reference, and that its example
// delivers by TestExamplesDeliver.
func TestEveryKindIsComplete(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds() {
		for _, file := range []string{kind + ".go", kind + "_test.go"} {
			if _, err := os.Stat(file); err != nil {
				t.Errorf("kind %s: there is no sinks/%s", kind, file)
			}
		}
		if _, ok := openAnywhere(t, kind).(Previewer); !ok {
			t.Errorf("kind %s: its sink has no Preview", kind)
		}
	}
}

// openAnywhere opens a sink of the kind that delivers to nobody.
func openAnywhere(t *testing.T, kind string) Sink {
	t.Helper()
	var errs []error
	for _, at := range []string{"http://127.0.0.1:1", "nats://127.0.0.1:1"} {
		s, err := Open(sinkConfig(t, kind, fixtures()[kind].options(at)), Deps{})
		if err == nil {
			return s
		}
		errs = append(errs, err)
	}
	t.Fatalf("kind %s does not open: %v", kind, errs)
	return nil
}
