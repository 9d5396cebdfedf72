package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/console"
)

// adminFlags say which running process is asked.
type adminFlags struct {
	files  []string
	server string
}

func (f *adminFlags) register(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.files, "config", "c", nil, "ask the process that runs this configuration (its server.admin)")
	flags.StringVar(&f.server, "server", "", "ask the admin API at this URL (default "+console.DefaultServer+")")
}

// client finds the process: by the file, or by the URL, with the token of
// PENSTOCK_TOKEN or else of the file.
func (p process) client(f adminFlags) (*console.Client, error) {
	token, _ := p.env("PENSTOCK_TOKEN")
	if len(f.files) == 0 {
		return newClient(f.server, token)
	}
	if f.server != "" {
		return nil, usagef("-c and --server both name a process; give one of them")
	}
	c, _, err := p.loadFiles(f.files, []string{config.RoleConsole})
	if err != nil {
		return nil, err
	}
	if c.Server.Admin == "" {
		return nil, errors.New("server.admin is empty in the file, so the process has no admin API to ask")
	}
	if token == "" {
		token = adminToken(c.Server)
	}
	return newClient(baseURL(c.Server.Admin, false), token)
}

// adminToken is the most entitled token of the file, "" when it has none.
func adminToken(s config.Server) string {
	token := s.AdminToken.Reveal()
	for _, role := range []string{config.AdminOperator, config.AdminRead} {
		for _, a := range s.AdminTokens {
			if token == "" && a.Role == role && len(a.Tokens) > 0 {
				token = a.Tokens[0].Reveal()
			}
		}
	}
	return token
}

func newClient(server, token string) (*console.Client, error) {
	c, err := console.NewClient(server, token, nil)
	if err != nil {
		return nil, usagef("--server: %w", err)
	}
	return c, nil
}

func newDead(p process) *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Look at dead letters, retry them or drop them",
		Long: `A dead letter is a delivery that was given up, kept with the reason: the receiver
said that it will never take the event, or did not take it for too long. It stays
until somebody retries or drops it.

These commands ask a running process. They find it by -c FILE (its server.admin),
or by --server URL, with the token in PENSTOCK_TOKEN; default ` + console.DefaultServer + `.`,
		Example: `  penstock dead ls
  penstock dead show 12
  penstock dead retry 12
  penstock dead retry --sink crm --since 24h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin.register(cmd.PersistentFlags())
	cmd.AddCommand(newDeadList(p, &admin), newDeadShow(p, &admin), newDeadRetry(p, &admin), newDeadDrop(p, &admin))
	return cmd
}

// selection names dead letters by what they have in common.
type selection struct{ sink, class, since string }

func (s *selection) register(flags *pflag.FlagSet) {
	flags.StringVar(&s.sink, "sink", "", "only those of this sink")
	flags.StringVar(&s.class, "class", "", "only those of this class: ours, rejected, refused, sink, network, expired")
	flags.StringVar(&s.since, "since", "", "only those given up since a time (RFC 3339) or for so long (24h)")
}

func (s selection) empty() bool { return s == selection{} }

// String describes the selection, for a question.
func (s selection) String() string {
	text := "every dead letter"
	for _, part := range []struct{ word, value string }{{"of sink", s.sink}, {"of class", s.class}, {"since", s.since}} {
		if part.value != "" {
			text += " " + part.word + " " + part.value
		}
	}
	return text
}

// deadAction is retry or drop.
type deadAction struct {
	verb, past string
	one        func(*console.Client, context.Context, uint64) (console.DeadLetter, error)
	many       func(process, context.Context, *console.Client, bulkSelection) error
	// final: there is no way back, so that even one is asked about.
	final bool
	// flags registers more flags.
	flags func(*pflag.FlagSet, *bulkSelection)
}

func newDeadRetry(p process, admin *adminFlags) *cobra.Command {
	return newDeadAction(p, admin, deadAction{
		verb: "retry", past: "retried", one: (*console.Client).DeadRetry, many: process.deadRetryMany, flags: retryFlags,
	}, &cobra.Command{
		Use:   "retry SEQ... | --all | --sink NAME | --class CLASS | --since TIME",
		Short: "Deliver dead letters once more, to the sink they were for",
		Long: `Hands dead letters to their sinks once more, as deliveries without attempts. Those
that fail again come back as dead letters.

A selection is counted first and asked about, unless --yes is given. The server
then works through it by itself, at most 1,000 waiting for a sink at any time, and
none while the sink is paused. Ctrl-C pauses it; penstock replay --job goes on, also
after a crash.`,
		Example: `  penstock dead retry 12 13
  penstock dead retry --sink crm --since 24h --dry-run
  penstock dead retry --sink crm --since 24h --rate 10/s
  penstock dead retry --all --yes`,
	})
}

func newDeadDrop(p process, admin *adminFlags) *cobra.Command {
	return newDeadAction(p, admin, deadAction{
		verb: "drop", past: "dropped", one: (*console.Client).DeadDrop, many: process.deadDropMany, final: true,
	}, &cobra.Command{
		Use:   "drop SEQ... | --all | --sink NAME | --class CLASS | --since TIME",
		Short: "Delete dead letters for good",
		Long: `Deletes dead letters. There is no way back: the sink will never get these events.
It asks first, unless --yes is given.`,
		Example: `  penstock dead drop 12
  penstock dead drop --sink crm --class rejected --yes`,
	})
}

// bulkSelection selects many dead letters, and says how they are dealt with.
type bulkSelection struct {
	by   selection
	all  bool
	rate string
	jobOptions
}

func retryFlags(flags *pflag.FlagSet, b *bulkSelection) {
	flags.StringVar(&b.rate, "rate", "", "how many at most in a time: 50/s, 600/m (default as fast as the sinks take them)")
	flags.BoolVar(&b.dryRun, "dry-run", false, "only count what would be retried")
	flags.BoolVar(&b.asJSON, "json", false, "print JSON, for a selection")
}

func newDeadAction(p process, admin *adminFlags, action deadAction, cmd *cobra.Command) *cobra.Command {
	var b bulkSelection
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		seqs, err := parseSeqs(args, "dead letter", "penstock dead ls")
		selects := b.all || !b.by.empty()
		switch {
		case err != nil:
			return err
		case len(seqs) > 0 && (selects || b.dryRun || b.asJSON || b.rate != ""):
			return usagef("give either numbers or --all, --sink, --class, --since")
		case len(seqs) == 0 && !selects:
			return usagef("name what to %s: numbers as in `penstock dead ls`, or --all, --sink, --class, --since", action.verb)
		}
		c, err := p.client(*admin)
		if err != nil {
			return err
		}
		if len(seqs) > 0 {
			return p.deadSome(cmd.Context(), c, action, seqs, b.yes)
		}
		return action.many(p, cmd.Context(), c, b)
	}
	b.by.register(cmd.Flags())
	cmd.Flags().BoolVar(&b.all, "all", false, "all dead letters")
	cmd.Flags().BoolVar(&b.yes, "yes", false, "do not ask")
	if action.flags != nil {
		action.flags(cmd.Flags(), &b)
	}
	return cmd
}

// parseSeqs reads the numbers of what a list shows.
func parseSeqs(args []string, what, list string) ([]uint64, error) {
	var seqs []uint64
	for _, a := range args {
		n, err := strconv.ParseUint(a, 10, 64)
		if err != nil || n == 0 {
			return nil, usagef("%q is not the number of a %s; see `%s`", a, what, list)
		}
		seqs = append(seqs, n)
	}
	return seqs, nil
}

// deadSome acts on those with the numbers. One that fails does not keep the
// others from their turn.
func (p process) deadSome(ctx context.Context, c *console.Client, action deadAction, seqs []uint64, yes bool) error {
	if action.final && !yes {
		if err := p.confirm(fmt.Sprintf("%s %s for good?", action.verb, count(len(seqs), "dead letter"))); err != nil {
			return err
		}
	}
	var errs []error
	for _, seq := range seqs {
		d, err := action.one(c, ctx, seq)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %d: %w", action.verb, seq, err))
			continue
		}
		fmt.Fprintf(p.stdout, "%s %d  %s  %s\n", action.past, d.Seq, d.Sink, d.Event.Subject)
	}
	return errors.Join(errs...)
}

// deadRetryMany makes a job of the selection.
func (p process) deadRetryMany(ctx context.Context, c *console.Client, b bulkSelection) error {
	return p.startJob(ctx, c, console.ReplayRequest{
		Kind: kindRedrive, Sink: b.by.sink, Class: b.by.class, Since: b.by.since, All: b.all && b.by.empty(), Rate: b.rate,
	}, b.jobOptions)
}

func (p process) deadDropMany(ctx context.Context, c *console.Client, b bulkSelection) error {
	if !b.yes {
		r := console.ReplayRequest{Kind: kindRedrive, Sink: b.by.sink, Class: b.by.class, Since: b.by.since, All: true}
		v, err := c.ReplayPreview(ctx, r)
		if err != nil {
			return err
		}
		if err := p.printSurvey(r, v, jobOptions{}); err != nil || v.Events == 0 {
			return err
		}
		if err := p.confirm("drop " + b.by.String() + " for good?"); err != nil {
			return err
		}
	}
	r, err := c.DeadDropMany(ctx, console.BulkRequest{Sink: b.by.sink, Class: b.by.class, Since: b.by.since, All: b.all && b.by.empty()})
	if err != nil && r.Done > 0 {
		return fmt.Errorf("%w\n%s were dropped before that", err, count(r.Done, "dead letter"))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "dropped %s\n", count(r.Done, "dead letter"))
	if r.Failed > 0 || r.Next != "" {
		return fmt.Errorf("not all were dropped: %s; run the command again for the rest", dashed(r.Note))
	}
	return nil
}

// confirm asks a person. Nobody there counts as no.
func (p process) confirm(question string) error {
	if !p.attends(p.stdin) {
		return errors.New("this has to be confirmed, and there is no terminal to ask on; add --yes")
	}
	fmt.Fprintf(p.stderr, "%s [y/N] ", strings.ToUpper(question[:1])+question[1:])
	line, err := bufio.NewReader(p.stdin).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	if err != nil {
		fmt.Fprintln(p.stderr)
	}
	return errors.New("nothing was done")
}
