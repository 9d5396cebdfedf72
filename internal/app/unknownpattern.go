package app

import (
	"strings"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/clickfunnels"
)

// UnknownPattern says what may be meant by a pattern over subjects that matches
// no event type of the catalogue under any source of c; it is empty for one that
// matches some, or that asks for what the catalogue need not have.
func UnknownPattern(c *config.Config, pattern string) string {
	subject := strings.ReplaceAll(pattern, "/", ".")
	first, _, _ := strings.Cut(subject, ".")
	if first == "unknown" {
		return ""
	}
	for _, root := range c.Broker.ExtraRoots {
		if first == root {
			return ""
		}
	}
	catalog := clickfunnels.NewCatalog()
	nearest := ""
	for _, prefix := range prefixesOf(c) {
		rest, ok := strings.CutPrefix(subject, prefix)
		if !ok && !strings.ContainsAny(first, "*>") {
			continue
		}
		if _, known := catalog.Canonical(rest); known {
			return ""
		}
		s := survey(catalog, rest)
		if s.Types > 0 || !ok {
			return "" // a wildcard for the prefix is not looked into
		}
		if nearest == "" && s.Nearest != "" {
			nearest = prefix + s.Nearest
		}
	}
	if nearest != "" {
		return "did you mean " + nearest + "?"
	}
	return "penstock catalog lists them"
}

// prefixesOf are what the subjects of the sources begin with.
func prefixesOf(c *config.Config) []string {
	var out []string
	for _, s := range c.Sources {
		prefix := s.SubjectPrefix
		if prefix != "" {
			prefix += "."
		}
		out = append(out, prefix)
	}
	if len(out) == 0 {
		return []string{""}
	}
	return out
}
