package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
)

type initFlags struct {
	source        string
	sinks, routes []string
	output        string
	force         bool
}

func newInit(p process) *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a first configuration file, by asking or by flags",
		Long: `Writes a configuration file with comments: where events come from, where they
go, and by which rules. On a terminal it asks; with --sink it does not. What it
writes passes check --strict. Secrets are not written into the file: they are
variables, and it prints which to set.

A file that is there already is kept, unless --force says otherwise.`,
		Example: `  penstock init
  penstock init --sink crm=https://crm.example.com/hooks --sink screen=log \
    --route '*.invoice.paid=crm' --route '>=screen'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.init(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.source, "source", app.SourceKinds()[0], "where events come from: "+strings.Join(app.SourceKinds(), ", "))
	flags.StringArrayVar(&f.sinks, "sink", nil, "where events go, as NAME=URL or NAME=KIND; may be repeated. Kinds: "+strings.Join(app.SinkKinds(), ", "))
	flags.StringArrayVar(&f.routes, "route", nil, "a rule, as PATTERN=SINK or PATTERN=SINK,SINK; may be repeated. Without one every sink gets everything")
	flags.StringVar(&f.output, "output", defaultFile, "the file to write")
	flags.BoolVar(&f.force, "force", false, "write over a file that is there")
	return cmd
}

func (p process) init(ctx context.Context, f initFlags) error {
	if _, err := os.Stat(f.output); err == nil && !f.force {
		return fmt.Errorf("%s is there already; choose another with --output, or write over it with --force", f.output)
	}
	d, err := f.draft()
	if err != nil {
		return err
	}
	if len(d.sinks) == 0 {
		if !p.attends(p.stdin) {
			return usagef("nobody to ask here, and no --sink; write --sink NAME=URL or --sink NAME=KIND")
		}
		if err := newAsker(ctx, p).complete(&d); err != nil {
			return err
		}
	}
	text, err := d.finish(f.output)
	if err != nil {
		return err
	}
	if err := f.write(text); err != nil {
		return err
	}
	return p.printNext(f.output, d, text)
}

// write writes the file, and over one that is there only by force: also when it
// came to be while questions were asked.
func (f initFlags) write(text string) error {
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if f.force {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	file, err := os.OpenFile(f.output, mode, 0o644)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already; write over it with --force", f.output)
		}
		return fmt.Errorf("write configuration: %w", err)
	}
	if _, err := file.WriteString(text); err != nil {
		file.Close()
		return fmt.Errorf("write configuration: %w", err)
	}
	return file.Close()
}

// draft reads the flags.
func (f initFlags) draft() (draft, error) {
	d := draft{source: f.source}
	for _, s := range f.sinks {
		name, target, ok := strings.Cut(s, "=")
		if !ok || name == "" || target == "" {
			return d, usagef("--sink %q: write NAME=URL or NAME=KIND", s)
		}
		if err := d.addSink(name, target); err != nil {
			return d, usagef("--sink %s: %v", name, err)
		}
	}
	for _, r := range f.routes {
		pattern, to, ok := strings.Cut(r, "=")
		if !ok || pattern == "" || to == "" {
			return d, usagef("--route %q: write PATTERN=SINK, such as '*.invoice.paid=crm'", r)
		}
		if len(f.sinks) == 0 {
			return d, usagef("--route without --sink: name the sinks too, or give neither to be asked")
		}
		d.routes = append(d.routes, draftRoute{pattern, strings.Split(to, ",")})
	}
	return d, nil
}

// check returns what check --no-env finds in a text.
func (draft) check(file, text string) config.Mistakes {
	unset := func(string) (string, bool) { return "", false } // whatever the environment of today is
	_, ms := app.Parse(file, []byte(text), app.LoadOptions{Env: unset, NoEnv: true, Advice: true})
	return ms
}

// printNext says what to do with the file.
func (p process) printNext(file string, d draft, text string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "wrote %s: %s, %s, %s\n\nnext:\n", file, count(1, "source"), count(len(d.sinks), "sink"), count(len(d.rules()), "route"))
	for _, name := range variables(text) {
		fmt.Fprintf(&b, "  export %s=...\n", name)
	}
	fmt.Fprintf(&b, "  penstock check -c %s\n  penstock serve -c %s\n\n", file, file)
	fmt.Fprintf(&b, "In ClickFunnels, let a webhook endpoint post to https://<your host>/webhooks/%s;\n", d.source)
	b.WriteString("it shows the signing secret when the endpoint is made.\n")
	_, err := fmt.Fprint(p.stdout, b.String())
	return err
}
