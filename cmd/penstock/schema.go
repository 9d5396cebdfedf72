package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
)

func newSchema(p process) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration file, for editors",
		Long: `Prints the JSON Schema (2020-12) of the configuration file. An editor with a YAML
language server completes and checks a file that begins with the line

  # yaml-language-server: $schema=penstock.schema.json

The schema knows keys, types and ranges. What only a look at the whole file can
tell, check does.`,
		Example: `  penstock schema >penstock.schema.json`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(p.stdout, config.Schema())
			return err
		},
	}
}
