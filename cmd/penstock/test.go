package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
)

type testFlags struct {
	rules                     ruleFiles
	run                       string
	verbose, coverage, asJSON bool
}

func newTest(p process) *cobra.Command {
	var f testFlags
	cmd := &cobra.Command{
		Use:   "test [-c FILE...] [TESTFILE...]",
		Short: "Run the tests beside the rules",
		Long: `Runs the tests of routing rules: those under tests in the configuration, and those in
the files beside it whose names end with _test.yaml, or in the files that are named.
A test is an event, made as penstock send makes it, and what is expected of it: the
sinks that get it, those that do not, and the bodies that sinks get. Nothing is
sent. Variables and secret files may be missing.

It exits with 0 when all pass, and with 1 when one fails.`,
		Example: `  penstock test -c penstock.yaml
  penstock test -v --run 'large|vip'
  penstock test --coverage
  # in penstock_test.yaml:
  #   tests:
  #   - name: large invoices go to billing
  #     event: {type: orders/invoice.paid, set: {data.total_amount: "149.00"}}
  #     expect: {sinks: [billing], not_sinks: [archive], transform: {billing: {total: 149}}}`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return p.test(cmd.Context(), f, args) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.rules.files, "config", "c", nil, configFlagHelp)
	flags.StringVar(&f.run, "run", "", "only tests whose name matches this regular expression")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "print tests that pass too, and all that is not covered")
	flags.BoolVar(&f.coverage, "coverage", false, "say which routes and event types the tests look at")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func (p process) test(ctx context.Context, f testFlags, files []string) error {
	only, err := regexp.Compile(f.run)
	if err != nil {
		return usagef("--run: %w", err)
	}
	f.rules.noEnv = true
	trials, c, err := p.trials(f.rules)
	if err != nil {
		return err
	}
	tests, err := testsOf(c, files)
	if err != nil {
		return err
	}
	report := testReport{Tests: []testLine{}, label: strings.Join(c.Files, ", ")}
	runner, start := app.NewRuleTests(trials), time.Now()
	for _, t := range tests {
		if !only.MatchString(t.Name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		report.add(runner.Run(ctx, t))
	}
	report.took = time.Since(start)
	if f.coverage {
		report.Coverage = newCoverage(runner.Coverage())
	}
	report.OK = report.Failed == 0
	if f.asJSON {
		err = writeJSON(p.stdout, report)
	} else {
		err = report.print(p.stdout, f.verbose)
	}
	if err == nil && !report.OK {
		return errReported
	}
	return err
}

// testsOf gathers the tests of the configuration and of the files of tests.
func testsOf(c *config.Config, files []string) ([]config.Test, error) {
	if len(files) == 0 {
		files = config.TestFiles(c.Files)
	}
	more, ms := config.LoadTests(files)
	if fatal := ms.Fatal(); len(fatal) > 0 {
		return nil, fatal
	}
	return append(c.Tests, more...), nil
}

type testReport struct {
	OK       bool          `json:"ok"`
	Passed   int           `json:"passed"`
	Failed   int           `json:"failed"`
	Tests    []testLine    `json:"tests"`
	Coverage *testCoverage `json:"coverage,omitempty"`
	label    string
	took     time.Duration
}

type testLine struct {
	Name     string   `json:"name"`
	Place    string   `json:"place"`
	OK       bool     `json:"ok"`
	TookMS   float64  `json:"took_ms"`
	Failures []string `json:"failures,omitempty"`
}

type testCoverage struct {
	Routes    int      `json:"routes"`
	Unmatched []string `json:"unmatched_routes"`
	Types     int      `json:"types"`
	Untested  []string `json:"untested_types"`
}

func newCoverage(c app.Coverage) *testCoverage {
	return &testCoverage{
		Routes: len(c.Routes), Unmatched: append([]string{}, c.Unmatched...),
		Types: len(c.Types), Untested: append([]string{}, c.Untested...),
	}
}

func (r *testReport) add(t app.TestResult) {
	ok := len(t.Failures) == 0
	if ok {
		r.Passed++
	} else {
		r.Failed++
	}
	r.Tests = append(r.Tests, testLine{
		Name: t.Name, Place: t.Pos.String(), OK: ok, TookMS: float64(t.Took.Microseconds()) / 1000, Failures: t.Failures,
	})
}

// print writes what `go test` would.
func (r *testReport) print(w io.Writer, verbose bool) error {
	var b strings.Builder
	for _, t := range r.Tests {
		switch {
		case !t.OK:
			fmt.Fprintf(&b, "--- FAIL: %s (%s)\n", printable(t.Name), t.Place)
		case verbose:
			fmt.Fprintf(&b, "--- PASS: %s (%s)\n", printable(t.Name), t.Place)
		}
		for _, failure := range t.Failures {
			for line := range strings.SplitSeq(failure, "\n") {
				fmt.Fprintf(&b, "    %s\n", printable(line))
			}
		}
	}
	if r.Coverage != nil {
		r.Coverage.write(&b, verbose)
	}
	took := r.took.Round(time.Millisecond).Seconds()
	switch {
	case len(r.Tests) == 0:
		fmt.Fprintf(&b, "?     %s  [no tests]\n", r.label)
	case r.OK:
		fmt.Fprintf(&b, "ok    %s  %.3fs  %s\n", r.label, took, count(r.Passed, "test"))
	default:
		fmt.Fprintf(&b, "FAIL  %s  %.3fs  %d of %s failed\n", r.label, took, r.Failed, count(len(r.Tests), "test"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *testCoverage) write(w io.Writer, verbose bool) {
	fmt.Fprintf(w, "coverage: %s of routes matched", share(c.Routes-len(c.Unmatched), c.Routes))
	if len(c.Unmatched) > 0 {
		fmt.Fprintf(w, "; not %s", strings.Join(c.Unmatched, ", "))
	}
	fmt.Fprintf(w, "\ncoverage: %s of event types that routes name were sent", share(c.Types-len(c.Untested), c.Types))
	if few := 5; len(c.Untested) > 0 {
		shown := c.Untested
		if !verbose && len(shown) > few {
			shown = append(shown[:few:few], fmt.Sprintf("%d more (-v lists them)", len(c.Untested)-few))
		}
		fmt.Fprintf(w, "; not %s", strings.Join(shown, ", "))
	}
	fmt.Fprintln(w)
}

// share writes "2 of 3 (66.7%)".
func share(part, whole int) string {
	if whole == 0 {
		return "0 of 0"
	}
	return fmt.Sprintf("%d of %d (%.1f%%)", part, whole, 100*float64(part)/float64(whole))
}
