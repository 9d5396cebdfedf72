package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/router"
)

// style is how the screen writes.
type style struct {
	paint
	plain bool // no symbols
}

// screen shows what happens and counts it. It is safe for concurrent use.
type screen struct {
	style
	out io.Writer
	// complete is closed when every delivery has come to its end.
	complete chan struct{}
	expected tally

	mu  sync.Mutex
	got tally
	// early are attempts whose event's own line has not been written yet.
	early map[string][]router.Observation
}

func newScreen(out io.Writer, s *script, st style) *screen {
	early := map[string][]router.Observation{}
	for _, e := range s.events {
		early[e.id] = nil
	}
	return &screen{style: st, out: out, expected: s.expected(), complete: make(chan struct{}), early: early}
}

// symbol is one that says what happened, when symbols are wanted.
func (s *screen) symbol(fancy, plain string) string {
	if s.plain {
		return plain
	}
	return fancy
}

func (s *screen) opening() {
	arrow := s.symbol("──▶", "-->")
	fork := s.symbol("└─▶", "+->")
	fmt.Fprintf(s.out, "\n  %s %s %s %s %s   every event\n", s.bold("ClickFunnels"), arrow, s.bold("penstock"), arrow, s.cyan("crm"))
	fmt.Fprintf(s.out, "  %s %s %s  *.invoice.paid\n\n", s.dim("  (played)  "), strings.Repeat(" ", 12)+fork, s.cyan("sales"))
}

// line writes one thing that happened. The columns stay aligned because
// colours are put around padded words.
func (s *screen) line(colour func(string) string, what, sink, subject, note string) {
	fmt.Fprintf(s.out, "  %s %s %-28s %s\n", colour(fmt.Sprintf("%-13s", what)), s.cyan(fmt.Sprintf("%-6s", sink)), subject, s.dim(note))
}

// answered shows what Penstock said to one event.
func (s *screen) answered(e *scriptEvent, a answer, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case a.Duplicate:
		s.got.duplicate++
		s.line(s.yellow, "= duplicate", "", a.Subject, fmt.Sprintf("is seq %d already: not stored twice", a.Seq))
	case a.stored():
		s.got.accepted++
		s.line(s.bold, s.symbol("→", ">")+" accepted", "", a.Subject, fmt.Sprintf("V%d, seq %d, on disk after %s", e.version, a.Seq, millis(took)))
		s.release(e.id)
	default:
		s.got.rejected++
		s.line(s.red, s.symbol("✗", "x")+" rejected", "", strings.ReplaceAll(e.eventType, "/", "."), fmt.Sprintf("%d: signature matches no secret", a.Status))
	}
}

// attempted shows what became of one attempt to deliver, after the line of the
// event: a receiver may have it before the sender has read the answer.
func (s *screen) attempted(o router.Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, wait := s.early[o.Event.ID]; wait {
		s.early[o.Event.ID] = append(s.early[o.Event.ID], o)
		return
	}
	s.show(o)
}

// release shows what came early. It is called with mu held, as are all below.
func (s *screen) release(id string) {
	for _, o := range s.early[id] {
		s.show(o)
	}
	delete(s.early, id)
}

func (s *screen) show(o router.Observation) {
	switch v := o.Verdict; v.Action {
	case delivery.Done:
		if o.Sink == "sales" {
			s.got.sales++
		} else {
			s.got.crm++
		}
		s.line(s.green, s.symbol("✓", "+")+" delivered", o.Sink, o.Event.Subject, fmt.Sprintf("attempt %d, %s", o.History.Attempts+1, millis(o.Took)))
	case delivery.Again:
		s.got.retried++
		s.line(s.yellow, s.symbol("↻", "~")+" retry", o.Sink, o.Event.Subject, fmt.Sprintf("answered %d, again in %s", v.Status, v.Delay.Round(10*time.Millisecond)))
	case delivery.Bury:
		s.got.dead++
		s.line(s.red, s.symbol("☠", "!")+" dead", o.Sink, o.Event.Subject, fmt.Sprintf("answered %d: kept as a dead letter, with this reason", v.Status))
	}
	s.check()
}

// check closes complete once.
func (s *screen) check() {
	ends, want := s.got.crm+s.got.sales+s.got.dead, s.expected.crm+s.expected.sales+s.expected.dead
	if ends < want {
		return
	}
	select {
	case <-s.complete:
	default:
		close(s.complete)
	}
}

// arrived counts a body that came as it was sent.
func (s *screen) arrived() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got.unchanged++
}

func millis(d time.Duration) string {
	if d < time.Millisecond {
		return "under 1 ms"
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// trace shows the timeline of one event.
func (s *screen) trace(e *scriptEvent, spans func(id string) []app.Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	drawTrace(s.out, s.style, strings.ReplaceAll(e.eventType, "/", "."), spans(e.id))
}

// table compares the counts and reports whether all agree.
func (s *screen) table(took time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	got, want, ok := s.got, s.expected, true
	fmt.Fprintf(s.out, "\n  %s\n", s.bold(fmt.Sprintf("%-22s%5s%10s", "", "got", "expected")))
	for _, row := range []struct {
		what      string
		got, want int
	}{
		{"accepted", got.accepted, want.accepted},
		{"duplicate", got.duplicate, want.duplicate},
		{"rejected", got.rejected, want.rejected},
		{"delivered to crm", got.crm, want.crm},
		{"delivered to sales", got.sales, want.sales},
		{"retried", got.retried, want.retried},
		{"dead-lettered", got.dead, want.dead},
		{"arrived byte for byte", got.unchanged, want.unchanged},
	} {
		mark := s.green(s.symbol("✓", "ok"))
		if row.got != row.want {
			mark, ok = s.red(s.symbol("✗", "WRONG")), false
		}
		fmt.Fprintf(s.out, "  %-22s%5d%10d  %s\n", row.what, row.got, row.want, mark)
	}
	if ok {
		fmt.Fprintf(s.out, "\n  Every event reached every place it was for, in %.1f s. The one that its receiver\n"+
			"  refused is kept with the reason; nothing was dropped, nothing delivered twice.\n", took.Seconds())
	}
	return ok
}

func (s *screen) closing() {
	s.commands("All of it has been removed again. Next", [][2]string{
		{"penstock serve", "receive webhooks on this machine"},
		{"penstock send orders/invoice.paid", "send it one, in another terminal"},
		{"penstock catalog", "every event type and its subject"},
	})
}

func (s *screen) invitation(url, secretFile, admin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "\n  %s %s\n  %s %s\n", s.dim("post to  "), url, s.dim("signed by"), secretFile)
	commands := [][2]string{{fmt.Sprintf("penstock send orders/invoice.paid --url %s --secret-file %s", url, secretFile), ""}}
	if admin != "" {
		commands = append(commands, [2]string{"penstock dead ls --server " + admin, ""}, [2]string{"penstock dead retry 1 --server " + admin, ""})
	}
	s.commands("It runs until Ctrl-C. In another terminal", commands)
}

func (s *screen) commands(title string, lines [][2]string) {
	fmt.Fprintf(s.out, "\n  %s:\n", title)
	for _, l := range lines {
		fmt.Fprintln(s.out, strings.TrimRight(fmt.Sprintf("    %s  %s", s.cyan(fmt.Sprintf("%-34s", l[0])), s.dim(l[1])), " "))
	}
	fmt.Fprintln(s.out)
}
