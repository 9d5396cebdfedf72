package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/event"
)

func newRejected(p process) *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "rejected",
		Short: "Look at refused requests, and take them in after all",
		Long: `Requests that look signed and fail verification are answered 401 and kept for three
days, one for each body: so a wrong secret need not cost events. The list says what
is most likely wrong. When that is set right, ` + "`penstock rejected accept`" + ` verifies them
again and takes in those that are good.

These commands ask a running process. They find it by -c FILE (its server.admin),
or by --server URL, with the token in PENSTOCK_TOKEN; default ` + console.DefaultServer + `.`,
		Example: `  penstock rejected ls
  penstock rejected show 3
  penstock rejected accept 3
  penstock rejected accept --all --since 24h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin.register(cmd.PersistentFlags())
	cmd.AddCommand(newRejectedList(p, &admin), newRejectedShow(p, &admin), newRejectedAccept(p, &admin))
	return cmd
}

// rejectedSelection names rejected requests by what they have in common.
type rejectedSelection struct{ source, since string }

func (s *rejectedSelection) register(flags *pflag.FlagSet) {
	flags.StringVar(&s.source, "source", "", "only those to this source")
	flags.StringVar(&s.since, "since", "", "only those that came since a time (RFC 3339) or for so long (24h)")
}

// find returns those that the selection names, at most limit; 0: all.
func (s rejectedSelection) find(ctx context.Context, c *console.Client, limit int) (found []console.Rejected, more bool, err error) {
	const page = 500 // the most the API gives at a time
	q := console.RejectedQuery{Source: s.source, Since: s.since, Limit: page}
	if limit > 0 {
		q.Limit = min(limit+1, page) // one more tells whether there are more
	}
	found = []console.Rejected{}
	for r, err := range c.RejectedAll(ctx, q) {
		if err != nil {
			return nil, false, err
		}
		if limit > 0 && len(found) == limit {
			return found, true, nil
		}
		found = append(found, r)
	}
	return found, false, nil
}

func newRejectedList(p process, admin *adminFlags) *cobra.Command {
	var by rejectedSelection
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List refused requests, oldest first, and what is most likely wrong",
		Long:  "Lists refused requests, oldest first, with the reason, and below what is most likely wrong.",
		Example: `  penstock rejected ls
  penstock rejected ls --source clickfunnels --since 24h
  penstock rejected ls --limit 0 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit must be at least 0, got %d", limit)
			}
			c, err := p.client(*admin)
			if err != nil {
				return err
			}
			found, more, err := by.find(cmd.Context(), c, limit)
			switch {
			case err != nil:
				return err
			case asJSON:
				return writeJSON(p.stdout, found)
			case len(found) == 0:
				fmt.Fprintln(p.stderr, "no rejected requests")
				return nil
			}
			err = p.printRejected(found)
			if more {
				fmt.Fprintf(p.stderr, "there are more than %d; --limit 0 lists all\n", limit)
			}
			return err
		},
	}
	by.register(cmd.Flags())
	cmd.Flags().IntVar(&limit, "limit", 50, "most to list; 0 lists all")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printRejected prints a line for each, and every hint once.
func (p process) printRejected(found []console.Rejected) error {
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SEQ\tSOURCE\tRECEIVED\tBYTES\tCAUSE\tREASON")
	var hints []string
	for _, r := range found {
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%s\t%s\n", r.Seq, r.Source, formatTime(r.Received), r.Bytes, r.Cause, printable(r.Reason))
		hint := r.Cause + ": " + printable(r.Hint)
		if r.Hint != "" && !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, hint := range hints {
		if _, err := fmt.Fprintf(p.stdout, "\n%s\n", hint); err != nil {
			return err
		}
	}
	return nil
}

func newRejectedShow(p process, admin *adminFlags) *cobra.Command {
	var onlyBody, asJSON bool
	cmd := &cobra.Command{
		Use:   "show SEQ",
		Short: "Show one refused request",
		Long:  "Shows all that is known of one refused request: why, what is most likely wrong, the headers that count.",
		Example: `  penstock rejected show 3
  penstock rejected show 3 --body > request.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			seqs, err := parseSeqs(args, "rejected request", "penstock rejected ls")
			if err != nil {
				return err
			}
			c, err := p.client(*admin)
			if err != nil {
				return err
			}
			r, err := c.RejectedShow(cmd.Context(), seqs[0])
			switch {
			case err != nil:
				return err
			case asJSON:
				return writeJSON(p.stdout, r)
			case onlyBody:
				return p.printBody(r.Body, r.BodyEncoding)
			}
			return p.printRejection(r)
		},
	}
	cmd.Flags().BoolVar(&onlyBody, "body", false, "print the request's body, byte for byte, and nothing else")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p process) printRejection(r console.Rejected) error {
	rows := [][2]string{
		{"seq", strconv.FormatUint(r.Seq, 10)},
		{"source", r.Source},
		{"received", formatTime(r.Received)},
		{"cause", r.Cause},
		{"reason", r.Reason},
		{"hint", dashed(r.Hint)},
		{"bytes", strconv.Itoa(r.Bytes)},
	}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		rows = append(rows, [2]string{name, r.Headers[name]})
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(t, "%s\t%s\n", row[0], printable(row[1]))
	}
	return t.Flush()
}

type acceptFlags struct {
	by                   rejectedSelection
	all, ignoreAge, yes  bool
	asJSON               bool
	accepted, duplicates int
	refused              int
}

func newRejectedAccept(p process, admin *adminFlags) *cobra.Command {
	var f acceptFlags
	cmd := &cobra.Command{
		Use:   "accept SEQ... | --all | --source NAME | --since TIME",
		Short: "Verify refused requests again, and take in those that are good",
		Long: `Verifies refused requests with the secrets that the process has today, with the
time at which each arrived as the clock, and takes in those that are good as if they
had just come: once, also when the sender has sent them again meanwhile. It prints
what became of each. Those that are still refused are kept, and it exits with 1.

Several at once are asked about, unless --yes is given.`,
		Example: `  penstock rejected accept 3 4
  penstock rejected accept --all --since 24h
  # after this machine's clock was set right
  penstock rejected accept --all --ignore-age --yes`,
		RunE: func(cmd *cobra.Command, args []string) error { return p.rejectedAccept(cmd.Context(), *admin, f, args) },
	}
	f.by.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.all, "all", false, "all refused requests")
	cmd.Flags().BoolVar(&f.ignoreAge, "ignore-age", false, "also those with a good signature whose timestamp was too far from the clock")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func (p process) rejectedAccept(ctx context.Context, admin adminFlags, f acceptFlags, args []string) error {
	seqs, err := parseSeqs(args, "rejected request", "penstock rejected ls")
	many := f.all || f.by != rejectedSelection{}
	switch {
	case err != nil:
		return err
	case len(seqs) > 0 && many:
		return usagef("give either numbers or --all, --source, --since")
	case len(seqs) == 0 && !many:
		return usagef("name what to accept: numbers as in `penstock rejected ls`, or --all, --source, --since")
	}
	c, err := p.client(admin)
	if err != nil {
		return err
	}
	if many {
		if seqs, err = p.selectRejected(ctx, c, f); err != nil || len(seqs) == 0 {
			return err
		}
	}
	return p.acceptEach(ctx, c, f, seqs)
}

// selectRejected asks whether those that the flags name are meant.
func (p process) selectRejected(ctx context.Context, c *console.Client, f acceptFlags) ([]uint64, error) {
	found, _, err := f.by.find(ctx, c, 0)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		fmt.Fprintln(p.stderr, "no rejected requests")
		return nil, nil
	}
	if !f.yes {
		if err := p.confirm(fmt.Sprintf("verify %s again and take in the good ones?", count(len(found), "rejected request"))); err != nil {
			return nil, err
		}
	}
	seqs := make([]uint64, len(found))
	for i, r := range found {
		seqs[i] = r.Seq
	}
	return seqs, nil
}

// acceptEach accepts one after the other. One that fails does not keep the
// others from their turn, unless nobody answers any more.
func (p process) acceptEach(ctx context.Context, c *console.Client, f acceptFlags, seqs []uint64) error {
	var errs []error
	all := []console.Acceptance{}
	for _, seq := range seqs {
		a, err := c.RejectedAccept(ctx, seq, f.ignoreAge)
		var api *console.APIError
		if err != nil && !errors.As(err, &api) {
			errs = append(errs, fmt.Errorf("accept %d: %w", seq, err))
			break
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("accept %d: %w", seq, err))
			continue
		}
		f.tally(a)
		if f.asJSON {
			all = append(all, a)
			continue
		}
		if err := p.printAcceptance(a); err != nil {
			return err
		}
	}
	if f.asJSON {
		errs = append(errs, writeJSON(p.stdout, all))
	}
	if !f.asJSON && len(seqs) > 1 {
		fmt.Fprintf(p.stderr, "%d accepted, %d were stored before, %d still refused\n", f.accepted, f.duplicates, f.refused)
	}
	if f.refused > 0 {
		errs = append(errs, fmt.Errorf("%s still refused and kept", are(f.refused, "request")))
	}
	return errors.Join(errs...)
}

func (f *acceptFlags) tally(a console.Acceptance) {
	switch a.Outcome {
	case event.AcceptedNow:
		f.accepted++
	case event.AcceptedBefore:
		f.duplicates++
	default:
		f.refused++
	}
}

func (p process) printAcceptance(a console.Acceptance) error {
	var err error
	if a.Event != nil {
		_, err = fmt.Fprintf(p.stdout, "%d  %s  %s  %s  seq %d\n", a.Seq, a.Outcome, printable(a.Event.ID), a.Event.Subject, a.Event.Seq)
		return err
	}
	text := printable(a.Why)
	if a.Hint != "" {
		text += "\n   " + printable(a.Hint)
	}
	_, err = fmt.Fprintf(p.stdout, "%d  %s  %s\n", a.Seq, a.Outcome, text)
	return err
}

// are is "1 request is" or "2 requests are".
func are(n int, what string) string {
	if n == 1 {
		return count(n, what) + " is"
	}
	return count(n, what) + " are"
}
