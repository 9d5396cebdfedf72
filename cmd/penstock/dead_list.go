package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/console"
)

// deadTime is how lists write times.
const deadTime = "2006-01-02 15:04:05Z"

func newDeadList(p process, admin *adminFlags) *cobra.Command {
	var by selection
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List dead letters, oldest first",
		Long:  "Lists dead letters, oldest first, with the reason why each was given up.",
		Example: `  penstock dead ls
  penstock dead ls --sink crm --class rejected --since 24h
  penstock dead ls --limit 0 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit must be at least 0, got %d", limit)
			}
			c, err := p.client(*admin)
			if err != nil {
				return err
			}
			return p.deadList(cmd.Context(), c, by, limit, asJSON)
		},
	}
	by.register(cmd.Flags())
	cmd.Flags().IntVar(&limit, "limit", 50, "most to list; 0 lists all")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p process) deadList(ctx context.Context, c *console.Client, by selection, limit int, asJSON bool) error {
	const page = 500 // the most the API gives at a time
	q := console.DeadQuery{Sink: by.sink, Class: by.class, Since: by.since, Limit: page}
	if limit > 0 {
		q.Limit = min(limit+1, page) // one more tells whether there are more
	}
	letters, more := []console.DeadLetter{}, false
	for d, err := range c.DeadAll(ctx, q) {
		if err != nil {
			return err
		}
		if more = limit > 0 && len(letters) == limit; more {
			break
		}
		letters = append(letters, d)
	}
	if asJSON {
		return writeJSON(p.stdout, letters)
	}
	if len(letters) == 0 {
		fmt.Fprintln(p.stderr, "no dead letters")
		return nil
	}
	if err := p.printLetters(letters); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(p.stderr, "there are more than %d; --limit 0 lists all\n", limit)
	}
	return nil
}

func (p process) printLetters(letters []console.DeadLetter) error {
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SEQ\tSINK\tSUBJECT\tGIVEN UP\tATTEMPTS\tCLASS\tREASON")
	for _, d := range letters {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%s\t%s\n",
			d.Seq, d.Sink, d.Event.Subject, d.Died.UTC().Format(deadTime), d.Attempts, d.Class, printable(d.Reason))
	}
	return t.Flush() // tells of every failed write before it
}

func newDeadShow(p process, admin *adminFlags) *cobra.Command {
	var onlyBody, asJSON bool
	cmd := &cobra.Command{
		Use:   "show SEQ",
		Short: "Show one dead letter",
		Long:  "Shows all that is known of one dead letter.",
		Example: `  penstock dead show 12
  penstock dead show 12 --body > event.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			seqs, err := parseSeqs(args, "dead letter", "penstock dead ls")
			if err != nil {
				return err
			}
			c, err := p.client(*admin)
			if err != nil {
				return err
			}
			d, err := c.DeadShow(cmd.Context(), seqs[0])
			if err != nil {
				return err
			}
			switch {
			case asJSON:
				return writeJSON(p.stdout, d)
			case onlyBody:
				return p.printBody(d.Body, d.BodyEncoding)
			}
			return p.printLetter(d)
		},
	}
	cmd.Flags().BoolVar(&onlyBody, "body", false, "print the event's body, byte for byte, and nothing else")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p process) printBody(text, encoding string) error {
	body := []byte(text)
	if encoding == console.BodyBase64 {
		var err error
		if body, err = base64.StdEncoding.DecodeString(text); err != nil {
			return fmt.Errorf("read the body: %w", err)
		}
	}
	_, err := p.stdout.Write(body)
	return err
}

func (p process) printLetter(d console.DeadLetter) error {
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	status := "-"
	if d.Status != 0 {
		status = strconv.Itoa(d.Status)
	}
	for _, row := range [][2]string{
		{"seq", strconv.FormatUint(d.Seq, 10)},
		{"sink", d.Sink},
		{"reason", d.Reason},
		{"class", d.Class},
		{"status", status},
		{"attempts", strconv.Itoa(d.Attempts)},
		{"first attempt", formatTime(d.First)},
		{"given up", formatTime(d.Died)},
		{"retried before", strconv.Itoa(d.Generation)},
		{"event", d.Event.ID},
		{"type", d.Event.Type},
		{"subject", d.Event.Subject},
		{"source", d.Event.Source},
		{"received", formatTime(d.Event.Received)},
		{"event seq", strconv.FormatUint(d.Event.Seq, 10)},
	} {
		fmt.Fprintf(t, "%s\t%s\n", row[0], printable(row[1]))
	}
	return t.Flush()
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(deadTime)
}
