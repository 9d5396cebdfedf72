package console

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/penstock/penstock/internal/delivery"
)

// SinkControl changes sinks. Its methods may be called concurrently; they
// return delivery.ErrNoSink for a name that is not known.
type SinkControl interface {
	// PauseSink stops deliveries to the sink until then; zero: until ResumeSink.
	PauseSink(ctx context.Context, sink string, until time.Time) error
	// ResumeSink ends a pause, if there is one.
	ResumeSink(ctx context.Context, sink string) error
	// RemovedSinks returns what is left of sinks that are not configured.
	RemovedSinks(ctx context.Context) ([]delivery.RemovedSink, error)
	// PruneSink deletes what is left of one, or returns delivery.ErrSinkInUse.
	PruneSink(ctx context.Context, sink string) (delivery.RemovedSink, error)
}

func (s *Server) sinks(ctx context.Context, c echo.Context) (any, error) {
	l := SinkList{Items: []SinkStatus{}, Removed: []RemovedSink{}}
	q, err := query(c, "cursor", "limit")
	if err != nil {
		return nil, err
	}
	limit, err := pageSize(cmp.Or(q.Get("limit"), strconv.Itoa(maxPage)))
	if err != nil {
		return nil, err
	}
	all, err := s.o.Sinks(ctx)
	if err != nil {
		return nil, fmt.Errorf("read sinks: %w", err)
	}
	if cursor := q.Get("cursor"); cursor != "" {
		at := slices.IndexFunc(all, func(one SinkStatus) bool { return one.Name == cursor })
		if at < 0 {
			return nil, bad("use the next of the page before, or begin anew", "cursor %q is not the name of a sink", cursor)
		}
		all = all[at+1:]
	}
	l.Items = append(l.Items, all[:min(limit, len(all))]...)
	if len(all) > limit {
		l.Next = all[limit-1].Name
		return l, nil
	}
	if s.o.Control == nil {
		return l, nil
	}
	removed, err := s.o.Control.RemovedSinks(ctx)
	if err != nil {
		return nil, fmt.Errorf("read removed sinks: %w", err)
	}
	for _, r := range removed {
		l.Removed = append(l.Removed, RemovedSink(r))
	}
	return l, nil
}

func named(c echo.Context) (string, error) {
	name := c.Param("name")
	if !sinkName.MatchString(name) {
		return "", bad("name one sink as in the configuration", "sink %q is not a name", name)
	}
	return name, nil
}

func (s *Server) pauseSink(ctx context.Context, c echo.Context) (any, error) {
	name, err := named(c)
	if err != nil {
		return nil, err
	}
	var req PauseRequest
	if err := readOptional(c.Request().Body, &req); err != nil {
		return nil, err
	}
	r := PauseResult{Name: name, Paused: true}
	if req.For != "" {
		d, err := time.ParseDuration(req.For)
		if err != nil || d < time.Second {
			return nil, bad("write 30m or 2h", "for %q is not a duration of at least a second", req.For)
		}
		r.Until = s.o.Now().Add(d).UTC().Truncate(time.Second)
	}
	if err := s.o.Control.PauseSink(ctx, name, r.Until); err != nil {
		return nil, err
	}
	note(c, slog.String("sink", name), slog.String("for", req.For))
	return r, nil
}

func (s *Server) resumeSink(ctx context.Context, c echo.Context) (any, error) {
	name, err := named(c)
	if err != nil {
		return nil, err
	}
	if err := s.o.Control.ResumeSink(ctx, name); err != nil {
		return nil, err
	}
	note(c, slog.String("sink", name))
	return PauseResult{Name: name}, nil
}

func (s *Server) pruneSink(ctx context.Context, c echo.Context) (any, error) {
	name, err := named(c)
	if err != nil {
		return nil, err
	}
	r, err := s.o.Control.PruneSink(ctx, name)
	if err != nil {
		return nil, err
	}
	note(c, slog.String("sink", name), slog.Int64("waiting", r.Waiting), slog.Int64("retries", r.Retries))
	return RemovedSink(r), nil
}

// SinkList says how every sink stands, and what is left of removed ones.
func (c *Client) SinkList(ctx context.Context) (SinkList, error) {
	sum := SinkList{Items: []SinkStatus{}, Removed: []RemovedSink{}}
	for {
		var l SinkList
		if err := c.call(ctx, http.MethodGet, "/sinks"+encode(0, map[string]string{"cursor": sum.Next}), nil, &l); err != nil {
			return sum, err
		}
		sum.Items, sum.Removed = append(sum.Items, l.Items...), append(sum.Removed, l.Removed...)
		if sum.Next = l.Next; sum.Next == "" {
			return sum, nil
		}
	}
}

// SinkPause stops deliveries to a sink, for d or, when d is 0, until it is
// resumed.
func (c *Client) SinkPause(ctx context.Context, sink string, d time.Duration) (PauseResult, error) {
	var req PauseRequest
	if d != 0 {
		req.For = d.String()
	}
	var r PauseResult
	err := c.call(ctx, http.MethodPost, "/sinks/"+sink+"/pause", req, &r)
	return r, err
}

// SinkResume ends a pause. It is no error that there is none.
func (c *Client) SinkResume(ctx context.Context, sink string) (PauseResult, error) {
	var r PauseResult
	err := c.call(ctx, http.MethodPost, "/sinks/"+sink+"/resume", nil, &r)
	return r, err
}

// SinkPrune deletes what is left of a removed sink and returns what it was.
func (c *Client) SinkPrune(ctx context.Context, sink string) (RemovedSink, error) {
	var r RemovedSink
	err := c.call(ctx, http.MethodPost, "/sinks/"+sink+"/prune", nil, &r)
	return r, err
}
