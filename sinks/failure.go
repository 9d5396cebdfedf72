package sinks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/penstock/penstock/internal/delivery"
)

// failure is a request without an answer. Its text is ours or scrubbed; the
// cause stays reachable for errors.Is and errors.As.
type failure struct {
	text  string
	cause error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

// noAnswer returns what it means that a request begun at start had no answer.
// ctx is the attempt's, so that its end is told apart from other errors.
func (c *client) noAnswer(ctx context.Context, start time.Time, label string, scrub scrubber, err error) error {
	class, text := explain(ctx, start, err)
	return &delivery.Error{Class: class, Err: &failure{
		text:  label + ": " + oneLine(scrub.clean(text), 400),
		cause: err,
	}}
}

// explain says whose fault err is, in words. The order matters: what is
// certain comes before what is a guess.
func explain(ctx context.Context, start time.Time, err error) (delivery.Class, string) {
	var guarded *guardError
	var dns *net.DNSError
	var proxy *proxyError
	switch {
	case errors.As(err, &guarded):
		return delivery.Refused, guarded.Error()
	case errors.As(err, &proxy):
		return proxy.class(), proxy.Error()
	case errors.Is(ctx.Err(), context.Canceled):
		return delivery.Failed, "cancelled"
	case ctx.Err() != nil:
		return delivery.Failed, "no answer within " + patience(ctx, start).String()
	case errors.As(err, &dns):
		return delivery.Network, "look up the host: " + dns.Err
	case isTLS(err):
		return delivery.Network, "TLS: " + strings.TrimPrefix(text(err), "tls: ")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return delivery.Failed, "the connection was closed before an answer"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return delivery.Failed, "the connection was reset before an answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		return delivery.Failed, "connect: connection refused"
	default:
		return delivery.Failed, text(err)
	}
}

// patience is how long an attempt begun at start was allowed to take.
func patience(ctx context.Context, start time.Time) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now()
	}
	d := end.Sub(start)
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

// isTLS reports that no secure connection came about.
func isTLS(err error) bool {
	var (
		verify *tls.CertificateVerificationError
		record tls.RecordHeaderError
		alert  *net.OpError
		ca     x509.UnknownAuthorityError
		host   x509.HostnameError
		bad    x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &verify), errors.As(err, &record), errors.As(err, &ca),
		errors.As(err, &host), errors.As(err, &bad), errors.Is(err, http.ErrSchemeMismatch):
		return true
	case errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error"):
		return true
	default:
		return strings.HasPrefix(err.Error(), "tls: ")
	}
}

// text is err's text without the URL that url.Error adds.
func text(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return err.Error()
}

// oneLine makes s safe for a log line and at most max bytes long.
func oneLine(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, s)
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "") + fmt.Sprintf("... (%d bytes more)", len(s)-max)
	}
	return s
}
