package main

import (
	"strings"
	"testing"
)

func TestSummarise(t *testing.T) {
	t.Parallel()
	const pass, fail, skip = `{"Action":"pass","Package":"p","Test":"T"}`, `{"Action":"fail","Package":"p","Test":"T"}`, `{"Action":"skip","Package":"p","Test":"T"}`
	for name, tt := range map[string]struct {
		in   string
		ok   bool
		want string // within the output
	}{
		"a pass":             {pass, true, "1 passed, 0 failed, 0 skipped\n"},
		"a failure is shown": {`{"Action":"output","Package":"p","Test":"T","Output":"got 1\n"}` + "\n" + fail, false, "got 1\n"},
		"a failure counts":   {fail, false, "0 passed, 1 failed, 0 skipped\n"},
		"subtests count, not their parent": {
			`{"Action":"pass","Package":"p","Test":"T/a/b"}` + "\n" + `{"Action":"pass","Package":"p","Test":"T/a"}` + "\n" + pass, true,
			"1 passed, 0 failed, 0 skipped\n"},
		"a skip fails": {skip, false, "skipped, though every machine can run it: p T\n"},
		"a capability may be missing": {
			`{"Action":"output","Package":"p","Test":"T","Output":"x.go:1: capability: no nats\n"}` + "\n" + skip, true,
			"not run here, for want of a capability: T (no nats)\n0 passed, 0 failed, 1 skipped\n"},
		"a package that does not build":      {`{"Action":"fail","Package":"p"}`, false, "0 passed, 1 failed, 0 skipped\n"},
		"a package without tests is no skip": {`{"Action":"skip","Package":"q"}` + "\n" + pass, true, "1 passed, 0 failed, 0 skipped\n"},
		"what go itself says":                {"go: no such thing\n" + pass, true, "go: no such thing\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			ok, err := summarise(strings.NewReader(tt.in), &out)
			if err != nil || ok != tt.ok || !strings.Contains(out.String(), tt.want) {
				t.Errorf("summarise = %t, %v, want %t, and %q in:\n%s", ok, err, tt.ok, tt.want, out.String())
			}
		})
	}
	if _, err := summarise(strings.NewReader("\n"), &strings.Builder{}); err == nil {
		t.Error("summarise of nothing has no error")
	}
}
