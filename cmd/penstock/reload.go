package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/console"
)

type reloadFlags struct{ dryRun, asJSON, status bool }

func newReload(p process) *cobra.Command {
	var admin adminFlags
	var f reloadFlags
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a running penstock read its configuration again",
		Long: `Has a running process read its configuration files again, and prints what changed.
It does so by itself when a file changes, and on SIGHUP; this command waits and says
how it went.

The new configuration is built completely, then takes the place of the old between
two events: every event is routed by the rules that were in force when it was
stored. A file with mistakes changes nothing, nor does one that changes server or
broker: those need a restart.

It finds the process by -c FILE (its server.admin), or by --server URL, with the
token in PENSTOCK_TOKEN; default ` + console.DefaultServer + `. It exits with 0 when the files are in
force and with 1, and every mistake, when they were refused.`,
		Example: `  penstock reload
  # say what would change, and change nothing
  penstock reload --dry-run
  # how the latest reload went
  penstock reload --status
  penstock reload --server https://penstock.example.com:8081 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.status && f.dryRun {
				return usagef("--status and --dry-run contradict each other; keep one")
			}
			c, err := p.clientOfRunning(admin)
			if err != nil {
				return err
			}
			if f.status {
				return p.reloadStatus(cmd.Context(), c, f)
			}
			return p.reload(cmd.Context(), c, f)
		},
	}
	admin.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would change, and change nothing")
	cmd.Flags().BoolVar(&f.status, "status", false, "say how the latest reload went, and do nothing")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

// clientOfRunning is client where the file may have mistakes: it is the
// process's to find them. Of such a file only the address and the token count.
func (p process) clientOfRunning(f adminFlags) (*console.Client, error) {
	if len(f.files) == 0 || f.server != "" {
		return p.client(f)
	}
	token, _ := p.env("PENSTOCK_TOKEN")
	c, _ := app.Load(f.files, app.LoadOptions{Env: p.env, Roles: []string{config.RoleConsole}})
	if c == nil || c.Server.Admin == "" {
		return p.client(f)
	}
	return newClient(baseURL(c.Server.Admin, false), cmp.Or(token, c.Server.AdminToken.Reveal()))
}

func (p process) reload(ctx context.Context, c *console.Client, f reloadFlags) error {
	r, err := c.Reload(ctx, f.dryRun)
	if err != nil {
		return err
	}
	if f.asJSON {
		err = writeJSON(p.stdout, r)
	} else {
		p.printReload(r)
	}
	if err == nil && !r.OK {
		return errReported
	}
	return err
}

func (p process) printReload(r console.ReloadResult) {
	for _, m := range r.Mistakes {
		fmt.Fprintln(p.stderr, printable(m.Text))
	}
	if !r.OK {
		text := r.Error
		if r.Hint != "" {
			text += "; " + r.Hint
		}
		fmt.Fprintln(p.stderr, "penstock: "+printable(text))
		return
	}
	would := ""
	if r.DryRun {
		would = "would be "
	}
	if !r.Changed {
		fmt.Fprintln(p.stdout, "nothing changed")
		return
	}
	for _, d := range []struct {
		thing string
		console.NameChanges
	}{{"source", r.Sources}, {"sink", r.Sinks}, {"route", r.Routes}} {
		p.printNames(d.thing, would+"added", d.Added)
		p.printNames(d.thing, would+"changed", d.Changed)
		p.printNames(d.thing, would+"removed", d.Removed)
	}
	if r.Default {
		fmt.Fprintf(p.stdout, "default    %schanged\n", would)
	}
	if r.Order {
		fmt.Fprintf(p.stdout, "routes     %sreordered\n", would)
	}
	if r.Tokens {
		fmt.Fprintf(p.stdout, "tokens     %schanged\n", would)
	}
	switch {
	case r.DryRun:
		fmt.Fprintln(p.stdout, "dry run: nothing was changed")
	case r.FromSeq > 0:
		fmt.Fprintf(p.stdout, "reloaded: rules %s route events from sequence %d on\n", r.Rules, r.FromSeq)
	default:
		fmt.Fprintf(p.stdout, "reloaded: rules %s stay in force\n", r.Rules)
	}
}

func (p process) printNames(thing, what string, names []string) {
	if len(names) > 0 {
		fmt.Fprintf(p.stdout, "%-10s %s: %s\n", thing, what, strings.Join(names, ", "))
	}
}

func (p process) reloadStatus(ctx context.Context, c *console.Client, f reloadFlags) error {
	s, err := c.ReloadState(ctx)
	if err != nil {
		return err
	}
	if f.asJSON {
		err = writeJSON(p.stdout, s)
	} else {
		p.printReloadState(s)
	}
	if err == nil && !s.OK {
		return errReported
	}
	return err
}

func (p process) printReloadState(s console.ReloadState) {
	since := s.RulesAt
	if since.IsZero() { // a server of before
		since = s.LoadedAt
	}
	fmt.Fprintf(p.stdout, "in force since %s, rules %s\n", formatTime(since), s.Rules)
	if s.FileRules != s.Rules {
		fmt.Fprintf(p.stdout, "the files have rules %s; another process put the ones in force\n", s.FileRules)
	}
	if s.Versions > 1 {
		fmt.Fprintf(p.stdout, "%d versions of the rules are in use, as events wait that were stored before a change\n", s.Versions)
	}
	for _, file := range s.Files {
		fmt.Fprintf(p.stdout, "watched  %s\n", printable(file))
	}
	if s.OK {
		return
	}
	for _, m := range s.Mistakes {
		fmt.Fprintln(p.stderr, printable(m.Text))
	}
	fmt.Fprintf(p.stderr, "penstock: refused at %s, by %s: %s\n", formatTime(s.TriedAt), s.By, printable(s.Error))
}

// noteRefused says beside other answers that the files of the process are not
// in force. A process that cannot say is left alone.
func (p process) noteRefused(ctx context.Context, c *console.Client) {
	if s, err := c.ReloadState(ctx); err == nil && !s.OK {
		fmt.Fprintf(p.stderr, "the configuration files were refused at %s: %s; `penstock reload --status` shows why\n", formatTime(s.TriedAt), printable(s.Error))
	}
}

// hangups are the requests to reload that come as signals, until stop is called.
func hangups() (c <-chan os.Signal, stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	return signals, func() { signal.Stop(signals) }
}
