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

// entered is r with an era more, in which some sinks come late and some are
// gone. It ends an announcement. Where the era is there already, so is the rest.
func entered(r broker.Routing, e broker.Era, late, removed []string) broker.Routing {
	r.Announced = ""
	if slices.ContainsFunc(r.Eras, func(have broker.Era) bool { return have.From == e.From && have.Version == e.Version }) {
		return r
	}
	r.Eras = append(slices.Clone(r.Eras), e)
	slices.SortStableFunc(r.Eras, func(a, b broker.Era) int { return cmp.Compare(a.From, b.From) })
	from := e.From
	past := readPast(r)
	for _, sink := range removed {
		past[sink] = past[sink].Leave(from)
	}
	for _, sink := range late {
		past[sink] = past[sink].Return(from)
	}
	r.Past = writePast(past)
	return r
}

// pastOf is what is recorded of the sinks.
func pastOf(r broker.Routing, sinks []string) map[string]router.Past {
	all, out := readPast(r), map[string]router.Past{}
	for _, sink := range sinks {
		out[sink] = all[sink]
	}
	return out
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

// recordedSinks are those of the latest recorded routes.
func recordedSinks(r broker.Routing) []string {
	if len(r.Eras) == 0 {
		return nil
	}
	c, err := config.ParseRouting(r.Eras[len(r.Eras)-1].Text, nil)
	if err != nil {
		return nil
	}
	var out []string
	for _, s := range c.Sinks {
		out = append(out, s.Name)
	}
	return out
}
