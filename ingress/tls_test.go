package ingress_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
)

// pair is a certificate and its key in PEM.
type pair struct{ cert, key []byte }

func newPair(t *testing.T, serial int64) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"hooks.example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

// put writes a file whose time of change is age seconds after a fixed one, so
// that the tests do not depend on the file system's clock.
func put(t *testing.T, file string, data []byte, age int) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 0, age, 0, time.UTC)
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
}

func startTLS(t *testing.T, clk *clock, logs *logBuffer, p pair) (*running, config.TLS) {
	t.Helper()
	dir := t.TempDir()
	files := config.TLS{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	put(t, files.CertFile, p.cert, 0)
	put(t, files.KeyFile, p.key, 0)
	o := options(&fakePublisher{})
	o.Server.TLS, o.Logger, o.Now = files, logs.logger(), clk.now
	return start(t, o), files
}

// serial makes a handshake and returns the serial number it was shown.
func (r *running) serial(t *testing.T) int64 {
	t.Helper()
	c := tls.Client(r.dial(t), &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestCertificateIsReloaded(t *testing.T) {
	t.Parallel()
	clk, logs := newClock(), &logBuffer{}
	srv, files := startTLS(t, clk, logs, newPair(t, 1))
	second, third := newPair(t, 2), newPair(t, 3)
	steps := []struct {
		name    string
		do      func()
		advance time.Duration
		want    int64
	}{
		{"as started", func() {}, 0, 1},
		{"cert without its key", func() { put(t, files.CertFile, second.cert, 1) }, time.Second, 1},
		{"still bad", func() {}, time.Second, 1},
		{"key too, within the second", func() { put(t, files.KeyFile, second.key, 1) }, time.Second / 2, 1},
		{"key too, a second later", func() {}, time.Second / 2, 2},
		{"file gone", func() { _ = os.Remove(files.KeyFile) }, time.Second, 2},
		{"renewed", func() { put(t, files.CertFile, third.cert, 2); put(t, files.KeyFile, third.key, 2) }, time.Second, 3},
	}
	for _, step := range steps {
		step.do()
		clk.advance(step.advance)
		if got := srv.serial(t); got != step.want {
			t.Errorf("%s: serial %d, want %d", step.name, got, step.want)
		}
	}
	if n := strings.Count(logs.String(), "keeping the old certificate"); n != 2 {
		t.Errorf("%d lines about the two bad pairs, want 2:\n%s", n, logs.String())
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1)
	srv, _ := startTLS(t, newClock(), &logBuffer{}, p)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.cert)

	t.Run("HTTP/2", func(t *testing.T) {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "hooks.example.test"}}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequest("POST", "https://"+srv.addr+hookPath, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = good()
		resp, err := (&http.Client{Transport: transport, Timeout: patience}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if got := toAnswer(t, resp); got.status != 202 || resp.ProtoMajor != 2 {
			t.Errorf("answer %d by %s, want 202 by HTTP/2", got.status, resp.Proto)
		}
	})
	t.Run("TLS 1.1", func(t *testing.T) {
		c := tls.Client(srv.dial(t), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if err := c.Handshake(); err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("handshake by TLS 1.1 = %v, want it refused for its version", err)
		}
	})
}
