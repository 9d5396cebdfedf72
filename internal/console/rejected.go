package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/penstock/penstock/internal/event"
)

// RejectedRequests keeps requests that failed verification. Its methods may be
// called concurrently; what they return must hold no secret, nor must their
// errors.
type RejectedRequests interface {
	// Rejected returns those that the filter selects, oldest first, without
	// bodies, and whether there may be more after the last one.
	Rejected(ctx context.Context, f event.RejectedFilter) ([]event.Rejected, bool, error)
	// RejectedRequest returns one with its body, or event.ErrNoRejected.
	RejectedRequest(ctx context.Context, seq uint64) (event.Rejected, error)
	// AcceptRejected verifies one again and takes it in, once.
	AcceptRejected(ctx context.Context, seq uint64, ignoreAge bool) (event.Acceptance, error)
}

func (s *Server) listRejected(ctx context.Context, c echo.Context) (any, error) {
	q, err := query(c, "source", "since", "cursor", "limit")
	if err != nil {
		return nil, err
	}
	f := event.RejectedFilter{Source: q.Get("source")}
	// The name becomes part of a subject: a wildcard would select other sources.
	if f.Source != "" && !sinkName.MatchString(f.Source) {
		return nil, bad("name one source as in the configuration", "source %q is not a name", f.Source)
	}
	if f.Since, err = s.moment("since", q.Get("since")); err != nil {
		return nil, err
	}
	if f.Limit, err = pageSize(q.Get("limit")); err != nil {
		return nil, err
	}
	if f.After, err = readCursor(q.Get("cursor")); err != nil {
		return nil, err
	}
	requests, more, err := s.o.Rejected.Rejected(ctx, f)
	if err != nil {
		return nil, err
	}
	page := RejectedPage{Items: make([]Rejected, 0, len(requests))}
	for _, r := range requests {
		page.Items = append(page.Items, wireRejected(r))
	}
	if more && len(requests) > 0 {
		page.Next = strconv.FormatUint(requests[len(requests)-1].Seq, 10)
	}
	return page, nil
}

func wireRejected(r event.Rejected) Rejected {
	return Rejected{
		Seq: r.Seq, Source: r.Source, Received: r.Received.UTC(),
		Cause: r.Cause, Reason: r.Reason, Hint: r.Hint, Bytes: r.Size,
	}
}

func (s *Server) showRejected(ctx context.Context, c echo.Context) (any, error) {
	seq, err := numbered(c, "rejected request")
	if err != nil {
		return nil, err
	}
	r, err := s.o.Rejected.RejectedRequest(ctx, seq)
	if err != nil {
		return nil, err
	}
	w := wireRejected(r)
	w.Headers = map[string]string{}
	for name := range r.Header {
		w.Headers[name] = r.Header.Get(name)
	}
	w.Body, w.BodyEncoding = wireBody(r.Body)
	return w, nil
}

func (s *Server) acceptRejected(ctx context.Context, c echo.Context) (any, error) {
	seq, err := numbered(c, "rejected request")
	if err != nil {
		return nil, err
	}
	var req AcceptRequest
	if err := readOptional(c.Request().Body, &req); err != nil {
		return nil, err
	}
	a, err := s.o.Rejected.AcceptRejected(ctx, seq, req.IgnoreAge)
	if a.Outcome != "" {
		note(c, slog.Uint64("seq", seq), slog.String("source", a.Request.Source),
			slog.String("outcome", a.Outcome), slog.String("event", a.Event.ID), slog.Bool("ignore_age", req.IgnoreAge))
	}
	if err != nil {
		return nil, err
	}
	w := Acceptance{Seq: seq, Source: a.Request.Source, Outcome: a.Outcome, Why: a.Why, Hint: a.Hint}
	if a.Outcome != event.StillRefused {
		e := wireEvent(a.Event)
		w.Event = &e
	}
	return w, nil
}

// readOptional is readJSON for a body that may be empty.
func readOptional(body io.Reader, v any) error {
	var first [1]byte
	switch n, err := io.ReadFull(body, first[:]); {
	case n == 0 && errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return bad("", "the body could not be read")
	}
	return readJSON(io.MultiReader(bytes.NewReader(first[:]), body), v)
}

// RejectedQuery selects rejected requests. The zero RejectedQuery selects all.
type RejectedQuery struct {
	Source string
	// Since is a time (RFC 3339) or how long ago (24h), by the server's clock.
	Since string
	// Cursor is RejectedPage.Next of the page before.
	Cursor string
	// Limit is the most a page holds, 1 to 500; 0 means 50.
	Limit int
}

func (q RejectedQuery) encode() string {
	return encode(q.Limit, map[string]string{"source": q.Source, "since": q.Since, "cursor": q.Cursor})
}

// RejectedList returns one page of rejected requests, oldest first, without
// bodies.
func (c *Client) RejectedList(ctx context.Context, q RejectedQuery) (RejectedPage, error) {
	var p RejectedPage
	err := c.call(ctx, http.MethodGet, "/rejected"+q.encode(), nil, &p)
	return p, err
}

// RejectedAll returns every rejected request from q.Cursor on, a page at a
// time; it ends after the first error.
func (c *Client) RejectedAll(ctx context.Context, q RejectedQuery) iter.Seq2[Rejected, error] {
	return pages(q.Cursor, func(cursor string) ([]Rejected, string, error) {
		q.Cursor = cursor
		p, err := c.RejectedList(ctx, q)
		return p.Items, p.Next, err
	})
}

// RejectedShow returns one rejected request with its headers and body.
func (c *Client) RejectedShow(ctx context.Context, seq uint64) (Rejected, error) {
	var r Rejected
	err := c.call(ctx, http.MethodGet, "/rejected/"+strconv.FormatUint(seq, 10), nil, &r)
	return r, err
}

// RejectedAccept verifies one rejected request with today's secrets and takes
// it in, once however often it is called.
func (c *Client) RejectedAccept(ctx context.Context, seq uint64, ignoreAge bool) (Acceptance, error) {
	var a Acceptance
	err := c.call(ctx, http.MethodPost, "/rejected/"+strconv.FormatUint(seq, 10)+"/accept", AcceptRequest{IgnoreAge: ignoreAge}, &a)
	return a, err
}
