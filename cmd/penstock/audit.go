package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/console"
)

func newAudit(p process) *cobra.Command {
	var admin adminFlags
	var q console.ChangeQuery
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "See who changed what: retries, drops, pauses, erasures",
		Long: `Lists the changes that were made through the admin API, newest first: when, by whom
(the name of the token of server.admin_tokens), from where, what, and how it ended.
They are kept for a year. "begun" is a change whose process ended before it did.

It asks a running process, found by -c FILE (its server.admin), or by --server URL,
with the token in PENSTOCK_TOKEN; default ` + console.DefaultServer + `.`,
		Example: `  penstock audit
  penstock audit --since 24h --by ann
  penstock audit --action "erase event" --limit 0 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit must be at least 0, got %d", limit)
			}
			c, err := p.client(admin)
			if err != nil {
				return err
			}
			return p.audit(cmd.Context(), c, q, limit, asJSON)
		},
	}
	f := cmd.Flags()
	admin.register(f)
	f.StringVar(&q.Since, "since", "", "only those since a time (RFC 3339) or for so long (24h)")
	f.StringVar(&q.By, "by", "", "only those of the token with this name")
	f.StringVar(&q.Action, "action", "", `only those that did this, as in "drop dead letter"`)
	f.IntVar(&limit, "limit", 50, "most to list; 0 lists all")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p process) audit(ctx context.Context, c *console.Client, q console.ChangeQuery, limit int, asJSON bool) error {
	const page = 500 // the most the API gives at a time
	q.Limit = page
	if limit > 0 {
		q.Limit = min(limit+1, page) // one more tells whether there are more
	}
	changes, more := []console.Change{}, false
	for d, err := range c.ChangesAll(ctx, q) {
		if err != nil {
			return err
		}
		if more = limit > 0 && len(changes) == limit; more {
			break
		}
		changes = append(changes, d)
	}
	if asJSON {
		return writeJSON(p.stdout, changes)
	}
	if len(changes) == 0 {
		fmt.Fprintln(p.stderr, "no changes")
		return nil
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHEN\tBY\tFROM\tACTION\tRESULT\tDETAILS")
	for _, d := range changes {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", formatTime(d.At), printable(d.By), printable(d.From), printable(d.Action), d.Result, changeDetails(d))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(p.stderr, "there are more than %d; --limit 0 lists all\n", limit)
	}
	return nil
}

// changeDetails says what was changed, or where and why it was not.
func changeDetails(d console.Change) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(d.Details)) {
		parts = append(parts, name+"="+d.Details[name])
	}
	if len(parts) == 0 {
		parts = append(parts, d.On)
	}
	if d.Error != "" {
		parts = append(parts, d.Error)
	}
	return printable(strings.Join(parts, " "))
}
