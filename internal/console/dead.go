package console

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

const (
	defaultPage = 50
	maxPage     = 500
)

var sinkName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// classes are those that a dead letter can have.
var classes = []delivery.Class{delivery.Ours, delivery.Rejected, delivery.Refused, delivery.Failed,
	delivery.Throttled, delivery.Network, delivery.Expired}

// bad refuses a request that says something wrong.
func bad(hint, format string, args ...any) *refusal {
	return refuse(http.StatusBadRequest, oneLine(fmt.Sprintf(format, args...)), hint)
}

func (s *Server) listDead(ctx context.Context, c echo.Context) (any, error) {
	q, err := query(c, "sink", "class", "since", "cursor", "limit")
	if err != nil {
		return nil, err
	}
	f, err := s.filter(q.Get("sink"), q.Get("class"), q.Get("since"))
	if err != nil {
		return nil, err
	}
	if f.Limit, err = pageSize(q.Get("limit")); err != nil {
		return nil, err
	}
	if f.After, err = readCursor(q.Get("cursor")); err != nil {
		return nil, err
	}
	letters, more, err := s.o.Dead.DeadLetters(ctx, f)
	if err != nil {
		return nil, err
	}
	page := DeadPage{Items: make([]DeadLetter, 0, len(letters))}
	for _, d := range letters {
		page.Items = append(page.Items, wireLetter(d))
	}
	if more && len(letters) > 0 {
		page.Next = strconv.FormatUint(letters[len(letters)-1].Seq, 10)
	}
	return page, nil
}

// query returns the parameters of a list, each known and given once.
func query(c echo.Context, known ...string) (url.Values, error) {
	q := c.QueryParams()
	return q, knownParams(q, known...)
}

func knownParams(q url.Values, known ...string) error {
	for name, values := range q {
		if !slices.Contains(known, name) {
			last := len(known) - 1
			return bad("known are "+strings.Join(known[:last], ", ")+" and "+known[last], "unknown parameter %q", name)
		}
		if len(values) > 1 {
			return bad("give it once", "parameter %q is given %d times", name, len(values))
		}
	}
	return nil
}

// readCursor returns the sequence of the last one seen; 0 for no cursor.
func readCursor(cursor string) (uint64, error) {
	if cursor == "" {
		return 0, nil
	}
	after, err := strconv.ParseUint(cursor, 10, 64)
	if err != nil {
		return 0, bad("use the next of the page before", "cursor %q is not one of ours", cursor)
	}
	return after, nil
}

func pageSize(limit string) (int, error) {
	if limit == "" {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(limit)
	if err != nil || n < 1 || n > maxPage {
		return 0, bad("", "limit must be 1 to %d, got %q", maxPage, limit)
	}
	return n, nil
}

// filter reads what selects dead letters.
func (s *Server) filter(sink, class, since string) (delivery.DeadFilter, error) {
	f := delivery.DeadFilter{Sink: sink, Class: delivery.Class(class)}
	// The name becomes part of a subject: a wildcard would select other sinks.
	if sink != "" && !sinkName.MatchString(sink) {
		return f, bad("name one sink as in the configuration", "sink %q is not a name", sink)
	}
	if class != "" && !slices.Contains(classes, f.Class) {
		return f, bad(fmt.Sprintf("known are %v", classes), "unknown class %q", class)
	}
	var err error
	f.Since, err = s.moment("since", since)
	return f, err
}

// sequence is the number of a dead letter in the path.
func sequence(c echo.Context) (uint64, error) { return numbered(c, "dead letter") }

func numbered(c echo.Context, what string) (uint64, error) {
	seq, err := strconv.ParseUint(c.Param("seq"), 10, 64)
	if err != nil || seq == 0 {
		return 0, bad("use the seq of a list", "%q is not the number of a %s", c.Param("seq"), what)
	}
	return seq, nil
}

func (s *Server) showDead(ctx context.Context, c echo.Context) (any, error) {
	seq, err := sequence(c)
	if err != nil {
		return nil, err
	}
	d, err := s.o.Dead.DeadLetter(ctx, seq)
	if err != nil {
		return nil, err
	}
	w := wireLetter(d)
	w.Body, w.BodyEncoding = wireBody(d.Event.Body)
	return w, nil
}

// wireBody writes a body as JSON can hold it.
func wireBody(body []byte) (text, encoding string) {
	if utf8.Valid(body) {
		return string(body), BodyText
	}
	return base64.StdEncoding.EncodeToString(body), BodyBase64
}

func (s *Server) retryDead(ctx context.Context, c echo.Context) (any, error) {
	return s.changeDead(ctx, c, s.o.Dead.RetryDead)
}

func (s *Server) dropDead(ctx context.Context, c echo.Context) (any, error) {
	return s.changeDead(ctx, c, s.o.Dead.DropDead)
}

// changeOne is DeadLetters.RetryDead or DropDead.
type changeOne func(ctx context.Context, seq uint64) (delivery.DeadLetter, error)

func (s *Server) changeDead(ctx context.Context, c echo.Context, do changeOne) (any, error) {
	seq, err := sequence(c)
	if err != nil {
		return nil, err
	}
	d, err := do(ctx, seq)
	if err != nil {
		return nil, err
	}
	note(c, slog.Uint64("seq", seq), slog.String("sink", d.Sink), slog.String("event", d.Event.ID))
	return wireLetter(d), nil
}

func wireLetter(d delivery.DeadLetter) DeadLetter {
	return DeadLetter{
		Seq: d.Seq, Sink: d.Sink, Died: d.Died.UTC(), Attempts: d.Attempts, First: d.First.UTC(),
		Generation: d.Generation, Class: string(d.Class), Reason: d.Reason, Status: d.Status,
		Event: wireEvent(d.Event),
	}
}

func wireEvent(e event.Event) Event {
	return Event{
		ID: e.ID, Type: e.Type, Source: e.Source, Subject: e.Subject, APIVersion: e.APIVersion,
		Received: e.Received.UTC(), ContentType: e.ContentType, Seq: e.Seq,
	}
}
