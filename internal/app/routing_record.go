package app

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/router"
)

// names are those of the sinks of a configuration.
func names(c *config.Config) []string { return (&generation{config: c}).sinkNames() }

// without are the names that the others do not have.
func without(all, others []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(others, name) })
}

// roster are the sinks of an era that is to be recorded.
type roster struct {
	sinks []string // that are configured in it
	// eager are those of them that want events from before they were configured.
	eager []string
	// before are the sinks up to then, where no record says.
	before []string
}

// rosterOf is that of a configuration.
func rosterOf(c *config.Config, before []string) roster {
	out := roster{sinks: names(c), before: before}
	for _, s := range c.Sinks {
		if s.Start.Beginning || s.Start.Since > 0 || !s.Start.At.IsZero() {
			out.eager = append(out.eager, s.Name)
		}
	}
	return out
}

// come returns the sinks that come with the era, with what is known of their
// time before. What counts is the record, not what this process had configured:
// another may have recorded since. A sink that nobody recorded wants nothing
// older, even if it has a queue: a change that was cut short made that.
func (s roster) come(r broker.Routing) map[string]router.Past {
	all, out := readPast(r), map[string]router.Past{}
	before, known := s.sinksBefore(r)
	for _, sink := range s.sinks {
		past := all[sink]
		switch {
		case past.Away():
			out[sink] = past
		case !known || slices.Contains(before, sink):
		case slices.Contains(s.eager, sink):
			out[sink] = router.Past{}
		default:
			out[sink] = router.Past{}.Leave(0)
		}
	}
	return out
}

// sinksBefore are the sinks up to the era, and whether that is known.
func (s roster) sinksBefore(r broker.Routing) ([]string, bool) {
	if recorded := recordedSinks(r); recorded != nil {
		return recorded, true
	}
	return s.before, s.before != nil
}

// entered is r with an era more, in which some sinks come and some are gone.
// It ends an announcement. Where the era is there already, so is the rest.
func entered(r broker.Routing, e broker.Era, s roster) broker.Routing {
	r.Announced = ""
	if slices.ContainsFunc(r.Eras, func(have broker.Era) bool { return have.From == e.From && have.Version == e.Version }) {
		return r
	}
	past, coming := readPast(r), s.come(r)
	before, _ := s.sinksBefore(r)
	for _, sink := range without(before, s.sinks) {
		if !past[sink].Away() {
			past[sink] = past[sink].Leave(e.From)
		}
	}
	for sink, was := range coming {
		past[sink] = was.Return(e.From)
	}
	r.Past = writePast(past)
	r.Eras = append(slices.Clone(r.Eras), e)
	slices.SortStableFunc(r.Eras, func(a, b broker.Era) int { return cmp.Compare(a.From, b.From) })
	return r
}

// readPast reads what is recorded of sinks. What cannot be read counts for nothing.
func readPast(r broker.Routing) map[string]router.Past {
	out := map[string]router.Past{}
	for sink, words := range r.Past {
		var p router.Past
		for word := range strings.FieldsSeq(words) {
			var a router.Absence
			if _, err := fmt.Sscanf(word, "%d-%d", &a.From, &a.To); err == nil {
				p.Absent = append(p.Absent, a)
			} else if seq, err := strconv.ParseUint(word, 10, 64); err == nil {
				p.Since = seq
			}
		}
		out[sink] = p
	}
	return out
}

func writePast(past map[string]router.Past) map[string]string {
	out := map[string]string{}
	for sink, p := range past {
		var words []string
		if p.Since > 0 {
			words = append(words, strconv.FormatUint(p.Since, 10))
		}
		for _, a := range p.Absent {
			words = append(words, fmt.Sprintf("%d-%d", a.From, a.To))
		}
		if len(words) > 0 {
			out[sink] = strings.Join(words, " ")
		}
	}
	return out
}

// forget returns what is recorded without what no sink needs any more.
func forget(r broker.Routing, settled map[string]uint64) broker.Routing {
	out := broker.Routing{Last: r.Last}
	past := func(seq uint64) bool {
		for _, s := range settled {
			if s+1 < seq {
				return false
			}
		}
		return true
	}
	for i, e := range r.Eras {
		if i+1 == len(r.Eras) || !past(r.Eras[i+1].From) {
			out.Eras = append(out.Eras, e)
		}
	}
	kept := readPast(r)
	for sink, p := range kept {
		if up, ok := settled[sink]; ok {
			kept[sink] = p.Settled(up)
		}
	}
	out.Past = writePast(kept)
	return out
}

// recordedSinks are those of the latest recorded routes, nil when their text
// is not there or cannot be read.
func recordedSinks(r broker.Routing) []string {
	if len(r.Eras) == 0 {
		return nil
	}
	c, err := config.ParseRouting(r.Eras[len(r.Eras)-1].Text, nil)
	if err != nil {
		return nil
	}
	return append([]string{}, names(c)...)
}
