package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// refusal is an answer that is not 2xx. It is an error so that handlers can
// return it.
type refusal struct {
	status     int
	what, hint string
	cause      error // for our log only
	body       any   // what is answered instead of a Problem, if anything
}

func (r *refusal) Error() string { return r.what }

// Unwrap returns the cause.
func (r *refusal) Unwrap() error { return r.cause }

func refuse(status int, what, hint string) *refusal {
	return &refusal{status: status, what: what, hint: hint}
}

// handler finds the answer to a request, to be sent as JSON with 200.
type handler func(ctx context.Context, c echo.Context) (answer any, err error)

func (s *Server) newRoutes() *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) { s.answer(c, s.unrouted(err)) }
	e.Pre(s.admit)
	asked := []string{http.MethodGet, http.MethodHead} // of HEAD the server leaves out the body
	if s.o.Metrics != nil {
		e.Match(asked, "/metrics", echo.WrapHandler(s.o.Metrics))
	}
	e.Match(asked, healthPath, func(c echo.Context) error { return c.JSON(http.StatusOK, health{Status: "ok"}) })
	e.Match(asked, readyPath, s.ready)
	if s.o.MetricsOnly {
		return e
	}
	api := e.Group("/api/v1")
	for _, r := range s.routes() {
		api.Add(r.method, r.path, s.serve(r))
		if r.method == http.MethodGet && r.raw == nil { // what streams does not end by itself
			api.HEAD(r.path, s.serve(r))
		}
	}
	return e
}

// serve is what Echo calls for a route.
func (s *Server) serve(r route) echo.HandlerFunc {
	switch {
	case r.raw != nil:
		return r.raw
	case r.method == http.MethodPost:
		return s.handle(func(ctx context.Context, c echo.Context) (any, error) {
			if no := sendsJSON(c.Request()); no != nil {
				return nil, no
			}
			if r.action == "" {
				return r.handle(ctx, c)
			}
			return s.changing(ctx, c, r.action, r.handle)
		})
	}
	return s.handle(r.handle)
}

const (
	healthPath = "/healthz"
	readyPath  = "/readyz"
)

// public reports a path that needs no token: what asks there has none.
func public(path string) bool { return path == "/metrics" || path == healthPath || path == readyPath }

// health is the answer of /healthz and /readyz, as the ingress gives it.
type health struct {
	Status  string   `json:"status"`
	Reasons []string `json:"reasons,omitempty"`
}

// ready is for processes that take no webhooks, and have no other listener.
func (s *Server) ready(c echo.Context) error {
	if s.o.Ready != nil {
		if reasons := s.o.Ready(); len(reasons) > 0 {
			return c.JSON(http.StatusServiceUnavailable, health{"unavailable", reasons})
		}
	}
	return c.JSON(http.StatusOK, health{Status: "ok"})
}

// admit stands before everything, so that a stranger does not even learn what
// there is.
func (s *Server) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		h := c.Response().Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		who, no := s.guard.admit(r, (r.Method == http.MethodGet || r.Method == http.MethodHead) && public(r.URL.Path))
		if no != nil {
			s.answer(c, no)
			return nil
		}
		c.Set(callerKey, who)
		return next(c)
	}
}

// handle turns h into what Echo calls, within the bounds of all requests.
func (s *Server) handle(h handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			c.Response().Header().Set("Retry-After", "1")
			s.answer(c, refuse(http.StatusTooManyRequests, "too many requests at once", "ask again in a second"))
			return nil
		}
		r := c.Request()
		r.Body = http.MaxBytesReader(c.Response(), r.Body, maxBody)
		ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
		defer cancel()
		answer, err := try(ctx, c, h)
		if err != nil {
			s.answer(c, asRefusal(err))
			return nil
		}
		writeJSON(c.Response(), http.StatusOK, answer)
		return nil
	}
}

// try calls h and makes a panic an error: one odd request must not end the process.
func try(ctx context.Context, c echo.Context, h handler) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			no := refuse(http.StatusInternalServerError, "a mistake of ours", "the log of this server says more")
			no.cause = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			answer, err = nil, no
		}
	}()
	return h(ctx, c)
}

// asRefusal gives an error of what is behind us its status.
func asRefusal(err error) *refusal {
	var no *refusal
	var pattern *PatternError
	var rules *RulesError
	var where *WhereError
	switch {
	case errors.As(err, &no):
		return no
	case errors.Is(err, delivery.ErrNoDeadLetter):
		return refuse(http.StatusNotFound, oneLine(err.Error()), "it was retried, dropped or expired; list what there is with penstock dead ls")
	case errors.Is(err, event.ErrNoRejected):
		return refuse(http.StatusNotFound, oneLine(err.Error()), "it was accepted or made room for newer ones; list what there is with penstock rejected ls")
	case errors.Is(err, delivery.ErrNoSink):
		return refuse(http.StatusNotFound, oneLine(err.Error()), "list what there is with penstock sinks ls")
	case errors.Is(err, delivery.ErrSinkInUse):
		return refuse(http.StatusConflict, oneLine(err.Error()), "remove it from the configuration first, and let that be reloaded")
	case errors.Is(err, delivery.ErrNoEvent):
		return noEvent(err)
	case errors.As(err, &rules):
		return refuse(http.StatusBadRequest, oneLine(rules.What), rules.Hint)
	case errors.As(err, &pattern):
		return refuse(http.StatusBadRequest, oneLine(err.Error()), "write a subject such as orders.invoice.paid, with * for one token and > for the rest")
	case errors.As(err, &where):
		return refuse(http.StatusBadRequest, oneLine(err.Error()), where.Hint)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		no = refuse(http.StatusServiceUnavailable, "the event store did not answer in time", "ask again; the log and /readyz say how it is")
	default:
		no = refuse(http.StatusServiceUnavailable, oneLine(err.Error()), "ask again; the log and /readyz say how it is")
	}
	no.cause = err
	return no
}

// unrouted is what Echo's own errors become.
func (s *Server) unrouted(err error) *refusal {
	switch {
	case s.o.MetricsOnly:
		return refuse(http.StatusNotFound, "this process serves GET /metrics alone", "ask one with the role console")
	case errors.Is(err, echo.ErrNotFound):
		return refuse(http.StatusNotFound, "there is nothing at this address", "the API is under /api/v1: status, sinks, events, tail, dead, rejected, replays, rules, audit; openapi.json describes it")
	case errors.Is(err, echo.ErrMethodNotAllowed):
		return refuse(http.StatusMethodNotAllowed, "this address does not take that method", "read with GET, change with POST")
	}
	no := refuse(http.StatusInternalServerError, "a mistake of ours", "the log of this server says more")
	no.cause = err
	return no
}

// answer sends a refusal, unless there was an answer already, and logs those
// that somebody should know of.
func (s *Server) answer(c echo.Context, no *refusal) {
	s.logRefused(c, no)
	w := c.Response()
	if w.Committed {
		return
	}
	if no.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if no.body != nil {
		writeJSON(w, no.status, no.body)
		return
	}
	writeJSON(w, no.status, Problem{Error: no.what, Hint: no.hint})
}

func (s *Server) logRefused(c echo.Context, no *refusal) {
	guarded := no.status == http.StatusUnauthorized || no.status == http.StatusForbidden
	if no.cause == nil && !guarded {
		return
	}
	s.refusals.do(s.o.Now(), func(others int) {
		level, what := slog.LevelWarn, no.what
		if no.cause != nil {
			level, what = slog.LevelError, no.cause.Error()
		}
		s.log.LogAttrs(context.Background(), level, "admin request refused",
			slog.Int("status", no.status), slog.String("route", c.Path()), slog.String("remote", c.Request().RemoteAddr),
			slog.String("err", what), slog.Int("repeated", others))
	})
}

// writeJSON answers. A caller that has gone gets nothing, which is no fault of
// ours: the error of writing is not looked at.
func writeJSON(w *echo.Response, status int, body any) {
	w.Header().Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body)
}

// oneLine makes a text fit for an answer: one line, at most 300 bytes.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:297], "") + "..."
	}
	return s
}

func (s *Server) status(ctx context.Context, _ echo.Context) (any, error) {
	st, err := s.o.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	return st, nil
}
