package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
)

// defaultFile is what check reads when no file is named.
const defaultFile = "penstock.yaml"

type checkFlags struct {
	files                 []string
	noEnv, strict, asJSON bool
	format                string
}

func newCheck(p process) *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check [-c FILE...]",
		Short: "Find every mistake in a configuration, without starting anything",
		Long: `Reads the configuration as serve would, builds everything it describes, and
starts nothing. Every mistake is printed at once, one a line, with its place and
with what would be right; on a terminal, with the line of the file. Several files
are one configuration; without one it is ./penstock.yaml.

Warnings are about what works and is likely not meant: a pattern that matches no
event type, a route that adds nothing, a condition that is never true, a secret
in clear. --strict takes them for mistakes. Tests of rules are checked too, those
in the file and those beside it; penstock test runs them.

--json prints {ok, files, sources, sinks, routes, mistakes}, each mistake with
file, line, column, path, severity (error or warning), message and hint.
--format github prints what a workflow of GitHub shows beside the lines.

It exits with 0 when there is no mistake, with 1 when there is one, and with 2
when the command line is wrong.`,
		Example: `  penstock check -c penstock.yaml
  # in CI, where no secrets are set
  penstock check -c penstock.yaml --no-env --strict --format github
  # a folder whose *.yaml files are one configuration
  penstock check -c /etc/penstock`,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			f.files = append(f.files, args...)
			if err := f.complete(); err != nil {
				return err
			}
			return p.check(f)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "config", "c", nil, configFlagHelp)
	flags.BoolVar(&f.noEnv, "no-env", false, "let variables and secret files be missing")
	flags.BoolVar(&f.strict, "strict", false, "take warnings for mistakes")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON, as --format json")
	flags.StringVar(&f.format, "format", "", "how to print: text (as it is without), json, or github")
	return cmd
}

// complete fills in what the command line left out.
func (f *checkFlags) complete() error {
	switch {
	case f.asJSON && f.format != "" && f.format != formatJSON:
		return usagef("--json and --format %s contradict each other; keep one", f.format)
	case f.asJSON:
		f.format = formatJSON
	case f.format == "":
		f.format = formatText
	case f.format != formatText && f.format != formatJSON && f.format != formatGitHub:
		return usagef("--format %q is not known; use text, json or github", f.format)
	}
	if len(f.files) == 0 {
		if _, err := os.Stat(defaultFile); err != nil {
			return usagef("no file is named, and there is no %s here; run `penstock check -c FILE`, or `penstock init` to write one", defaultFile)
		}
		f.files = []string{defaultFile}
	}
	return nil
}

func (p process) check(f checkFlags) error {
	c, ms := app.Load(f.files, app.LoadOptions{Env: p.env, NoEnv: f.noEnv, Advice: true})
	if c != nil && len(ms.Fatal()) == 0 && !f.noEnv { // placeholders cannot be built
		ms = append(ms, buildMistakes(c)...)
	}
	if c != nil {
		ms = append(ms, testMistakes(c)...)
	}
	failed := len(ms.Fatal()) > 0 || f.strict && len(ms) > 0
	if err := p.printCheck(f, c, ms, failed); err != nil {
		return err
	}
	if failed {
		return errReported
	}
	if f.format == formatJSON {
		return nil
	}
	_, err := fmt.Fprintf(p.stdout, "%s: ok (%s, %s, %s)\n", strings.Join(f.files, ", "),
		count(len(c.Sources), "source"), count(len(c.Sinks), "sink"), count(len(c.Routes), "route"))
	return err
}

// printCheck prints what was found in the form that was asked for.
func (p process) printCheck(f checkFlags, c *config.Config, ms config.Mistakes, failed bool) error {
	switch f.format {
	case formatJSON:
		return writeJSON(p.stdout, newCheckResult(f.files, c, ms, !failed))
	case formatGitHub:
		return printGitHub(p.stdout, ms, f.strict)
	}
	p.printFindings(p.stderr, ms, f.strict)
	if n := len(ms); failed && n > 1 && p.attends(p.stderr) {
		fmt.Fprintf(p.stderr, "\n%s, %s\n", count(len(ms.Fatal()), "error"), count(n-len(ms.Fatal()), "warning"))
	}
	return nil
}

// testMistakes are those of the tests in the file and in the files beside it.
func testMistakes(c *config.Config) config.Mistakes {
	more, ms := config.LoadTests(config.TestFiles(c.Files))
	return append(ms, app.CheckTests(c, slices.Concat(c.Tests, more))...)
}

// buildMistakes returns what only shows when everything is built.
func buildMistakes(c *config.Config) config.Mistakes {
	a, err := app.New(c, app.Options{})
	if err == nil {
		err = a.Close()
	}
	var ms config.Mistakes
	if err == nil || errors.As(err, &ms) {
		return ms
	}
	return config.Mistakes{{What: err.Error()}}
}

// count writes a number of things: "1 sink", "2 sinks".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
