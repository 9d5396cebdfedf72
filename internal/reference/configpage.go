package reference

import (
	"maps"
	"slices"
	"strings"
)

const head = `# The configuration file

Generated from the source by ` + "`make generate`" + `; do not edit.

One YAML file, ` + "`penstock.yaml`" + `; ` + "`-c`" + ` names another, and a folder is one configuration of all its ` + "`*.yaml`" + ` files.
` + "`penstock init`" + ` writes a first one, ` + "`penstock check`" + ` finds every mistake in it, and ` + "`penstock schema`" + ` prints a JSON Schema
for editors. Save that beside the file and begin the file with

` + "```yaml" + `
# yaml-language-server: $schema=penstock.schema.json
` + "```" + `

` + "`${NAME}`" + ` is filled in from the environment, ` + "`${NAME:-default}`" + ` with a default, and ` + "`$$`" + ` is a dollar sign. A key whose
type is *secret* may instead be given with ` + "`_file`" + ` at its end, as the name of a file that holds it.

In a pull request, where no secrets are set, this marks the lines that are wrong:

` + "```yaml" + `
- run: penstock check -c penstock.yaml --no-env --strict --format github
` + "```" + `

It exits with 0 when there is no mistake, 1 when there is one, and 2 when the command line is wrong. A secret that is written in the
file is a warning, and no line that holds one is ever shown.

| type | written as |
|---|---|
| duration | ` + "`500ms`, `10s`, `5m`, `1h30m`, `7d`" + ` |
| size | ` + "`512KiB`, `1MiB`, `10GB`" + `, or a number of bytes |
| rate | ` + "`50/s`, `600/m`, `1000/h`, `unlimited`, or `{rate: 50/s, burst: 10}`" + ` |
| start | ` + "`now`, `beginning`, `-24h`, or a time such as `2026-01-31T08:00:00Z`" + ` |
| time | ` + "`2026-01-31T08:00:00Z`" + ` |
| file | its name; a relative one is looked for in the configuration's folder |
| network | ` + "`10.0.0.0/8`" + `, or one address |
| name | lower-case letters, digits and dashes, at most 63 |
`

// ConfigPage is docs/config.md, in Markdown.
func (f File) ConfigPage() string {
	var b strings.Builder
	b.WriteString(head)
	table(&b, "## server", "Where and how webhooks and the admin API are served.", f.Server)
	table(&b, "## broker", "Where events are stored.", f.Broker)
	table(&b, "## sources", "Senders, by name. Kinds: `"+strings.Join(f.SourceKinds, "`, `")+"`.", f.Source)
	table(&b, "## sinks", "Destinations, by name. Every kind has these keys and its own: "+f.kindLinks()+".", f.Sink)
	table(&b, "## routes", "Rules, a list. Every one is looked at; an event goes once to each sink that the matching ones name.", f.Route)
	b.WriteString("\n## default\n\nThe sinks of events that no route matched: a list of names, or one.\n")
	table(&b, "## tests", "What the routes have to make of events, a list, here or in files whose names end with `_test.yaml` beside this one. "+
		"`penstock test` runs them; see [rules.md](rules.md).", f.Test)
	return b.String()
}

// kindLinks leads to the section of every kind on the page of sinks.
func (f File) kindLinks() string {
	var links []string
	for _, kind := range slices.Sorted(maps.Keys(f.Kinds)) {
		links = append(links, "["+kind+"](sinks.md#"+kind+")")
	}
	return strings.Join(links, ", ")
}
