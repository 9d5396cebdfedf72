package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/clickfunnels"
)

type catalogFlags struct {
	version, kind string
	asJSON        bool
}

func newCatalog(p process) *cobra.Command {
	var f catalogFlags
	cmd := &cobra.Command{
		Use:   "catalog [PATTERN]",
		Short: "List the event types that ClickFunnels sends, and their subjects",
		Long: `Lists event types with the subject that each is published on. PATTERN is a NATS
pattern over subjects (* is one word, > at the end is the rest), as in a route's
match, or else a part of a type, a subject or a resource.`,
		Example: `  penstock catalog
  penstock catalog '*.invoice.paid'
  penstock catalog 'orders.>' --version V2
  penstock catalog enrollment --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return p.catalog(strings.Join(args, ""), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.version, "version", "", "only types sent in this API version: V1 or V2")
	flags.StringVar(&f.kind, "kind", "", "only this kind: "+strings.Join(catalogKinds(), ", "))
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func catalogKinds() []string {
	return []string{string(clickfunnels.Listed), string(clickfunnels.Extra), string(clickfunnels.Alias), string(clickfunnels.Old), string(clickfunnels.Weak)}
}

func (p process) catalog(pattern string, f catalogFlags) error {
	c := clickfunnels.NewCatalog()
	entries, err := f.selectFrom(c, pattern)
	if err != nil {
		return err
	}
	if f.asJSON {
		return writeJSON(p.stdout, entries)
	}
	if len(entries) == 0 {
		return fmt.Errorf("no event type matches %q%s", pattern, didYouMean(c, pattern))
	}
	return printEntries(p.stdout, entries)
}

func didYouMean(c *clickfunnels.Catalog, s string) string {
	if near := c.Suggest(s); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// selectFrom returns the entries that the flags and the pattern let through,
// never nil.
func (f catalogFlags) selectFrom(c *clickfunnels.Catalog, pattern string) ([]clickfunnels.Entry, error) {
	version, ok := map[string]int{"": 0, "V1": 1, "1": 1, "V2": 2, "2": 2}[strings.ToUpper(f.version)]
	if !ok {
		return nil, usagef("--version %q is none of V1, V2", f.version)
	}
	if f.kind != "" && !slices.Contains(catalogKinds(), f.kind) {
		return nil, usagef("--kind %q is none of %s", f.kind, strings.Join(catalogKinds(), ", "))
	}
	entries := matching(c, pattern)
	return slices.DeleteFunc(entries, func(e clickfunnels.Entry) bool {
		return version != 0 && !e.SentIn(version) || f.kind != "" && string(e.Kind) != f.kind
	}), nil
}

func matching(c *clickfunnels.Catalog, pattern string) []clickfunnels.Entry {
	if strings.ContainsAny(pattern, "*>") {
		return append([]clickfunnels.Entry{}, c.Match(pattern)...)
	}
	part := strings.ToLower(pattern)
	return slices.DeleteFunc(c.Entries(), func(e clickfunnels.Entry) bool {
		return !strings.Contains(e.Type, part) && !strings.Contains(e.Subject, part) &&
			!strings.Contains(strings.ToLower(e.Resource), part)
	})
}

func printEntries(w io.Writer, entries []clickfunnels.Entry) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TYPE\tSUBJECT\tVERSIONS\tRESOURCE\tNOTES\tDESCRIPTION")
	for _, e := range entries {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n",
			e.Type, e.Subject, versionNames(e.Versions), e.Resource, dashed(strings.Join(entryNotes(e), "; ")), e.Description)
	}
	return t.Flush() // tells of every failed write before it
}

func dashed(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func versionNames(versions []int) string {
	names := make([]string, len(versions))
	for i, v := range versions {
		names[i] = "V" + strconv.Itoa(v)
	}
	return strings.Join(names, ",")
}

// entryNotes are the things to know before relying on a type.
func entryNotes(e clickfunnels.Entry) []string {
	var out []string
	switch e.Kind {
	case clickfunnels.Alias:
		out = append(out, "alias of "+e.AliasOf)
	case clickfunnels.Extra:
		out = append(out, "later lists only")
	case clickfunnels.Old:
		out = append(out, "lists of 2024 only")
	case clickfunnels.Weak:
		out = append(out, "in no list")
	}
	switch {
	case e.V1Only():
		out = append(out, "V1 only")
	case e.V1Discouraged():
		out = append(out, "V1 discouraged")
	}
	return out
}
