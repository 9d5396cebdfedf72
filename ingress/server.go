// Package ingress takes webhooks over HTTP and answers 202 only once an event
// is stored. What happens to one webhook is in receive.go, what is answered
// when storing fails in status.go.
//
// It knows no sender and no store: it declares Source and Publisher, and others
// implement them.
package ingress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/httpconn"
)

// Options is all that a Server needs. Server, Sources and Publisher are
// required; everything else has a default.
type Options struct {
	// Server is the checked configuration; its sizes and times must be above 0.
	Server  config.Server
	Sources []Endpoint
	// Publisher stores the events of every source.
	Publisher Publisher
	// Ready returns why this process should get no traffic now; nothing means
	// it should. Nil: always ready. It is called for every GET /readyz.
	Ready func() (reasons []string)
	// Enter is called before a webhook is looked at; not ok: none is taken now,
	// and it is answered 503. Else leave is called when it is answered. Nil: all
	// are taken.
	Enter func() (leave func(), ok bool)
	// Observe is called once for every request that is not a health check,
	// after its answer was written, possibly concurrently. It must not block.
	// Nil: nobody looks.
	Observe func(Request)
	// Rejected is called for every request that failed verification, before it
	// is answered, possibly concurrently. It must not block. Nil: nobody looks.
	Rejected func(Rejection)
	// Tracing follows the requests to sources. Nil: nobody does.
	Tracing Tracing
	// Logger gets refused requests, at most one line a second for each source
	// and reason. Nil: nothing is logged.
	Logger *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time

	// ReadHeaderTimeout bounds the arrival of a request's headers; zero: 5 s.
	ReadHeaderTimeout time.Duration
	// ReadTimeout bounds the arrival of a whole request; zero: 30 s.
	ReadTimeout time.Duration
	// PublishTimeout bounds the storing of one event; zero: 10 s.
	PublishTimeout time.Duration
	// WriteTimeout bounds a request from its last header to the end of the
	// answer; zero: 40 s. Below ReadTimeout plus PublishTimeout, a sender may
	// get no answer for an event that was stored.
	WriteTimeout time.Duration
	// IdleTimeout bounds the wait for the next request; zero: 120 s.
	IdleTimeout time.Duration
	// MaxHeaderBytes bounds a request's headers; zero: 16 KiB.
	MaxHeaderBytes int
}

// Endpoint is one configured source and where it listens. Signed or Token, or
// both, must be set: what can be verified by nothing is not taken.
type Endpoint struct {
	// Name is the source's name.
	Name string
	// Path is where its webhooks arrive, "/webhooks/clickfunnels".
	Path   string
	Source Source
	// Token, when set, is a path element after Path that replaces the signature.
	Token string
	// Signed reports that the source has secrets, so that requests to Path
	// itself can be verified.
	Signed bool
	// Sender is what people call the sender, for messages; empty: ClickFunnels.
	Sender string
}

// Server serves webhooks, /healthz and /readyz. It is made by New.
type Server struct {
	options  Options
	log      *slog.Logger
	now      func() time.Time
	http     *http.Server
	listener net.Listener
	routes   atomic.Pointer[routes]
	clientIP func(*http.Request) string
	refusals *refusals
	gate     gate
	buffers  buffers
	fresh    httpconn.Fresh

	stopping atomic.Bool
	// running is held for reading by every request, so that Run can wait for
	// those that outlive their connection.
	running sync.RWMutex
	// lifetime is the parent of every Publish: not the request's context,
	// because a sender that hangs up still wants its event stored. It ends
	// only when a graceful stop took too long.
	lifetime context.Context
	cut      context.CancelFunc
}

// New checks o and builds a Server. It reads the certificate, if there is one,
// and starts nothing. The error names every setting that is wrong.
func New(o Options) (*Server, error) {
	o = withDefaults(o)
	if err := check(o); err != nil {
		return nil, err
	}
	s := &Server{
		options:  o,
		log:      o.Logger,
		now:      o.Now,
		clientIP: clientIP(o.Server.TrustedProxies),
		refusals: newRefusals(o.Logger),
		buffers:  newBuffers(int(o.Server.MaxBody)),
	}
	s.gate.maxRequests = int64(o.Server.MaxInFlight)
	s.gate.maxBytes = int64(o.Server.MaxInFlightBytes)
	s.lifetime, s.cut = context.WithCancel(context.Background())
	s.routes.Store(s.newRoutes(o.Sources))
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: o.ReadHeaderTimeout,
		ReadTimeout:       o.ReadTimeout,
		WriteTimeout:      o.WriteTimeout,
		IdleTimeout:       o.IdleTimeout,
		MaxHeaderBytes:    o.MaxHeaderBytes,
		ErrorLog:          s.connectionLog(),
		ConnState:         s.fresh.Note,
	}
	if files := o.Server.TLS; files.CertFile != "" {
		cert, err := loadCertificate(files.CertFile, files.KeyFile, s.now, s.log)
		if err != nil {
			return nil, fmt.Errorf("read server.tls: %w", err)
		}
		s.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.get}
	}
	return s, nil
}

// Listen binds the address of server.listen. Call it before Run to learn early
// that the address cannot be had, or to read Addr. Once it has succeeded, only
// Run releases the address.
func (s *Server) Listen() error {
	address := s.options.Server.Listen
	l, err := net.Listen("tcp", address)
	if err != nil {
		return &listenError{address: address, err: err}
	}
	s.listener = l
	return nil
}

// Addr returns the address that is listened on, nil before Listen.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Handler returns what the server serves, for tests and benchmarks. Its
// requests are under the same bounds, but have no timeouts for reading.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.running.RLock()
		defer s.running.RUnlock()
		s.routes.Load().echo.ServeHTTP(w, r)
	})
}

// Replace takes the webhooks of other sources from the next request on. The
// requests at hand end as they began. The error names every setting that is
// wrong; then nothing is changed.
func (s *Server) Replace(sources []Endpoint) error {
	if err := CheckSources(sources); err != nil {
		return err
	}
	s.routes.Store(s.newRoutes(sources))
	return nil
}

// Run serves until ctx is done, then lets the requests at hand finish within
// server.shutdown_timeout, and returns when all of them have. It listens first
// if Listen was not called. It returns nil after a graceful stop. Call it once.
func (s *Server) Run(ctx context.Context) error {
	defer s.cut()
	if s.listener == nil {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	served := make(chan error, 1)
	go func() { served <- s.serve() }()
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.refusals.flush(s.now())
		case err := <-served: // never by itself, but if it does nobody is served
			return errors.Join(fmt.Errorf("serve %s: %w", s.Addr(), err), s.stop())
		case <-ctx.Done():
			err := s.stop()
			<-served
			return err
		}
	}
}

func (s *Server) serve() error {
	if s.http.TLSConfig != nil {
		return s.http.ServeTLS(s.listener, "", "") // the files come by GetCertificate
	}
	return s.http.Serve(s.listener)
}

// stop answers the requests at hand and no others.
func (s *Server) stop() error {
	s.stopping.Store(true)
	s.fresh.Close()
	limit := s.options.Server.ShutdownTimeout
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("stop within server.shutdown_timeout (%s): requests cut off, their senders will send again: %w", limit, err)
		s.cut()
		_ = s.http.Close() // the requests are told by now; there is nobody to tell more
	}
	s.running.Lock()
	defer s.running.Unlock()
	s.refusals.flush(s.now().Add(quiet))
	return err
}

// listenError says why an address cannot be had and what would help.
type listenError struct {
	address string
	err     error
}

func (e *listenError) Error() string {
	port := e.address
	if _, p, err := net.SplitHostPort(e.address); err == nil {
		port = p
	}
	switch {
	case errors.Is(e.err, syscall.EADDRINUSE):
		return fmt.Sprintf("listen on %s: port %s is taken by another process; stop it or set server.listen in the file (or --listen)", e.address, port)
	case errors.Is(e.err, syscall.EACCES):
		return fmt.Sprintf("listen on %s: this user may not use port %s; set server.listen in the file (or --listen) to a port above 1023", e.address, port)
	}
	return fmt.Sprintf("listen on %s, as server.listen says: %v", e.address, e.err)
}

// Unwrap returns the cause.
func (e *listenError) Unwrap() error { return e.err }
