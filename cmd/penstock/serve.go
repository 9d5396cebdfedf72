package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
)

type serveFlags struct {
	files, roles []string
	overrides    overrides
	noWatch      bool
	log          logFlags
}

func newServe(p process) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive, store and deliver webhooks",
		Long: `Receives webhooks, stores them and delivers them, until SIGINT or SIGTERM. What is
under way then is finished within server.shutdown_timeout; a second signal ends
the process at once, which loses nothing that was answered 2xx.

The configuration is read again when a file of it changes (*_file secrets too) and
on SIGHUP; see ` + "`penstock reload --help`" + `.

Without -c a built-in quick-start runs: ClickFunnels in, one line of JSON on the
standard output for every event. It verifies with the secret in
CLICKFUNNELS_WEBHOOK_SECRET or else with one of its own, kept in the data
directory, with which ` + "`penstock send`" + ` signs.

The log is written to the standard error: text on a terminal, else JSON.`,
		Example: `  penstock serve
  penstock serve -c penstock.yaml
  penstock serve -c penstock.yaml --listen 127.0.0.1:9000 --data-dir /var/lib/penstock
  # on an external NATS cluster, the roles apart
  penstock serve -c penstock.yaml --roles ingress`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.serve(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "config", "c", nil, configFlagHelp)
	flags.StringSliceVar(&f.roles, "roles", nil, "what this process does: ingress, router, console (default all)")
	flags.StringVar(&f.overrides.dataDir, "data-dir", "", "where events are stored, instead of broker.data_dir")
	flags.StringVar(&f.overrides.listen, "listen", "", "address for webhooks, instead of server.listen")
	flags.StringVar(&f.overrides.admin, "admin", "", "address of the admin API and /metrics, instead of server.admin")
	flags.BoolVar(&f.noWatch, "no-watch", false, "do not reload when a file changes, only on SIGHUP and when asked by reload")
	f.log.register(flags)
	return cmd
}

func (p process) serve(ctx context.Context, f serveFlags) error {
	if err := checkRoles(f.roles); err != nil {
		return err
	}
	log, text, err := p.log(p.stderr, &f.log)
	if err != nil {
		return err
	}
	defer log.Close()
	logger := log.Logger()
	if p.adopt != nil {
		p.adopt(logger)
	}
	c, ownSecret, err := p.configuration(f)
	if err != nil {
		return err
	}
	if err := f.overrides.apply(c); err != nil {
		return err
	}
	o := app.Options{Roles: f.roles, Version: readBuild().Version, Stdout: p.stdout, Logger: logger, Traces: true}
	signals, stop := hangups()
	defer stop()
	if o.Hangups = signals; len(f.files) > 0 {
		o.Load = func() (*config.Config, config.Mistakes) { return p.again(f) }
		if !f.noWatch {
			o.Paths = f.files
		}
	}
	a, err := app.New(c, o)
	if err != nil {
		return err
	}
	switch err := a.Open(ctx); {
	case errors.Is(err, context.Canceled) && ctx.Err() != nil: // stopped before it ran
		return nil
	case err != nil:
		return err
	}
	p.announce(logger, text, banner{app: a, config: c, flags: f, ownSecret: ownSecret})
	if err := a.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	logger.Info("stopped")
	return nil
}

// again loads the files once more, with what the flags replace.
func (p process) again(f serveFlags) (*config.Config, config.Mistakes) {
	c, ms := app.Load(f.files, app.LoadOptions{Env: p.env, Roles: f.roles})
	if c == nil || len(ms.Fatal()) > 0 {
		return c, ms
	}
	if err := f.overrides.apply(c); err != nil {
		ms = append(ms, config.Mistake{What: err.Error()})
	}
	return c, ms
}

// configuration loads the files, or makes the quick-start; ownSecret reports
// that the latter verifies with a secret of our own.
func (p process) configuration(f serveFlags) (c *config.Config, ownSecret bool, err error) {
	if len(f.files) > 0 {
		c, warnings, err := p.loadFiles(f.files, f.roles)
		printMistakes(p.stderr, warnings)
		return c, false, err
	}
	dir := f.overrides.dataDir
	if dir == "" {
		dir = defaultDataDir
	}
	return app.QuickStart(dir, p.env)
}

// announce tells people by a banner, and programs by a line of the log, what
// runs and where.
func (p process) announce(logger *slog.Logger, text bool, b banner) {
	if text {
		fmt.Fprint(p.stderr, b.render(p.paintOn(p.stderr)))
		return
	}
	attrs := []any{"version", readBuild().Version, "post_to", b.postTo()}
	for _, f := range b.facts() {
		attrs = append(attrs, f.key, f.value)
	}
	logger.Info("serving", attrs...)
}
