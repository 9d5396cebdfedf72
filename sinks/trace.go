package sinks

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/delivery"
)

// An attempt is traced where something happens that takes time: the lookup and
// the connection when one is dialled, the handshake only for https. An attempt
// on a connection that was kept open so costs next to nothing more.

// dialTraced dials and notes in the trace of ctx, if it has one, how long the
// lookup and the rest took.
func dialTraced(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
	trace := delivery.TraceOf(ctx)
	if trace == nil {
		return d.DialContext(ctx, network, address)
	}
	start := time.Now()
	var looked time.Duration // the lookup ends before the first connection is tried
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSDone: func(httptrace.DNSDoneInfo) {
			looked = time.Since(start)
			trace.Looked(looked)
		},
	})
	conn, err := d.DialContext(ctx, network, address)
	if err == nil {
		trace.Connected(time.Since(start) - looked)
	}
	return conn, err
}

// accepted reads the rest of an answer to an attempt that was taken, and notes
// its start in a trace that listens.
func accepted(resp *http.Response, trace *delivery.Trace, scrub scrubber, cancel context.CancelFunc) {
	if !trace.Listens() {
		drain(resp, io.Discard, maxDrain, cancel)
		return
	}
	var start bytes.Buffer
	whole := drain(resp, &start, int64(maxResponse+scrub.longest), cancel)
	trace.Said(resp.StatusCode, string(scrub.head(start.Bytes(), whole, maxResponse)))
}

// traceTLS returns a context under which a handshake is noted in trace.
func traceTLS(ctx context.Context, trace *delivery.Trace) context.Context {
	// Two connections may be made for one request, when a kept one turned out to be closed.
	var start atomic.Pointer[time.Time]
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeStart: func() {
			now := time.Now()
			start.Store(&now)
		},
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if began := start.Load(); err == nil && began != nil {
				trace.Secured(time.Since(*began))
			}
		},
	})
}
