package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// rootsCommand lets the tests run this binary as a program that says whether
// the roots that it verifies with have a public authority.
func rootsCommand() {
	for root := range bundle.Roots() {
		c, err := x509.ParseCertificate(root.Certificate)
		if err != nil || root.Constraint != nil {
			continue
		}
		_, err = c.Verify(x509.VerifyOptions{})
		fmt.Println("verifies:", err == nil)
		return
	}
}

// TestEmbeddedRoots shows that the embedded roots are those of a machine that
// has none, and that a machine's own come first.
func TestEmbeddedRoots(t *testing.T) {
	t.Parallel()
	own := filepath.Join(t.TempDir(), "own.pem")
	if err := os.WriteFile(own, ownRoot(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ file, want string }{
		"a machine without roots":  {os.DevNull, "verifies: true\n"},
		"a machine with other CAs": {own, "verifies: false\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "penstock-roots")
			cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+tt.file, "SSL_CERT_DIR="+t.TempDir())
			got, err := cmd.CombinedOutput()
			if err != nil || string(got) != tt.want {
				t.Errorf("with the roots of %s: %v, %q, want %q", tt.file, err, got, tt.want)
			}
		})
	}
}

// ownRoot is the certificate of an authority that nobody knows.
func ownRoot(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	for root := range bundle.Roots() { // the last is as good as any that is not the first
		out.Reset()
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}
