package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/console"
)

func newEvents(p process) *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Look at events and what became of them, or erase one",
		Long: `Every event that was answered 2xx is kept for broker.retention, and every attempt
to deliver it is recorded for seven days. These commands tell where an event is,
what was tried and why it waits.

They ask a running process. They find it by -c FILE (its server.admin), or by
--server URL, with the token in PENSTOCK_TOKEN; default ` + console.DefaultServer + `.`,
		Example: `  penstock events ls
  penstock events ls 'orders.>' --outcome dead --since 24h
  penstock events show 4711
  penstock events show 6a1c1d2e-0f7b-4e51-9d55-1b1a3f6f2c01
  penstock events erase --seq 4711`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin.register(cmd.PersistentFlags())
	cmd.AddCommand(newEventsList(p, &admin), newEventsShow(p, &admin), newEventsErase(p, &admin))
	return cmd
}

func newEventsList(p process, admin *adminFlags) *cobra.Command {
	var q console.EventQuery
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls [PATTERN]",
		Short: "List events, newest first",
		Long: `Lists events, newest first, with what became of each: ` + strings.Join(console.Outcomes(), ", ") + `.
An event for several sinks counts as what needs attention most. PATTERN is a
subject, with * for one token and > for the rest.`,
		Example: `  penstock events ls
  penstock events ls '*.invoice.paid' --since 24h
  penstock events ls --sink crm --outcome retrying
  penstock events ls --limit 0 --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case limit < 0:
				return usagef("--limit must be at least 0, got %d", limit)
			case q.Outcome != "" && !slices.Contains(console.Outcomes(), q.Outcome):
				return usagef("--outcome %q is none of %s", q.Outcome, strings.Join(console.Outcomes(), ", "))
			}
			if len(args) > 0 {
				q.Pattern = args[0]
			}
			c, err := p.client(*admin)
			if err != nil {
				return err
			}
			return p.eventsList(cmd.Context(), c, q, limit, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Since, "since", "", "only those stored since a time (RFC 3339) or for so long (24h)")
	f.StringVar(&q.Until, "until", "", "only those stored before a time (RFC 3339) or so long ago (1h)")
	f.StringVar(&q.Sink, "sink", "", "only those that this sink gets")
	f.StringVar(&q.Outcome, "outcome", "", "only those of this outcome; with --sink, at that sink")
	f.IntVar(&limit, "limit", 50, "most to list; 0 lists all")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p process) eventsList(ctx context.Context, c *console.Client, q console.EventQuery, limit int, asJSON bool) error {
	events, more, err := eventPages(ctx, c, q, limit)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(p.stdout, events)
	}
	if len(events) == 0 {
		fmt.Fprintln(p.stderr, "no events")
		return nil
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SEQ\tRECEIVED\tSUBJECT\tID\tOUTCOME\tSINKS")
	for _, e := range events {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n",
			e.Seq, formatTime(e.Received), e.Subject, printable(e.ID), e.Outcome, sinkOutcomes(e.Sinks))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(p.stderr, "there are more than %d; --limit 0 lists all\n", limit)
	}
	return nil
}

// eventPages gathers pages until there are limit events (0: all) or no more.
func eventPages(ctx context.Context, c *console.Client, q console.EventQuery, limit int) (events []console.EventSummary, more bool, err error) {
	const page = 500 // the most the API gives at a time
	events = []console.EventSummary{}
	for {
		q.Limit = page
		if limit > 0 {
			q.Limit = min(limit-len(events), page)
		}
		got, err := c.EventList(ctx, q)
		if err != nil {
			return nil, false, err
		}
		events = append(events, got.Items...)
		if got.Next == "" {
			return events, false, nil
		}
		if limit > 0 && len(events) >= limit {
			return events, true, nil
		}
		q.Cursor = got.Next
	}
}

// sinkOutcomes names the sinks by outcome, as in "crm, lake delivered".
func sinkOutcomes(sinks map[string]string) string {
	var parts []string
	for _, outcome := range console.Outcomes() {
		var names []string
		for sink, o := range sinks {
			if o == outcome {
				names = append(names, sink)
			}
		}
		if len(names) > 0 {
			slices.Sort(names)
			parts = append(parts, strings.Join(names, ", ")+" "+outcome)
		}
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, "; ")
}
