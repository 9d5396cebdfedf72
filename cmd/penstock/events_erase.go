package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/console"
)

// erasing says which events are to be erased: one of the three.
type erasing struct {
	id, since string
	seq       uint64
	subject   int64
	bySubject bool
}

func newEventsErase(p process, admin *adminFlags) *cobra.Command {
	var by erasing
	var yes bool
	cmd := &cobra.Command{
		Use:   "erase ID | --seq N | --subject-id N",
		Short: "Erase an event from everywhere, for good",
		Long: `Removes an event's body and headers, its waiting retries, its dead letters and the
records of its attempts, and overwrites them on disk. What stays is its sequence
and a note that it was erased. What a sink already has is not touched.

--subject-id erases every event whose body has that subject_id: all that is known
of one contact or order. Events named by an id or a subject are searched for among
all that are kept, or since --since. There is no way back; it asks first, unless
--yes is given.`,
		Example: `  penstock events erase --seq 4711
  penstock events erase 6a1c1d2e-0f7b-4e51-9d55-1b1a3f6f2c01
  penstock events erase --subject-id 1512345678 --yes`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				by.id = args[0]
			}
			by.bySubject = cmd.Flags().Changed("subject-id")
			if err := by.check(cmd.Flags().Changed("seq")); err != nil {
				return err
			}
			c, err := p.client(*admin)
			if err != nil {
				return err
			}
			return p.eventsErase(cmd.Context(), c, by, yes)
		},
	}
	cmd.Flags().Uint64Var(&by.seq, "seq", 0, "the event with this sequence")
	cmd.Flags().Int64Var(&by.subject, "subject-id", 0, "every event whose body has this subject_id")
	cmd.Flags().StringVar(&by.since, "since", "", "search from this time on (RFC 3339, or how long ago); default all that is kept")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (e erasing) check(bySeq bool) error {
	given := 0
	for _, is := range []bool{e.id != "", bySeq, e.bySubject} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return usagef("name what to erase: an id, --seq or --subject-id")
	case given > 1:
		return usagef("give one of an id, --seq and --subject-id")
	case bySeq && e.seq == 0:
		return usagef("--seq must be at least 1")
	}
	return nil
}

func (p process) eventsErase(ctx context.Context, c *console.Client, by erasing, yes bool) error {
	// Without a person to ask nothing is to be done, not even a search.
	if !yes && !p.attends(p.stdin) {
		return p.confirm("erase events for good?")
	}
	seqs := []uint64{by.seq}
	if by.seq == 0 {
		subject := ""
		if by.bySubject {
			subject = strconv.FormatInt(by.subject, 10)
		}
		var err error
		if seqs, err = p.findEvents(ctx, c, by.id, subject, by.since); err != nil {
			return err
		}
	}
	if !yes {
		if err := p.confirm(fmt.Sprintf("erase %s (seq %s) for good?", count(len(seqs), "event"), joinSeqs(seqs))); err != nil {
			return err
		}
	}
	var errs []error
	for _, seq := range seqs {
		e, err := c.EventErase(ctx, seq)
		if err != nil {
			errs = append(errs, fmt.Errorf("erase event %d: %w", seq, err))
			continue
		}
		fmt.Fprintf(p.stdout, "erased event %d: %s, %s, %s, %s\n", e.Seq, counted(e.Events, "event", "events"),
			counted(e.Retries, "waiting retry", "waiting retries"), counted(e.DeadLetters, "dead letter", "dead letters"),
			counted(e.Records, "attempt record", "attempt records"))
	}
	return errors.Join(errs...)
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
