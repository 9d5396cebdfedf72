package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

// The groups of commands in the help.
const (
	groupTry    = "try"
	groupRun    = "run"
	groupLookUp = "lookup"
)

// execute runs the command that p's arguments name.
func execute(ctx context.Context, p process) error {
	root, started := newRoot(p)
	root.SetArgs(p.args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil || *started {
		return err
	}
	help := "run `" + cmd.CommandPath() + " --help` for how to use it"
	return usagef("%s\n%s", strings.TrimSpace(err.Error()), help)
}

// newRoot builds the tree of commands. started turns true when a command line
// was understood, so that what goes wrong before is a mistake in its use.
func newRoot(p process) (root *cobra.Command, started *bool) {
	started = new(bool)
	root = &cobra.Command{
		Use:   "penstock",
		Short: "Receive webhooks, never lose one, deliver each to every place it is needed",
		Long: `Penstock takes webhooks (first of all those of ClickFunnels), answers 2xx only
once an event is stored, and delivers every event to every sink that a route
names: at least once, with retries, or into dead letters with the reason.

The event store is inside: there is nothing else to install.`,
		Example: `  # see it work, without any set-up
  penstock demo

  # receive webhooks on port 8080 and print them
  penstock serve

  # send yourself an event, in another terminal
  penstock send orders/invoice.paid

  # write a configuration, check it, run it
  penstock init
  penstock check -c penstock.yaml
  penstock serve -c penstock.yaml`,
		Version:           readBuild().Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(*cobra.Command, []string) error { *started = true; return nil },
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.AddGroup(
		&cobra.Group{ID: groupTry, Title: "Try it:"},
		&cobra.Group{ID: groupRun, Title: "Run it:"},
		&cobra.Group{ID: groupLookUp, Title: "Look things up:"},
	)
	root.AddCommand(inGroup(groupTry, newDemo(p), newSend(p))...)
	root.AddCommand(inGroup(groupRun, newServe(p), newInit(p), newCheck(p), newRoutes(p), newTest(p), newDiff(p), newReload(p), newSinks(p), newEvents(p), newTail(p), newDead(p), newReplay(p), newRejected(p), newAudit(p), newDoctor(p), newHealth(p), newProvision(p), newBackup(p), newRestore(p), newPromote(p))...)
	root.AddCommand(inGroup(groupLookUp, newCatalog(p), newSchema(p), newVersion(p), newMan(p))...)
	return root, started
}

func inGroup(id string, commands ...*cobra.Command) []*cobra.Command {
	for _, c := range commands {
		c.GroupID = id
	}
	return commands
}
