package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/console"
)

// tailUntil follows until done reports the end, and returns the lines.
func (p *process) tailUntil(q console.TailQuery, done func([]console.TailLine) bool) []console.TailLine {
	p.t.Helper()
	var lines []console.TailLine
	enough := errors.New("enough")
	err := p.client().Tail(p.t.Context(), q, func(l console.TailLine) error {
		if lines = append(lines, l); done(lines) {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		p.t.Fatalf("Tail = %v after %d lines", err, len(lines))
	}
	return lines
}

func short(lines []console.TailLine) []string {
	var out []string
	for _, l := range lines {
		if l.Kind != console.TailFollowing && l.Kind != console.TailSink {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", l.EventID, l.Kind, l.Sink)))
		}
	}
	return out
}

// Reading in pieces, however small, shows each line once.
func TestTailGoesOnAfterEveryLine(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir(), "sinks: {log: {kind: log}}\nroutes: [{match: [\">\"], to: [log]}]\n")
	const n = 6
	var sent []receipt
	for i := range n {
		sent = append(sent, accepted(t, p.url(), body(fmt.Sprint("e", i), "order.created")))
	}
	for _, one := range sent { // they are delivered beside each other
		p.story("each is delivered", one.Seq, func(s console.EventStory) bool { return s.Outcome == console.OutcomeDelivered })
	}
	seen := map[string]int{}
	q := console.TailQuery{Since: "1h"}
	for range 2 * n {
		for _, l := range p.tailUntil(q, func(ls []console.TailLine) bool { return ls[len(ls)-1].Kind != console.TailFollowing }) {
			q.After = l.ID
			seen[strings.Join(short([]console.TailLine{l}), "")]++
		}
	}
	delete(seen, "")
	want := map[string]int{}
	for i := range n {
		want[fmt.Sprintf("e%d accepted", i)], want[fmt.Sprintf("e%d delivered log", i)] = 1, 1
	}
	if d := cmp.Diff(want, seen); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
}

func TestTailShowsWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	url := httpReceiver(t, http.StatusServiceUnavailable, func(*http.Request) string { return "" })
	p := run(t, t.TempDir(), "sinks: {crm: {kind: http, url: "+url+", retry: {initial: 1h}, hold: {failures: 1, probe: 1h, probe_max: 1h}}, log: {kind: log}}\n"+
		"routes: [{match: [\"order.>\"], to: [crm]}, {match: [\"contact.>\"], to: [log]}]\n")
	accepted(t, p.url(), body("order", "order.created"))
	accepted(t, p.url(), body("contact", "contact.created"))
	for name, tt := range map[string]struct {
		q    console.TailQuery
		last string
		want []string
	}{
		"by subject":     {console.TailQuery{Match: []string{"order.*", "x.>"}, Only: console.TailAccepts}, "order accepted", []string{" note", "order accepted"}}, // nothing is called x
		"by type":        {console.TailQuery{Match: []string{"contact/created"}, Only: console.TailDeliveries}, "contact delivered log", []string{"contact delivered log"}},
		"by condition":   {console.TailQuery{Where: `event.id == "order"`, Only: console.TailDeliveries, Match: []string{"order.>"}}, "order retry crm", []string{"order retry crm"}},
		"not by another": {console.TailQuery{Where: `event.id != "order"`}, "contact delivered log", []string{"contact accepted", "contact delivered log"}},
		"one that cannot be asked": {console.TailQuery{Where: `event.id == "contact" || data.nothing.at.all == 1`, Only: console.TailAccepts}, "contact accepted",
			[]string{" note", "contact accepted"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.q.Since = "1h"
			lines := p.tailUntil(tt.q, func(ls []console.TailLine) bool {
				got := short(ls[len(ls)-1:])
				return len(got) == 1 && got[0] == tt.last
			})
			got := short(lines)
			for i := range tt.want {
				tt.want[i] = strings.TrimSpace(tt.want[i])
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("lines (-want +got):\n%s", d)
			}
		})
	}
	held := p.tailUntil(console.TailQuery{Only: console.TailDeliveries}, func(ls []console.TailLine) bool { return ls[len(ls)-1].Kind == console.TailSink })
	if l := held[len(held)-1]; l.Sink != "crm" || l.State != "held" || l.Until.IsZero() || !strings.Contains(l.Note, "503") {
		t.Errorf("a held sink is told as %+v", l)
	}
}

// A reader who goes away leaves nothing behind that keeps the process from ending.
func TestTailEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir(), "sinks: {log: {kind: log}}\ndefault: log\n")
	ctx, cancel := context.WithCancel(t.Context())
	err := p.client().Tail(ctx, console.TailQuery{}, func(console.TailLine) error { cancel(); return nil })
	if err == nil || ctx.Err() == nil {
		t.Errorf("Tail = %v", err)
	}
}
