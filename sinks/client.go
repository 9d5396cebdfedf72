package sinks

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/penstock/penstock/internal/delivery"
)

const (
	// maxResponse bounds what is kept of a failed answer's body.
	maxResponse = 1 << 10
	// maxDrain and drainWait bound what is read of an answer's body so that
	// its connection can be used again; beyond them a new one is cheaper.
	maxDrain  = 64 << 10
	drainWait = 500 * time.Millisecond
	// dialTimeout bounds a dial whose attempt is over: the transport goes on
	// with it in the background, for the next one.
	dialTimeout = 30 * time.Second
)

// NewTransport returns the transport that the sinks of a process share: it
// keeps connections open, speaks HTTP/2 where the receiver does, and dials
// nothing that g forbids. It uses no proxy, because a proxy looks names up
// out of the guard's sight. How long a request may take is up to its context.
func NewTransport(g Guard) *http.Transport { return newTransport(g, nil, g.control) }

// newTransport takes apart what a guard says of names and of addresses, and who
// looks names up; nil is the system.
func newTransport(g Guard, resolver *net.Resolver, control func(network, address string, c syscall.RawConn) error) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Resolver: resolver, Control: control}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, fmt.Errorf("dial %s: %w", network, err)
			}
			if err := g.CheckHost(host); err != nil {
				return nil, err
			}
			return dialTraced(ctx, dialer, network, address)
		},
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		// Each sink's concurrency bounds its connections; all of them stay.
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		// A head and a webhook of the usual size leave in one write.
		WriteBufferSize: 16 << 10,
		// A connection whose other end is gone without a word would fail every
		// attempt on it until TCP gives up, which takes a quarter of an hour.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// client makes the requests of one sink to one URL and says what their
// outcomes mean. It is safe for concurrent use.
type client struct {
	transport http.RoundTripper
	owned     bool                   // transport is this client's alone
	request   http.Request           // what all requests have in common
	label     string                 // "POST crm.example.com", for errors
	permanent []int                  // statuses that no retry will change
	classes   map[int]delivery.Class // what the configuration says of a status; "" is done
	secrets   []string
	scrub     scrubber // of secrets
	// perAttempt are headers whose values differ by attempt and are secret.
	perAttempt []string
}

// newClient returns a client that sends to u. The secrets, and what may be
// secret in u, never appear in an error or in the part of an answer that is
// kept, even when the receiver repeats them.
func newClient(d Deps, method string, u *url.URL, permanent []int, secrets ...string) *client {
	secrets = append(secrets, urlSecrets(u)...)
	c := &client{
		transport: d.HTTP,
		request: http.Request{
			Method: method, URL: u, Host: u.Host,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		},
		label:     method + " " + u.Host,
		permanent: permanent,
		secrets:   secrets,
		scrub:     newScrubber(secrets),
	}
	if c.transport == nil {
		c.transport, c.owned = NewTransport(Guard{}), true
	}
	return c
}

// String names the receiver, and so keeps a printed sink from showing secrets.
func (c *client) String() string { return c.label }

// GoString is String, for %#v.
func (c *client) GoString() string { return c.label }

// Close gives up idle connections that no other sink uses.
func (c *client) Close() error {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok && c.owned {
		t.CloseIdleConnections()
	}
	return nil
}

// send makes one request, following no redirect. It returns nil when the
// receiver has taken the event, else a *delivery.Error. The header is sent as
// it is and not changed; data must not change even after send has returned, as
// HTTP allows an answer before the end of the request.
func (c *client) send(ctx context.Context, header http.Header, data []byte) error {
	return c.sendTo(ctx, c.request.URL, header, data)
}

// sendTo is send to another URL than the client's own.
func (c *client) sendTo(ctx context.Context, u *url.URL, header http.Header, data []byte) error {
	start := time.Now()
	reqCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	trace := delivery.TraceOf(ctx)
	if trace != nil && u.Scheme == "https" {
		reqCtx = traceTLS(reqCtx, trace)
	}
	resp, err := c.transport.RoundTrip(c.newRequest(reqCtx, u, header, data))
	if err != nil {
		trace.Spoke(c.request.Method, u, 0)
		return c.noAnswer(ctx, start, c.labelOf(u), c.scrubOf(header), err)
	}
	trace.Answered(time.Since(start))
	trace.Spoke(c.request.Method, u, resp.StatusCode)
	defer resp.Body.Close()
	class, note := c.classOf(resp)
	if class == "" {
		// The receiver has the event, whatever becomes of the rest.
		accepted(resp, trace, c.scrubOf(header), cancel)
		return nil
	}
	return c.answered(resp, class, c.labelOf(u), c.scrubOf(header), note, cancel)
}

// labelOf names a request to u in errors.
func (c *client) labelOf(u *url.URL) string {
	if u == c.request.URL {
		return c.label
	}
	return c.request.Method + " " + u.Host
}

// scrubOf returns what removes the secrets of a request with this header.
func (c *client) scrubOf(header http.Header) scrubber {
	if len(c.perAttempt) == 0 {
		return c.scrub
	}
	secrets := slices.Clone(c.secrets)
	for _, name := range c.perAttempt {
		for _, value := range header[name] {
			secrets = append(secrets, headerSecrets(value)...)
		}
	}
	return newScrubber(secrets)
}

func (c *client) newRequest(ctx context.Context, u *url.URL, header http.Header, data []byte) *http.Request {
	r := c.request.WithContext(ctx)
	r.URL, r.Host, r.Header = u, u.Host, header
	r.ContentLength = int64(len(data))
	if len(data) == 0 {
		r.Body = http.NoBody
		return r
	}
	// The transport writes head and body at once only when it sees that the
	// body is in memory, and it knows no type but these two.
	r.Body = io.NopCloser(bytes.NewReader(data))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	return r
}

// drain copies at most max bytes of the answer's body to w, for at most
// drainWait; then cancel ends the request and with it the read. It reports
// that it came to the body's end. An answer that breaks off has still been
// given, so there is no error.
func drain(resp *http.Response, w io.Writer, max int64, cancel context.CancelFunc) bool {
	if resp.Body == http.NoBody || resp.StatusCode == http.StatusSwitchingProtocols {
		return true
	}
	late := time.AfterFunc(drainWait, cancel)
	defer late.Stop()
	_, err := io.CopyN(w, resp.Body, max)
	return err == io.EOF
}

// answered returns an answer that is of a class as an error.
func (c *client) answered(resp *http.Response, class delivery.Class, label string, scrub scrubber, note string, cancel context.CancelFunc) *delivery.Error {
	var start bytes.Buffer
	window := int64(maxResponse + scrub.longest)
	whole := drain(resp, &start, window, cancel)
	if int64(start.Len()) == window {
		drain(resp, io.Discard, maxDrain, cancel)
	}
	e := &delivery.Error{
		Class:    class,
		Status:   resp.StatusCode,
		Response: scrub.head(start.Bytes(), whole, maxResponse),
		Err:      fmt.Errorf("%s: answered %s%s", label, statusText(resp.StatusCode), scrub.clean(note)),
	}
	if class == delivery.Throttled || class == delivery.Failed {
		e.RetryAfter = retryAfter(resp.Header, time.Now())
	}
	return e
}

// classOf says whose fault an answer is, "" when it is none: by the
// configuration, else by the rules for all receivers.
func (c *client) classOf(resp *http.Response) (delivery.Class, string) {
	byRule, note := classify(resp, c.permanent)
	if class, ok := c.classes[resp.StatusCode]; ok {
		return class, note
	}
	return byRule, note
}

// classify says whose fault an answer is, "" for a 2xx, and what to add to its
// status in the error's text.
func classify(resp *http.Response, permanent []int) (delivery.Class, string) {
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		return "", ""
	case slices.Contains(permanent, s):
		return delivery.Rejected, ""
	case s == http.StatusTooManyRequests:
		return delivery.Throttled, ""
	case s == http.StatusRequestTimeout, s >= 500, s < 200:
		return delivery.Failed, ""
	case s < 400:
		return delivery.Refused, redirectNote(resp)
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		return delivery.Refused, ": check the sink's credentials"
	case s == http.StatusNotFound:
		return delivery.Refused, ": check the sink's url"
	default:
		return delivery.Refused, ""
	}
}

// redirectNote names the host that a redirect points to, and nothing else of
// it: the rest may hold secrets.
func redirectNote(resp *http.Response) string {
	const note = ": redirects are not followed"
	location, err := resp.Location()
	if err != nil || location.Host == "" {
		return note
	}
	host := location.Host
	if len(host) > 255 {
		host = host[:255]
	}
	return note + "; set url to where it points, on host " + strconv.QuoteToASCII(host)
}

// statusText is the status with its standard name: the receiver's own reason
// phrase may say anything.
func statusText(status int) string {
	return strings.TrimSuffix(strconv.Itoa(status)+" "+http.StatusText(status), " ")
}

// maxRetryAfter keeps the pause within what a Duration and reason can hold;
// the policy clamps it further.
const maxRetryAfter = 365 * 24 * time.Hour

// retryAfter returns the wait that a Retry-After header asks for, in either
// form, or 0 if there is none, it is malformed, or it is already past.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(v, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
