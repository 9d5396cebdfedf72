package reference

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/penstock/penstock/sinks"
)

const sinksHead = `# Sinks

Generated from the source by ` + "`make generate`" + `; do not edit.

A sink is a destination with its own place in the queue: ` + "`sinks.NAME`" + ` in the configuration, named by the ` + "`to`" + ` of routes. This page has every key
of every kind; [config.md](config.md) says how values are written, and has the rest of the file. ` + "`penstock check`" + ` finds what is wrong with a file,
` + "`penstock sinks test NAME`" + ` delivers one sample for real.

A secret may also be in a file, named by the same key with ` + "`_file`" + `, and any value may hold ` + "`${VARIABLES}`" + `. Names of files are relative to the
configuration's folder.
`

// SinksPage is docs/sinks.md, in Markdown.
func (f File) SinksPage() string {
	var b strings.Builder
	b.WriteString(sinksHead)
	table(&b, "## Every kind", "", f.Sink)
	for _, name := range slices.Sorted(maps.Keys(f.Kinds)) {
		k := f.Kinds[name]
		table(&b, "## "+name, "The kind `"+name+"` "+k.About, k.Keys)
		if name == "slack" {
			templates(&b)
		}
		if k.Example != "" {
			fmt.Fprintf(&b, "\n[%s](../%s):\n\n```yaml\n%s```\n", k.Example, k.Example, k.ExampleText)
		}
	}
	return b.String()
}

// templates writes what the templates of the kind slack may name and call.
func templates(b *strings.Builder) {
	fields, funcs := sinks.SlackTemplates()
	b.WriteString("\nThe templates are Go's. An event has these fields; what is missing in one is an error that names it, unless `default` replaces it.\n")
	wordTable(b, "field", fields)
	b.WriteString("\nThese functions are there; the last argument may come from a pipe, as in `.Data.name | upper`.\n")
	wordTable(b, "function", funcs)
}

func wordTable(b *strings.Builder, title string, words []sinks.TemplateWord) {
	fmt.Fprintf(b, "\n| %s | what it is |\n|---|---|\n", title)
	for _, w := range words {
		fmt.Fprintf(b, "| %s | %s |\n", code(w.Form), cell(w.Doc))
	}
}
