package sinks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/delivery"
)

// authority issues certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key, a.pem = issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	return a
}

// issue makes a certificate, signed by its own key when by is nil.
func issue(t *testing.T, c *x509.Certificate, by *authority) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	c.NotBefore = time.Now().Add(-time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	parent, parentKey := c, key
	if by != nil {
		parent, parentKey = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// issue returns a certificate for name and 127.0.0.1 with its key, both PEM,
// which is valid for some time.
func (a *authority) issue(t *testing.T, name string, valid time.Duration) (cert, key []byte) {
	t.Helper()
	_, k, cert := issue(t, &x509.Certificate{
		NotAfter: time.Now().Add(valid), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func (a *authority) pair(t *testing.T, name string, valid time.Duration) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(a.issue(t, name, valid))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// certificates are the files of a client.
type certificates struct{ ca, cert, key string }

func writeCertificates(t *testing.T, dir string) certificates {
	t.Helper()
	return newAuthority(t).write(t, dir, "client")
}

func (a *authority) write(t *testing.T, dir, name string) certificates {
	t.Helper()
	c := certificates{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	cert, key := a.issue(t, name, time.Hour)
	for file, data := range map[string][]byte{c.ca: a.pem, c.cert: cert, c.key: key} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// mutual returns a receiver that wants certificates of clients.
func mutual(t *testing.T, server, clients *authority, change func(*tls.Config), answer http.HandlerFunc) *receiver {
	t.Helper()
	r := unstartedReceiver(answer)
	r.TLS = &tls.Config{
		Certificates: []tls.Certificate{server.pair(t, "crm.internal", time.Hour)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: clients.pool(),
	}
	r.EnableHTTP2 = true
	if change != nil {
		change(r.TLS)
	}
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

func TestTLSOptions(t *testing.T) {
	t.Parallel()
	ours, other := newAuthority(t), newAuthority(t)
	files := ours.write(t, t.TempDir(), "client")
	both := "ca_file: " + files.ca + ", cert_file: " + files.cert + ", key_file: " + files.key
	for name, tt := range map[string]struct {
		options string
		change  func(*tls.Config)
		class   delivery.Class
		text    string
		proto   string
	}{
		"mutual":                  {options: "tls: {" + both + "}", proto: "HTTP/2.0"},
		"mutual, without HTTP/2":  {options: "http2: false\ntls: {" + both + "}", proto: "HTTP/1.1"},
		"name of the certificate": {options: "tls: {server_name: crm.internal, " + both + "}", proto: "HTTP/2.0"},
		"another name":            {options: "tls: {server_name: other.internal, " + both + "}", class: delivery.Network, text: "other.internal"},
		"an expired certificate": {options: "tls: {" + both + "}", class: delivery.Network, text: "expired",
			change: func(c *tls.Config) { c.Certificates = []tls.Certificate{ours.pair(t, "crm.internal", -time.Minute)} }},
		"no certificate to show":    {options: "tls: {ca_file: " + files.ca + "}", change: upTo(tls.VersionTLS12), class: delivery.Network, text: "TLS: "},
		"the system's authorities":  {options: "http2: false", class: delivery.Network, text: "unknown authority"},
		"an authority not theirs":   {options: "tls: {" + both + "}", change: func(c *tls.Config) { c.ClientCAs, c.MaxVersion = other.pool(), tls.VersionTLS12 }, class: delivery.Network, text: "TLS: "},
		"1.3 wanted, 1.2 spoken":    {options: "tls: {min_version: 1.3, " + both + "}", change: upTo(tls.VersionTLS12), class: delivery.Network, text: "protocol version"},
		"1.2 by default, and there": {options: "tls: {" + both + "}", change: upTo(tls.VersionTLS12), proto: "HTTP/2.0"},
		"1.1 is never spoken": {options: "tls: {" + both + "}", class: delivery.Network, text: "protocol version",
			change: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := mutual(t, ours, ours, tt.change, nil)
			err := openSink(t, "http", "url: "+r.URL+"\n"+tt.options, Deps{}).Deliver(within(t, longEnough), sampleEvent())
			checkFailure(t, err, tt.class, tt.text)
			if tt.class == "" && r.requests[0].Proto != tt.proto {
				t.Errorf("came by %s, want %s", r.requests[0].Proto, tt.proto)
			}
		})
	}
}

func upTo(version uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MaxVersion = version }
}

// TestRenewedCertificates replaces all files of a client while it sends: the
// receiver moves to another authority and certificate.
func TestRenewedCertificates(t *testing.T) {
	t.Parallel()
	before, after, dir := newAuthority(t), newAuthority(t), t.TempDir()
	files := before.write(t, dir, "client")
	old, renewed := mutual(t, before, before, nil, nil), mutual(t, after, after, nil, nil)
	var target atomic.Pointer[string]
	target.Store(ptr(old.Listener.Addr().String()))
	front := forward(t, &target)
	logger, logged := quiet()
	s := openSink(t, "http", "url: https://"+front+"\ntls: {ca_file: "+files.ca+", cert_file: "+files.cert+", key_file: "+files.key+"}", Deps{Logger: logger})
	if err := s.Deliver(within(t, longEnough), sampleEvent()); err != nil {
		t.Fatalf("Deliver with the first certificates: %v", err)
	}
	if err := os.WriteFile(files.key, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventuallyT(t, "the broken file is told", func() bool {
		if err := s.Deliver(within(t, longEnough), sampleEvent()); err != nil {
			t.Fatalf("Deliver with a broken file beside the kept certificate: %v", err)
		}
		return strings.Contains(logged.String(), "are not used")
	})
	after.write(t, dir, "client")
	target.Store(ptr(renewed.Listener.Addr().String()))
	old.CloseClientConnections()
	eventuallyT(t, "the new certificates are used", func() bool {
		return s.Deliver(within(t, longEnough), sampleEvent()) == nil && len(renewed.posted(t)) > 0
	})
	if n := strings.Count(logged.String(), "are not used"); n != 1 {
		t.Errorf("told %d times of the broken file, want once:\n%s", n, logged)
	}
}

func ptr[T any](v T) *T { return &v }

// eventuallyT waits for a condition.
func eventuallyT(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(longEnough); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// forward passes connections on to the target of the moment.
func forward(t *testing.T, target *atomic.Pointer[string]) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go join(in, *target.Load())
		}
	}()
	return l.Addr().String()
}

// join connects in with address until one of them ends.
func join(in net.Conn, address string) {
	defer in.Close()
	out, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		defer in.Close()
		defer out.Close()
		_, _ = io.Copy(out, in) // the other direction ends with it
	}()
	_, _ = io.Copy(in, out)
}

// proxy is a forward proxy that resolves names by itself: all lead to address.
func proxy(t *testing.T, address, credentials string) (url string, asked *atomic.Pointer[string]) {
	t.Helper()
	asked = new(atomic.Pointer[string])
	r := newReceiver(t, nil)
	r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked.Store(ptr(req.Method + " " + req.Host))
		_, password, _ := parseProxyAuth(req)
		if password != credentials {
			w.WriteHeader(http.StatusProxyAuthRequired)
			_, _ = io.WriteString(w, "not "+password) // the status says it
			return
		}
		if req.Method != http.MethodConnect {
			req.RequestURI, req.URL.Host = "", address
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			resp.Body.Close()
			w.WriteHeader(resp.StatusCode)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		join(conn, address)
	})
	return r.URL, asked
}

func parseProxyAuth(r *http.Request) (user, password string, ok bool) {
	return (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
}

func TestProxy(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	files := ours.write(t, t.TempDir(), "client")
	secure := mutual(t, ours, ours, nil, nil)
	plain := newReceiver(t, nil)
	withTLS := "tls: {ca_file: " + files.ca + ", cert_file: " + files.cert + ", key_file: " + files.key + "}\n"
	for name, tt := range map[string]struct {
		to       *receiver
		url      string
		password string
		asked    string
		class    delivery.Class
		text     string
	}{
		"plain":         {plain, "http://crm.internal/", headerSecretInURL, "POST crm.internal", "", ""},
		"TLS":           {secure, "https://crm.internal/", headerSecretInURL, "CONNECT crm.internal:443", "", ""},
		"plain refused": {plain, "http://crm.internal/", "query-secret%26more", "POST crm.internal", delivery.Refused, "answered 407"},
		"TLS refused":   {secure, "https://crm.internal/", "query-secret%26more", "CONNECT crm.internal:443", delivery.Refused, "the proxy answered 407"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, asked := proxy(t, tt.to.Listener.Addr().String(), headerSecret)
			at = strings.Replace(at, "http://", "http://me:"+tt.password+"@", 1)
			s := openSink(t, "http", withTLS+"url: "+tt.url+"\nproxy: "+at, Deps{})
			err := s.Deliver(within(t, longEnough), sampleEvent())
			checkFailure(t, err, tt.class, tt.text)
			if got := asked.Load(); got == nil || *got != tt.asked {
				t.Errorf("the proxy was asked for %v, want %s", got, tt.asked)
			}
		})
	}
}

// TestProxyOfTheEnvironment is used when the configuration says so, and only
// then.
func TestProxyOfTheEnvironment(t *testing.T) {
	r := newReceiver(t, nil)
	at, asked := proxy(t, r.Listener.Addr().String(), querySecret)
	t.Setenv("HTTP_PROXY", strings.Replace(at, "http://", "http://me:"+headerSecretInURL+"@", 1))
	// A label of more than 63 characters cannot be a host anywhere.
	nowhere := strings.Repeat("x", 64) + ".invalid"
	t.Setenv("NO_PROXY", "direct."+nowhere)
	s := openSink(t, "http", "url: http://crm.invalid/\nproxy: environment", Deps{})
	err := s.Deliver(within(t, longEnough), sampleEvent())
	checkFailure(t, err, delivery.Refused, "answered 407")
	checkNoSecret(t, "kept answer", string(err.(*delivery.Error).Response))
	if got := asked.Swap(nil); got == nil || *got != "POST crm.invalid" {
		t.Errorf("the proxy was asked for %v, want POST crm.invalid", got)
	}
	for _, options := range []string{"url: http://direct." + nowhere + "/\nproxy: environment", "url: http://" + nowhere + "/"} {
		if err := openSink(t, "http", options, Deps{}).Deliver(within(t, longEnough), sampleEvent()); delivery.ClassOf(err) != delivery.Network {
			t.Errorf("Deliver with %q = %v, want the name looked up here", options, err)
		}
	}
	if got := asked.Load(); got != nil {
		t.Errorf("the proxy was asked for %s, want nothing", *got)
	}
}

// headerSecretInURL is headerSecret as the user part of a URL has it.
const headerSecretInURL = "header-secret%2Fwith+signs"

// TestProxyIsNoWayAroundTheGuard has the guard refuse what a proxy would reach.
func TestProxyIsNoWayAroundTheGuard(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"169.254.169.254", "2852039166", "0251.0376.0251.0376", "metadata.google.internal.", "[::ffff:a9fe:a9fe]"} {
		if ms := Check(sinkConfig(t, "http", "proxy: http://127.0.0.1:1\nurl: http://"+host+"/")); len(ms.Fatal()) != 1 {
			t.Errorf("Check of %s by proxy = %v, want it refused", host, ms)
		}
	}
	for _, p := range []string{"http://[fe80::1]:3128", "socks5://2852039166:1080"} {
		if ms := Check(sinkConfig(t, "http", "url: http://crm.internal/\nproxy: '"+p+"'")); len(ms.Fatal()) != 1 {
			t.Errorf("Check of proxy %s = %v, want it refused", p, ms)
		}
	}
}

func TestSinksShareTheTransportUnlessTheyDiffer(t *testing.T) {
	t.Parallel()
	shared := NewTransport(Guard{})
	for options, own := range map[string]bool{
		"method: PUT": false, "gzip: true": false, "http2: true": false, "auth: {bearer: {token: x}}": false,
		"http2: false": true, "tls: {min_version: 1.3}": true, "proxy: environment": true,
	} {
		s := openSink(t, "http", "url: https://crm.example.com\n"+options, Deps{HTTP: shared}).(*httpSink)
		if got := s.transport != http.RoundTripper(shared); got != own || s.owned != own {
			t.Errorf("with %s the transport is the sink's own: %t, want %t", options, got, own)
		}
	}
}
