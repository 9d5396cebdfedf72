package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/console"
)

func newSinks(p process) *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "sinks",
		Short: "See how every sink stands, try or pause one, prune removed ones",
		Long: `Shows how every sink stands, stops and starts deliveries to one, and deletes what is
left of sinks that are not configured any more. "test" tries one, by its file alone.

The other commands ask a running process. They find it by -c FILE (its server.admin),
or by --server URL, with the token in PENSTOCK_TOKEN; default ` + console.DefaultServer + `.`,
		Example: `  penstock sinks ls
  penstock sinks test crm
  penstock sinks pause crm --for 2h
  penstock sinks resume crm
  penstock sinks prune`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin.register(cmd.PersistentFlags())
	cmd.AddCommand(newSinksList(p, &admin), newSinksPause(p, &admin), newSinksResume(p, &admin), newSinksPrune(p, &admin), newSinksTry(p, &admin))
	return cmd
}

func newSinksList(p process, admin *adminFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List sinks: state, rate, what waits, the last error",
		Long: `Lists every sink: its state, how many events a second it got of late, the events that
wait for it and how long the oldest has, the deliveries that wait for their next attempt, its dead letters and
the last error that speaks against it. Sinks that are not configured any more and
have left a queue are listed as removed.`,
		Example: `  penstock sinks ls
  penstock sinks ls --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(*admin)
			if err != nil {
				return err
			}
			l, err := c.SinkList(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(p.stdout, l)
			}
			if err := p.printSinks(l); err != nil {
				return err
			}
			p.noteRefused(cmd.Context(), c)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p process) printSinks(l console.SinkList) error {
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SINK\tKIND\tSTATE\tRATE\tWAITING\tOLDEST\tRETRIES\tDEAD\tLAST ERROR")
	for _, s := range l.Items {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s/s\t%d\t%s\t%d\t%d\t%s\n", s.Name, s.Kind, stateOf(s),
			strconv.FormatFloat(s.Rate, 'f', 1, 64), s.Waiting, age(s.OldestWaiting, time.Now()), s.Outstanding, s.DeadLetters, dashed(printable(s.LastError)))
	}
	for _, r := range l.Removed {
		fmt.Fprintf(t, "%s\t-\tremoved\t-\t%d\t-\t%d\t-\t-\n", r.Name, r.Waiting, r.Retries)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(l.Removed) > 0 {
		fmt.Fprintln(p.stderr, "removed sinks keep their queues until `penstock sinks prune`")
	}
	return nil
}

// age is how long ago t is, with the two largest units that it has; "-" for no
// time at all.
func age(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := max(now.Sub(t), 0).Truncate(time.Second)
	switch days := d / (24 * time.Hour); {
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return d.String()
}

// stateOf is a sink's state with what ends it.
func stateOf(s console.SinkStatus) string {
	switch {
	case !s.PausedUntil.IsZero():
		return "paused until " + formatTime(s.PausedUntil)
	case s.State == "throttled" && !s.NextProbe.IsZero():
		return "throttled until " + formatTime(s.NextProbe)
	case s.Reason != "":
		return s.State + " (" + s.Reason + ")"
	}
	return dashed(s.State)
}

func newSinksPause(p process, admin *adminFlags) *cobra.Command {
	var d time.Duration
	cmd := &cobra.Command{
		Use:   "pause NAME",
		Short: "Stop deliveries to a sink; its events wait",
		Long: `Stops deliveries to a sink. Its events wait, and the time does not count towards
giving up. The pause outlives restarts and holds for every process, until
` + "`penstock sinks resume`" + ` or the end of --for. Attempts under way end as they will.`,
		Example: `  penstock sinks pause crm
  penstock sinks pause crm --for 2h`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("for") && d < time.Second {
				return usagef("--for must be at least 1s, got %s", d)
			}
			c, err := p.client(*admin)
			if err != nil {
				return err
			}
			r, err := c.SinkPause(cmd.Context(), args[0], d)
			if err != nil {
				return err
			}
			end := "until `penstock sinks resume " + r.Name + "`"
			if !r.Until.IsZero() {
				end = "until " + formatTime(r.Until)
			}
			fmt.Fprintf(p.stdout, "paused %s %s\n", r.Name, end)
			return nil
		},
	}
	cmd.Flags().DurationVar(&d, "for", 0, "how long, as in 30m or 2h (default until it is resumed)")
	return cmd
}

func newSinksResume(p process, admin *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "resume NAME",
		Short:   "End a pause",
		Long:    "Ends a pause. Deliveries to the sink start slowly. It is no error that there is none.",
		Example: `  penstock sinks resume crm`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.client(*admin)
			if err != nil {
				return err
			}
			r, err := c.SinkResume(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "resumed %s\n", r.Name)
			return nil
		},
	}
}

func newSinksPrune(p process, admin *adminFlags) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete the queues of sinks that are not configured any more",
		Long: `Deletes the queues and the waiting retries of sinks that are not configured any more,
and that they ever began: a sink of the same name would begin anew. Their dead
letters stay. It asks first, unless --yes is given.`,
		Example: `  penstock sinks prune
  penstock sinks prune --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(*admin)
			if err != nil {
				return err
			}
			return p.sinksPrune(cmd.Context(), c, yes)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// sinksPrune deletes exactly what it has shown.
func (p process) sinksPrune(ctx context.Context, c *console.Client, yes bool) error {
	l, err := c.SinkList(ctx)
	if err != nil {
		return err
	}
	if len(l.Removed) == 0 {
		fmt.Fprintln(p.stderr, "no removed sinks")
		return nil
	}
	if !yes {
		for _, r := range l.Removed {
			fmt.Fprintf(p.stderr, "%s: %s waiting, %d to be tried again\n", r.Name, count(int(r.Waiting), "event"), r.Retries)
		}
		if err := p.confirm(fmt.Sprintf("delete what is left of %s for good?", count(len(l.Removed), "removed sink"))); err != nil {
			return err
		}
	}
	var errs []error
	for _, r := range l.Removed {
		got, err := c.SinkPrune(ctx, r.Name)
		if err != nil {
			errs = append(errs, fmt.Errorf("prune %s: %w", r.Name, err))
			continue
		}
		fmt.Fprintf(p.stdout, "pruned %s  %d waiting  %d retries\n", got.Name, got.Waiting, got.Retries)
	}
	return errors.Join(errs...)
}
