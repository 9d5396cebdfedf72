package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// The bounds of a comparison of rules.
const (
	maxRules     = 4 << 20 // bytes, of the request
	mostRoutes   = 5_000
	mostExamples = 100
	diffTimeout  = time.Hour
	diffPatience = time.Second
	// tellEvery is how often progress is told, and what was found. The latter
	// takes at most one part in tellShare of the time.
	tellEvery = 200 * time.Millisecond
	tellShare = 20
)

// Rules tries rules on stored events. Its methods may be called concurrently;
// what they return must hold no secret, nor must their errors.
type Rules interface {
	// Diff tells what other rules would have made of the events. A pattern that
	// is none makes a *PatternError, rules or a source that cannot be used a
	// *RulesError. When ctx ends it returns what was found until then, Partial,
	// without an error. found may be called by progress.
	Diff(ctx context.Context, q DiffQuery, progress func(p SearchProgress, found func() delivery.Difference)) (delivery.Difference, error)
}

// DiffQuery is what is compared, on which events.
type DiffQuery struct {
	Rules        config.RuleSet
	Since, Until time.Time
	Match        []string
	Source       string
	Limit        uint64
	Examples     int
}

// RulesError is a comparison that makes no sense. Its text is for whoever asked.
type RulesError struct{ What, Hint string }

func (e *RulesError) Error() string { return e.What }

// diffRules answers with lines. Only one comparison runs at a time: it reads
// and computes as fast as it can.
func (s *Server) diffRules(c echo.Context) error {
	q, err := s.diffQuery(c)
	if err != nil {
		s.answer(c, asRefusal(err))
		return nil
	}
	if !s.takeDiffing(c.Request().Context()) {
		c.Response().Header().Set("Retry-After", "10")
		s.answer(c, refuse(http.StatusTooManyRequests, "another comparison of rules is running", "ask again when it is done"))
		return nil
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), diffTimeout)
	defer cancel()
	go func() { // a stop does not wait for it
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	w := &lines{w: c.Response()}
	begun := s.o.Now()
	d, err := s.compare(ctx, q, w)
	if err != nil {
		no := asRefusal(err)
		if !w.w.Committed { // nothing was told yet
			s.answer(c, no)
			return nil
		}
		s.logRefused(c, no)
		w.write(DiffLine{Problem: &Problem{Error: no.what, Hint: no.hint}})
		return nil
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "rules compared", slog.String("rules", d.Proposed), slog.Uint64("events", d.Events),
		slog.Bool("partial", d.Partial), slog.Duration("took", s.o.Now().Sub(begun)))
	w.write(DiffLine{Done: &d})
	return nil
}

// compare gives its turn back before the end is told: who knows that it is over
// may ask again.
func (s *Server) compare(ctx context.Context, q DiffQuery, w *lines) (delivery.Difference, error) {
	defer func() { <-s.diffing }()
	return s.o.Rules.Diff(ctx, q, soFar(w))
}

// takeDiffing waits a little for a comparison to end: who interrupts one and
// asks again is not to be refused because of it.
func (s *Server) takeDiffing(ctx context.Context) bool {
	t := time.NewTimer(diffPatience)
	defer t.Stop()
	select {
	case s.diffing <- struct{}{}:
		return true
	case <-t.C:
	case <-ctx.Done():
	case <-s.stopping:
	}
	return false
}

// soFar tells progress and what was found, for who stops waiting: that is to
// be no older than the progress that was seen, unless it is much to tell.
func soFar(w *lines) func(SearchProgress, func() delivery.Difference) {
	var told, again time.Time
	return func(p SearchProgress, difference func() delivery.Difference) {
		now := time.Now()
		if now.Sub(told) < tellEvery {
			return
		}
		told = now
		if p.Searched > 0 && !now.Before(again) {
			d := difference()
			w.write(DiffLine{SoFar: &d})
			again = now.Add(tellShare * time.Since(now))
		}
		w.write(DiffLine{Progress: &p})
	}
}

// diffQuery reads what is compared.
func (s *Server) diffQuery(c echo.Context) (DiffQuery, error) {
	var req DiffRequest
	if no := sendsJSON(c.Request()); no != nil {
		return DiffQuery{}, no
	}
	if err := readJSON(http.MaxBytesReader(c.Response(), c.Request().Body, maxRules), &req); err != nil {
		var no *refusal
		if errors.As(err, &no) {
			no.hint = "use the penstock command of the server's version"
		}
		return DiffQuery{}, err
	}
	q := DiffQuery{Rules: req.Rules, Match: req.Match, Source: req.Source, Limit: req.Limit, Examples: req.Examples}
	switch {
	case q.Examples < 0 || q.Examples > mostExamples:
		return q, bad("", "examples must be 0 to %d, got %d", mostExamples, q.Examples)
	case len(q.Rules.Routes) > mostRoutes:
		return q, bad("", "at most %d routes, got %d", mostRoutes, len(q.Rules.Routes))
	case len(q.Match) > mostIDs:
		return q, bad("", "at most %d patterns", mostIDs)
	}
	var err error
	if q.Since, err = s.moment("since", req.Since); err != nil {
		return q, err
	}
	if q.Until, err = s.moment("until", req.Until); err != nil {
		return q, err
	}
	if !q.Until.IsZero() && q.Until.Before(q.Since) {
		return q, bad("", "until is before since")
	}
	return q, nil
}
