package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/internal/replay"
	"github.com/penstock/penstock/router"
)

func (a *App) buildReplays(catalog *clickfunnels.Catalog) {
	a.replays = replay.New(replay.Options{
		Jobs: a.broker, Outstanding: a.broker.Bypassing, Gate: a.gate, Logger: a.log.With("part", "replay"),
		Sources: map[delivery.JobKind]replay.Source{
			delivery.Replay:  keptEvents{a: a, catalog: catalog},
			delivery.Redrive: deadLetters{a.broker},
		},
	})
}

// gate says whether a sink takes replays. A process that does not deliver to
// the sink does not know, and relies on how few may be outstanding.
func (a *App) gate(sink string) (replay.Gate, string) {
	for _, w := range a.workers() {
		if w.Sink().Name != sink {
			continue
		}
		st := w.State()
		switch st.State {
		case router.Open, router.SlowStart:
			return replay.Open, ""
		case router.Held, router.Probing:
			return replay.OneOnly, fmt.Sprintf("sink %s is held: %s", sink, st.LastError)
		}
		return replay.Shut, fmt.Sprintf("sink %s is %s", sink, st.State)
	}
	return replay.Open, ""
}

// keptEvents are the events of the stream, for replays.
type keptEvents struct {
	a       *App
	catalog *clickfunnels.Catalog
}

// Survey implements replay.Source.
func (k keptEvents) Survey(ctx context.Context, s *delivery.Selection) (delivery.Survey, error) {
	if !slices.ContainsFunc(k.a.conf().Sinks, func(c config.Sink) bool { return c.Name == s.Sink }) {
		return delivery.Survey{}, fmt.Errorf("%w %q", replay.ErrNoSink, s.Sink)
	}
	for i, text := range s.Match {
		s.Match[i] = k.subject(text)
	}
	if _, err := router.NewSelector(s.Match, nil); err != nil {
		return delivery.Survey{}, replay.Refuse(err)
	}
	from, to, err := k.a.broker.EventRange(ctx, s.Since, s.Until)
	if err != nil {
		return delivery.Survey{}, err
	}
	if s.From, s.To = from, limited(to, s.To); s.From > s.To {
		return delivery.Survey{}, nil
	}
	q, err := k.query(*s)
	if err != nil {
		return delivery.Survey{}, err
	}
	return k.a.broker.SurveyEvents(ctx, q, s.Sink)
}

// limited is to, or what was asked for when that is less.
func limited(to, asked uint64) uint64 {
	if asked == 0 {
		return to
	}
	return min(to, asked)
}

// subject is a pattern as events are stored: a type in any of its spellings
// becomes its subject.
func (k keptEvents) subject(text string) string {
	if strings.ContainsAny(text, "*>") || strings.HasPrefix(text, "unknown.") {
		return strings.ReplaceAll(text, "/", ".")
	}
	for _, prefix := range k.prefixes() {
		if rest, ok := strings.CutPrefix(text, prefix+"."); ok {
			return prefix + "." + k.subject(rest)
		}
	}
	if subject, known := k.catalog.Canonical(text); known {
		return subject
	}
	return strings.ReplaceAll(text, "/", ".")
}

// prefixes are those of the sources, the longest first.
func (k keptEvents) prefixes() []string {
	var out []string
	for _, s := range k.a.conf().Sources {
		if s.SubjectPrefix != "" {
			out = append(out, s.SubjectPrefix)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}

func (k keptEvents) query(s delivery.Selection) (broker.EventQuery, error) {
	sel, err := router.NewSelector(s.Match, k.prefixes())
	if err != nil {
		return broker.EventQuery{}, replay.Refuse(err)
	}
	ids := map[string]bool{}
	for _, id := range s.IDs {
		ids[id] = true
	}
	q := broker.EventQuery{From: s.From, To: s.To}
	if len(s.Match) > 0 {
		q.Filters = sel.Filters()
	}
	q.Wanted = func(subject, id string) bool {
		return (len(ids) == 0 || ids[id]) && (len(s.Match) == 0 || sel.Match(subject))
	}
	return q, nil
}

// Open implements replay.Source.
func (k keptEvents) Open(ctx context.Context, s delivery.Selection, _ string, after uint64) (func(context.Context, int) ([]event.Event, error), error) {
	q, err := k.query(s)
	if err != nil {
		return nil, err
	}
	r, err := k.a.broker.ReadEvents(ctx, q, after)
	if err != nil {
		return nil, err
	}
	return r.Next, nil
}

// Hand implements replay.Source.
func (k keptEvents) Hand(ctx context.Context, job, sink string, e event.Event) (bool, error) {
	return false, k.a.broker.Replay(ctx, job, sink, e)
}

// deadLetters are the dead letters, for redrives.
type deadLetters struct{ broker *broker.Broker }

// Survey implements replay.Source.
func (d deadLetters) Survey(ctx context.Context, s *delivery.Selection) (delivery.Survey, error) {
	from, to, err := d.broker.DeadRange(ctx)
	if err != nil {
		return delivery.Survey{}, err
	}
	s.From, s.To = from, limited(to, s.To)
	return d.broker.SurveyDead(ctx, deadFilter(*s, s.Sink, 0), s.To)
}

func deadFilter(s delivery.Selection, sink string, after uint64) delivery.DeadFilter {
	return delivery.DeadFilter{Sink: sink, Class: s.Class, Since: s.Since, After: after}
}

// Open implements replay.Source. What dies while the job works is not part of it.
func (d deadLetters) Open(_ context.Context, s delivery.Selection, sink string, after uint64) (func(context.Context, int) ([]event.Event, error), error) {
	f := deadFilter(s, sink, after)
	return func(ctx context.Context, n int) ([]event.Event, error) {
		f.Limit = n
		letters, _, err := d.broker.DeadLetters(ctx, f)
		if err != nil {
			return nil, err
		}
		var out []event.Event
		for _, l := range letters {
			if l.Seq > s.To {
				break
			}
			// What names a dead letter is its own sequence, not its event's.
			out = append(out, event.Event{Seq: l.Seq})
			f.After = l.Seq
		}
		return out, nil
	}, nil
}

// Hand implements replay.Source.
func (d deadLetters) Hand(ctx context.Context, _, _ string, e event.Event) (gone bool, err error) {
	_, err = d.broker.RetryDead(ctx, e.Seq)
	if errors.Is(err, delivery.ErrNoDeadLetter) {
		return true, nil
	}
	return false, err
}
