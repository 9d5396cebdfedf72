package ingress

import (
	"cmp"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// Request is what became of one request, for metrics.
type Request struct {
	// Source is the source's name, empty when the path belongs to none.
	Source string
	// Outcome is one of the Outcome constants.
	Outcome string
	Status  int
	// Duration is from the last header to the end of the answer.
	Duration time.Duration
	// Bytes is the size of the body, 0 when it was not read whole.
	Bytes int
}

// handler answers a request, or returns the refusal to answer with.
type handler func(c echo.Context, arrived time.Time) reply

// routes lead requests to the sources. They do not change.
type routes struct {
	echo      *echo.Echo
	addresses string // of all the webhooks, for people
}

func (s *Server) newRoutes(sources []Endpoint) *routes {
	e := echo.New()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		e.Add(method, healthPath, s.handle("", health))
		e.Add(method, readyPath, s.handle("", s.ready))
	}
	var addresses []string
	for _, given := range sources {
		addresses = append(addresses, s.addEndpoint(e, newEndpoint(given)))
	}
	out := &routes{echo: e, addresses: cmp.Or(strings.Join(addresses, ", "), "no address, for no source is configured")}
	missing := s.handle("", out.notFound)
	// Echo's own answers: 404, and 405 for the health checks.
	e.HTTPErrorHandler = func(_ error, c echo.Context) { _ = missing(c) }
	return out
}

// addEndpoint routes the paths of ep and returns the one to tell people.
func (s *Server) addEndpoint(e *echo.Echo, ep *endpoint) (address string) {
	paths, address := []string{ep.Path}, ep.Path
	if ep.Token != "" {
		under := strings.TrimSuffix(ep.Path, "/")
		paths = append(paths, under+"/:"+tokenParam)
		if !ep.Signed {
			address = under + "/<url_token>"
		}
	}
	post := func(c echo.Context, arrived time.Time) reply { return s.follow(c, ep, arrived) }
	other := func(echo.Context, time.Time) reply { return notPost(ep) }
	for _, path := range paths {
		e.POST(path, s.handle(ep.Name, post))
		// For a path that is known, this is what other methods get.
		e.RouteNotFound(path, s.handle(ep.Name, other))
	}
	return address
}

// handle turns h into what Echo calls, with everything that is the same for
// all requests around it.
func (s *Server) handle(source string, h handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		arrived := s.now()
		rep := s.try(h, c, arrived)
		if rep.refused() {
			writeRefusal(c.Response(), rep)
			s.logRefused(source, c.Request(), rep)
		}
		if rep.outcome != "" {
			s.options.Observe(Request{Source: source, Outcome: rep.outcome, Status: rep.status,
				Duration: s.now().Sub(arrived), Bytes: rep.bytes})
		}
		return nil
	}
}

// try calls h and makes a panic a refusal: one odd request must not end the
// process, nor leave its sender without an answer.
func (s *Server) try(h handler, c echo.Context, arrived time.Time) (rep reply) {
	defer func() {
		if p := recover(); p != nil {
			rep = reply{status: http.StatusInternalServerError, outcome: OutcomePanic, closes: true,
				what: "a mistake of ours", hint: "send the event again; the log of this server says more",
				cause: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	return h(c, arrived)
}

func notPost(ep *endpoint) reply {
	return reply{status: http.StatusMethodNotAllowed, outcome: OutcomeMethod, allow: http.MethodPost,
		what: "this address takes POSTs from " + ep.Sender,
		hint: "paste it as the webhook URL in " + ep.Sender + "; whether this server is up is told by " + healthPath}
}

func (r *routes) notFound(c echo.Context, _ time.Time) reply {
	if path := c.Request().URL.Path; path == healthPath || path == readyPath {
		return reply{status: http.StatusMethodNotAllowed, outcome: OutcomeMethod, allow: "GET, HEAD",
			what: "this address takes GET", hint: "webhooks are taken at " + r.addresses}
	}
	return reply{status: http.StatusNotFound, outcome: OutcomeNotFound,
		what: "there is nothing at this address", hint: "webhooks are taken at " + r.addresses}
}

func health(c echo.Context, _ time.Time) reply {
	writeJSON(c.Response(), http.StatusOK, []byte(`{"status":"ok"}`))
	return reply{}
}

// ready answers whether this process should get traffic.
func (s *Server) ready(c echo.Context, at time.Time) reply {
	reasons := s.options.Ready()
	if s.stopping.Load() {
		reasons = append([]string{"shutting down"}, reasons...)
	}
	if len(reasons) == 0 {
		return health(c, at)
	}
	body := []byte(`{"status":"unavailable","reasons":[`)
	for i, reason := range reasons {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendString(body, clip(reason))
	}
	writeJSON(c.Response(), http.StatusServiceUnavailable, append(body, "]}"...))
	return reply{}
}
