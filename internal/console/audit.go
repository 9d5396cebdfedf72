package console

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/penstock/penstock/internal/delivery"
)

// saveTimeout bounds the storing of an audit record.
const saveTimeout = 5 * time.Second

// ChangeLog keeps who changed what. Its methods may be called concurrently.
type ChangeLog interface {
	// SaveChange stores c, in place of what is stored under its ID.
	SaveChange(ctx context.Context, c delivery.Change) error
	// AuditedChanges returns those that f selects, newest first, and whether there
	// may be more.
	AuditedChanges(ctx context.Context, f delivery.ChangeFilter) ([]delivery.Change, bool, error)
}

// The keys of what a request carries along.
const (
	callerKey = "penstock.caller"
	notesKey  = "penstock.notes"
)

// notes are what a handler says of the change it makes.
type notes struct{ attrs []slog.Attr }

// note adds to the audit record of the change at hand.
func note(c echo.Context, attrs ...slog.Attr) {
	if n, ok := c.Get(notesKey).(*notes); ok {
		n.attrs = append(n.attrs, attrs...)
	}
}

func callerOf(c echo.Context) caller {
	who, _ := c.Get(callerKey).(caller)
	return who
}

// changing carries out a change for a caller who may make it. It is on record
// before it is made, so that none is made without one; what became of it
// replaces that record.
func (s *Server) changing(ctx context.Context, c echo.Context, action string, h handler) (any, error) {
	if no := callerOf(c).mayChange(); no != nil {
		return nil, no
	}
	if err := s.notHeld(); err != nil {
		return nil, err
	}
	return s.recorded(ctx, c, action, h)
}

// recorded is changing for a caller who may, while the intake may be held.
func (s *Server) recorded(ctx context.Context, c echo.Context, action string, h handler) (any, error) {
	who, r := callerOf(c), c.Request()
	rec := delivery.Change{
		ID: rand.Text(), At: s.o.Now().UTC(), By: who.name, Role: who.role, From: r.RemoteAddr,
		Action: action, On: r.URL.Path, Result: delivery.ChangeBegun,
	}
	if err := s.saveChange(ctx, rec); err != nil {
		no := refuse(http.StatusServiceUnavailable, "the change could not be put on record, so it was not made", "ask again; the log and /readyz say how the event store is")
		no.cause = err
		return nil, no
	}
	n := &notes{}
	c.Set(notesKey, n)
	began := time.Now()
	answer, err := try(ctx, c, h)
	rec.TookMS = time.Since(began).Milliseconds()
	s.endChange(ctx, rec, n.attrs, err)
	return answer, err
}

func (s *Server) saveChange(ctx context.Context, rec delivery.Change) error {
	if s.o.Changes == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	return s.o.Changes.SaveChange(ctx, rec)
}

// endChange records what became of a change, and logs it.
func (s *Server) endChange(ctx context.Context, rec delivery.Change, attrs []slog.Attr, err error) {
	rec.Result = delivery.ChangeDone
	level, message := slog.LevelInfo, "admin change"
	if err != nil {
		no := asRefusal(err)
		rec.Result, rec.Error = delivery.ChangeFailed, no.what
		level, message = slog.LevelWarn, "change by an admin failed"
		if no.status < http.StatusInternalServerError {
			rec.Result, level, message = delivery.ChangeRefused, slog.LevelDebug, "request for a change refused"
		}
	}
	for _, a := range attrs {
		if rec.Details == nil {
			rec.Details = map[string]string{}
		}
		if text := a.Value.String(); text != "" {
			rec.Details[a.Key] = text
		}
	}
	all := append([]slog.Attr{slog.String("action", rec.Action), slog.String("by", rec.By), slog.String("remote", rec.From)}, attrs...)
	all = append(all, slog.String("result", rec.Result))
	if rec.Error != "" {
		all = append(all, slog.String("err", rec.Error))
	}
	s.o.AuditLogger.LogAttrs(context.Background(), level, message, all...)
	// The caller may have gone; what was done is recorded all the same.
	if err := s.saveChange(context.WithoutCancel(ctx), rec); err != nil {
		s.o.AuditLogger.Error("the end of a change is not on record, only its beginning", "id", rec.ID, "err", err)
	}
}

func (s *Server) listChanges(ctx context.Context, c echo.Context) (any, error) {
	q, err := query(c, "since", "by", "action", "cursor", "limit")
	if err != nil {
		return nil, err
	}
	f := delivery.ChangeFilter{By: q.Get("by"), Action: q.Get("action")}
	if f.Since, err = s.moment("since", q.Get("since")); err != nil {
		return nil, err
	}
	if f.Limit, err = pageSize(q.Get("limit")); err != nil {
		return nil, err
	}
	if f.Before, err = readCursor(q.Get("cursor")); err != nil {
		return nil, err
	}
	changes, more, err := s.o.Changes.AuditedChanges(ctx, f)
	if err != nil {
		return nil, err
	}
	page := ChangePage{Items: make([]Change, 0, len(changes))}
	for _, d := range changes {
		page.Items = append(page.Items, Change(d))
	}
	if more && len(changes) > 0 {
		page.Next = strconv.FormatUint(changes[len(changes)-1].Seq, 10)
	}
	return page, nil
}

// SetTokens replaces those who are admitted, for all requests from now on. It
// changes nothing and says why when nobody would be kept out who has to be.
func (s *Server) SetTokens(cs []Credential) error {
	if err := s.guard.admitOnly(cs); err != nil {
		return errors.Join(errors.New("admin tokens are kept as they were"), err)
	}
	return nil
}
