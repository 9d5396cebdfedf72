// Package clickfunnels knows what ClickFunnels 2.0 sends: the catalogue of its
// event types, how a request is verified and read, and what made-up requests
// look like. A Source is one configured endpoint.
package clickfunnels

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/event"
)

//go:embed catalog.csv
var catalogCSV string

// Kind says how sure it is that a type is sent.
type Kind string

// The kinds.
const (
	Listed Kind = "listed" // in the official list that Penstock covers in full
	Extra  Kind = "extra"  // in later official lists
	Alias  Kind = "alias"  // another spelling of a listed type, likely the one on the wire
	Old    Kind = "old"    // only in older lists
	Weak   Kind = "weak"   // seen in a receiver's code, in no list
)

// Entry is one event type of the catalogue.
type Entry struct {
	// Type is the spelling this entry is about, "orders/invoice.paid".
	Type string `json:"type"`
	// Subject is where its events are published: that of AliasOf for an alias.
	Subject string `json:"subject"`
	// Versions are the API versions it is sent in, ascending, of 1 and 2.
	Versions []int `json:"versions"`
	// Group is the heading it stands under, Resource the class it is about.
	Group       string `json:"group"`
	Resource    string `json:"resource"`
	Description string `json:"description"`
	Kind        Kind   `json:"kind"`
	// AliasOf is the listed spelling of an Alias, else empty.
	AliasOf string `json:"alias_of,omitempty"`
	// Aliases are the other spellings of a listed type.
	Aliases []string `json:"aliases,omitempty"`
}

// SentIn reports whether the type is sent in the given API version.
func (e Entry) SentIn(version int) bool { return slices.Contains(e.Versions, version) }

// V1Only reports whether the type exists in API version 1 alone.
func (e Entry) V1Only() bool { return e.SentIn(1) && !e.SentIn(2) }

// V1Discouraged reports whether the type comes in both versions: ClickFunnels
// has frozen version 1 and advises 2.
func (e Entry) V1Discouraged() bool { return e.SentIn(1) && e.SentIn(2) }

// Catalog is every event type that ClickFunnels is known to send. It does not
// change once made and is safe for concurrent use. Make one with NewCatalog.
type Catalog struct {
	entries []Entry
	// spellings finds an entry by its type and, where no type is spelled so,
	// by its type with dots for slashes.
	spellings map[string]int
	roots     []string
	// changes are what samples of a resource or a type have of their own.
	changes map[string][]Assignment
}

// NewCatalog reads the catalogue that is built into the program.
func NewCatalog() *Catalog {
	entries, err := readCatalog(catalogCSV)
	if err != nil {
		panic("built-in catalogue: " + err.Error()) // a build that its own tests refuse
	}
	changes, err := readChanges()
	if err != nil {
		panic("built-in samples: " + err.Error()) // likewise
	}
	c := &Catalog{entries: entries, changes: changes}
	c.index()
	return c
}

func (c *Catalog) index() {
	c.spellings = make(map[string]int, 2*len(c.entries))
	for i, e := range c.entries {
		c.spellings[e.Type] = i
	}
	for i, e := range c.entries {
		dotted := dots(e.Type)
		if _, taken := c.spellings[dotted]; !taken {
			c.spellings[dotted] = i
		}
		root, _, _ := strings.Cut(dotted, ".")
		c.roots = append(c.roots, root)
	}
	slices.Sort(c.roots)
	c.roots = slices.Compact(c.roots)
}

// readCatalog parses the columns type, versions, group, resource, description,
// kind, alias_of.
func readCatalog(data string) ([]Entry, error) {
	rows, err := csv.NewReader(strings.NewReader(data)).ReadAll()
	if err != nil {
		return nil, err
	}
	var entries []Entry
	aliases := map[string][]string{}
	for _, row := range rows[1:] {
		e, err := readEntry(row)
		if err != nil {
			return nil, fmt.Errorf("read entry %q: %w", row[0], err)
		}
		entries = append(entries, e)
		if e.Kind == Alias {
			aliases[e.AliasOf] = append(aliases[e.AliasOf], e.Type)
		}
	}
	for i := range entries {
		entries[i].Aliases = aliases[entries[i].Type]
	}
	return entries, nil
}

func readEntry(row []string) (Entry, error) {
	e := Entry{
		Type: row[0], Group: row[2], Resource: row[3], Description: row[4],
		Kind: Kind(row[5]), AliasOf: row[6],
	}
	for _, v := range strings.Fields(row[1]) {
		n, err := strconv.Atoi(v)
		if err != nil {
			return Entry{}, err
		}
		e.Versions = append(e.Versions, n)
	}
	var ok bool
	if e.Subject, ok = event.Subject(e.canonical()); !ok {
		return Entry{}, fmt.Errorf("%q cannot be a subject", e.canonical())
	}
	return e, nil
}

// canonical is the spelling whose subject stands for the fact.
func (e Entry) canonical() string {
	if e.AliasOf != "" {
		return e.AliasOf
	}
	return e.Type
}

// Entries returns every entry, grouped, in the order of the official list.
// The slices within the entries must not be written to.
func (c *Catalog) Entries() []Entry { return slices.Clone(c.entries) }

// Lookup returns the entry of an event type as it is spelled on the wire.
func (c *Catalog) Lookup(eventType string) (Entry, bool) {
	i, ok := c.spellings[eventType]
	if !ok || c.entries[i].Type != eventType {
		return Entry{}, false
	}
	return c.entries[i], true
}

// Resolve returns the entry of an event type or of its subject, whichever of
// the two is written, in any known spelling.
func (c *Catalog) Resolve(typeOrSubject string) (Entry, bool) {
	i, ok := c.spellings[typeOrSubject]
	if !ok {
		return Entry{}, false
	}
	return c.entries[i], true
}

// Canonical returns the one subject of a fact, however its type or subject is
// spelled. What the catalogue does not know comes back as the normaliser makes
// it, or unchanged when it makes nothing of it or it holds wildcards.
func (c *Catalog) Canonical(typeOrSubject string) (subject string, known bool) {
	if e, ok := c.Resolve(typeOrSubject); ok {
		return e.Subject, true
	}
	subject, ok := event.Subject(typeOrSubject)
	if !ok || strings.ContainsAny(typeOrSubject, "*>") {
		return typeOrSubject, false
	}
	return subject, false
}

// Roots returns the first token of every type in every spelling, sorted: what
// the stream must listen on. The caller may keep the slice.
func (c *Catalog) Roots() []string { return slices.Clone(c.roots) }

// hasRoot reports whether root is one of Roots.
func (c *Catalog) hasRoot(root string) bool {
	_, found := slices.BinarySearch(c.roots, root)
	return found
}

// dots writes a type of the catalogue in the form of a subject.
func dots(eventType string) string { return strings.ReplaceAll(eventType, "/", ".") }
