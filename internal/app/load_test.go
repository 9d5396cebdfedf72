package app

import "testing"

// What is wrong with sinks only beside each other is told at load, by place.
func TestSinksThatShareAFileAreAMistake(t *testing.T) {
	t.Parallel()
	_, ms := Parse("penstock.yaml", []byte(`sources: {cf: {kind: clickfunnels, secrets: [s]}}
sinks:
  one: {kind: log, path: events.log}
  two: {kind: log, path: ./events.log}
routes: [{match: [">"], to: [one, two]}]
`), LoadOptions{})
	const want = "penstock.yaml:4:26: sinks.two.path: is the file of sink one too; give each sink a file of its own"
	if got := ms.Error(); got != want {
		t.Errorf("Parse: %s, want %s", got, want)
	}
}
