package console

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/replay"
)

// topSubjects is how many subjects a survey names, mostIDs how many ids and
// patterns a request may name.
const (
	topSubjects = 10
	mostIDs     = 500
)

var jobID = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

// listReplays pages by revision: a job that is saved meanwhile moves to the end.
func (s *Server) listReplays(ctx context.Context, c echo.Context) (any, error) {
	q, err := query(c, "cursor", "limit")
	if err != nil {
		return nil, err
	}
	limit, err := pageSize(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	after, err := readCursor(q.Get("cursor"))
	if err != nil {
		return nil, err
	}
	jobs, err := s.o.Replays.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(jobs, func(a, b replay.Status) int { return cmp.Compare(a.Revision, b.Revision) })
	out := ReplayList{Items: []Replay{}}
	for _, j := range jobs {
		switch {
		case after > 0 && j.Revision <= after:
		case len(out.Items) == limit:
			return out, nil
		default:
			out.Items = append(out.Items, wireReplay(j))
			out.Next = strconv.FormatUint(j.Revision, 10)
		}
	}
	out.Next = ""
	return out, nil
}

// oneReplay is a handler for one job.
func (s *Server) oneReplay(do func(Replays, context.Context, string) (replay.Status, error)) handler {
	return func(ctx context.Context, c echo.Context) (any, error) {
		id := c.Param("id")
		if !jobID.MatchString(id) {
			return nil, bad("list them with penstock replay ls", "%q is not the id of a job", id)
		}
		j, err := do(s.o.Replays, ctx, id)
		if err != nil {
			return nil, replayRefusal(err)
		}
		note(c, slog.String("job", id), slog.String("sink", j.Selection.Sink))
		return wireReplay(j), nil
	}
}

func (s *Server) createReplay(ctx context.Context, c echo.Context) (any, error) {
	var req ReplayRequest
	if err := readJSON(c.Request().Body, &req); err != nil {
		return nil, err
	}
	sel, perSecond, err := s.selection(req)
	if err != nil {
		return nil, err
	}
	if req.DryRun {
		v, err := s.o.Replays.Preview(ctx, &sel)
		if err != nil {
			return nil, replayRefusal(err)
		}
		return ReplayAnswer{Survey: wireSurvey(v, sel)}, nil
	}
	return s.changing(ctx, c, "start "+string(sel.Kind), func(ctx context.Context, c echo.Context) (any, error) {
		j, err := s.o.Replays.Start(ctx, sel, perSecond)
		if err != nil {
			return nil, replayRefusal(err)
		}
		note(c, slog.String("job", j.ID), slog.String("sink", sel.Sink),
			slog.Any("match", sel.Match), slog.Int("selected", j.Selected))
		w := wireReplay(j)
		return ReplayAnswer{Job: &w}, nil
	})
}

func replayRefusal(err error) error {
	var no *replay.Refusal
	switch {
	case errors.As(err, &no):
		return refuse(http.StatusConflict, oneLine(no.Error()), "")
	case errors.Is(err, replay.ErrNoSink):
		return bad("list them with penstock sinks ls", "%v", err)
	case errors.Is(err, delivery.ErrNoJob):
		return refuse(http.StatusNotFound, oneLine(err.Error()), "list them with penstock replay ls")
	case errors.Is(err, delivery.ErrJobTaken):
		return refuse(http.StatusConflict, "somebody else has changed the job just now", "ask again")
	}
	return err
}

// selection reads what a request selects.
func (s *Server) selection(req ReplayRequest) (delivery.Selection, float64, error) {
	sel := delivery.Selection{Kind: delivery.JobKind(cmp.Or(req.Kind, string(delivery.Replay))), Sink: req.Sink, Match: req.Match, IDs: req.IDs, To: req.UpTo}
	f, err := s.filter(req.Sink, req.Class, req.Since)
	if err != nil {
		return sel, 0, err
	}
	sel.Class, sel.Since = f.Class, f.Since
	switch sel.Kind {
	case delivery.Replay:
		err = replayMistake(req)
	case delivery.Redrive:
		err = redriveMistake(req)
	default:
		err = bad("write replay or redrive", "unknown kind %q", req.Kind)
	}
	if err != nil {
		return sel, 0, err
	}
	if req.Until != "" {
		until, err := s.filter("", "", req.Until)
		if err != nil {
			return sel, 0, bad("write 1h for an hour ago, or a time such as 2026-11-23T12:00:00Z", "until %q is neither a time nor a duration", req.Until)
		}
		sel.Until = until.Since
	}
	if !sel.Until.IsZero() && sel.Until.Before(sel.Since) {
		return sel, 0, bad("", "until is before since")
	}
	perSecond, err := parseRate(req.Rate)
	return sel, perSecond, err
}

func replayMistake(req ReplayRequest) error {
	switch {
	case req.Sink == "":
		return bad("name the sink that gets the events", "a replay needs a sink")
	case req.Class != "" || req.All:
		return bad("they are for kind redrive", "a replay has no class and no all")
	case len(req.IDs) > mostIDs || len(req.Match) > mostIDs:
		return bad("make several replays", "at most %d ids and %d patterns", mostIDs, mostIDs)
	}
	return nil
}

func redriveMistake(req ReplayRequest) error {
	switch {
	case len(req.Match)+len(req.IDs) > 0 || req.Until != "":
		return bad("they are for kind replay", "a redrive has no match, ids and until")
	case req.Sink+req.Class+req.Since == "" && !req.All:
		return bad(`name a sink, class or since, or say "all": true`, "that would be every dead letter")
	}
	return nil
}

// parseRate reads 50/s as a number a second; "" is 0, no bound.
func parseRate(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	count, unit, _ := strings.Cut(text, "/")
	per := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	n, err := strconv.ParseFloat(count, 64)
	if err != nil || per == 0 || !(n > 0 && n <= 1e6) {
		return 0, bad("write 50/s, 600/m or 10/h", "rate %q is not a rate", text)
	}
	return n / per, nil
}

func wireSurvey(v delivery.Survey, sel delivery.Selection) *Survey {
	w := &Survey{
		Events: v.Events, Bytes: v.Bytes, Partial: v.Partial, First: v.First.UTC(), Last: v.Last.UTC(), UpTo: sel.To,
		Subjects: tallies(v.Subjects), Sinks: tallies(v.Sinks),
	}
	if n := len(w.Subjects); n > topSubjects {
		w.Subjects, w.OtherSubjects = w.Subjects[:topSubjects], n-topSubjects
	}
	return w
}

// tallies are sorted, the most frequent first.
func tallies(counts map[string]int) []Tally {
	out := []Tally{}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, Tally{name, counts[name]})
	}
	slices.SortStableFunc(out, func(a, b Tally) int { return b.Events - a.Events })
	return out
}

func wireReplay(j replay.Status) Replay {
	s := j.Selection
	return Replay{
		ID: j.ID, Kind: string(s.Kind), State: string(j.State), Sink: s.Sink, Match: s.Match, IDs: s.IDs, Class: string(s.Class),
		Since: utc(s.Since), Until: utc(s.Until), PerSecond: j.Rate, Created: j.Created, Updated: j.Updated,
		Selected: j.Selected, Bytes: j.Bytes, Partial: j.Partial, Published: j.Published, Gone: j.Gone,
		Waiting: oneLine(j.Waiting), Note: oneLine(j.Note),
	}
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}
