package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/broker"
)

type provisionFlags struct {
	files, print       []string
	creds, nkey, users string
	log                logFlags
}

func newProvision(p process) *cobra.Command {
	var f provisionFlags
	cmd := &cobra.Command{
		Use:   "provision -c FILE...",
		Short: "Make the streams and queues on an external NATS cluster",
		Long: `Makes every stream and every sink's queues that the configuration needs on the
NATS cluster of broker.url, or updates them in place: stored events and the
positions of queues stay. Run it before the first start and after a change of
sinks, routes or broker settings. The running roles then need no right to make
anything; docs/cluster.md lists what each needs.

With --print-permissions nothing is made: it prints the permissions of a role's
NATS user as a block of the NATS server's configuration. --write-users writes a
whole one, users.conf, for the server's configuration to include, and a key for
each role; keys that are there stay. examples/nats/setup.sh sets a cluster up with it.`,
		Example: `  penstock provision -c penstock.yaml --creds provisioner.creds
  penstock provision -c penstock.yaml --print-permissions router
  penstock provision -c penstock.yaml --write-users ./nats`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.provision(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "config", "c", nil, configFlagHelp)
	flags.StringVar(&f.creds, "creds", "", "credentials file of the provisioner, instead of broker.creds_file")
	flags.StringVar(&f.nkey, "nkey", "", "NKey seed file of the provisioner, instead of broker.nkey_file")
	flags.StringSliceVar(&f.print, "print-permissions", nil, "print the permissions of a role: "+strings.Join(broker.PermissionRoles(), ", "))
	flags.StringVar(&f.users, "write-users", "", "write users.conf for a NATS server, and a key for each role, into this folder")
	f.log.register(flags)
	cmd.MarkFlagsMutuallyExclusive("creds", "nkey")
	cmd.MarkFlagsMutuallyExclusive("print-permissions", "write-users")
	return cmd
}

func (p process) provision(ctx context.Context, f provisionFlags) error {
	if len(f.files) == 0 {
		return usagef("no file is named; run `penstock provision -c penstock.yaml`")
	}
	log, _, err := p.log(p.stderr, &f.log)
	if err != nil {
		return err
	}
	defer log.Close()
	logger := log.Logger()
	// What is only printed needs no credentials either.
	c, ms := app.Load(f.files, app.LoadOptions{Env: p.env, Roles: []string{app.RoleProvisioner}, NoEnv: len(f.print) > 0 || f.users != ""})
	ms = withoutReplaced(ms, f.creds, f.nkey)
	if fatal := ms.Fatal(); len(fatal) > 0 {
		return ms
	}
	printMistakes(p.stderr, ms)
	if len(f.print) > 0 {
		return p.printPermissions(c, f.print)
	}
	if f.users != "" {
		return p.writeUsers(c, f.users)
	}
	changes, err := app.Provision(ctx, c, app.ProvisionOptions{CredsFile: f.creds, NKeyFile: f.nkey, Logger: logger})
	for _, change := range changes {
		fmt.Fprintln(p.stdout, change)
	}
	if err == nil && len(changes) == 0 {
		fmt.Fprintln(p.stdout, "everything is as the configuration needs it")
	}
	return err
}

func (p process) writeUsers(c *config.Config, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the users: %w", err)
	}
	made, err := app.WriteNATSUsers(c, dir)
	for _, name := range made {
		fmt.Fprintf(p.stdout, "made key %s\n", filepath.Join(dir, name))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "wrote %s\n", filepath.Join(dir, "users.conf"))
	return nil
}

func (p process) printPermissions(c *config.Config, roles []string) error {
	for _, role := range roles {
		rights, err := app.NATSRights(c, role)
		if err != nil {
			return usagef("--print-permissions: %w", err)
		}
		if _, err := fmt.Fprintf(p.stdout, "# The NATS user of role %s.\n%s", role, rights.Snippet()); err != nil {
			return err
		}
	}
	return nil
}
