package broker

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// coverKey keeps a cover in the metadata of a sink's consumer. A consumer
// without it wants everything that its filters let through.
const coverKey = "penstock.cover"

// maxCover bounds the spans of one cover. A sink that has caught up needs one
// for each filter; more are needed only while filters change over a backlog.
const maxCover = 64

// span is a pattern and the sequence from which on the sink wants its events.
type span struct {
	pattern string
	from    uint64
}

// cover says which events a sink wants by when its patterns came to be: those
// on a subject of any span, from the span's sequence on. A pattern that is
// added wants nothing that was stored before it.
type cover []span

// wants reports whether an event is one of those.
func (c cover) wants(subject string, seq uint64) bool {
	for _, s := range c {
		if s.from <= seq && matches(s.pattern, subject) {
			return true
		}
	}
	return false
}

// latest is the sequence from which on filters alone decide.
func (c cover) latest() uint64 {
	var from uint64
	for _, s := range c {
		from = max(from, s.from)
	}
	return from
}

// change returns the cover under new filters. What an old span and a new
// filter have in common was wanted all along and keeps its start; the rest
// starts at next. Everything before settled is done with.
func (c cover) change(filters []string, next, settled uint64) cover {
	var out cover
	for _, f := range filters {
		for _, s := range c {
			if both, ok := intersect(f, s.pattern); ok {
				out = append(out, span{both, max(s.from, settled)})
			}
		}
		out = append(out, span{f, max(next, settled)})
	}
	out = out.reduce()
	if len(out) > maxCover {
		out = out.widen(filters)
	}
	return out
}

// reduce drops each span that another one contains.
func (c cover) reduce() cover {
	slices.SortFunc(c, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from, b.from), strings.Compare(a.pattern, b.pattern))
	})
	var out cover
	for _, s := range slices.Compact(c) {
		contained := slices.ContainsFunc(c, func(o span) bool {
			return o != s && o.from <= s.from && contains(o.pattern, s.pattern)
		})
		if !contained {
			out = append(out, s)
		}
	}
	return out
}

// widen gives up telling apart what would take too many spans: each filter
// starts where the first of its parts did. That delivers more, never less.
func (c cover) widen(filters []string) cover {
	var out cover
	for _, f := range filters {
		w := span{f, c.latest()}
		for _, s := range c {
			if contains(f, s.pattern) {
				w.from = min(w.from, s.from)
			}
		}
		out = append(out, w)
	}
	return out
}

func (c cover) encode() string {
	var b strings.Builder
	for i, s := range c {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s@%d", s.pattern, s.from)
	}
	return b.String()
}

// early finds the events that a sink's patterns let through but that were
// stored before them.
type early struct {
	cover  cover
	latest uint64
}

func newEarly(c jetstream.ConsumerConfig) (*early, error) {
	v, err := coverOf(c)
	return &early{cover: v, latest: v.latest()}, err
}

// is reports whether the event came too early. Usually one comparison tells.
func (e *early) is(subject string, seq uint64) bool {
	return seq < e.latest && !e.cover.wants(subject, seq)
}

// setEarly takes over what the consumer says.
func (c *consumption) setEarly(main jetstream.Consumer) error {
	e, err := newEarly(main.CachedInfo().Config)
	if err == nil {
		c.early.Store(e)
	}
	return err
}

// filtersOf are the filters of a consumer; none means that it sees everything.
func filtersOf(c jetstream.ConsumerConfig) []string {
	switch {
	case len(c.FilterSubjects) > 0:
		return c.FilterSubjects
	case c.FilterSubject != "":
		return []string{c.FilterSubject}
	}
	return []string{">"}
}

// coverOf reads the cover of a consumer.
func coverOf(c jetstream.ConsumerConfig) (cover, error) {
	text, ok := c.Metadata[coverKey]
	if !ok {
		var out cover
		for _, f := range filtersOf(c) {
			out = append(out, span{pattern: f})
		}
		return out, nil
	}
	var out cover
	for word := range strings.FieldsSeq(text) {
		at := strings.LastIndexByte(word, '@')
		if at < 0 {
			return nil, fmt.Errorf("consumer %s has %q in its metadata %s, not pattern@sequence", c.Durable, word, coverKey)
		}
		from, err := strconv.ParseUint(word[at+1:], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("consumer %s has %q in its metadata %s, not pattern@sequence", c.Durable, word, coverKey)
		}
		out = append(out, span{word[:at], from})
	}
	return out, nil
}

// matches reports whether a pattern matches a subject.
func matches(pattern, subject string) bool { return contains(pattern, subject) }

// contains reports that every subject that b matches is one that a matches.
func contains(a, b string) bool {
	for {
		x, restA, moreA := strings.Cut(a, ".")
		if x == ">" {
			return true
		}
		y, restB, moreB := strings.Cut(b, ".")
		if y == ">" || x != "*" && x != y || moreA != moreB {
			return false
		}
		if !moreA {
			return true
		}
		a, b = restA, restB
	}
}

// intersect returns the pattern of the subjects that both match. There is
// always one, or there are no such subjects.
func intersect(a, b string) (string, bool) {
	var out strings.Builder
	for {
		x, restA, moreA := strings.Cut(a, ".")
		y, restB, moreB := strings.Cut(b, ".")
		switch {
		case x == ">":
			out.WriteString(b)
			return out.String(), true
		case y == ">":
			out.WriteString(a)
			return out.String(), true
		case x == "*":
			x = y
		case y != "*" && x != y:
			return "", false
		}
		out.WriteString(x)
		if moreA != moreB {
			return "", false
		}
		if !moreA {
			return out.String(), true
		}
		out.WriteByte('.')
		a, b = restA, restB
	}
}
