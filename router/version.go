package router

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"

	"github.com/penstock/penstock/config"
)

// Version is a short name for these routes: tables compiled from the same
// rules have the same, in every process. It is 8 hex digits.
func (t *Table) Version() string { return t.version }

// version hashes what decides where an event goes. Places in the file do not:
// a comment more makes no other rules.
func version(c *config.Config) string {
	h := sha256.New()
	for _, r := range c.Routes {
		hashWords(h, "route", r.Name)
		hashRefs(h, "match", r.Match)
		hashRefs(h, "to", r.To)
		hashExpressions(h, "when", r.When)
		hashExpressions(h, "transform", r.Transform)
	}
	hashRefs(h, "default", c.Default)
	for _, s := range c.Sources {
		hashWords(h, "prefix", s.SubjectPrefix)
	}
	return hex.EncodeToString(h.Sum(nil)[:4])
}

func hashRefs(h hash.Hash, kind string, refs []config.Ref) {
	words := []string{kind}
	for _, r := range refs {
		words = append(words, r.Name)
	}
	hashWords(h, words...)
}

// hashExpressions hashes an expression, or mappings and lists of them.
func hashExpressions(h hash.Hash, kind string, n config.Node) {
	switch {
	case n.IsZero():
		return
	case n.Shape() == config.Mapping:
		hashWords(h, append([]string{kind, "mapping"}, n.Keys()...)...)
		for _, key := range n.Keys() {
			hashExpressions(h, key, n.Get(key))
		}
	case n.Shape() == config.List:
		hashWords(h, kind, "list", fmt.Sprint(len(n.Items())))
		for _, item := range n.Items() {
			hashExpressions(h, "item", item)
		}
	default:
		hashWords(h, kind, n.Text())
	}
}

// identity is the same for expressions that do the same, variables filled in.
func identity(n config.Node) string {
	h := sha256.New()
	hashExpressions(h, fmt.Sprint(n.Unresolved()), n)
	return string(h.Sum(nil))
}

// hashWords quotes each word, so that no two lists look the same.
func hashWords(h hash.Hash, words ...string) {
	fmt.Fprintf(h, "%q\n", words) // a hash never fails to write
}

// Named returns the table under another version: that of the rules it was made
// of, when it was compiled from a copy of them.
func (t *Table) Named(version string) *Table {
	t.version = version
	return t
}
