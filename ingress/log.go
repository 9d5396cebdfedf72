package ingress

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/penstock/penstock/internal/event"
)

// quiet is the least time between two lines of the same source and reason.
const quiet = time.Second

// reasonConnection is the reason of the HTTP server's own complaints.
const reasonConnection = "connection"

// refusals decides which refused requests are logged, so that neither a wrong
// secret nor a scanner fills the disk. It is safe for concurrent use, and as
// large as there are sources and reasons.
type refusals struct {
	log     *slog.Logger
	mu      sync.Mutex
	tallies map[refusalKey]*tally
}

type refusalKey struct{ source, reason string }

type tally struct {
	logged time.Time
	since  int // requests since then, counted and not logged
}

func newRefusals(l *slog.Logger) *refusals {
	return &refusals{log: l, tallies: map[refusalKey]*tally{}}
}

// note counts a request and reports whether it is to be logged, with how many
// others of its kind were not since the last line.
func (r *refusals) note(k refusalKey, now time.Time) (others int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tallies[k]
	if t == nil {
		r.tallies[k] = &tally{logged: now}
		return 0, true
	}
	if now.Sub(t.logged) < quiet {
		t.since++
		return 0, false
	}
	others = t.since
	*t = tally{logged: now}
	return others, true
}

// flush logs the counts that no later request brought out.
func (r *refusals) flush(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, t := range r.tallies {
		if t.since == 0 || now.Sub(t.logged) < quiet {
			continue
		}
		r.log.Warn("requests refused", "source", k.source, "reason", k.reason, "repeated", t.since)
		*t = tally{logged: now}
	}
}

// logRefused never logs the path: at its end there may be a token.
func (s *Server) logRefused(source string, r *http.Request, no reply) {
	others, ok := s.refusals.note(refusalKey{source, no.outcome}, s.now())
	if !ok {
		return
	}
	level, what := slog.LevelWarn, clip(no.what)
	if no.cause != nil {
		what = no.cause.Error()
	}
	if no.outcome == OutcomePanic {
		level = slog.LevelError
	}
	s.log.LogAttrs(context.Background(), level, "request refused",
		slog.String("source", source), slog.String("reason", no.outcome), slog.Int("status", no.status),
		slog.String("client", s.clientIP(r)), slog.String("error", what), slog.Int("repeated", others))
}

// logStored is for debugging only: what is accepted is told by metrics.
func (s *Server) logStored(ctx context.Context, source string, e event.Event, r event.Receipt) {
	if !s.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	s.log.LogAttrs(ctx, slog.LevelDebug, "event stored", slog.String("source", source), slog.String("id", e.ID),
		slog.String("subject", e.Subject), slog.Uint64("seq", r.Seq), slog.Bool("duplicate", r.Duplicate))
}

// connectionLog takes what the HTTP server has to say of connections, such as
// failed TLS handshakes, under the same limit.
func (s *Server) connectionLog() *log.Logger { return log.New(connectionLog{s}, "", 0) }

type connectionLog struct{ s *Server }

// Write implements io.Writer for one message.
func (w connectionLog) Write(p []byte) (int, error) {
	if others, ok := w.s.refusals.note(refusalKey{reason: reasonConnection}, w.s.now()); ok {
		w.s.log.Warn("connection failed", "error", string(bytes.TrimSpace(p)), "repeated", others)
	}
	return len(p), nil
}

// clientIP returns how the client's address is found: the peer's, or, as far
// as the peers are trusted, the one they name in X-Forwarded-For.
func clientIP(trusted []netip.Prefix) func(*http.Request) string {
	if len(trusted) == 0 {
		return echo.ExtractIPDirect()
	}
	// Echo trusts more by itself than anybody asked for.
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range trusted {
		a := p.Masked().Addr()
		options = append(options, echo.TrustIPRange(&net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(p.Bits(), a.BitLen())}))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}
