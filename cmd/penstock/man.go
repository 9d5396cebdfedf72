package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newMan is for those who package Penstock, hence hidden.
func newMan(p process) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages",
		Hidden: true,
		Long: `Writes a manual page for every command into a folder, which is made when it is
not there. The pages have the date of the commit that this program was built
from, so that the same program writes the same pages.`,
		Example: `  penstock man /usr/local/share/man/man1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := writeManual(cmd.Root(), args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintln(p.stdout, "wrote the manual to", args[0])
			return err
		},
	}
}

func writeManual(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b := readBuild()
	header := &doc.GenManHeader{Section: "1", Source: "Penstock " + b.Version, Manual: "Penstock"}
	if at, err := time.Parse(time.RFC3339, b.Time); err == nil {
		header.Date = &at
	}
	root.DisableAutoGenTag = true
	root.InitDefaultCompletionCmd()
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("write manual pages: %w", err)
	}
	return nil
}
