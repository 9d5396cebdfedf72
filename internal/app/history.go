package app

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/internal/telemetry"
	"github.com/penstock/penstock/router"
)

const (
	// listTime bounds the search for a page of events, recordTime the reading
	// of records for one answer: what is not found then is said to be unknown.
	listTime   = 10 * time.Second
	recordTime = 10 * time.Second
	// pageEvents is how many events are looked at at a time.
	pageEvents = 100
)

// history is what the admin API tells of events. It has no state: everything
// is read from the streams when somebody asks.
type history struct{ app *App }

var _ console.Events = (*history)(nil)

// table returns the routes in force. A process without the role of a router
// has those of its file.
func (h *history) table() (*router.Table, error) {
	if h.app.router != nil {
		return h.app.router.Table(), nil
	}
	return h.app.now().table, nil
}

// List implements console.Events.
func (h *history) List(ctx context.Context, q console.EventFilter) (console.EventPage, error) {
	f := broker.EventFilter{Since: q.Since, Until: q.Until, Before: q.Before}
	if q.Pattern != "" {
		p, err := router.ParsePattern(strings.ReplaceAll(q.Pattern, "/", "."))
		if err != nil {
			return console.EventPage{}, &console.PatternError{Err: err}
		}
		f.Filters = router.Filters([]router.Pattern{p}, h.prefixes())
	}
	page := console.EventPage{Items: []console.EventSummary{}}
	for end := time.Now().Add(listTime); ; {
		f.Limit = min(pageEvents, q.Limit-len(page.Items))
		if q.Sink+q.Outcome != "" {
			f.Limit = pageEvents
		}
		limited, cancel := context.WithDeadline(ctx, end)
		events, next, err := h.app.broker.Events(limited, f)
		cancel()
		if err != nil {
			return page, err
		}
		full, err := h.addTo(ctx, &page, events, q)
		if err != nil || full {
			return page, err
		}
		if next == 0 {
			return page, nil
		}
		page.Next, f.Before = strconv.FormatUint(next, 10), next
		if len(page.Items) >= q.Limit || !time.Now().Before(end) {
			return page, nil
		}
		page.Next = ""
	}
}

// addTo adds those events to the page that q selects. It reports that the page
// is full before all of them were looked at.
func (h *history) addTo(ctx context.Context, page *console.EventPage, events []broker.StoredEvent, q console.EventFilter) (full bool, err error) {
	stories, _, err := h.stories(ctx, events, false)
	if err != nil {
		return false, err
	}
	for i, deliveries := range stories {
		if !selected(deliveries, q) {
			continue
		}
		if len(page.Items) == q.Limit {
			page.Next = strconv.FormatUint(page.Items[q.Limit-1].Seq, 10)
			return true, nil
		}
		s := console.EventSummary{Event: wireEvent(events[i].Event), Outcome: worst(deliveries), Sinks: map[string]string{}}
		for _, d := range deliveries {
			s.Sinks[d.Sink] = d.Outcome
		}
		page.Items = append(page.Items, s)
	}
	return false, nil
}

// selected reports that q's sink and outcome are among the deliveries.
func selected(deliveries []console.Delivery, q console.EventFilter) bool {
	if q.Sink == "" {
		return q.Outcome == "" || slices.ContainsFunc(deliveries, func(d console.Delivery) bool { return d.Outcome == q.Outcome }) ||
			q.Outcome == worst(deliveries)
	}
	return slices.ContainsFunc(deliveries, func(d console.Delivery) bool {
		return d.Sink == q.Sink && (q.Outcome == "" || d.Outcome == q.Outcome)
	})
}

// worst is the outcome that wants attention most.
func worst(deliveries []console.Delivery) string {
	for _, o := range console.Outcomes() {
		if slices.ContainsFunc(deliveries, func(d console.Delivery) bool { return d.Outcome == o }) {
			return o
		}
	}
	return console.OutcomeSkipped
}

// prefixes are the subject prefixes of the sources.
func (h *history) prefixes() []string {
	var out []string
	for _, s := range h.app.conf().Sources {
		if s.SubjectPrefix != "" {
			out = append(out, s.SubjectPrefix)
		}
	}
	return out
}

// Show implements console.Events.
func (h *history) Show(ctx context.Context, seq uint64) (console.EventStory, error) {
	e, err := h.app.broker.Event(ctx, seq)
	if errors.Is(err, delivery.ErrNoEvent) {
		if at, look := h.app.broker.ErasedAt(ctx, seq); look == nil && !at.IsZero() {
			return console.EventStory{}, fmt.Errorf("%w: it was erased at %s", err, at.UTC().Format(time.RFC3339))
		}
	}
	if err != nil {
		return console.EventStory{}, err
	}
	table, err := h.table()
	if err != nil {
		return console.EventStory{}, fmt.Errorf("compile routes: %w", err)
	}
	stories, complete, err := h.stories(ctx, []broker.StoredEvent{e}, true)
	if err != nil {
		return console.EventStory{}, err
	}
	s := console.EventStory{
		Event: wireEvent(e.Event), Outcome: worst(stories[0]), Stored: e.Stored.UTC(),
		Durability: string(h.app.broker.Info().Durability), Rules: table.Version(), Deliveries: stories[0],
		Body: string(e.Body), BodyEncoding: console.BodyText,
	}
	s.TraceID, s.Sampled = telemetry.TraceID(e.TraceParent)
	if !utf8.Valid(e.Body) {
		s.Body, s.BodyEncoding = base64.StdEncoding.EncodeToString(e.Body), console.BodyBase64
	}
	if !complete {
		s.Note = "not all records of attempts could be read within " + recordTime.String() + "; the latest may be missing"
	}
	return s, nil
}

// Search implements console.Events.
func (h *history) Search(ctx context.Context, q console.EventSearch, progress func(console.SearchProgress)) ([]console.Event, error) {
	events, err := h.app.broker.Search(ctx, q.Since, broker.Find{ID: q.ID, Body: aboutSubject(q.SubjectID)}, func(done, total uint64) {
		progress(console.SearchProgress{Searched: done, Total: total})
	})
	out := make([]console.Event, 0, len(events))
	for _, e := range events {
		out = append(out, wireEvent(e.Event))
	}
	return out, err
}

// aboutSubject finds bodies that say that they are about the subject. A body is
// decoded only when the words are in it.
func aboutSubject(id string) func([]byte) bool {
	return func(body []byte) bool {
		if !bytes.Contains(body, []byte(`"subject_id"`)) || !bytes.Contains(body, []byte(id)) {
			return false
		}
		var envelope struct {
			SubjectID json.RawMessage `json:"subject_id"`
		}
		if json.Unmarshal(body, &envelope) != nil {
			return false
		}
		return strings.Trim(string(envelope.SubjectID), `"`) == id
	}
}

// Erase implements console.Events.
func (h *history) Erase(ctx context.Context, seq uint64) (console.ErasedEvent, error) {
	r, err := h.app.broker.Erase(ctx, seq)
	return console.ErasedEvent{Seq: r.Seq, Events: r.Events, Retries: r.Retries, DeadLetters: r.Dead, Records: r.Records}, err
}

func wireEvent(e event.Event) console.Event {
	return console.Event{
		ID: e.ID, Type: e.Type, Source: e.Source, Subject: e.Subject, APIVersion: e.APIVersion,
		Received: e.Received.UTC(), ContentType: e.ContentType, Seq: e.Seq,
	}
}
