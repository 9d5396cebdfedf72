package ingress_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func probe(h http.Handler, path string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

func TestNoSecretIsLogged(t *testing.T) {
	t.Parallel()
	var logs logBuffer
	o := options(&fakePublisher{})
	o.Logger = logs.logger()
	srv := start(t, o)
	const wrong, body = "wrong-token-0815", "body-of-a-customer"
	for _, r := range []struct{ method, path, signature string }{
		{"POST", stepPath + "/" + stepToken, ""},
		{"POST", stepPath + "/" + wrong, ""},
		{"GET", stepPath + "/" + stepToken, ""},
		{"POST", "/mistyped/" + stepToken, ""},
		{"POST", hookPath, "bad-signature-4711"},
		{"POST", hookPath, "panic"},
	} {
		got := send(t, r.method, srv.url+r.path, strings.NewReader(body), http.Header{"X-Signature": {r.signature}})
		for _, secret := range []string{stepToken, wrong} {
			if strings.Contains(got.body, secret) {
				t.Errorf("%s %s: the answer %s holds %q", r.method, r.path, got.body, secret)
			}
		}
	}
	srv.stop()
	if err := srv.wait(t); err != nil {
		t.Fatal(err)
	}
	text := logs.String()
	for _, want := range []string{"event stored", "reason=unauthorized", "reason=method", "reason=not_found", "reason=panic", "source broke", "fakeSource.Verify"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not say %q:\n%s", want, text)
		}
	}
	for _, secret := range []string{stepToken, wrong, body, "bad-signature-4711"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %q:\n%s", secret, text)
		}
	}
}

func TestRefusalsAreLoggedOncePerSecond(t *testing.T) {
	t.Parallel()
	var logs logBuffer
	clk := newClock()
	o := options(&fakePublisher{})
	o.Logger, o.Now = logs.logger(), clk.now
	srv := start(t, o)
	refuse := func(n int) {
		for range n {
			send(t, "POST", srv.url+hookPath, strings.NewReader("{}"), http.Header{"X-Signature": {"bad"}})
		}
	}
	lines := func(want string) int { return strings.Count(logs.String(), want) }

	refuse(20)
	if n := lines("request refused"); n != 1 {
		t.Fatalf("20 refusals in one second: %d lines, want 1:\n%s", n, logs.String())
	}
	clk.advance(time.Second)
	refuse(5)
	if n := lines("repeated=19"); n != 1 {
		t.Errorf("a second later: %d lines that count 19 others, want 1:\n%s", n, logs.String())
	}
	srv.stop()
	if err := srv.wait(t); err != nil {
		t.Fatal(err)
	}
	last := "repeated=4"
	if lines("request refused") == 1 {
		last = "repeated=5" // the 19 were told of before the first of these came
	}
	if n := lines(last); n != 1 {
		t.Errorf("at the end: %d lines with %s, want 1:\n%s", n, last, logs.String())
	}
	if n := lines("reason=unauthorized"); n != 3 {
		t.Errorf("%d lines in all, want 3:\n%s", n, logs.String())
	}
}

func TestQuietRefusalsAreCountedWhileRunning(t *testing.T) {
	t.Parallel()
	var logs logBuffer
	clk := newClock()
	o := options(&fakePublisher{})
	o.Logger, o.Now = logs.logger(), clk.now
	srv := start(t, o)
	for range 3 {
		send(t, "GET", srv.url+hookPath, nil, nil)
	}
	clk.advance(time.Second)
	eventually(t, "a line that counts the 2 others", func() bool { return strings.Contains(logs.String(), "repeated=2") })
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		trusted []string
		peer    string
		forward []string
		want    string
	}{
		"nobody trusted":           {nil, "10.0.0.1:99", []string{"192.0.2.7"}, "10.0.0.1"},
		"peer not trusted":         {[]string{"10.0.0.0/8"}, "127.0.0.1:99", []string{"192.0.2.7"}, "127.0.0.1"},
		"peer trusted":             {[]string{"10.0.0.0/8"}, "10.0.0.1:99", []string{"192.0.2.7"}, "192.0.2.7"},
		"walked from the right":    {[]string{"10.0.0.0/8"}, "10.0.0.1:99", []string{"203.0.113.1, 192.0.2.7, 10.9.9.9"}, "192.0.2.7"},
		"two headers":              {[]string{"10.0.0.0/8"}, "10.0.0.1:99", []string{"203.0.113.1", "192.0.2.7"}, "192.0.2.7"},
		"private but not trusted":  {[]string{"10.0.0.1/32"}, "10.0.0.1:99", []string{"203.0.113.1, 192.168.1.1"}, "192.168.1.1"},
		"IPv6":                     {[]string{"2001:db8::/32"}, "[2001:db8::1]:99", []string{"2001:db9::7"}, "2001:db9::7"},
		"nonsense in the header":   {[]string{"10.0.0.0/8"}, "10.0.0.1:99", []string{"x\" secret"}, "10.0.0.1"},
		"no header though trusted": {[]string{"10.0.0.0/8"}, "10.0.0.1:99", nil, "10.0.0.1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logBuffer
			o := options(&fakePublisher{})
			o.Logger = logs.logger()
			for _, p := range tt.trusted {
				o.Server.TrustedProxies = append(o.Server.TrustedProxies, netip.MustParsePrefix(p))
			}
			r := httptest.NewRequest("POST", hookPath, strings.NewReader("{}"))
			r.RemoteAddr = tt.peer
			r.Header["X-Forwarded-For"] = tt.forward
			newServer(t, o).Handler().ServeHTTP(httptest.NewRecorder(), r)
			if !strings.Contains(logs.String(), "client="+tt.want+" ") {
				t.Errorf("peer %s, X-Forwarded-For %q: logged %s, want client=%s", tt.peer, tt.forward, logs.String(), tt.want)
			}
		})
	}
}
