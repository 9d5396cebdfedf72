package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/clickfunnels"
)

// hooksName is the public name that the page about proxies uses.
const hooksName = "hooks.example.com"

// TestProxiesOfThePage runs each proxy with the configuration that docs/tls.md
// shows, and sends signed events through it: each has to come out byte for byte.
func TestProxiesOfThePage(t *testing.T) {
	t.Parallel()
	for _, proxy := range []struct {
		name, tag string
		// start says how the program is run; the text is the page's.
		start func(t *testing.T, dir, text string, at *proxyPlaces) *exec.Cmd
	}{
		{"caddy", "caddyfile", startCaddy},
		{"nginx", "nginx", startNginx},
	} {
		t.Run(proxy.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(proxy.name); err != nil {
				t.Skipf("capability: %s is not installed", proxy.name)
			}
			r := newReceiver(t, ok)
			p := run(t, t.TempDir(), "sinks: {all: {kind: http, url: \""+r.URL+"\"}}\nroutes: [{match: [\">\"], to: [all]}]\n")
			at := &proxyPlaces{upstream: p.Addr().String(), port: freePort(t)}
			at.cert, at.key = makeCertificate(t, t.TempDir(), hooksName)
			runUntilEnd(t, proxy.start(t, t.TempDir(), pageBlock(t, "docs/tls.md", proxy.tag), at))
			client := at.client(t)
			eventually(t, "the proxy answers", func() bool {
				status, err := at.post(t, client, body("first-"+proxy.name, "order.created"))
				return err == nil && status == http.StatusAccepted
			})
			sent := map[string]bool{}
			for i, size := range []int{0, 1 << 10, 600 << 10} {
				e := fmt.Sprintf(`{"event_id":"%s-%d","event_type":"orders/invoice.paid","data":{ "spaced" : %q}}`,
					proxy.name, i, strings.Repeat("é<&>\u2028", size/8))
				if status, err := at.post(t, client, []byte(e)); err != nil || status != http.StatusAccepted {
					t.Errorf("%d bytes: %d %v, want 202", len(e), status, err)
				}
				sent[e] = true
			}
			eventually(t, "all are delivered as they were sent", func() bool {
				n := 0
				for _, g := range r.got() {
					if sent[string(g.body)] {
						n++
					}
				}
				return n == len(sent)
			})
			if status, err := at.post(t, client, make([]byte, 2<<20)); err != nil || status != http.StatusRequestEntityTooLarge {
				t.Errorf("2 MiB: %d %v, want 413", status, err)
			}
		})
	}
}

// pageBlock is the one block of a page with that tag.
func pageBlock(t *testing.T, page, tag string) string {
	t.Helper()
	for _, b := range fences(t, page) {
		if b.tag == tag {
			return b.text
		}
	}
	t.Fatalf("%s has no block of %s", page, tag)
	return ""
}

// proxyPlaces are the addresses and files that stand for those on the page.
type proxyPlaces struct {
	upstream, port string // of Penstock; of the proxy
	cert, key      string // files
}

// client asks for the public name and reaches the proxy.
func (at *proxyPlaces) client(t *testing.T) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(at.cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", at.port))
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// on puts the test's places into a text of the page; what it replaces has to be
// there, or the page says something else than what is tested.
func (at *proxyPlaces) on(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	pairs = append(pairs, "127.0.0.1:8080", at.upstream)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the page's configuration has no %q", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// startCaddy gives Caddy the certificate, which it would fetch by itself.
func startCaddy(t *testing.T, dir, text string, at *proxyPlaces) *exec.Cmd {
	t.Helper()
	text = "{\n\tadmin off\n\tauto_https disable_redirects\n\thttps_port " + at.port + "\n}\n" +
		at.on(t, text, hooksName+" {", hooksName+" {\n\ttls "+at.cert+" "+at.key)
	cmd := exec.Command("caddy", "run", "--adapter", "caddyfile", "--config", writeProxyFile(t, dir, text))
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	return cmd
}

// startNginx puts the page's server into the smallest whole configuration.
func startNginx(t *testing.T, dir, text string, at *proxyPlaces) *exec.Cmd {
	t.Helper()
	const live = "/etc/letsencrypt/live/hooks/"
	text = at.on(t, text, "listen 443 ssl", "listen 127.0.0.1:"+at.port+" ssl", live+"fullchain.pem", at.cert, live+"privkey.pem", at.key)
	var temp string
	for _, of := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += of + "_temp_path " + dir + ";\n"
	}
	user := ""
	if os.Geteuid() == 0 { // else its workers become somebody who may not write here
		user = "user root; "
	}
	text = user + "daemon off; pid " + dir + "/pid; error_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n" + temp + text + "}\n"
	return exec.Command("nginx", "-p", dir, "-e", "stderr", "-c", writeProxyFile(t, dir, text))
}

func writeProxyFile(t *testing.T, dir, text string) string {
	t.Helper()
	name := filepath.Join(dir, "proxy.conf")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// runUntilEnd runs cmd until the test ends.
func runUntilEnd(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Wait() })
}

// post sends a signed body through the proxy and returns the status.
func (at *proxyPlaces) post(t *testing.T, client *http.Client, body []byte) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+hooksName+"/webhooks/clickfunnels", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = clickfunnels.Sign(testSecret, time.Now(), body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Ruby")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, nil
}
