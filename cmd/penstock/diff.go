package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/delivery"
)

// formatMarkdown is the form of diff for a pull request.
const formatMarkdown = "markdown"

type diffFlags struct {
	files         []string
	noEnv, asJSON bool
	server        string
	request       console.DiffRequest
	limit         int
	failOn        []string
	format        string
}

func newDiff(p process) *cobra.Command {
	var f diffFlags
	cmd := &cobra.Command{
		Use:   "diff -c FILE...",
		Short: "Show what new rules would do with the events that came",
		Long: `Tries the rules of a file on events that are stored, and compares: for every sink and
route it says which events it would gain and lose, of which it would get another body,
and which would become dead letters because an expression cannot be evaluated, with
events as examples. Nothing is sent and nothing changes.

The rules it compares with are those that a running process has in force. That process
does the work, one comparison at a time and after its deliveries. It is sent the new
routes and the names of sinks and sources, no secrets but what variables put into a
condition or a transform; it is found by server.admin of the file, or by --server
URL, with the token in PENSTOCK_TOKEN. What expressions know as now is when the event
was stored. Examples of transforms show values of events; --examples 0 leaves them out.

Ctrl-C prints what was found so far. It exits with 0, with 1 when --fail-on names
something that was found, and with 2 when it could not compare: for a mistake in the
command line or in the file, because nobody answered, or, with --fail-on, because no
event was selected, so that nothing was tried.`,
		Example: `  penstock diff -c new.yaml --since 24h
  # in CI, where no secrets are set: fail when a sink would lose events
  penstock diff -c new.yaml --no-env --server $PENSTOCK --fail-on lose,error
  # only invoices, into the text of a pull request
  penstock diff -c new.yaml --match '*.invoice.paid' --since 168h --format markdown
  # a quick look
  penstock diff -c new.yaml --limit 10000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.complete(); err != nil {
				return err
			}
			return p.diff(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "config", "c", nil, "the new rules: "+configFlagHelp)
	flags.BoolVar(&f.noEnv, "no-env", false, "let variables and secret files be missing")
	flags.StringVar(&f.server, "server", "", "ask the admin API at this URL (default server.admin of the file)")
	flags.StringVar(&f.request.Since, "since", "24h", "only events stored since a time (RFC 3339) or for so long")
	flags.StringVar(&f.request.Until, "until", "", "only events stored before a time, or before so long ago")
	flags.StringArrayVar(&f.request.Match, "match", nil, "only events whose subject matches this pattern, as in a route; may be repeated")
	flags.StringVar(&f.request.Source, "source", "", "only events of this source")
	flags.IntVar(&f.limit, "limit", 0, "look at most at so many events, the newest (default all)")
	flags.IntVar(&f.request.Examples, "examples", 3, "how many events to name of each change")
	flags.StringSliceVar(&f.failOn, "fail-on", nil, "exit with 1 when one of these is found: gain, lose, transform, error")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON, as --format json")
	flags.StringVar(&f.format, "format", "", "how to print: text (as it is without), json, or markdown")
	return cmd
}

// findings are what --fail-on may name.
func findings() []string {
	var out []string
	for _, c := range []delivery.Effect{delivery.WouldGain, delivery.WouldLose, delivery.WouldTransform, delivery.WouldFail} {
		out = append(out, c.String())
	}
	return out
}

// complete fills in what the command line left out, and refuses what makes no
// sense.
func (f *diffFlags) complete() error {
	for _, what := range f.failOn {
		if !slices.Contains(findings(), what) {
			return usagef("--fail-on: %q is none of %s", what, strings.Join(findings(), ", "))
		}
	}
	switch {
	case f.asJSON && f.format != "" && f.format != formatJSON:
		return usagef("--json and --format %s contradict each other; keep one", f.format)
	case f.asJSON:
		f.format = formatJSON
	case f.format == "":
		f.format = formatText
	case f.format != formatText && f.format != formatJSON && f.format != formatMarkdown:
		return usagef("--format %q is not known; use text, json or markdown", f.format)
	}
	if f.limit < 0 {
		return usagef("--limit must be at least 0, got %d", f.limit)
	}
	if f.request.Examples < 0 || f.request.Examples > 100 {
		return usagef("--examples must be 0 to 100, got %d", f.request.Examples)
	}
	if since, err := time.Parse(time.RFC3339, f.request.Since); err == nil && since.After(time.Now()) {
		return usagef("--since %s is in the future: no event is stored since then", f.request.Since)
	}
	f.request.Limit = uint64(f.limit)
	if len(f.files) == 0 {
		if _, err := os.Stat(defaultFile); err != nil {
			return usagef("no file is named, and there is no %s here; name the new rules with -c FILE", defaultFile)
		}
		f.files = []string{defaultFile}
	}
	return nil
}

// diff compares, prints, and decides whether what was found is a failure.
func (p process) diff(ctx context.Context, f diffFlags) error {
	c, ms := app.Load(f.files, app.LoadOptions{Env: p.env, NoEnv: f.noEnv, Advice: true})
	p.printFindings(p.stderr, ms, false)
	if len(ms.Fatal()) > 0 {
		return errTrouble
	}
	client, err := p.diffClient(f, c)
	if err != nil {
		return usageError{err}
	}
	for _, pattern := range f.request.Match {
		if hint := app.UnknownPattern(c, pattern); hint != "" {
			fmt.Fprintf(p.stderr, "penstock: --match %s matches no known event type; %s\n", pattern, hint)
		}
	}
	f.request.Rules = c.Rules()
	d, err := p.compare(ctx, client, f.request)
	if err != nil && d.Proposed == "" {
		return trouble(err)
	}
	d.Partial = d.Partial || err != nil
	if err := p.printDiff(f, d); err != nil {
		return err
	}
	switch {
	case err != nil:
		return trouble(err)
	case d.Partial:
		return usageError{errors.New("the server stopped before it was done")}
	case d.Events == 0 && len(f.failOn) > 0:
		return usageError{errors.New("no event is selected, so that --fail-on has nothing to judge by")}
	case slices.ContainsFunc(found(d), func(what string) bool { return slices.Contains(f.failOn, what) }):
		return errReported
	}
	return nil
}

// trouble is an error that kept diff from comparing, unless somebody interrupted it.
func trouble(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return usageError{err}
}

// diffClient finds the process whose rules are in force: by its URL, or where
// the file says that it is.
func (p process) diffClient(f diffFlags, c *config.Config) (*console.Client, error) {
	token, _ := p.env("PENSTOCK_TOKEN")
	if f.server != "" {
		return newClient(f.server, token)
	}
	if c.Server.Admin == "" {
		return nil, errors.New("server.admin is empty in the file; name the process whose rules are in force by --server URL")
	}
	if token == "" && !f.noEnv {
		token = c.Server.AdminToken.Reveal()
	}
	return newClient(baseURL(c.Server.Admin, false), token)
}

// compare asks for the difference and shows how far it is.
func (p process) compare(ctx context.Context, c *console.Client, r console.DiffRequest) (delivery.Difference, error) {
	var meter *meter
	d, err := c.RulesDiff(ctx, r, func(s console.SearchProgress) {
		j := console.Replay{Published: int(s.Searched), Selected: int(s.Total)}
		if meter == nil {
			meter = newMeter(p.stderr, p.attends(p.stderr), time.Now(), j)
		}
		meter.show(time.Now(), j)
	})
	if meter != nil {
		meter.end()
	}
	return d, err
}

// found names what there is of what --fail-on may name: of the sinks, and
// errors of routes even where another route covers them.
func found(d delivery.Difference) []string {
	var sum delivery.EffectCounts
	for _, s := range d.Sinks {
		sum.Add(s.Counts)
	}
	for _, r := range d.Routes {
		sum.Error += r.Counts.Error
	}
	out := []string{}
	for change := range delivery.Effects {
		if name := change.String(); *sum.Of(change) > 0 && slices.Contains(findings(), name) {
			out = append(out, name)
		}
	}
	return out
}

// diffResult is the JSON of diff. Keys are added, never renamed or removed.
type diffResult struct {
	Files []string `json:"files"`
	// Found has what --fail-on may name.
	Found []string `json:"found"`
	delivery.Difference
}

func (p process) printDiff(f diffFlags, d delivery.Difference) error {
	if f.format == formatJSON {
		return writeJSON(p.stdout, diffResult{f.files, found(d), d})
	}
	page := newDiffPage(strings.Join(f.files, ", "), d)
	text := page.text()
	if f.format == formatMarkdown {
		text = page.markdown()
	}
	_, err := fmt.Fprint(p.stdout, text)
	return err
}
