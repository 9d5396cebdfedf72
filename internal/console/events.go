package console

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// searchTimeout bounds one search, which looks at every event of a window.
const searchTimeout = 10 * time.Minute

// maxEventID bounds an id that is searched for, in bytes.
const maxEventID = 128

// linesType is the media type of lines of JSON.
const linesType = "application/x-ndjson"

// Events knows what became of events. Its methods may be called concurrently;
// what they return must hold no secret, nor must their errors. They wrap
// delivery.ErrNoEvent for an event that is not there.
type Events interface {
	// List returns one page, newest first; a pattern that is none
	// makes a *PatternError.
	List(ctx context.Context, q EventFilter) (EventPage, error)
	// Show tells one event's story, with its body.
	Show(ctx context.Context, seq uint64) (EventStory, error)
	// Search returns the events with the id, or of the subject, oldest first.
	Search(ctx context.Context, q EventSearch, progress func(SearchProgress)) ([]Event, error)
	// Erase removes an event from everywhere.
	Erase(ctx context.Context, seq uint64) (ErasedEvent, error)
}

// EventFilter selects events of a list.
type EventFilter struct {
	Pattern, Sink, Outcome string
	Since, Until           time.Time
	// Before is the sequence of the last event already seen; 0: none.
	Before uint64
	// Limit is the most to return, at least 1.
	Limit int
}

// EventSearch is what is searched for: exactly one of ID and SubjectID.
type EventSearch struct {
	ID string
	// SubjectID is the number of what the events are about, in their bodies.
	SubjectID string
	Since     time.Time
}

// PatternError is a pattern that is none.
type PatternError struct{ Err error }

func (e *PatternError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PatternError) Unwrap() error { return e.Err }

// events answers with a list, or with a search for what is named.
func (s *Server) events(c echo.Context) error {
	if q := c.QueryParams(); q.Has("id") || q.Has("subject_id") {
		return s.searchEvents(c)
	}
	return s.handle(s.listEvents)(c)
}

func (s *Server) listEvents(ctx context.Context, c echo.Context) (any, error) {
	q := c.QueryParams()
	if _, err := query(c, "pattern", "since", "until", "sink", "outcome", "cursor", "limit"); err != nil {
		return nil, err
	}
	f := EventFilter{Pattern: q.Get("pattern"), Sink: q.Get("sink"), Outcome: q.Get("outcome")}
	if f.Sink != "" && !sinkName.MatchString(f.Sink) {
		return nil, bad("name one sink as in the configuration", "sink %q is not a name", f.Sink)
	}
	if f.Outcome != "" && !slices.Contains(Outcomes(), f.Outcome) {
		return nil, bad("known are "+strings.Join(Outcomes(), ", "), "unknown outcome %q", f.Outcome)
	}
	var err error
	if f.Since, err = s.moment("since", q.Get("since")); err != nil {
		return nil, err
	}
	if f.Until, err = s.moment("until", q.Get("until")); err != nil {
		return nil, err
	}
	if f.Limit, err = pageSize(q.Get("limit")); err != nil {
		return nil, err
	}
	if cursor := q.Get("cursor"); cursor != "" {
		if f.Before, err = strconv.ParseUint(cursor, 10, 64); err != nil || f.Before == 0 {
			return nil, bad("use the next of the page before", "cursor %q is not one of ours", cursor)
		}
	}
	return s.o.Events.List(ctx, f)
}

// moment reads a time, or how long ago; "" is the zero time.
func (s *Server) moment(name, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, value); err == nil {
		return at, nil
	}
	ago, err := time.ParseDuration(value)
	if err != nil || ago < 0 {
		return time.Time{}, bad("write 24h for a day ago, or a time such as 2026-11-23T12:00:00Z", "%s %q is neither a time nor a duration", name, value)
	}
	return s.o.Now().Add(-ago), nil
}

func eventSequence(c echo.Context) (uint64, error) {
	seq, err := strconv.ParseUint(c.Param("seq"), 10, 64)
	if err != nil || seq == 0 {
		return 0, bad("use the seq of a list, or search with ?id=", "%q is not the sequence of an event", c.Param("seq"))
	}
	return seq, nil
}

func (s *Server) showEvent(ctx context.Context, c echo.Context) (any, error) {
	seq, err := eventSequence(c)
	if err != nil {
		return nil, err
	}
	return s.o.Events.Show(ctx, seq)
}

func (s *Server) eraseEvent(ctx context.Context, c echo.Context) (any, error) {
	seq, err := eventSequence(c)
	if err != nil {
		return nil, err
	}
	r, err := s.o.Events.Erase(ctx, seq)
	if err == nil || r.Events+r.Retries+r.DeadLetters+r.Records > 0 {
		note(c, slog.Uint64("seq", seq), slog.Int("events", r.Events), slog.Int("retries", r.Retries),
			slog.Int("dead_letters", r.DeadLetters), slog.Int("records", r.Records), slog.Bool("complete", err == nil))
	}
	return r, err
}

// search reads what is searched for.
func (s *Server) search(c echo.Context) (EventSearch, error) {
	q := c.QueryParams()
	if _, err := query(c, "id", "subject_id", "since"); err != nil {
		return EventSearch{}, err
	}
	find := EventSearch{ID: q.Get("id"), SubjectID: q.Get("subject_id")}
	if (find.ID == "") == (find.SubjectID == "") {
		return find, bad("give one of them, not empty", "a search is for an id or for a subject_id")
	}
	if len(find.ID) > maxEventID {
		return find, bad("", "an id has at most %d bytes", maxEventID)
	}
	if _, err := strconv.ParseInt(find.SubjectID, 10, 64); find.SubjectID != "" && err != nil {
		return find, bad("", "subject_id %q is not a number", find.SubjectID)
	}
	var err error
	find.Since, err = s.moment("since", q.Get("since"))
	return find, err
}

// searchEvents answers with lines, so that who waits sees how far it is. Only
// one search runs at a time: it reads as fast as it can.
func (s *Server) searchEvents(c echo.Context) error {
	find, err := s.search(c)
	if err != nil {
		s.answer(c, asRefusal(err))
		return nil
	}
	release := sync.OnceFunc(func() { <-s.searching })
	select {
	case s.searching <- struct{}{}:
		defer release()
	default:
		c.Response().Header().Set("Retry-After", "2")
		s.answer(c, refuse(http.StatusTooManyRequests, "another search is running", "ask again when it is done"))
		return nil
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
	defer cancel()
	go func() { // a stop does not wait for searches
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	w := &lines{w: c.Response()}
	var last SearchProgress
	found, err := s.o.Events.Search(ctx, find, func(p SearchProgress) {
		last = p
		w.write(SearchLine{Progress: &p})
	})
	release() // before the answer ends: who has it may ask again
	if err != nil {
		no := asRefusal(err)
		s.logRefused(c, no)
		w.write(SearchLine{Problem: &Problem{Error: no.what, Hint: no.hint}})
		return nil
	}
	for i := range found {
		w.write(SearchLine{Found: &found[i]})
	}
	w.write(SearchLine{Done: &last})
	return nil
}

// lines writes JSON lines, each sent at once, for as long as it takes.
type lines struct{ w *echo.Response }

func (l *lines) write(line any) {
	if !l.w.Committed {
		l.w.Header().Set(echo.HeaderContentType, linesType)
		l.w.WriteHeader(http.StatusOK)
	}
	// The server's own deadline is for answers that come at once. Whoever is
	// gone gets nothing, which ends the search by its context.
	control := http.NewResponseController(l.w)
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
	enc := json.NewEncoder(l.w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(line)
	l.w.Flush()
}

// noEvent explains an event that is not there.
func noEvent(err error) *refusal {
	return refuse(http.StatusNotFound, oneLine(err.Error()), "it never was, outlived its retention, or was erased; list what there is with penstock events ls")
}
