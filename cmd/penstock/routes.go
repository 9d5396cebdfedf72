package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/router"
)

func newRoutes(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "routes",
		Short: "See which routes an event takes, and which there are",
		Long: `Asks the routes of a file, without starting or sending anything: which of them an
event would take and why not the others, and which there are.`,
		Example: `  penstock routes test -c penstock.yaml --type orders/invoice.paid
  penstock routes explain -c penstock.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRoutesTest(p), newRoutesExplain(p))
	return cmd
}

// ruleFiles say which configuration is asked.
type ruleFiles struct {
	files []string
	noEnv bool
}

// trials loads the files, or ./penstock.yaml. Warnings are for check to tell.
func (p process) trials(f ruleFiles) (*app.Trials, *config.Config, error) {
	if len(f.files) == 0 {
		if _, err := os.Stat(defaultFile); err != nil {
			return nil, nil, usagef("no file is named, and there is no %s here; name one with -c FILE", defaultFile)
		}
		f.files = []string{defaultFile}
	}
	c, ms := app.Load(f.files, app.LoadOptions{Env: p.env, Roles: []string{config.RoleRouter}, NoEnv: f.noEnv})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		return nil, nil, fatal
	}
	t, err := app.NewTrials(c)
	return t, c, err
}

func newRoutesExplain(p process) *cobra.Command {
	var f ruleFiles
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain [-c FILE...]",
		Short: "Draw the table of routes: subjects, condition, sinks",
		Long: `Prints every route in order: the subjects it matches, its condition, and the sinks it
names. An event goes to every sink of every route that matches, once to each. The
last line is what no route matches, unless one matches everything.`,
		Example: `  penstock routes explain -c penstock.yaml
  penstock routes explain --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			f.noEnv = true // it shows nothing that a variable could hold
			t, _, err := p.trials(f)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(p.stdout, newRouteTable(t.Table()))
			}
			return p.printRoutes(t.Table())
		},
	}
	cmd.Flags().StringArrayVarP(&f.files, "config", "c", nil, configFlagHelp)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

type routeTable struct {
	Rules   string      `json:"rules"`
	Routes  []routeLine `json:"routes"`
	Default []string    `json:"default"`
}

type routeLine struct {
	Name      string   `json:"name"`
	Match     []string `json:"match"`
	When      string   `json:"when,omitempty"`
	Transform bool     `json:"transform"`
	To        []string `json:"to"`
}

func newRouteTable(t *router.Table) routeTable {
	out := routeTable{Rules: t.Version(), Routes: []routeLine{}, Default: t.Defaults()}
	for _, r := range t.Routes() {
		out.Routes = append(out.Routes, routeLine{Name: r.Name, Match: r.Patterns, When: r.When, Transform: r.Transforms, To: r.Sinks})
	}
	return out
}

// printRoutes writes a line for every pattern, the route's name at the first.
func (p process) printRoutes(t *router.Table) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SUBJECT\tROUTE\tWHEN\tSINKS")
	for _, r := range t.Routes() {
		sinks := strings.Join(r.Sinks, ", ")
		if r.Transforms {
			sinks += " (transformed)"
		}
		when := dashed(strings.Join(strings.Fields(r.When), " "))
		for i, pattern := range r.Patterns {
			if i > 0 {
				fmt.Fprintf(w, "%s\t\"\t\"\t\"\n", pattern)
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", pattern, r.Name, when, sinks)
		}
	}
	if !matchesAll(t) {
		fmt.Fprintf(w, "anything else\tdefault\t-\t%s\n", dashed(strings.Join(t.Defaults(), ", ")))
	}
	return w.Flush()
}

// matchesAll reports a route that leaves nothing for default.
func matchesAll(t *router.Table) bool {
	return slices.ContainsFunc(t.Routes(), func(r router.RouteInfo) bool { return r.When == "" && slices.Contains(r.Patterns, ">") })
}
