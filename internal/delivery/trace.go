package delivery

import (
	"context"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

// Timings say where the time of an attempt went. A part is zero when it did
// not take place, as on a connection that was kept open, or when the sink does
// not measure it.
type Timings struct {
	DNS, Connect, TLS time.Duration
	// FirstByte is the time from the attempt's start until the answer began.
	FirstByte time.Duration
}

// Trace is the context of one attempt in which a sink notes its timings. It is
// safe for concurrent use, also after the attempt: a connection that nobody
// waits for any more may still be made.
type Trace struct {
	context.Context
	dns, connect, tls, firstByte atomic.Int64
	said                         atomic.Pointer[Said]
	peer                         atomic.Pointer[Peer]
	listens, follows             bool
}

// Peer is whom an attempt spoke to. It holds no path, which may be a secret.
type Peer struct {
	Method, Host string
	// Port is 0 when it is the scheme's own.
	Port int
	// Status is the HTTP status of the answer, 0 when there was none.
	Status int
}

// Said is what the receiver answered to an attempt that it took.
type Said struct {
	// Status is the HTTP status, 0 when there is no such thing.
	Status int
	// Text is the start of the answer, at most 1 KiB and without secrets.
	Text string
}

// traceKey is what a Trace answers to with itself.
type traceKey struct{}

// NewTrace returns a context that is ctx with room for timings.
func NewTrace(ctx context.Context) *Trace { return &Trace{Context: ctx} }

// NewListeningTrace is NewTrace for somebody who wants to see the answer too.
func NewListeningTrace(ctx context.Context) *Trace { return &Trace{Context: ctx, listens: true} }

// NewFollowingTrace is NewTrace for somebody who wants to know the peer too.
func NewFollowingTrace(ctx context.Context) *Trace { return &Trace{Context: ctx, follows: true} }

// Within returns ctx, with the trace that an attempt has.
func Within(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// Value implements context.Context.
func (t *Trace) Value(key any) any {
	if _, ok := key.(traceKey); ok {
		return t
	}
	return t.Context.Value(key)
}

// TraceOf returns the trace that ctx has, or nil: nobody wants to know.
func TraceOf(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}

// Looked notes how long the name took to look up. A nil Trace takes no notes.
func (t *Trace) Looked(d time.Duration) {
	if t != nil {
		t.dns.Store(int64(d))
	}
}

// Connected notes how long the connection took to make, without the lookup.
func (t *Trace) Connected(d time.Duration) {
	if t != nil {
		t.connect.Store(int64(d))
	}
}

// Secured notes how long the TLS handshake took.
func (t *Trace) Secured(d time.Duration) {
	if t != nil {
		t.tls.Store(int64(d))
	}
}

// Answered notes how long after its start the attempt had an answer.
func (t *Trace) Answered(d time.Duration) {
	if t != nil {
		t.firstByte.Store(int64(d))
	}
}

// Listens reports that the answer is wanted, and not only that there was one.
func (t *Trace) Listens() bool { return t != nil && t.listens }

// Said notes what the receiver answered.
func (t *Trace) Said(status int, text string) {
	if t.Listens() {
		t.said.Store(&Said{status, text})
	}
}

// Spoke notes that a request was made to a receiver and how it was answered;
// status is 0 when it was not. Of several requests the last counts.
func (t *Trace) Spoke(method string, u *url.URL, status int) {
	if t == nil || !t.follows {
		return
	}
	port, _ := strconv.Atoi(u.Port()) // none is 0
	t.peer.Store(&Peer{Method: method, Host: u.Hostname(), Port: port, Status: status})
}

// Peer returns what Spoke has noted, the zero Peer when it has not.
func (t *Trace) Peer() Peer {
	if t == nil || t.peer.Load() == nil {
		return Peer{}
	}
	return *t.peer.Load()
}

// Heard returns what Said has noted, the zero Said when it has not.
func (t *Trace) Heard() Said {
	if t == nil || t.said.Load() == nil {
		return Said{}
	}
	return *t.said.Load()
}

// Timings returns what was noted so far; of a nil Trace, nothing.
func (t *Trace) Timings() Timings {
	if t == nil {
		return Timings{}
	}
	return Timings{
		DNS: time.Duration(t.dns.Load()), Connect: time.Duration(t.connect.Load()),
		TLS: time.Duration(t.tls.Load()), FirstByte: time.Duration(t.firstByte.Load()),
	}
}
