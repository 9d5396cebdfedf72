package console

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/penstock/penstock/internal/delivery"
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
	q := c.QueryParams()
	for name, values := range q {
		if !slices.Contains([]string{"sink", "class", "since", "cursor", "limit"}, name) {
			return nil, bad("known are sink, class, since, cursor and limit", "unknown parameter %q", name)
		}
		if len(values) > 1 {
			return nil, bad("give it once", "parameter %q is given %d times", name, len(values))
		}
	}
	f, err := s.filter(q.Get("sink"), q.Get("class"), q.Get("since"))
	if err != nil {
		return nil, err
	}
	if f.Limit, err = pageSize(q.Get("limit")); err != nil {
		return nil, err
	}
	if cursor := q.Get("cursor"); cursor != "" {
		if f.After, err = strconv.ParseUint(cursor, 10, 64); err != nil {
			return nil, bad("use the next of the page before", "cursor %q is not one of ours", cursor)
		}
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
	if since == "" {
		return f, nil
	}
	if at, err := time.Parse(time.RFC3339, since); err == nil {
		f.Since = at
		return f, nil
	}
	ago, err := time.ParseDuration(since)
	if err != nil || ago < 0 {
		return f, bad("write 24h for the last day, or a time such as 2026-11-23T12:00:00Z", "since %q is neither a time nor a duration", since)
	}
	f.Since = s.o.Now().Add(-ago)
	return f, nil
}

func sequence(c echo.Context) (uint64, error) {
	seq, err := strconv.ParseUint(c.Param("seq"), 10, 64)
	if err != nil || seq == 0 {
		return 0, bad("use the seq of a list", "%q is not the number of a dead letter", c.Param("seq"))
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
	w.Body, w.BodyEncoding = string(d.Event.Body), BodyText
	if !utf8.Valid(d.Event.Body) {
		w.Body, w.BodyEncoding = base64.StdEncoding.EncodeToString(d.Event.Body), BodyBase64
	}
	return w, nil
}

func (s *Server) retryDead(ctx context.Context, c echo.Context) (any, error) {
	return s.changeDead(ctx, c, "retry", s.o.Dead.RetryDead)
}

func (s *Server) dropDead(ctx context.Context, c echo.Context) (any, error) {
	return s.changeDead(ctx, c, "drop", s.o.Dead.DropDead)
}

// changeOne is DeadLetters.RetryDead or DropDead.
type changeOne func(ctx context.Context, seq uint64) (delivery.DeadLetter, error)

func (s *Server) changeDead(ctx context.Context, c echo.Context, action string, do changeOne) (any, error) {
	seq, err := sequence(c)
	if err != nil {
		return nil, err
	}
	d, err := do(ctx, seq)
	if err != nil {
		return nil, err
	}
	s.audit(c, action+" dead letter", slog.Uint64("seq", seq), slog.String("sink", d.Sink), slog.String("event", d.Event.ID))
	return wireLetter(d), nil
}

// audit writes who changed what.
func (s *Server) audit(c echo.Context, what string, attrs ...slog.Attr) {
	by := "anybody on this machine"
	if s.guard.hasToken {
		by = "server.admin_token"
	}
	attrs = append([]slog.Attr{slog.String("action", what), slog.String("by", by),
		slog.String("remote", c.Request().RemoteAddr)}, attrs...)
	s.log.LogAttrs(context.Background(), slog.LevelInfo, "admin change", attrs...)
}

func wireLetter(d delivery.DeadLetter) DeadLetter {
	return DeadLetter{
		Seq: d.Seq, Sink: d.Sink, Died: d.Died.UTC(), Attempts: d.Attempts, First: d.First.UTC(),
		Generation: d.Generation, Class: string(d.Class), Reason: d.Reason, Status: d.Status,
		Event: Event{
			ID: d.Event.ID, Type: d.Event.Type, Source: d.Event.Source, Subject: d.Event.Subject,
			APIVersion: d.Event.APIVersion, Received: d.Event.Received.UTC(),
			ContentType: d.Event.ContentType, Seq: d.Event.Seq,
		},
	}
}
