package main

import (
	"errors"
	"fmt"
	"os"
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
}

func newCheck(p process) *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check [-c FILE...]",
		Short: "Find every mistake in a configuration, without starting anything",
		Long: `Reads the configuration as serve would, builds everything it describes, and
starts nothing. Every mistake is printed at once, one a line, with its place and
with what would be right. Several files are one configuration; without one it is
./penstock.yaml.

It exits with 0 when serve would start, and with 1 when it would not.`,
		Example: `  penstock check -c penstock.yaml
  # in CI, where no secrets are set
  penstock check -c penstock.yaml --no-env --strict
  # a folder whose *.yaml files are one configuration
  penstock check -c /etc/penstock`,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			f.files = append(f.files, args...)
			if len(f.files) == 0 {
				if _, err := os.Stat(defaultFile); err != nil {
					return usagef("no file is named, and there is no %s here; run `penstock check -c FILE`", defaultFile)
				}
				f.files = []string{defaultFile}
			}
			return p.check(f)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "config", "c", nil, configFlagHelp)
	flags.BoolVar(&f.noEnv, "no-env", false, "let variables and secret files be missing")
	flags.BoolVar(&f.strict, "strict", false, "take warnings for mistakes")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func (p process) check(f checkFlags) error {
	c, ms := app.Load(f.files, app.LoadOptions{Env: p.env, NoEnv: f.noEnv})
	if c != nil && len(ms.Fatal()) == 0 && !f.noEnv { // placeholders cannot be built
		ms = append(ms, buildMistakes(c)...)
	}
	failed := len(ms.Fatal()) > 0 || f.strict && len(ms) > 0
	if f.asJSON {
		if err := writeJSON(p.stdout, newCheckResult(f.files, c, ms, !failed)); err != nil {
			return err
		}
	} else {
		printMistakes(p.stderr, ms)
	}
	if failed {
		return errReported
	}
	if !f.asJSON {
		_, err := fmt.Fprintf(p.stdout, "%s: ok (%s, %s, %s)\n", strings.Join(f.files, ", "),
			count(len(c.Sources), "source"), count(len(c.Sinks), "sink"), count(len(c.Routes), "route"))
		return err
	}
	return nil
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

type checkResult struct {
	OK       bool           `json:"ok"`
	Files    []string       `json:"files"`
	Sources  int            `json:"sources"`
	Sinks    int            `json:"sinks"`
	Routes   int            `json:"routes"`
	Mistakes []checkMistake `json:"mistakes"`
}

type checkMistake struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"`
	What    string `json:"what"`
	Hint    string `json:"hint,omitempty"`
	Warning bool   `json:"warning"`
}

func newCheckResult(files []string, c *config.Config, ms config.Mistakes, ok bool) checkResult {
	r := checkResult{OK: ok, Files: files, Mistakes: []checkMistake{}}
	if c != nil {
		r.Files, r.Sources, r.Sinks, r.Routes = c.Files, len(c.Sources), len(c.Sinks), len(c.Routes)
	}
	for _, m := range ms {
		r.Mistakes = append(r.Mistakes, checkMistake{
			File: m.Pos.File, Line: m.Pos.Line, Column: m.Pos.Column,
			Path: m.Path, What: m.What, Hint: m.Hint, Warning: m.Warning,
		})
	}
	return r
}
