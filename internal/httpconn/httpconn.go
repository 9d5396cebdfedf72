// Package httpconn keeps what our two HTTP servers need to know of their
// connections.
package httpconn

import (
	"net"
	"net/http"
	"sync"
)

// Fresh are the connections that no request came on yet. A graceful stop of an
// http.Server waits five seconds for each, and browsers and load balancers
// open them in advance. The zero Fresh is ready; it is safe for concurrent use.
type Fresh struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// Note is an http.Server's ConnState.
func (f *Fresh) Note(c net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(f.conns, c)
	case f.closed:
		_ = c.Close()
	case f.conns == nil:
		f.conns = map[net.Conn]struct{}{c: {}}
	default:
		f.conns[c] = struct{}{}
	}
}

// Close ends those there are and those to come. Call it before Shutdown.
func (f *Fresh) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for c := range f.conns {
		_ = c.Close() // nothing was said on it
	}
}
