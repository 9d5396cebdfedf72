// Package console is the admin API on a listener of its own, and the client
// that the commands use to talk to it. The JSON of both is in api.go.
//
// Whoever reaches the API can read bodies and drop dead letters, so it is
// guarded twice: by a token, or, where there is none, by answering only to
// this machine's own names; and against web pages that make a browser send
// requests (guard.go).
package console

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/httpconn"
	"github.com/penstock/penstock/internal/replay"
)

// DeadLetters keeps dead letters. Its methods may be called concurrently; what
// they return must hold no secret, nor must their errors.
type DeadLetters interface {
	// DeadLetters returns those that the filter selects, oldest first, without
	// bodies, and whether there may be more after the last one.
	DeadLetters(ctx context.Context, f delivery.DeadFilter) ([]delivery.DeadLetter, bool, error)
	// DeadLetter returns one with its body, or delivery.ErrNoDeadLetter.
	DeadLetter(ctx context.Context, seq uint64) (delivery.DeadLetter, error)
	// RetryDead hands one to its sink once more and returns what it was.
	RetryDead(ctx context.Context, seq uint64) (delivery.DeadLetter, error)
	// DropDead deletes one and returns what it was.
	DropDead(ctx context.Context, seq uint64) (delivery.DeadLetter, error)
}

// Replays makes jobs and works on them; it is replay.Manager.
type Replays interface {
	Preview(ctx context.Context, sel *delivery.Selection) (delivery.Survey, error)
	Start(ctx context.Context, sel delivery.Selection, perSecond float64) (replay.Status, error)
	Jobs(ctx context.Context) ([]replay.Status, error)
	Job(ctx context.Context, id string) (replay.Status, error)
	Resume(ctx context.Context, id string) (replay.Status, error)
	Pause(ctx context.Context, id string) (replay.Status, error)
	Abort(ctx context.Context, id string) (replay.Status, error)
}

// Options is all that a Server needs. Addr, Dead, Sinks and Status are required.
type Options struct {
	// Addr is server.admin, host:port.
	Addr string
	// Tokens are what callers must present: any of them. There may be none only
	// while Addr is a loopback address.
	Tokens []Credential
	Dead   DeadLetters
	// Events tells of events; nil: their addresses do not exist.
	Events Events
	// Rules tries rules on stored events; nil: nothing is under /api/v1/rules.
	Rules Rules
	// Sinks and Status answer within a few seconds and may be called concurrently.
	Sinks  func(context.Context) ([]SinkStatus, error)
	Status func(context.Context) (Status, error)
	// Rejected keeps refused requests, Control changes sinks. Nil: their parts
	// of the API do not exist.
	Rejected RejectedRequests
	Control  SinkControl
	// Replays; nil: there is nothing under /api/v1/replays.
	Replays Replays
	// Tails follows events; nil: there is no /api/v1/tail.
	Tails Tails
	// Changes keeps who changed what; nil: it is only logged.
	Changes ChangeLog
	// Backup and Intake serve a process that has its store inside; nil: there is
	// nothing under /api/v1/backup and /api/v1/intake.
	Backup Backup
	Intake Intake
	// Reload reads the configuration again; nil: there is no /api/v1/reload.
	Reload Reloader
	// Outstanding returns how many redriven deliveries wait in the sink's retry lane,
	// cheaply. Nil: retrying many dead letters is not held back by it.
	Outstanding func(sink string) int
	// Metrics serves GET /metrics; nil: there is none.
	Metrics http.Handler
	// MetricsOnly leaves out all but /metrics, for a process that has no part
	// in the admin API. Dead, Sinks and Status may be nil then.
	MetricsOnly bool
	// Ready says why the process should get no webhooks now, for GET /readyz;
	// nil: it always should.
	Ready func() []string
	// Logger gets a line for every change made, and refused requests, at most
	// one a second. Nil: nothing is logged.
	Logger *slog.Logger
	// AuditLogger gets the line for a change instead of Logger, when not nil.
	AuditLogger *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// MaxConcurrent bounds the requests answered at one time; zero: 16.
	MaxConcurrent int
	// ShutdownTimeout bounds a graceful stop; zero: 5 s.
	ShutdownTimeout time.Duration
}

// The bounds of one request.
const (
	maxBody           = 64 << 10
	maxHeader         = 16 << 10
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	answerTimeout     = 30 * time.Second // for finding the answer
	writeTimeout      = 60 * time.Second // for that and sending it
	idleTimeout       = 60 * time.Second
)

// Server serves the admin API. It is made by New.
type Server struct {
	o        Options
	log      *slog.Logger
	http     *http.Server
	listener net.Listener
	guard    *guard
	slots    chan struct{} // one for every request that is answered
	bulk     chan struct{} // only one bulk request runs at a time
	// searching: only one search runs at a time.
	searching chan struct{}
	// diffing: only one comparison of rules runs at a time.
	diffing  chan struct{}
	tails    chan struct{} // one for everybody who follows
	backups  chan struct{} // only one backup is made at a time
	refusals seldom
	fresh    httpconn.Fresh

	// stopping ends bulk requests at their next step, lifetime every request.
	stopping chan struct{}
	lifetime context.Context
	cut      context.CancelFunc
	// running is held for reading by every request, so that Run can wait for
	// those that outlive their connection.
	running sync.RWMutex
}

// New checks o and builds a Server. It starts nothing.
func New(o Options) (*Server, error) {
	o = withDefaults(o)
	if err := check(o); err != nil {
		return nil, err
	}
	s := &Server{
		o: o, log: o.Logger, guard: newGuard(o.Addr),
		slots: make(chan struct{}, o.MaxConcurrent), bulk: make(chan struct{}, 1), searching: make(chan struct{}, 1),
		diffing:  make(chan struct{}, 1),
		backups:  make(chan struct{}, 1),
		tails:    make(chan struct{}, maxTails),
		stopping: make(chan struct{}),
	}
	s.guard.open = o.MetricsOnly
	if err := s.guard.admitOnly(o.Tokens); err != nil {
		return nil, err
	}
	s.lifetime, s.cut = context.WithCancel(context.Background())
	routes := s.newRoutes()
	s.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.running.RLock()
			defer s.running.RUnlock()
			routes.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return s.lifetime },
		ConnState:         s.fresh.Note,
		ErrorLog:          log.New(connectionLog{s}, "", 0),
	}
	return s, nil
}

func withDefaults(o Options) Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.AuditLogger == nil {
		o.AuditLogger = o.Logger
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxConcurrent <= 0 {
		o.MaxConcurrent = 16
	}
	if o.ShutdownTimeout <= 0 {
		o.ShutdownTimeout = 5 * time.Second
	}
	return o
}

func check(o Options) error {
	host, _, err := net.SplitHostPort(o.Addr)
	switch {
	case err != nil:
		return fmt.Errorf("server.admin must be host:port, such as 127.0.0.1:8081, got %q", o.Addr)
	case o.MetricsOnly:
		return nil
	case len(o.Tokens) == 0 && !loopback(host):
		return fmt.Errorf("server.admin %s is not a loopback address, so server.admin_token is required; set it, or server.admin to 127.0.0.1:8081", o.Addr)
	case o.Dead == nil || o.Sinks == nil || o.Status == nil:
		return errors.New("options: Dead, Sinks and Status are required")
	}
	return nil
}

// loopback reports that a host, without port or brackets, is this machine and
// cannot be another.
func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && a.Unmap().IsLoopback()
}

// Listen binds the address of server.admin. Call it before Run to learn early
// that the address cannot be had. Once it has succeeded, only Run releases it.
func (s *Server) Listen() error {
	l, err := net.Listen("tcp", s.o.Addr)
	switch {
	case err == nil:
		s.listener = l
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on server.admin %s: the port is taken, perhaps by another penstock; stop that, or set server.admin to another port: %w", s.o.Addr, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen on server.admin %s: this user may not use that port; set server.admin to a port above 1023: %w", s.o.Addr, err)
	}
	return fmt.Errorf("listen on server.admin %s: %w", s.o.Addr, err)
}

// Addr returns the address that is listened on, nil before Listen.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Run serves until ctx is done, then lets the requests at hand finish within
// ShutdownTimeout, and returns when all of them have. It listens first if
// Listen was not called. It returns nil after a graceful stop. Call it once.
func (s *Server) Run(ctx context.Context) error {
	defer s.cut()
	if s.listener == nil {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served: // never by itself, but if it does nobody is served
		return errors.Join(fmt.Errorf("serve server.admin %s: %w", s.Addr(), err), s.stop())
	case <-ctx.Done():
		err := s.stop()
		<-served
		return err
	}
}

// stop answers the requests at hand and no others.
func (s *Server) stop() error {
	close(s.stopping)
	s.fresh.Close()
	ctx, cancel := context.WithTimeout(context.Background(), s.o.ShutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("stop the admin API within %s: requests cut off: %w", s.o.ShutdownTimeout, err)
		s.cut()
		_ = s.http.Close() // nobody is left to tell of what goes wrong here
	}
	s.running.Lock()
	defer s.running.Unlock()
	return err
}

// connectionLog takes what the HTTP server has to say of connections.
type connectionLog struct{ s *Server }

// Write implements io.Writer for one message.
func (w connectionLog) Write(p []byte) (int, error) {
	w.s.refusals.do(w.s.o.Now(), func(others int) {
		w.s.log.Warn("admin connection failed", "err", strings.TrimSpace(string(p)), "repeated", others)
	})
	return len(p), nil
}

// seldom lets one line a second through. The zero value is ready.
type seldom struct {
	mu      sync.Mutex
	last    time.Time
	skipped int
}

// do calls f with how many calls were not made since the last that was.
func (o *seldom) do(now time.Time, f func(others int)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.last) < time.Second {
		o.skipped++
		return
	}
	f(o.skipped)
	o.last, o.skipped = now, 0
}
