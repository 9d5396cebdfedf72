// Command testsum reads the output of go test -json, prints what failed, and
// ends with one line: N passed, N failed, N skipped. It exits with 1 when
// something failed, and when a test was skipped that is not a capability test,
// one whose skip message begins with "capability:" and names what this machine
// does not have.
//
//	go test -json ./... | testsum
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	ok, err := summarise(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// event is one line of go test -json.
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

type key struct{ pkg, test string }

// summary is what came of a run.
type summary struct {
	out     io.Writer
	output  map[key][]string
	failed  map[key]bool
	parents map[key]bool // tests with subtests, which are not counted
	results map[key]string
	// capabilities are the skips that a machine may have, others those that it may not.
	capabilities, others []string
}

// summarise reports whether nothing failed and no test was skipped that should
// have run.
func summarise(in io.Reader, out io.Writer) (ok bool, err error) {
	s := &summary{out: out, output: map[key][]string{}, failed: map[key]bool{}, parents: map[key]bool{}, results: map[key]string{}}
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var e event
		if json.Unmarshal(sc.Bytes(), &e) != nil || e.Action == "" {
			fmt.Fprintln(out, sc.Text()) // what is not of a test: go itself
			continue
		}
		s.note(e)
	}
	if err := sc.Err(); err != nil {
		return false, fmt.Errorf("read test output: %w", err)
	}
	if len(s.results) == 0 && len(s.failed) == 0 {
		return false, errors.New("no test ran: pipe go test -json into this")
	}
	return s.finish(), nil
}

func (s *summary) note(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "output":
		s.output[k] = append(s.output[k], e.Output)
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "pass", "skip", "fail":
		s.end(k, e)
	}
}

func (s *summary) end(k key, e event) {
	if k.test != "" {
		s.results[k] = e.Action
		for at := strings.LastIndex(k.test, "/"); at > 0; at = strings.LastIndex(k.test[:at], "/") {
			s.parents[key{k.pkg, k.test[:at]}] = true
		}
	}
	switch {
	case e.Action == "fail":
		s.failed[k] = true
		fmt.Fprintf(s.out, "--- FAIL %s %s\n%s", k.pkg, k.test, strings.Join(s.output[k], ""))
	case e.Action == "skip" && k.test != "":
		s.skipped(k)
	case e.Action == "pass" && k.test == "":
		fmt.Fprintf(s.out, "ok   %s %.1fs\n", k.pkg, e.Elapsed)
	}
	delete(s.output, k)
}

func (s *summary) skipped(k key) {
	why := strings.Join(s.output[k], "")
	if _, capability, found := strings.Cut(why, "capability:"); found {
		capability, _, _ = strings.Cut(capability, "\n")
		s.capabilities = append(s.capabilities, k.test+" ("+strings.TrimSpace(capability)+")")
		return
	}
	s.others = append(s.others, k.pkg+" "+k.test)
}

func (s *summary) finish() bool {
	count := map[string]int{}
	broken := 0 // packages that failed without a test of theirs failing
	for k, result := range s.results {
		if !s.parents[k] {
			count[result]++
		}
	}
	for k := range s.failed {
		if k.test == "" && !slices.ContainsFunc(s.tests(k.pkg), func(t key) bool { return s.failed[t] }) {
			broken++
		}
	}
	for _, t := range s.others {
		fmt.Fprintln(s.out, "skipped, though every machine can run it:", t)
	}
	if len(s.capabilities) > 0 {
		slices.Sort(s.capabilities)
		fmt.Fprintln(s.out, "not run here, for want of a capability:", strings.Join(s.capabilities, ", "))
	} else {
		fmt.Fprintln(s.out, "every capability test ran")
	}
	failed := count["fail"] + broken
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", count["pass"], failed, count["skip"])
	return failed == 0 && len(s.failed) == 0 && len(s.others) == 0
}

func (s *summary) tests(pkg string) []key {
	var out []key
	for k := range s.results {
		if k.pkg == pkg {
			out = append(out, k)
		}
	}
	return out
}
