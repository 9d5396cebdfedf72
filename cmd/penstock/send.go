package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/clickfunnels"
)

type sendFlags struct {
	target       targetFlags
	data         string
	set          []string
	count        int
	rate         string
	version      int
	force        bool
	badSignature bool
	asJSON       bool
}

func newSend(p process) *cobra.Command {
	var f sendFlags
	cmd := &cobra.Command{
		Use:   "send TYPE",
		Short: "Send signed sample events of any type that ClickFunnels knows",
		Long: `Posts a sample event as ClickFunnels would send it: the same form, signed. TYPE is
an event type or its subject; ` + "`penstock catalog`" + ` lists them. Every event has an id
of its own.

It posts to the quick-start on this machine, or to the first source of the file
that -c names, and signs with the secret of either. It prints one line for each
event that was stored. When one is not, it exits with 1.`,
		Example: `  penstock send orders/invoice.paid
  penstock send contact.created --set data.email_address=ada@example.com
  penstock send form_submission.created --version 1 -c penstock.yaml
  penstock send orders/invoice.paid --count 1000 --rate 50/s
  # see what a wrong secret looks like
  penstock send contact.created --bad-signature`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one event type, as in `penstock send orders/invoice.paid`; `penstock catalog` lists them")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return p.send(cmd.Context(), args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "", "the event's data: JSON, @file, or - for the standard input")
	flags.StringArrayVar(&f.set, "set", nil, "set one value, path=value, the value as JSON: data.id=98 is a number, 'data.total_amount=\"98.00\"' a text; may be given more than once")
	flags.IntVar(&f.count, "count", 1, "how many events to send")
	flags.StringVar(&f.rate, "rate", "", "how many at most in a time: 50/s, 600/m (default as fast as they are answered)")
	flags.IntVar(&f.version, "version", 0, "API version, 1 or 2 (default the highest in which the type is sent)")
	flags.StringVar(&f.target.url, "url", "", "where to post (default "+defaultURL+")")
	flags.StringVar(&f.target.secretFile, "secret-file", "", "file with the secret to sign with")
	flags.StringVar(&f.target.dataDir, "data-dir", defaultDataDir, "data directory of the quick-start, for its secret")
	flags.StringArrayVarP(&f.target.files, "config", "c", nil, configFlagHelp)
	flags.BoolVar(&f.force, "force", false, "send a type that the catalogue does not have, or not in this version")
	flags.BoolVar(&f.badSignature, "bad-signature", false, "sign with a wrong secret")
	flags.BoolVar(&f.asJSON, "json", false, "print every answer as a line of JSON")
	return cmd
}

func (p process) send(ctx context.Context, eventType string, f sendFlags) error {
	if f.count < 1 {
		return usagef("--count must be at least 1, got %d", f.count)
	}
	interval, err := parseRate(f.rate)
	if err != nil {
		return err
	}
	m := sampleMaker{catalog: clickfunnels.NewCatalog(), eventType: eventType, version: f.version, force: f.force}
	if m.set, err = p.assignments(f); err != nil {
		return err
	}
	if _, err := m.next(); err != nil { // before looking for anything else
		return err
	}
	f.target.anySecret = f.badSignature
	t, err := p.target(f.target)
	if err != nil {
		return err
	}
	if f.badSignature {
		t.secret = "wrong-" + newID()
	}
	s := &sender{p: p, post: newPoster(t), samples: m, asJSON: f.asJSON, count: f.count, interval: interval}
	s.serveHint = serveCommand(f.target)
	return s.run(ctx)
}

// serveCommand is the command that would have answered.
func serveCommand(f targetFlags) string {
	args := []string{"penstock serve"}
	for _, file := range f.files {
		args = append(args, "-c "+quoteArg(file))
	}
	return strings.Join(args, " ")
}

// sampleMaker makes events that differ in their ids.
type sampleMaker struct {
	catalog   *clickfunnels.Catalog
	eventType string
	version   int
	force     bool
	set       []clickfunnels.Assignment
}

func (m sampleMaker) next() ([]byte, error) {
	body, err := m.catalog.Sample(m.eventType, clickfunnels.SampleOptions{
		Version: m.version, ID: newID(), Now: time.Now(), Set: m.set, Force: m.force,
	})
	if _, known := m.catalog.Resolve(m.eventType); err != nil && !known && !m.force {
		err = fmt.Errorf("%w (`penstock catalog` lists them all; --force sends this one all the same)", err)
	}
	return body, err
}

// assignments are what --data and --set change of the sample.
func (p process) assignments(f sendFlags) ([]clickfunnels.Assignment, error) {
	var out []clickfunnels.Assignment
	if f.data != "" {
		value, err := p.readData(f.data)
		if err != nil {
			return nil, err
		}
		out = append(out, clickfunnels.Assignment{Path: "data", Value: value})
	}
	for _, s := range f.set {
		a, err := clickfunnels.ParseAssignment(s)
		if err != nil {
			return nil, usagef("--set: %w", err)
		}
		out = append(out, a)
	}
	return out, nil
}

func (p process) readData(source string) (string, error) {
	text, err := []byte(source), error(nil)
	switch {
	case source == "-":
		text, err = io.ReadAll(p.stdin)
	case strings.HasPrefix(source, "@"):
		text, err = os.ReadFile(source[1:])
	}
	if err != nil {
		return "", fmt.Errorf("read --data: %w", err)
	}
	if !isJSON(text) {
		return "", errors.New("--data is not JSON; write it as --data '{\"id\": 7}', or name a file as --data @file.json")
	}
	return string(text), nil
}

// parseRate reads "50/s" as the time between two events; "" is none.
func parseRate(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	number, unit, found := strings.Cut(s, "/")
	per, known := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n > 0) || !found || !known || n > 1e6 {
		return 0, usagef("--rate %q is not a rate; write 50/s, 600/m or 10/h", s)
	}
	return max(time.Duration(float64(per)/n), 1), nil
}
