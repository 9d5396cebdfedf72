package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/console"
)

// The pauses between attempts to connect again.
const (
	reconnectFirst = 250 * time.Millisecond
	reconnectMost  = 5 * time.Second
)

func newTail(p process) *cobra.Command {
	var admin adminFlags
	var q console.TailQuery
	var accepts, deliveries, asJSON bool
	cmd := &cobra.Command{
		Use:   "tail [PATTERN...]",
		Short: "Watch events come in and go out, live",
		Long: `Prints a line for every event that is accepted and for every attempt to deliver it,
until Ctrl-C: delivered, retry (with when), dead, skipped; and when a sink is held,
throttled, paused or open again. A delivery is shown some 200 ms after it ended.

PATTERN is a subject, with * for one token and > for the rest. --where is a
condition in the language of routes (CEL), over event, data, body and headers.
When the connection is lost it connects again and goes on where it was.

It asks a running process, found by -c FILE (its server.admin), or by --server URL,
with the token in PENSTOCK_TOKEN; default ` + console.DefaultServer + `. On a cluster it
shows what all processes do, but the states of sinks only of the process it asks.`,
		Example: `  penstock tail
  penstock tail 'orders.>' '*.invoice.paid'
  penstock tail --where 'money(data.total_amount) >= 100' --deliveries
  penstock tail --since 10m --json | jq -r 'select(.kind == "dead") | .event_id'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case accepts && deliveries:
				return usagef("give --accepts or --deliveries, or none of them for both")
			case accepts:
				q.Only = console.TailAccepts
			case deliveries:
				q.Only = console.TailDeliveries
			}
			q.Match = args
			c, err := p.client(admin)
			if err != nil {
				return err
			}
			return p.tail(cmd.Context(), c, q, asJSON)
		},
	}
	f := cmd.Flags()
	admin.register(f)
	f.StringVar(&q.Where, "where", "", "only events for which this condition holds")
	f.BoolVar(&accepts, "accepts", false, "only what is accepted")
	f.BoolVar(&deliveries, "deliveries", false, "only what becomes of it")
	f.StringVar(&q.Since, "since", "", "begin in the past: at a time (RFC 3339), or so long ago (10m)")
	f.BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// tail prints lines until ctx is done, which is a success. What is wrong with
// the first request is an error; after that it connects again and again.
func (p process) tail(ctx context.Context, c *console.Client, q console.TailQuery, asJSON bool) error {
	show := p.tailPrinter(asJSON)
	for wait := reconnectFirst; ; {
		err := c.Tail(ctx, q, func(line console.TailLine) error {
			wait = reconnectFirst
			first := q.After == ""
			if line.ID != "" {
				q.After = line.ID
			}
			if line.Kind == console.TailFollowing && !first {
				return nil // told before
			}
			return show(line)
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case q.After == "" || !passes(err):
			return err
		case wait == reconnectFirst:
			fmt.Fprintf(p.stderr, "penstock: %v; connecting again\n", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, reconnectMost)
	}
}

// passes reports an error that may be gone when one asks again.
func passes(err error) bool {
	var broken *console.BrokenOffError
	var nobody *console.UnreachableError
	var refused *console.APIError
	return errors.As(err, &broken) || errors.As(err, &nobody) || errors.As(err, &refused) && (refused.Status >= 500 || refused.Status == http.StatusTooManyRequests)
}

func (p process) tailPrinter(asJSON bool) func(console.TailLine) error {
	if asJSON {
		enc := json.NewEncoder(p.stdout)
		enc.SetEscapeHTML(false)
		return func(line console.TailLine) error { return enc.Encode(line) }
	}
	t := &tailTable{paint: p.paintOn(p.stdout), subject: 24, sink: 8}
	return func(line console.TailLine) error {
		switch line.Kind {
		case console.TailNote:
			_, err := fmt.Fprintln(p.stderr, "penstock: "+printable(line.Note))
			return err
		case console.TailFollowing:
			_, err := fmt.Fprintln(p.stderr, "following; Ctrl-C ends")
			return err
		}
		_, err := fmt.Fprintln(p.stdout, t.row(line))
		return err
	}
}

// tailTable aligns lines that come one by one: a column begins wide enough for
// most, and grows when it has to,
// up to a width.
type tailTable struct {
	paint         paint
	subject, sink int
}

const (
	tailTime     = "15:04:05.000"
	widestColumn = 48
)

// column pads a text to the width that the column has grown to.
func column(width *int, text string) string {
	text = printable(text)
	*width = max(*width, min(utf8.RuneCountInString(text), widestColumn))
	return fmt.Sprintf("%-*s", *width, text)
}

func (t *tailTable) row(l console.TailLine) string {
	kind := fmt.Sprintf("%-11s", l.Kind)
	switch l.Kind {
	case console.TailDelivered:
		kind = t.paint.green(kind)
	case console.TailRetry, console.TailLagged, console.TailInterrupted:
		kind = t.paint.yellow(kind)
	case console.TailDead:
		kind = t.paint.red(kind)
	case console.TailAccepted:
		kind = t.paint.cyan(kind)
	}
	when := t.paint.dim(l.At.UTC().Format(tailTime))
	switch l.Kind {
	case console.TailLagged:
		return fmt.Sprintf("%s  %s  %d lines left out: they were not read fast enough", when, kind, l.Lagged)
	case console.TailSink:
		return fmt.Sprintf("%s  %s  %s", when, kind, t.sinkText(l))
	}
	seq := fmt.Sprintf("%-8s", strconv.FormatUint(l.Seq, 10))
	return strings.TrimRight(fmt.Sprintf("%s  %s  %s  %s  %s  %s", when, kind, seq, column(&t.subject, l.Subject), column(&t.sink, dash(l.Sink)), t.detail(l)), " ")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (t *tailTable) sinkText(l console.TailLine) string {
	text := printable(l.Sink) + " is " + l.State
	if l.State == "held" {
		text = t.paint.red(text)
	}
	if !l.Until.IsZero() {
		text += ", tried again at " + l.Until.UTC().Format(tailTime)
	}
	if l.Note != "" {
		text += ": " + printable(l.Note)
	}
	return text
}

// detail says what is particular about a line.
func (t *tailTable) detail(l console.TailLine) string {
	if l.Attempt == nil {
		return printable(l.EventID)
	}
	a := l.Attempt
	var parts []string
	if a.Number > 0 && l.Kind != console.TailSkipped {
		parts = append(parts, "attempt "+strconv.Itoa(a.Number))
	}
	if a.TookMS > 0 {
		parts = append(parts, (time.Duration(a.TookMS * float64(time.Millisecond))).Round(100*time.Microsecond).String())
	}
	if a.Status != 0 && a.Error == "" {
		parts = append(parts, strconv.Itoa(a.Status))
	}
	if a.Error != "" {
		parts = append(parts, printable(a.Error))
	}
	if !a.Next.IsZero() {
		parts = append(parts, "next at "+a.Next.UTC().Format(tailTime))
	}
	if a.Origin != "" {
		parts = append(parts, printable(a.Origin))
	}
	return strings.Join(parts, ", ")
}
