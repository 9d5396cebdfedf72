package schema

import (
	"fmt"
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
| network | ` + "`10.0.0.0/8`" + `, or one address |
| name | lower-case letters, digits and dashes, at most 63 |
`

// Markdown is the page of the reference.
func (f File) Markdown() string {
	var b strings.Builder
	b.WriteString(head)
	table(&b, "## server", "Where and how webhooks and the admin API are served.", f.Server)
	table(&b, "## broker", "Where events are stored.", f.Broker)
	table(&b, "## sources", "Senders, by name. Kinds: `"+strings.Join(f.SourceKinds, "`, `")+"`.", f.Source)
	table(&b, "## sinks", "Destinations, by name. Every kind has these keys, and its own below.", f.Sink)
	for _, kind := range slices.Sorted(maps.Keys(f.Kinds)) {
		table(&b, "### kind: "+kind, "", f.Kinds[kind])
	}
	table(&b, "## routes", "Rules, a list. Every one is looked at; an event goes once to each sink that the matching ones name.", f.Route)
	b.WriteString("\n## default\n\nThe sinks of events that no route matched: a list of names, or one.\n")
	return b.String()
}

func table(b *strings.Builder, title, text string, keys []Key) {
	fmt.Fprintf(b, "\n%s\n\n", title)
	if text != "" {
		fmt.Fprintf(b, "%s\n\n", text)
	}
	b.WriteString("| key | type | default | range | example | what it is |\n|---|---|---|---|---|---|\n")
	rows(b, "", keys)
}

func rows(b *strings.Builder, path string, keys []Key) {
	for _, k := range keys {
		name, form := path+k.Name, k.typeName()
		if k.Required {
			form += ", required"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", name, form, code(k.Default), k.bounds(), code(k.Example()), cell(k.Doc))
		switch {
		case k.Form == List && k.Item.Form == Mapping:
			rows(b, name+"[].", k.Item.Keys)
		case k.Form == Mapping:
			rows(b, name+".", k.Keys)
		}
	}
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func (k Key) typeName() string {
	switch {
	case k.Form == List:
		return "list of " + k.Item.typeName()
	case k.Form == Mapping && k.Item != nil:
		return "mapping to " + k.Item.typeName()
	case k.Form == Word:
		return "`" + strings.Join(k.Words, "`, `") + "`"
	}
	return string(k.Form)
}

// bounds are the bounds of the value, or of a list's items, in words.
func (k Key) bounds() string {
	if k.Form == List {
		return k.Item.bounds()
	}
	switch {
	case k.Low == "" && k.High == "":
		return ""
	case k.High == "":
		return "at least " + k.Low
	case k.Low == "":
		return "at most " + k.High
	}
	return k.Low + " to " + k.High
}

// Example is a value of the key's form, as the file would write it; empty when
// the default is as good a one.
func (k Key) Example() string {
	if k.Sample != "" {
		return k.Sample
	}
	if k.Default != "" && k.Form != Rate && k.Form != Start && k.Default != "0" && k.Default != "0s" {
		return ""
	}
	switch k.Form {
	case Word:
		return k.Words[0]
	case Duration:
		return "10s"
	case Size:
		return "1MiB"
	case Rate:
		return "50/s"
	case Start:
		return "-24h"
	case Network:
		return "10.0.0.0/8"
	case Secret:
		return "${" + strings.ToUpper(k.Name) + "}"
	case Whole, Number:
		return "1"
	case List:
		if item := k.Item.Example(); item != "" {
			if k.Item.Form == Secret {
				item = `"${SECRET}"`
			}
			return "[" + item + "]"
		}
	}
	return ""
}
