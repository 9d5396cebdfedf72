package sinks

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/penstock/penstock/internal/delivery"
)

// writePEM writes one block and returns the file's name.
func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), strings.ToLower(strings.ReplaceAll(kind, " ", "-"))+".pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestNATSOverTLS(t *testing.T) {
	t.Parallel()
	h := httptest.NewTLSServer(nil) // for its certificate
	t.Cleanup(h.Close)
	key, err := x509.MarshalPKCS8PrivateKey(h.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := writePEM(t, "CERTIFICATE", h.Certificate().Raw), writePEM(t, "PRIVATE KEY", key)
	n := startNATS(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: h.TLS.Certificates, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	})
	for name, tt := range map[string]struct {
		tls   string
		class delivery.Class
		text  string
	}{
		"all that it takes":      {fmt.Sprintf("{ca_file: %s, cert_file: %s, key_file: %s}", certFile, certFile, keyFile), "", ""},
		"no certificate of ours": {fmt.Sprintf("{ca_file: %s}", certFile), delivery.Network, "TLS: "},
		"an authority unknown":   {fmt.Sprintf("{cert_file: %s, key_file: %s}", certFile, keyFile), delivery.Network, "certificate signed by unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openSink(t, "nats", fmt.Sprintf("mode: core\nurl: %q\ntls: %s", n.as("penstock", headerSecret), tt.tls), Deps{})
			checkFailure(t, s.Deliver(t.Context(), sampleEvent()), tt.class, tt.text)
		})
	}
}
