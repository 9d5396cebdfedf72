package deploycheck

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// imageConfig delivers to a server whose authority is in a file, and to the
// same server as one that nobody vouches for. Its rule needs a time zone, and
// the image has no files of those.
const imageConfig = `
server: {admin: ""}
broker: {data_dir: data}
sources: {clickfunnels: {kind: clickfunnels, secrets_file: secret}}
sinks:
  trusted: {kind: http, url: "https://127.0.0.1:8443/trusted", tls: {ca_file: ca.pem}}
  unknown: {kind: http, url: "https://127.0.0.1:8443/unknown"}
routes:
  - match: [">"]
    when: event.received.getHours("America/New_York") >= 0
    to: [trusted, unknown]
`

// imageScenario runs the image, first as it is, then with a file and a TLS sink.
func imageScenario(dir string) error {
	return inside(dir, nil, func(h *host) error {
		r, err := h.healthy("default")
		if err != nil {
			return err
		}
		if err := confined(r); err != nil {
			return err
		}
		if _, err := h.exec("default", "/penstock", "send", "orders/invoice.paid"); err != nil {
			return fmt.Errorf("the quick-start: %w", err)
		}
		if err := until("the event is printed", func() error { return has(r.log.String(), `"orders/invoice.paid"`) }); err != nil {
			return err
		}
		if err := r.terminate(); err != nil {
			return err
		}
		return tlsSink(h, dir)
	})
}

func tlsSink(h *host, dir string) error {
	got, ca, err := serveTLS()
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"penstock.yaml": imageConfig, "ca.pem": ca, "secret": "the-signing-secret"} {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	r, err := h.healthy("configured")
	if err != nil {
		return err
	}
	out, err := h.exec("configured", "/penstock", "version")
	if err != nil {
		return err
	}
	if err := has(out, "penstock v1.2.3-test (0123456789ab)"); err != nil {
		return err
	}
	if _, err := h.exec("configured", "/penstock", "send", "orders/invoice.paid", "-c", "/etc/penstock/penstock.yaml"); err != nil {
		return err
	}
	select {
	case path := <-got:
		if path != "/trusted" {
			return fmt.Errorf("%s got the event, though nobody vouches for its certificate", path)
		}
	case <-time.After(patience):
		return errors.New("the TLS sink got nothing")
	}
	if err := until("the other is refused", func() error { return has(r.log.String(), "certificate signed by unknown authority") }); err != nil {
		return err
	}
	return r.terminate()
}

func has(text, want string) error {
	if !strings.Contains(text, want) {
		return fmt.Errorf("%q is not in:\n%s", want, text)
	}
	return nil
}

// confined demands that a process is nobody's, may do nothing, and cannot write
// to its root, in which is only what the image has.
func confined(r *running) error {
	proc := fmt.Sprintf("/proc/%d/", r.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return err
	}
	for _, want := range []string{`(?m)^Uid:\s+65532\s+65532\s+65532`, `(?m)^Gid:\s+65532\s+65532\s+65532`, `(?m)^CapEff:\s+0+$`, `(?m)^CapPrm:\s+0+$`} {
		if !regexp.MustCompile(want).Match(status) {
			return fmt.Errorf("%s is not in:\n%s", want, status)
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(proc+"root", &fs); err != nil {
		return err
	}
	if fs.Flags&unix.ST_RDONLY == 0 {
		return errors.New("its root can be written to")
	}
	entries, err := os.ReadDir(proc + "root")
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); err != nil || got != "etc licenses penstock var" {
		return fmt.Errorf("its root has %s, %w", got, err)
	}
	return nil
}

// serveTLS is a server under an authority of its own, in PEM, that tells the
// path of what it gets.
func serveTLS() (got <-chan string, ca string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of the test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, "", err
	}
	paths := make(chan string, 16)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			paths <- r.URL.Path
			w.WriteHeader(http.StatusNoContent)
		}),
		ErrorLog: nil, ReadHeaderTimeout: patience,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
	}
	l, err := net.Listen("tcp", "127.0.0.1:8443")
	if err != nil {
		return nil, "", err
	}
	go func() { _ = srv.ServeTLS(l, "", "") }() // until the scenario's process ends
	return paths, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}
