package sinks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestExpiredCertificateIsAWarning keeps a process from being stopped by a
// certificate that may be renewed while it runs.
func TestExpiredCertificateIsAWarning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := newAuthority(t)
	files := a.write(t, dir, "client")
	cert, key := a.issue(t, "client", -time.Minute)
	for file, data := range map[string][]byte{files.cert: cert, files.key: key} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := sinkConfig(t, "http", "url: https://crm.example.com\ntls: {cert_file: "+files.cert+", key_file: "+files.key+"}")
	ms := Check(c)
	if len(ms) != 1 || !ms[0].Warning || !strings.Contains(ms.Error(), "2:18: warning: tls.cert_file: the certificate expired on ") {
		t.Errorf("Check = %v, want a warning", ms)
	}
	if _, err := Open(c, Deps{}); err != nil {
		t.Errorf("Open: %v", err)
	}
}

// TestHTTPOptionsInFull has the mistakes of the keys that most sinks do without.
func TestHTTPOptionsInFull(t *testing.T) {
	t.Parallel()
	const url = "url: https://crm.example.com\n"
	dir := t.TempDir()
	files := writeCertificates(t, dir)
	junk := filepath.Join(dir, "junk.pem")
	if err := os.WriteFile(junk, []byte("hunter22"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		options string
		want    []string // line:column: path: what
	}{
		"everything": {url + "query: {key: hunter22}\ngzip: true\nhttp2: false\nproxy: http://me:hunter22@proxy.example.com:3128\n" +
			"sign: {scheme: standard-webhooks, secrets: [" + base64Of(rawKey) + "]}\nauth: {bearer: {token: hunter22}}\n" +
			"tls: {ca_file: " + files.ca + ", cert_file: " + files.cert + ", key_file: " + files.key + ", min_version: 1.3, server_name: crm}\n" +
			"responses: {done: [2xx, 409], rejected: [400], sink: [4XX], throttled: [503]}", nil},
		"sign without its parts":    {url + "sign: {}", []string{"2:7: sign: has no scheme", "2:7: sign: has no secrets"}},
		"sign, unknown scheme":      {url + "sign: {scheme: svix, secrets: [a]}", []string{`2:16: sign.scheme: must be one of standard-webhooks, hmac, clickfunnels, got "svix"`}},
		"sign, keys of hmac":        {url + "sign: {scheme: clickfunnels, secrets: [a], header: X-A, prefix: b}", []string{"2:52: sign.header: belongs to the scheme hmac", "2:65: sign.prefix: belongs to the scheme hmac"}},
		"sign, hmac without header": {url + "sign: {scheme: hmac, secrets: [hunter22]}", []string{"2:7: sign: has no header, which the scheme hmac needs"}},
		"sign, header of ours":      {url + "sign: {scheme: hmac, secrets: [hunter22], header: webhook-id}", []string{"2:51: sign.header: identifies the event and cannot be set"}},
		"sign, two for one":         {url + "sign: {scheme: clickfunnels, secrets: [hunter22, b]}", []string{"2:39: sign.secrets: the scheme clickfunnels has room for one signature, so for one secret"}},
		"sign, empty secret":        {url + `sign: {scheme: clickfunnels, secrets: [""]}`, []string{"2:39: sign.secrets: secret 1 is empty"}},
		"sign, not base64": {url + "sign: {scheme: standard-webhooks, secrets: [" + base64Of(rawKey) + ", hunter-22]}",
			[]string{"2:44: sign.secrets: secret 2 is not base64, as Standard Webhooks wants it"}},
		"headers that keys set": {url + "gzip: true\nauth: {bearer: {token: hunter22}}\nsign: {scheme: hmac, secrets: [a], header: x-a}\n" +
			"headers: {authorization: hunter22, content-encoding: br, X-A: b}", []string{
			"5:26: headers.authorization: is set by auth", "5:54: headers.content-encoding: is set by gzip", "5:63: headers.X-A: is set by sign"}},
		"auth, nothing":       {url + "auth: {}", []string{"2:7: auth: says nothing"}},
		"auth, two":           {url + "auth: {bearer: {token: hunter22}, basic: {username: a, password: hunter22}}", []string{"2:7: auth: has bearer and basic"}},
		"auth, unknown":       {url + "auth: {digest: {}}", []string{"2:8: auth.digest: unknown key"}},
		"auth, colon":         {url + "auth: {basic: {username: 'a:b', password: hunter22}}", []string{"2:26: auth.basic.username: has a colon, which ends a user name"}},
		"auth, token of two":  {url + "auth: {bearer: {token: \"hunter22\\n\"}}", []string{"2:24: auth.bearer.token: has a line break in its value"}},
		"auth, no password":   {url + "auth: {basic: {username: a}}", []string{"2:15: auth.basic: has no password"}},
		"oauth2, nothing":     {url + "auth: {oauth2: {}}", []string{"2:16: auth.oauth2: has no token_url", "2:16: auth.oauth2: has no client_id", "2:16: auth.oauth2: has no client_secret"}},
		"oauth2, metadata":    {url + "auth: {oauth2: {token_url: 'http://169.254.169.254/token', client_id: a, client_secret: hunter22}}", []string{"2:28: auth.oauth2.token_url: points to 169.254.169.254, a cloud metadata address, which is never dialled"}},
		"oauth2, params":      {url + "auth: {oauth2: {token_url: 'https://id.example.com', client_id: a, client_secret: hunter22, params: {scope: a, x: b}}}", []string{"2:109: auth.oauth2.params.scope: has a key of its own"}},
		"tls, half a pair":    {url + "tls: {cert_file: " + files.cert + "}", []string{"2:18: tls.cert_file: needs key_file too"}},
		"tls, other half":     {url + "tls: {key_file: " + files.key + "}", []string{"2:17: tls.key_file: needs cert_file too"}},
		"tls, no file":        {url + "tls: {ca_file: /nowhere/hunter22.pem}", []string{"2:16: tls.ca_file: cannot be read: no such file or directory"}},
		"tls, not PEM":        {url + "tls: {ca_file: " + junk + "}", []string{"2:16: tls.ca_file: holds no certificate"}},
		"tls, not a pair":     {url + "tls: {cert_file: " + files.ca + ", key_file: " + files.key + "}", []string{"2:18: tls.cert_file: and key_file are not a certificate and its key"}},
		"tls, old":            {url + "tls: {min_version: 1.1}", []string{`2:20: tls.min_version: must be one of 1.2, 1.3, got "1.1"`}},
		"tls, unverified":     {url + "tls: {insecure_skip_verify: true}", []string{"2:7: tls.insecure_skip_verify: unknown key"}},
		"proxy, path":         {url + "proxy: http://proxy.example.com/hunter22", []string{"2:8: proxy: has more than a host and a port"}},
		"proxy, scheme":       {url + "proxy: proxy.example.com:3128", []string{"2:8: proxy: must begin with http://, https:// or socks5://"}},
		"proxy, metadata":     {url + "proxy: http://metadata.google.internal", []string{"2:8: proxy: points to metadata.google.internal, a cloud metadata service, which is never dialled"}},
		"proxy, server name":  {url + "proxy: https://proxy.example.com\ntls: {server_name: crm}", []string{"3:20: tls.server_name: would be asked of the proxy's certificate too"}},
		"responses, twice":    {url + "responses: {done: [2xx, 409], sink: [409], refused: [2XX]}", []string{"2:38: responses.sink[0]: is named already, in responses.done[1]", "2:54: responses.refused[0]: is named already, in responses.done[0]"}},
		"responses, no code":  {url + "responses: {done: [20x, 99, 600, 1xx]}", []string{"2:20: responses.done[0]: needs a status from 200 to 599, or a hundred", "2:25: responses.done[1]: needs a status from 200 to 599, or a hundred", "2:29: responses.done[2]: needs a status from 200 to 599, or a hundred", "2:34: responses.done[3]: needs a status from 200 to 599, or a hundred"}},
		"template, any host":  {"url: 'https://{{.Source}}.example.com/'", []string{"1:6: url: lets an event choose the host"}},
		"template, scheme":    {"url: '{{.Type}}://x/'\nallowed_hosts: [a]", []string{"1:6: url: must begin with http:// or https://"}},
		"template, port":      {"url: 'https://a:{{.Type}}/'\nallowed_hosts: [a]", []string{"1:6: url: is not a URL"}},
		"template, broken":    {"url: 'https://a/{{.Type'", []string{"1:6: url: is not a template"}},
		"template, logic":     {"url: 'https://a/{{if .Type}}b{{end}}'", []string{"1:6: url: has more than insertions in its template"}},
		"template, variables": {"url: 'https://a/{{$x := .Type}}{{$x}}'", []string{"1:6: url: has more than insertions in its template"}},
		"template, pattern":   {"url: 'https://{{.Source}}.example.com/'\nallowed_hosts: ['*']", []string{"2:16: allowed_hosts: has an entry that is not a host"}},
		"template, proxied":   {"url: 'https://{{.Source}}.example.com/'\nallowed_hosts: ['*.example.com']\nproxy: environment", []string{"3:8: proxy: looks up the host that an event chooses, out of our sight"}},
		"hosts for one host":  {url + "allowed_hosts: [a]", []string{"2:16: allowed_hosts: does nothing: the host of url is the same for all events"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := sinkConfig(t, "http", tt.options)
			mistakes := Check(c)
			var got []string
			for _, m := range mistakes {
				got = append(got, fmt.Sprintf("%d:%d: %s: %s", m.Pos.Line, m.Pos.Column, m.Path, m.What))
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Check (-want +got):\n%s", diff)
			}
			if _, err := Open(c, Deps{}); (err != nil) != (len(tt.want) > 0) {
				t.Errorf("Open = %v with mistakes %v", err, got)
			}
			if strings.Contains(mistakes.Error(), "hunter") {
				t.Errorf("the mistakes hold a secret: %v", mistakes)
			}
		})
	}
}
