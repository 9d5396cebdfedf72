package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/app"
)

type promoteFlags struct {
	admin         adminFlags
	to            []string
	dir           string
	store         storeFlags
	lease, wait   time.Duration
	abort, asJSON bool
}

func newPromote(p process) *cobra.Command {
	var f promoteFlags
	cmd := &cobra.Command{
		Use:   "promote -c FILE --to FILE",
		Short: "Move a running process from the embedded queue to a NATS cluster",
		Long: `Moves everything that a running process has stored inside to the NATS cluster that
the file of --to names as broker.url. From then on that file is the one to run.

 1. checks both sides, the rights of the NATS user, and that the cluster is empty
 2. holds the intake: webhooks are answered 503 with Retry-After, so that senders
    send them again, and the attempts under way come to their end
 3. saves a backup and verifies it
 4. restores it on the cluster, reads it back, and compares counts and hashes
 5. makes the sinks' queues, and closes the old store for good

Then stop the old process, which goes on answering 503, and start the new one.
Until step 5 any error opens the intake again. When this command itself dies the
intake opens by itself after --lease; run the same command again before that and it
goes on where it was. --abort gives up: webhooks are taken as before, and what
the cluster got is deleted.`,
		Example: `  penstock promote -c penstock.yaml --to cluster.yaml --nkey backup.nk
  penstock promote -c penstock.yaml --to cluster.yaml --nkey backup.nk --wait 10m
  penstock promote -c penstock.yaml --to cluster.yaml --nkey backup.nk --abort`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.promote(cmd.Context(), f) },
	}
	f.admin.register(cmd.Flags())
	f.store.register(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.to, "to", nil, "configuration to move to, with broker.url")
	flags.StringVar(&f.dir, "dir", "./penstock-promotion", "folder for the backup and how far the move is")
	flags.DurationVar(&f.lease, "lease", 2*time.Minute, "after what time the intake opens by itself when this command has died")
	flags.DurationVar(&f.wait, "wait", 0, "wait so long for the new process to answer, and print the downtime")
	flags.BoolVar(&f.abort, "abort", false, "give a move up that has not been completed")
	flags.BoolVar(&f.asJSON, "json", false, "print what was moved as JSON")
	return cmd
}

func (p process) promote(ctx context.Context, f promoteFlags) error {
	if len(f.to) == 0 {
		return usagef("no configuration to move to is named; run `penstock promote -c penstock.yaml --to cluster.yaml`")
	}
	if f.lease < time.Second || f.lease > time.Hour {
		return usagef("--lease must be from 1s to 1h")
	}
	store, log, err := p.store(&f.store)
	if err != nil {
		return err
	}
	defer log.Close()
	from, err := p.client(f.admin)
	if err != nil {
		return err
	}
	to, err := p.storeConfig(f.to, f.store)
	if err != nil {
		return err
	}
	line := p.statusLine()
	defer line.end()
	began := time.Now()
	o := app.PromoteOptions{
		From: from, To: to, Store: store, Dir: f.dir, Version: readBuild().Version, Lease: f.lease,
		Progress: line.transfer("moving"),
		Done: func(s app.PromoteStep) {
			line.end()
			fmt.Fprintf(p.stderr, "%7s  %s\n", time.Since(began).Round(10*time.Millisecond), stepText(s))
		},
	}
	if f.abort {
		if err := app.AbortPromotion(ctx, o); err != nil {
			return err
		}
		fmt.Fprintln(p.stdout, "given up: webhooks are taken as before, and the cluster is empty again")
		return nil
	}
	m, err := app.Promote(ctx, o)
	if err != nil {
		return err
	}
	return p.promoted(ctx, f, m)
}

func stepText(s app.PromoteStep) string {
	return map[app.PromoteStep]string{
		app.StepChecked:     "checked both sides",
		app.StepHeld:        "webhooks are answered 503, nothing is under way",
		app.StepSaved:       "saved and verified",
		app.StepRestored:    "restored on the cluster",
		app.StepCompared:    "compared: counts, sequences, hashes and positions are the same",
		app.StepProvisioned: "every queue is there",
		app.StepSwitched:    "the old store is closed for good",
	}[s]
}

// promotedSummary is what --json prints.
type promotedSummary struct {
	*app.Promotion
	// DowntimeSeconds is from the hold of the intake until the new process
	// answered, or, without --wait, until the switch.
	DowntimeSeconds float64 `json:"downtime_seconds"`
	Running         bool    `json:"running"`
}

func (p process) promoted(ctx context.Context, f promoteFlags, m *app.Promotion) error {
	if f.wait > 0 {
		fmt.Fprintf(p.stderr, "stop the old process and start the new one, with %s; waiting for it\n", f.to[0])
		if err := p.awaitCluster(ctx, f); err != nil {
			return fmt.Errorf("the move is complete, but %w", err)
		}
	}
	down := time.Since(m.Held)
	if f.asJSON {
		return writeJSON(p.stdout, promotedSummary{Promotion: m, DowntimeSeconds: down.Seconds(), Running: f.wait > 0})
	}
	if err := printStreams(p.stdout, m.Streams); err != nil {
		return err
	}
	if f.wait > 0 {
		fmt.Fprintf(p.stdout, "moved; webhooks were not taken for %s\n", down.Round(10*time.Millisecond))
		return nil
	}
	fmt.Fprintf(p.stdout, "moved; webhooks have not been taken for %s, and are not until you\n  1. stop the old process\n  2. run penstock serve -c %s\n",
		down.Round(10*time.Millisecond), f.to[0])
	return nil
}

// awaitCluster waits until the process of the new configuration answers.
func (p process) awaitCluster(ctx context.Context, f promoteFlags) error {
	c, err := p.client(adminFlags{files: f.to})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	for {
		st, err := c.Status(ctx)
		if err == nil && st.URL != "" {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no process of %s answered within %s: %w", f.to[0], f.wait, errors.Join(err, ctx.Err()))
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}
