package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/app"
)

// traceLog keeps the spans that have ended. The zero value is ready; it is safe
// for concurrent use.
type traceLog struct {
	mu    sync.Mutex
	spans []app.Span
}

func (l *traceLog) ended(s app.Span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spans = append(l.spans, s)
}

// of returns the spans of the trace that the event was stored in, or nothing.
func (l *traceLog) of(id string) []app.Span {
	l.mu.Lock()
	defer l.mu.Unlock()
	var stored app.Span
	for _, s := range l.spans {
		// A second copy of the event is stored in no trace, but asked to be.
		first := stored.Trace == "" || s.Start.Before(stored.Start)
		if s.Kind == "producer" && s.Attributes["penstock.event.id"] == id && first {
			stored = s
		}
	}
	if stored.Trace == "" {
		return nil
	}
	var out []app.Span
	for _, s := range l.spans {
		if s.Trace == stored.Trace {
			out = append(out, s)
		}
	}
	return out
}

// The widths of a timeline, which fits 80 columns.
const (
	timelineLabel = 32
	timelineBar   = 24
)

// timelineRow is one span of a timeline.
type timelineRow struct {
	app.Span
	depth int
}

// timelineRows puts the spans under their parents, each after those that began before.
func timelineRows(spans []app.Span) []timelineRow {
	known := map[string]bool{}
	for _, s := range spans {
		known[s.ID] = true
	}
	under := map[string][]app.Span{}
	for _, s := range spans {
		parent := s.Parent
		if !known[parent] {
			parent = ""
		}
		under[parent] = append(under[parent], s)
	}
	var rows []timelineRow
	var add func(parent string, depth int)
	add = func(parent string, depth int) {
		children := under[parent]
		slices.SortStableFunc(children, func(a, b app.Span) int {
			return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Name, b.Name))
		})
		for _, s := range children {
			rows = append(rows, timelineRow{s, depth})
			add(s.ID, depth+1)
		}
	}
	add("", 0)
	return rows
}

// label says what the span was and what came of it.
func (r timelineRow) label() string {
	a := r.Attributes
	text := r.Name
	switch r.Kind {
	case "server":
		text = "request: " + a["penstock.outcome"]
	case "producer":
		text = "store"
	case "client":
		text = "attempt " + a["penstock.attempt"] + ": delivered"
		if class := a["penstock.class"]; class != "" {
			text = "attempt " + a["penstock.attempt"] + ": " + strings.TrimPrefix(a["http.response.status_code"]+", class "+class, ", ")
		}
	}
	return strings.Repeat("  ", r.depth) + text
}

// drawTrace draws the spans: when each began after the first, how long it took,
// and a bar of that, all on one scale.
func drawTrace(w io.Writer, st style, subject string, spans []app.Span) {
	if len(spans) == 0 {
		return
	}
	rows := timelineRows(spans)
	begin, end := rows[0].Start, rows[0].End
	for _, r := range rows {
		if r.Start.Before(begin) {
			begin = r.Start
		}
		if r.End.After(end) {
			end = r.End
		}
	}
	all := max(end.Sub(begin), time.Microsecond)
	block := "█"
	if st.plain {
		block = "#"
	}
	fmt.Fprintf(w, "\n  The trace of %s: when each part began, and how long it took\n", subject)
	for _, r := range rows {
		at, n := barOf(r.Start.Sub(begin), r.End.Sub(r.Start), all)
		paint := st.green
		if r.Failed {
			paint = st.red
		}
		label := clipTo(r.label(), timelineLabel)
		label += strings.Repeat(" ", timelineLabel-utf8.RuneCountInString(label))
		fmt.Fprintf(w, "  %s %s %s %s%s\n", label, fine(r.Start.Sub(begin)), fine(r.End.Sub(r.Start)),
			strings.Repeat(" ", at), paint(strings.Repeat(block, n)))
	}
}

// barOf is where the bar of a part begins, and its length: one at least.
func barOf(offset, took, all time.Duration) (at, n int) {
	at = int(int64(offset) * timelineBar / int64(all))
	at = min(max(at, 0), timelineBar-1)
	n = int((int64(took)*timelineBar + int64(all)/2) / int64(all))
	return at, min(max(n, 1), timelineBar-at)
}

// fine is a duration in milliseconds, in ten columns.
func fine(d time.Duration) string {
	return fmt.Sprintf("%7.1f ms", float64(d)/float64(time.Millisecond))
}

func clipTo(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most])
}
