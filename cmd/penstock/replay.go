package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/console"
)

// replayFlags are those of replay.
type replayFlags struct {
	adminFlags
	request             console.ReplayRequest
	yes, dryRun, asJSON bool
	resumeJob, abortJob string
}

func newReplay(p process) *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay --sink NAME",
		Short: "Deliver kept events to one sink once more",
		Long: `Hands events that are still kept to one sink once more, whether or not a route
names it, beside the normal traffic and through the sink's retry lane: no other
sink sees them. It counts first and asks. At most 1,000 of them wait for the sink at
any time, none while it is paused, and one while it is held, to find out whether it
is back. The id of an event is the same as ever.

The server does the work. Ctrl-C pauses it; --job goes on with it, also after a
crash of this command or of the server. It then repeats at most 100 events.

It asks a running process, found by -c FILE (its server.admin), or by --server URL,
with the token in PENSTOCK_TOKEN; default ` + console.DefaultServer + `.`,
		Example: `  penstock replay --sink crm --since 24h --dry-run
  penstock replay --sink crm --match 'orders.>' --match '*.invoice.paid' --since 24h --until 1h
  penstock replay --sink crm --id 0f8fad5bd9cb469fa165708772895f6f --yes
  penstock replay --sink crm --since 2026-11-20T00:00:00Z --rate 50/s
  penstock replay --job k3v9q2xa
  penstock replay --abort k3v9q2xa
  penstock replay ls`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			c, err := p.client(f.adminFlags)
			if err != nil {
				return err
			}
			return p.replay(cmd.Context(), c, f)
		},
	}
	f.adminFlags.register(cmd.PersistentFlags())
	flags := cmd.Flags()
	flags.StringVar(&f.request.Sink, "sink", "", "the sink that gets the events")
	flags.StringArrayVar(&f.request.Match, "match", nil, "only events whose subject matches this pattern, as in a route; may be repeated")
	flags.StringArrayVar(&f.request.IDs, "id", nil, "only the event with this id; may be repeated")
	flags.StringVar(&f.request.Since, "since", "", "only events stored since a time (RFC 3339) or for so long (24h)")
	flags.StringVar(&f.request.Until, "until", "", "only events stored before a time, or before so long ago")
	flags.StringVar(&f.request.Rate, "rate", "", "how many at most in a time: 50/s, 600/m (default as fast as the sink takes them)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only count what would be replayed")
	flags.BoolVar(&f.yes, "yes", false, "do not ask")
	flags.StringVar(&f.resumeJob, "job", "", "go on with this job, or watch it while it runs")
	flags.StringVar(&f.abortJob, "abort", "", "stop this job for good")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	cmd.AddCommand(newReplayList(p, &f.adminFlags))
	return cmd
}

// check finds flags that do not go together.
func (f replayFlags) check() error {
	r := f.request
	selects := r.Sink+r.Since+r.Until+r.Rate != "" || len(r.Match)+len(r.IDs) > 0 || f.dryRun
	switch {
	case f.resumeJob != "" && f.abortJob != "", (f.resumeJob+f.abortJob) != "" && selects:
		return usagef("--job and --abort name a job that exists; they go with no other selection")
	case f.resumeJob+f.abortJob == "" && r.Sink == "":
		return usagef("name the sink that gets the events: --sink NAME")
	}
	return nil
}

func (p process) replay(ctx context.Context, c *console.Client, f replayFlags) error {
	switch {
	case f.abortJob != "":
		j, err := c.ReplayAbort(ctx, f.abortJob)
		if err != nil {
			return err
		}
		return p.jobEnd(j, f.asJSON)
	case f.resumeJob != "":
		j, err := c.ReplayJob(ctx, f.resumeJob)
		if err != nil {
			return err
		}
		if !j.Ended() {
			sure, cancel := cut(ctx)
			defer cancel()
			if j, err = c.ReplayResume(sure, f.resumeJob); err != nil {
				return err
			}
		}
		return p.follow(ctx, c, j, f.asJSON)
	}
	return p.startJob(ctx, c, f.request, jobOptions{yes: f.yes, dryRun: f.dryRun, asJSON: f.asJSON})
}

// jobOptions say how a job is started.
type jobOptions struct{ yes, dryRun, asJSON bool }

// startJob counts, asks, starts a job of exactly what was counted, and follows it.
func (p process) startJob(ctx context.Context, c *console.Client, r console.ReplayRequest, o jobOptions) error {
	v, err := c.ReplayPreview(ctx, r)
	if err != nil {
		return err
	}
	if o.dryRun && o.asJSON {
		return writeJSON(p.stdout, v)
	}
	if err := p.printSurvey(r, v, o); err != nil {
		return err
	}
	if o.dryRun {
		return nil
	}
	if v.Events == 0 {
		if o.asJSON {
			return writeJSON(p.stdout, v)
		}
		return nil
	}
	if !o.yes {
		if err := p.confirm(jobQuestion(r, v)); err != nil {
			return err
		}
	}
	r.UpTo = v.UpTo
	// Once asked for, the job's id has to be learnt, or nobody could stop it.
	sure, cancel := cut(ctx)
	defer cancel()
	j, err := c.ReplayStart(sure, r)
	if err != nil {
		return err
	}
	return p.follow(ctx, c, j, o.asJSON)
}

func jobQuestion(r console.ReplayRequest, v console.Survey) string {
	if r.Kind == kindRedrive {
		return fmt.Sprintf("retry %s?", count(v.Events, "dead letter"))
	}
	return fmt.Sprintf("replay %s to sink %s?", count(v.Events, "event"), r.Sink)
}

// kindRedrive is the kind of a job that retries dead letters.
const kindRedrive = "redrive"

// printSurvey shows what was counted: on stdout when that is the answer.
func (p process) printSurvey(r console.ReplayRequest, v console.Survey, o jobOptions) error {
	out := p.stderr
	if o.dryRun {
		out = p.stdout
	}
	thing := "event"
	if r.Kind == kindRedrive {
		thing = "dead letter"
	}
	atLeast := ""
	if v.Partial {
		atLeast = "at least "
	}
	if v.Events == 0 {
		_, err := fmt.Fprintf(out, "no %s is selected\n", thing)
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "selected\t%s%s, %s\n", atLeast, count(v.Events, thing), bytesText(v.Bytes))
	fmt.Fprintf(t, "from\t%s\n", formatTime(v.First))
	fmt.Fprintf(t, "to\t%s\n", formatTime(v.Last))
	printTallies(t, "subjects", v.Subjects)
	if v.OtherSubjects > 0 {
		fmt.Fprintf(t, "\tand %s more\n", count(v.OtherSubjects, "subject"))
	}
	printTallies(t, "sinks", v.Sinks)
	return t.Flush()
}

func printTallies(t *tabwriter.Writer, title string, tallies []console.Tally) {
	for _, s := range tallies {
		fmt.Fprintf(t, "%s\t%d  %s\n", title, s.Events, printable(s.Name))
		title = ""
	}
}

// bytesText is a size as a person reads it.
func bytesText(n int64) string {
	f := float64(n)
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if f < 1024 {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + unit
		}
		f /= 1024
	}
	return fmt.Sprintf("%.1f GiB", f)
}

func newReplayList(p process, admin *adminFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List replays and retries of dead letters, the newest last",
		Long: `Lists the jobs that are kept: replays, and retries of dead letters. Those that are
paused, interrupted or failed go on with penstock replay --job JOB.`,
		Example: `  penstock replay ls
  penstock replay ls --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(*admin)
			if err != nil {
				return err
			}
			jobs, err := c.ReplayJobs(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(p.stdout, jobs)
			}
			return p.printJobs(jobs)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p process) printJobs(jobs []console.Replay) error {
	if len(jobs) == 0 {
		fmt.Fprintln(p.stderr, "no replays")
		return nil
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "JOB\tKIND\tSINK\tSTATE\tDONE\tOF\tGONE\tSTARTED\tNOTE")
	for _, j := range jobs {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", j.ID, j.Kind, cmp.Or(j.Sink, "all"), j.State,
			j.Published, j.Selected, j.Gone, j.Created.UTC().Format(deadTime), printable(cmp.Or(j.Note, j.Waiting)))
	}
	return t.Flush()
}

// cut returns a context for a request that the end of ctx does not cut off.
func cut(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
}
