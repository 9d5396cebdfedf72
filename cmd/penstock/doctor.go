package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/console"
)

type doctorFlags struct {
	admin                   adminFlags
	roles                   []string
	dataDir                 string
	systemCreds, systemNKey string
	strict, noEnv, asJSON   bool
}

func newDoctor(p process) *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check that everything Penstock needs is there, and say what to do",
		Long: `Checks what a configuration needs, on this machine and around it: the disk and how long
it takes to sync, ports, modes of files, variables and files with secrets (never their
values), the clock, limits, whether every sink can be reached (nothing is sent), and on
a NATS cluster version, streams and each right of our users. Nothing is changed, but
for a small file in the data directory that is removed.

When the process runs it is asked too: whether it is ready, how its streams and sinks
stand. It is found by -c FILE (its server.admin), or by --server URL, with the token
in PENSTOCK_TOKEN; default ` + console.DefaultServer + `. Without -c it looks at
./penstock.yaml, or else at what ` + "`penstock serve`" + ` runs without a file.

How a cluster syncs only its system account sees: without --system-creds its durability
is reported as asserted.

It exits with 1 when a check fails, with --strict also when one warns.`,
		Example: `  penstock doctor
  penstock doctor -c penstock.yaml --strict
  # in a shell without the service's variables
  penstock doctor -c penstock.yaml --no-env
  penstock doctor -c penstock.yaml --roles ingress --json
  penstock doctor -c cluster.yaml --system-creds sys.creds`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.doctor(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.admin.files, "config", "c", nil, configFlagHelp)
	flags.StringVar(&f.admin.server, "server", "", "ask the admin API at this URL instead of the file's")
	flags.StringSliceVar(&f.roles, "roles", nil, "what the process does: ingress, router, console (default all)")
	flags.StringVar(&f.dataDir, "data-dir", "", "where events are stored, instead of broker.data_dir")
	flags.StringVar(&f.systemCreds, "system-creds", "", "credentials file of a user of the NATS system account")
	flags.StringVar(&f.systemNKey, "system-nkey", "", "file with the NKey seed of a user of the NATS system account")
	flags.BoolVar(&f.noEnv, "no-env", false, "let variables and secret files be missing; what needs them is not checked")
	flags.BoolVar(&f.strict, "strict", false, "exit with 1 for warnings too")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func (p process) doctor(cmd *cobra.Command, f doctorFlags) error {
	if err := checkRoles(f.roles); err != nil {
		return err
	}
	if f.systemCreds != "" && f.systemNKey != "" {
		return usagef("give --system-creds or --system-nkey")
	}
	o, err := p.doctorOptions(f)
	if err != nil {
		return err
	}
	findings := app.Examine(cmd.Context(), o)
	if err := cmd.Context().Err(); err != nil {
		return err
	}
	if f.asJSON {
		err = writeJSON(p.stdout, findings)
	} else {
		err = p.printCheckup(findings)
	}
	bad := slices.ContainsFunc(findings, func(x app.Finding) bool {
		return x.Status == app.StatusFail || f.strict && x.Status == app.StatusWarn
	})
	if err == nil && bad {
		return errReported
	}
	return err
}

// doctorOptions loads the file, or the built-in configuration when there is
// none, without making anything.
func (p process) doctorOptions(f doctorFlags) (app.DoctorOptions, error) {
	o := app.DoctorOptions{
		Files: f.admin.files, Roles: f.roles, Env: p.env, Version: readBuild().Version,
		SystemCreds: f.systemCreds, SystemNKey: f.systemNKey,
	}
	if len(o.Files) == 0 && exists(defaultFile) {
		o.Files = []string{defaultFile}
	}
	load := app.LoadOptions{Env: p.env, Roles: f.roles, Advice: true}
	if len(o.Files) > 0 {
		o.Config, o.Mistakes = app.Load(o.Files, load)
	} else {
		load.NoEnv = true // serve makes a secret of its own
		o.Config, o.Mistakes = app.Parse("", []byte(config.QuickStartYAML), load)
	}
	var server config.Server
	if o.Config != nil {
		server = o.Config.Server
	}
	broken := o.Mistakes.Fatal()
	if len(broken) > 0 {
		withoutEnv(&o, load, f.noEnv)
	}
	if f.dataDir != "" && o.Config != nil {
		if err := (overrides{dataDir: f.dataDir}).apply(o.Config); err != nil {
			return o, err
		}
	}
	var err error
	o.Client, err = p.doctorClient(f.admin.server, server, broken)
	return o, err
}

// withoutEnv makes do without variables and files with secrets, if nothing
// else is wrong; allowed says that this is no mistake.
func withoutEnv(o *app.DoctorOptions, load app.LoadOptions, allowed bool) {
	load.NoEnv = true
	c, ms := app.Load(o.Files, load)
	if len(ms.Fatal()) > 0 {
		o.Config = nil
		return
	}
	o.Config, o.Missing = c, o.Mistakes.Fatal()
	if allowed {
		o.Mistakes = ms
	}
}

// doctorClient asks the server that is named, or else that of the file; nil
// when that has none, or is not known for what is broken in the file: who
// listens at the default address is another, and must not get our token.
func (p process) doctorClient(server string, s config.Server, broken config.Mistakes) (*console.Client, error) {
	token, _ := p.env("PENSTOCK_TOKEN")
	if server != "" {
		return newClient(server, token)
	}
	in := func(paths ...string) bool {
		return slices.ContainsFunc(broken, func(m config.Mistake) bool { return slices.Contains(paths, m.Path) })
	}
	if s.Admin == "" || in("", "server", "server.admin") {
		return nil, nil
	}
	secret := slices.ContainsFunc(broken, func(m config.Mistake) bool { return strings.HasPrefix(m.Path, "server.admin_token") })
	if token == "" && !secret {
		token = adminToken(s)
	}
	return newClient(baseURL(s.Admin, false), token)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// printCheckup writes a line for each finding and below it what to do.
func (p process) printCheckup(findings []app.Finding) error {
	c, width := p.paintOn(p.stdout), 0
	counts := map[string]int{}
	for _, f := range findings {
		width = max(width, len(f.Check))
		counts[f.Status]++
	}
	signs := map[string]string{
		app.StatusOK: c.green("ok  "), app.StatusWarn: c.yellow("warn"), app.StatusFail: c.red("fail"), app.StatusSkipped: c.dim("-   "),
	}
	var out strings.Builder
	last := ""
	for _, f := range findings {
		name := f.Check
		if name == last {
			name = ""
		}
		last = f.Check
		fmt.Fprintf(&out, "%-*s  %s  %s\n", width, name, signs[f.Status], printable(f.What))
		if f.Do != "" {
			fmt.Fprintf(&out, "%-*s        %s\n", width, "", c.dim(printable(f.Do)))
		}
	}
	fmt.Fprintf(&out, "\n%d ok, %d to look at, %d failed, %d not checked\n",
		counts[app.StatusOK], counts[app.StatusWarn], counts[app.StatusFail], counts[app.StatusSkipped])
	_, err := fmt.Fprint(p.stdout, out.String())
	return err
}
