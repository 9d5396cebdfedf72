package clickfunnels

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const eventsIntro = `<!-- Generated from the catalogue; do not edit. To write it anew: go test ./internal/clickfunnels -run TestEventsPage -update -->
# ClickFunnels events

%d event types: the %d of the official list, and %d that later lists, other spellings or receivers' code add.

An event's **subject** is its type with ` + "`/` written as `.`" + `, in the same case; any byte that is not an ASCII letter, a digit, ` + "`_` or `-` is written as `~XX`" + `.
Where a type has two spellings, both arrive on the subject of the listed one. A type whose first word stands in no row below arrives on
` + "`unknown.<subject>`" + `, a body that cannot be read on ` + "`unknown.malformed`" + `; no signed event is refused for its type. With a source's ` + "`subject_prefix`" + ` all
of them follow the prefix. Patterns are those of NATS: ` + "`*` stands for one word, `>` at the end for one or more" + `, so ` + "`orders.invoice.*`" + ` is every event of
invoices, ` + "`*.invoice.paid`" + ` every paid one, and ` + "`>`" + ` everything. The number of words differs between types, so prefer ` + "`>` at the end to `*`" + `.

`

// WriteMarkdown writes the reference page of the catalogue, docs/events.md.
func WriteMarkdown(w io.Writer, c *Catalog) error {
	var b bytes.Buffer
	listed := 0
	for _, e := range c.entries {
		if e.Kind == Listed {
			listed++
		}
	}
	fmt.Fprintf(&b, eventsIntro, len(c.entries), listed, len(c.entries)-listed)
	group := ""
	for _, e := range c.entries {
		if e.Group != group {
			if group != "" {
				b.WriteByte('\n')
			}
			group = e.Group
			fmt.Fprintf(&b, "## %s\n\n| type | subject | versions | resource | description | notes |\n|---|---|---|---|---|---|\n", group)
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s | %s |\n",
			e.Type, e.Subject, versionNames(e.Versions), e.Resource, e.Description, strings.Join(notes(e), "; "))
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write events page: %w", err)
	}
	return nil
}

func versionNames(versions []int) string {
	names := make([]string, len(versions))
	for i, v := range versions {
		names[i] = "V" + strconv.Itoa(v)
	}
	return strings.Join(names, ", ")
}

// notes are the things to know before relying on a type.
func notes(e Entry) []string {
	var out []string
	switch e.Kind {
	case Alias:
		out = append(out, "alias of `"+e.AliasOf+"`, likely the spelling on the wire")
	case Extra:
		out = append(out, "in later lists only")
	case Old:
		out = append(out, "old: in lists of 2024 only")
	case Weak:
		out = append(out, "weak: seen in a receiver's code, in no list")
	}
	if len(e.Aliases) > 0 {
		out = append(out, "also spelled `"+strings.Join(e.Aliases, "`, `")+"`")
	}
	switch {
	case e.V1Only():
		out = append(out, "V1 only")
	case e.V1Discouraged():
		out = append(out, "V1 is discouraged")
	}
	return out
}
