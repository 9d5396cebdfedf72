package reference

import (
	"cmp"
	"fmt"
	"strings"
)

// table writes a section with a table of keys.
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
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", name, form, code(k.Default), k.bounds(), code(cmp.Or(k.Example(), k.Default)), cell(k.Doc))
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
	return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
}

// cell is text in a table, in which nothing is a tag.
func cell(s string) string { return strings.NewReplacer("|", `\|`, "<", `\<`).Replace(s) }

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
	case Path:
		return "penstock.pem"
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
