package sinks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// tlsKeys are the keys of tls. The files are PEM; relative names are looked for
// beside the configuration. They are read again when they change.
type tlsKeys struct {
	// CAFile holds the authorities to trust instead of the system's.
	CAFile string `yaml:"ca_file,path" example:"/etc/penstock/ca.pem"`
	// CertFile holds the certificate that we show, with its chain.
	CertFile string `yaml:"cert_file,path" example:"/etc/penstock/client.pem"`
	// KeyFile holds the key of cert_file, without a passphrase.
	KeyFile string `yaml:"key_file,path" example:"/etc/penstock/client-key.pem"`
	// MinVersion is the oldest version of TLS to accept.
	MinVersion string `yaml:"min_version" oneof:"1.2 1.3"`
	// ServerName is the name that the receiver's certificate has to be for;
	// by default the host of url.
	ServerName string `yaml:"server_name" example:"crm.example.com"`
}

// transportOptions say how requests travel. The zero transportOptions use what
// all sinks share.
type transportOptions struct {
	tls        tlsKeys
	ownTLS     bool
	http1      bool
	publicOnly bool
	proxy      *url.URL
	fromEnv    bool // the proxy is the environment's
}

// own reports that the shared transport will not do.
func (o transportOptions) own() bool {
	return o.ownTLS || o.http1 || o.publicOnly || o.proxy != nil || o.fromEnv
}

// bound reports that the transport fits the sink's receiver alone.
func (o transportOptions) bound() bool { return o.publicOnly || o.tls.ServerName != "" }

// unbound returns the options for a host that the configuration names.
func (o transportOptions) unbound() transportOptions {
	o.publicOnly, o.tls.ServerName = false, ""
	return o
}

// secrets returns what must not be shown.
func (o transportOptions) secrets() []string {
	proxies := []*url.URL{o.proxy}
	if o.fromEnv {
		env := httpproxy.FromEnvironment()
		for _, raw := range []string{env.HTTPProxy, env.HTTPSProxy} {
			if u, err := url.Parse(raw); err == nil {
				proxies = append(proxies, u)
			}
		}
	}
	var secrets []string
	for _, p := range proxies {
		if p == nil || p.User == nil {
			continue
		}
		password, _ := p.User.Password()
		both := p.User.Username() + ":" + password
		secrets = append(secrets, password, both, p.User.String(), base64.StdEncoding.EncodeToString([]byte(both)))
	}
	return secrets
}

// decodeTLS checks tls, which is n, and the files that it names.
func decodeTLS(n config.Node, k tlsKeys) config.Mistakes {
	var mistakes config.Mistakes
	report := func(key, what, hint string) { mistakes = append(mistakes, n.Errorf(key, what, hint)) }
	if k.CAFile != "" && !n.Get("ca_file").Unresolved() {
		if _, err := readPool(k.CAFile); err != nil {
			report("ca_file", err.Error(), "name a PEM file of authorities; a relative name is looked for beside this file")
		}
	}
	switch {
	case k.CertFile != "" && k.KeyFile == "":
		report("cert_file", "needs key_file too", "set both or neither")
	case k.CertFile == "" && k.KeyFile != "":
		report("key_file", "needs cert_file too", "set both or neither")
	case k.CertFile == "" || n.Get("cert_file").Unresolved() || n.Get("key_file").Unresolved():
	default:
		pair, err := readPair(k.CertFile, k.KeyFile)
		switch {
		case err != nil:
			report("cert_file", err.Error(), "name a certificate and its key, both PEM")
		case time.Now().After(pair.Leaf.NotAfter):
			report("cert_file", "the certificate expired on "+pair.Leaf.NotAfter.Format(time.DateOnly), "put a new one there; it is read without a restart")
			mistakes[len(mistakes)-1].Warning = true
		}
	}
	return mistakes
}

// readPool reads a file of authorities. No error names a path: one made of
// variables may hold a secret by mistake.
func readPool(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", withoutPath(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, errors.New("holds no certificate")
	}
	return pool, nil
}

// readPair reads a certificate and its key.
func readPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("cannot be read: %w", withoutPath(err))
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("has a key_file that cannot be read: %w", withoutPath(err))
	}
	if b, _ := pem.Decode(cert); b == nil {
		return tls.Certificate{}, errors.New("holds no certificate")
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, errors.New("and key_file are not a certificate and its key")
	}
	return pair, nil
}

func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// decodeProxy reads the key proxy.
func decodeProxy(n config.Node, raw string) (proxy *url.URL, fromEnv bool, mistakes config.Mistakes) {
	if raw == "" || n.Get("proxy").Unresolved() || n.Get("proxy_file").Unresolved() {
		return nil, false, nil
	}
	if raw == "environment" {
		return nil, true, nil
	}
	u, err := url.Parse(raw)
	what := ""
	var refused *guardError
	switch {
	case err != nil:
		what = "is not a URL"
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" && u.Scheme != "socks5h":
		what = "must begin with http://, https:// or socks5://"
	case u.Hostname() == "":
		what = "names no host"
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		what = "has more than a host and a port"
	case errors.As((Guard{}).CheckHost(u.Hostname()), &refused):
		what = "points to " + refused.target + ", " + refused.why + ", which is never dialled"
	default:
		return u, false, nil
	}
	key := "proxy"
	if n.Get(key).IsZero() {
		key = "proxy_file"
	}
	return nil, false, config.Mistakes{n.Errorf(key, what, "write http://proxy.example.com:3128, or environment")}
}

// transport returns a new transport with these options, and what else is known
// of the files at the time.
func (o transportOptions) transport() (*http.Transport, error) {
	t := NewTransport(Guard{PublicOnly: o.publicOnly})
	t.TLSClientConfig.ServerName = o.tls.ServerName
	if o.tls.MinVersion == "1.3" {
		t.TLSClientConfig.MinVersion = tls.VersionTLS13
	}
	if o.tls.CAFile != "" {
		pool, err := readPool(o.tls.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file %w", err)
		}
		t.TLSClientConfig.RootCAs = pool
	}
	if o.tls.CertFile != "" {
		pair, err := readPair(o.tls.CertFile, o.tls.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file %w", err)
		}
		t.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	if o.http1 {
		t.ForceAttemptHTTP2, t.Protocols = false, new(http.Protocols)
		t.Protocols.SetHTTP1(true)
	}
	switch {
	case o.proxy != nil:
		t.Proxy = http.ProxyURL(o.proxy)
	case o.fromEnv:
		proxyFor := httpproxy.FromEnvironment().ProxyFunc()
		t.Proxy = func(r *http.Request) (*url.URL, error) { return proxyFor(r.URL) }
	}
	if t.Proxy != nil {
		t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
			if answer.StatusCode != http.StatusOK {
				return &proxyError{answer.StatusCode}
			}
			return nil
		}
	}
	return t, nil
}

// proxyError is a proxy that did not let us through.
type proxyError struct{ status int }

func (e *proxyError) Error() string { return "the proxy answered " + statusText(e.status) }

func (e *proxyError) class() delivery.Class {
	if e.status >= 400 && e.status < 500 && e.status != http.StatusRequestTimeout {
		return delivery.Refused
	}
	return delivery.Failed
}

// open returns the transport of one sink, which follows its files.
func (o transportOptions) open(log *slog.Logger) (http.RoundTripper, error) {
	t, err := o.transport()
	if err != nil {
		return nil, err
	}
	f := &following{options: o, log: log, stamp: o.stamp()}
	f.current.Store(t)
	f.looked.Store(time.Now().UnixNano())
	if f.stamp == "" {
		return t, nil
	}
	return f, nil
}

// stamp changes when one of the files does. It is empty when there are none.
func (o transportOptions) stamp() string {
	var b strings.Builder
	for _, file := range []string{o.tls.CAFile, o.tls.CertFile, o.tls.KeyFile} {
		if file == "" {
			continue
		}
		info, err := os.Stat(file)
		if err != nil {
			fmt.Fprint(&b, "none;")
			continue
		}
		fmt.Fprint(&b, info.ModTime().UnixNano(), info.Size(), ";")
	}
	return b.String()
}

// lookEvery is how often the files of a transport are looked at, when there is
// something to send.
const lookEvery = time.Second

// following is a transport that is replaced when one of its files has changed,
// so that a certificate is renewed without a restart. Requests under way end on
// the connections that they have. It is safe for concurrent use.
type following struct {
	options transportOptions
	log     *slog.Logger
	current atomic.Pointer[http.Transport]
	looked  atomic.Int64 // when, in Unix nanoseconds
	mu      sync.Mutex
	stamp   string // guarded by mu
	said    string // the last thing logged; guarded by mu
}

// RoundTrip implements http.RoundTripper.
func (f *following) RoundTrip(r *http.Request) (*http.Response, error) {
	if last, now := f.looked.Load(), time.Now().UnixNano(); now-last > int64(lookEvery) && f.looked.CompareAndSwap(last, now) {
		f.look()
	}
	return f.current.Load().RoundTrip(r)
}

// CloseIdleConnections gives up connections that are not in use.
func (f *following) CloseIdleConnections() { f.current.Load().CloseIdleConnections() }

// look replaces the transport if a file has changed. Files that do not fit
// together, as between the writing of one and of the other, change nothing.
func (f *following) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	stamp := f.options.stamp()
	if stamp == f.stamp {
		return
	}
	t, err := f.options.transport()
	if err != nil {
		if f.said != err.Error() {
			f.said = err.Error()
			f.log.Warn("the changed TLS files are not used", "error", err)
		}
		return
	}
	f.stamp, f.said = stamp, ""
	f.log.Info("the TLS files have changed and were read again")
	f.current.Swap(t).CloseIdleConnections()
}
