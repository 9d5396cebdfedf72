package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/console"
)

func newEventsShow(p process, admin *adminFlags) *cobra.Command {
	var since string
	var onlyBody, asJSON bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "show SEQ|ID",
		Short: "Tell one event's story",
		Long: `Tells what became of one event: when it came, how it was stored, every attempt to
deliver it, and where it waits now. An event named by its id is searched for among
those of the last day, or of --since; that reads about a million events in ten
seconds.

With --wait it first waits until the event is there and has been delivered to every
sink that a route gives it to. It exits with 1 when that does not come about.`,
		Example: `  penstock events show 4711
  penstock events show 6a1c1d2e-0f7b-4e51-9d55-1b1a3f6f2c01 --since 72h
  penstock events show 4711 --body > event.json
  # in a test: send one, and see it arrive
  penstock send contact.created --set event_id=test-1
  penstock events show test-1 --wait 30s`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.client(*admin)
			if err != nil {
				return err
			}
			find := p.stories
			if wait > 0 {
				find = func(ctx context.Context, c *console.Client, arg, since string) ([]console.EventStory, error) {
					return p.awaitDelivered(ctx, c, arg, since, wait)
				}
			}
			stories, err := find(cmd.Context(), c, args[0], since)
			if err != nil {
				return err
			}
			return p.eventsShow(stories, onlyBody, asJSON)
		},
	}
	cmd.Flags().StringVar(&since, "since", "24h", "search for an ID from this time on (RFC 3339, or how long ago)")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait at most so long for its delivery, as in 30s (default not at all)")
	cmd.Flags().BoolVar(&onlyBody, "body", false, "print the event's body, byte for byte, and nothing else")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// eventSeqs returns the sequences that an argument names: one, or all with the id.
func (p process) eventSeqs(ctx context.Context, c *console.Client, arg, since string) ([]uint64, error) {
	if n, err := strconv.ParseUint(arg, 10, 64); err == nil && n > 0 {
		return []uint64{n}, nil
	}
	if arg == "" {
		return nil, usagef("name an event by its seq or its id; see `penstock events ls`")
	}
	return p.findEvents(ctx, c, arg, "", since)
}

// findEvents searches, and shows a person how far it is.
func (p process) findEvents(ctx context.Context, c *console.Client, id, subjectID, since string) ([]uint64, error) {
	progress, end := p.searchProgress()
	found, err := c.EventSearch(ctx, id, subjectID, since, progress)
	end()
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		window := "that are kept"
		if since != "" {
			window = "since " + since
		}
		what := "id " + printable(id)
		if subjectID != "" {
			what = "subject_id " + subjectID
		}
		return nil, fmt.Errorf("no event with %s among those %s", what, window)
	}
	seqs := make([]uint64, len(found))
	for i, e := range found {
		seqs[i] = e.Seq
	}
	return seqs, nil
}

// searchProgress returns what shows progress, nothing without a terminal.
func (p process) searchProgress() (func(console.SearchProgress), func()) {
	if !p.attends(p.stderr) {
		return nil, func() {}
	}
	shown := false
	progress := func(s console.SearchProgress) {
		shown = true
		fmt.Fprintf(p.stderr, "\rsearched %d of %d events", s.Searched, s.Total)
	}
	return progress, func() {
		if shown {
			fmt.Fprint(p.stderr, "\r\x1b[K")
		}
	}
}

// stories are those of the events that an argument names: one, or all with the id.
func (p process) stories(ctx context.Context, c *console.Client, arg, since string) ([]console.EventStory, error) {
	seqs, err := p.eventSeqs(ctx, c, arg, since)
	if err != nil {
		return nil, err
	}
	out := make([]console.EventStory, len(seqs))
	for i, seq := range seqs {
		if out[i], err = c.EventShow(ctx, seq); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (p process) eventsShow(stories []console.EventStory, onlyBody, asJSON bool) error {
	if onlyBody && len(stories) > 1 {
		seqs := make([]uint64, len(stories))
		for i, s := range stories {
			seqs[i] = s.Seq
		}
		return fmt.Errorf("%d events have that id (seq %s); name one by its seq", len(seqs), joinSeqs(seqs))
	}
	for i, s := range stories {
		var err error
		switch {
		case asJSON:
			err = writeJSON(p.stdout, s)
		case onlyBody:
			err = p.printBody(s.Body, s.BodyEncoding)
		default:
			if i > 0 {
				fmt.Fprintln(p.stdout)
			}
			err = p.printStory(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func joinSeqs(seqs []uint64) string {
	words := make([]string, len(seqs))
	for i, s := range seqs {
		words[i] = strconv.FormatUint(s, 10)
	}
	return strings.Join(words, ", ")
}

// storyTime has the milliseconds in which attempts happen.
const storyTime = "2006-01-02 15:04:05.000Z"

// printStory writes a timeline for each sink.
func (p process) printStory(s console.EventStory) error {
	w := &strings.Builder{}
	paint := p.paintOn(p.stdout)
	fmt.Fprintf(w, "%s  %s  %s\n", paint.bold("event "+strconv.FormatUint(s.Seq, 10)), printable(s.Subject), paintOutcome(paint, s.Outcome))
	fmt.Fprintf(w, "  id        %s\n", printable(s.ID))
	fmt.Fprintf(w, "  type      %s, API version %d, source %s\n", printable(s.Type), s.APIVersion, s.Source)
	fmt.Fprintf(w, "  received  %s\n", s.Received.UTC().Format(storyTime))
	fmt.Fprintf(w, "  stored    %s, durability %s\n", s.Stored.UTC().Format(storyTime), s.Durability)
	if s.TraceID != "" {
		note := ""
		if !s.Sampled {
			note = " (not recorded)"
		}
		fmt.Fprintf(w, "  trace     %s%s\n", s.TraceID, note)
	}
	if len(s.Deliveries) == 0 {
		fmt.Fprintf(w, "\nno route gives it to a sink (rules %s)\n", s.Rules)
	}
	for _, d := range s.Deliveries {
		writeDelivery(w, paint, d, s.Rules)
	}
	if s.Note != "" {
		fmt.Fprintf(w, "\nnote: %s\n", s.Note)
	}
	_, err := io.WriteString(p.stdout, w.String())
	return err
}

func writeDelivery(w io.Writer, paint paint, d console.Delivery, rules string) {
	fmt.Fprintf(w, "\n%s  %s  %s\n", paint.bold(d.Sink), paintOutcome(paint, d.Outcome), paint.dim("by "+routeOf(d, rules)))
	for _, a := range d.Attempts {
		writeAttempt(w, a)
	}
	var now []string
	if d.DeadLetter != 0 {
		now = append(now, fmt.Sprintf("dead letter %d", d.DeadLetter))
	}
	if d.Detail != "" {
		now = append(now, printable(d.Detail))
	}
	if !d.Until.IsZero() {
		now = append(now, "until "+d.Until.UTC().Format(storyTime))
	}
	if len(now) > 0 {
		fmt.Fprintf(w, "  now %s%s\n", strings.Repeat(" ", len(storyTime)-3), strings.Join(now, "; "))
	}
}

// routeOf says which rule decided, as the last attempt saw it.
func routeOf(d console.Delivery, rules string) string {
	route, byDefault := d.Route, d.Default
	for _, a := range slices.Backward(d.Attempts) {
		if a.Rules != "" {
			route, byDefault, rules = a.Route, a.Default, a.Rules
			break
		}
	}
	switch {
	case byDefault:
		route = "default"
	case route == "":
		return "no route (rules " + rules + ")"
	default:
		route = "route " + route
	}
	return route + " (rules " + rules + ")"
}

func writeAttempt(w io.Writer, a console.AttemptInfo) {
	text := "skipped: no route gives it to this sink"
	if a.Verdict != "skip" {
		text = fmt.Sprintf("attempt %d: %s after %s", a.Number, verdictText(a), tookText(a.TookMS))
	}
	if parts := timingText(a); parts != "" {
		text += " (" + parts + ")"
	}
	if a.Origin != "" {
		text += ", " + printable(a.Origin)
	}
	fmt.Fprintf(w, "  %s  %s\n", a.Start.UTC().Format(storyTime), text)
	indent := strings.Repeat(" ", len(storyTime)+6)
	if a.Error != "" {
		fmt.Fprintf(w, "%s%s: %s\n", indent, cmp.Or(a.Class, "error"), printable(a.Error))
	}
	if a.Response != "" {
		fmt.Fprintf(w, "%sanswer: %s\n", indent, printable(a.Response))
	}
	if !a.Next.IsZero() {
		fmt.Fprintf(w, "%snext attempt at %s\n", indent, a.Next.UTC().Format(storyTime))
	}
}

func verdictText(a console.AttemptInfo) string {
	switch a.Verdict {
	case "done":
		return "delivered"
	case "bury":
		return "given up"
	case "defer":
		return "cut off"
	}
	if a.Status != 0 {
		return "failed with " + strconv.Itoa(a.Status)
	}
	return "failed"
}

// timingText names the parts of an attempt that took time.
func timingText(a console.AttemptInfo) string {
	var parts []string
	for _, part := range []struct {
		name string
		ms   float64
	}{{"DNS", a.DNSMS}, {"connect", a.ConnectMS}, {"TLS", a.TLSMS}, {"first byte", a.FirstByteMS}} {
		if part.ms > 0 {
			parts = append(parts, part.name+" "+tookText(part.ms))
		}
	}
	return strings.Join(parts, ", ")
}

func tookText(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	if d >= time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

func paintOutcome(p paint, outcome string) string {
	switch outcome {
	case console.OutcomeDelivered:
		return p.green(outcome)
	case console.OutcomeDead:
		return p.red(outcome)
	case console.OutcomeRetrying, console.OutcomeWaiting, console.OutcomeUnknown:
		return p.yellow(outcome)
	}
	return outcome
}
