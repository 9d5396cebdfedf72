package sinks

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/penstock/penstock/config"
)

// ErrNotChecked says that there is nothing to reach, or that only an event
// tells where it goes; the text that wraps it says which.
var ErrNotChecked = errors.New("not checked")

// addressKeys are the keys that say where a sink is, of all kinds.
var addressKeys = []string{"url", "webhook_url", "endpoint", "api_url"}

// slackAPI is where a sink of kind slack with a token posts.
const slackAPI = "https://slack.com"

// Reach connects to the host of the sink, and shakes hands by TLS where that is
// how it is talked to. It sends nothing else. It returns the host and port that
// it tried; nothing of the URL's path, which may be a secret. An error that
// wraps ErrNotChecked says why there was nothing to try.
func Reach(ctx context.Context, c config.Sink) (host string, err error) {
	text := ""
	for _, key := range addressKeys {
		text = cmp.Or(text, c.Options.Get(key).Text())
	}
	switch {
	case text == "" && c.Kind == "slack":
		text = slackAPI
	case text == "" && c.Kind == "s3":
		return "", fmt.Errorf("%w: the AWS SDK finds the endpoint", ErrNotChecked)
	case text == "":
		return "", fmt.Errorf("%w: it writes on this machine", ErrNotChecked)
	}
	text, _, _ = strings.Cut(text, ",")
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || strings.Contains(u.Host, "{") {
		return "", fmt.Errorf("%w: only an event says where it goes", ErrNotChecked)
	}
	if proxied(u) {
		return "", fmt.Errorf("%w: requests go through a proxy", ErrNotChecked)
	}
	ports := map[string]string{"http": "80", "https": "443", "nats": "4222", "tls": "4222", "ws": "80", "wss": "443"}
	host = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), ports[u.Scheme]))
	dialer := &net.Dialer{Control: Guard{}.control}
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return host, dialError(err)
	}
	defer conn.Close()
	if u.Scheme != "https" && u.Scheme != "wss" {
		return host, nil
	}
	// A sink with certificates of its own is only asked whether it speaks TLS.
	own := !c.Options.Get("tls").IsZero() || !c.Options.Get("ca_file").IsZero()
	t := tls.Client(conn, &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12, InsecureSkipVerify: own})
	if err := t.HandshakeContext(ctx); err != nil && !own {
		return host, fmt.Errorf("TLS handshake: %w", err)
	}
	return host, nil
}

// proxied reports that requests to u do not go there directly.
func proxied(u *url.URL) bool {
	p, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	return err == nil && p != nil && (u.Scheme == "http" || u.Scheme == "https")
}

// dialError leaves out what is said with the host anyway.
func dialError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
