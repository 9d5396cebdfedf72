package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

func TestWhoIsAdmitted(t *testing.T) {
	t.Parallel()
	open := serve(t, newLetters(1), nil)
	guarded := serve(t, newLetters(1), withToken)
	own := strings.TrimPrefix(open.url, "http://")
	const status, jsonType, right = "/api/v1/status", "Content-Type: application/json", "Authorization: Bearer " + secret
	for name, tt := range map[string]struct {
		server  running
		method  string
		path    string
		headers []string
		want    int
	}{
		"no token needed on loopback":          {open, "GET", status, nil, 200},
		"localhost is our own name":            {open, "GET", status, []string{"Host: localhost:8081"}, 200},
		"all of 127.0.0.0/8 is our own":        {open, "GET", status, []string{"Host: 127.8.9.10"}, 200},
		"[::1] is our own name":                {open, "GET", status, []string{"Host: [::1]:8081"}, 200},
		"[::1] without a port too":             {open, "GET", status, []string{"Host: [::1]"}, 200},
		"another name is rebinding":            {open, "GET", status, []string{"Host: evil.example.test"}, 403},
		"our address as a subdomain":           {open, "GET", status, []string{"Host: 127.0.0.1.example.test"}, 403},
		"localhost as a subdomain":             {open, "GET", status, []string{"Host: localhost.example.test:8081"}, 403},
		"another address":                      {open, "GET", status, []string{"Host: 192.0.2.7:8081"}, 403},
		"metrics under another name":           {open, "GET", "/metrics", []string{"Host: evil.example.test"}, 403},
		"our own page":                         {open, "GET", status, []string{"Origin: http://" + own, "Sec-Fetch-Site: same-origin"}, 200},
		"typed into the address bar":           {open, "GET", status, []string{"Sec-Fetch-Site: none"}, 200},
		"another website":                      {open, "GET", status, []string{"Origin: https://evil.example.test"}, 403},
		"another port of this machine":         {open, "GET", status, []string{"Origin: http://127.0.0.1:3"}, 403},
		"an origin that hides":                 {open, "GET", status, []string{"Origin: null"}, 403},
		"two origins":                          {open, "GET", status, []string{"Origin: http://" + own, "Origin: http://" + own}, 403},
		"an image on another website":          {open, "GET", status, []string{"Sec-Fetch-Site: cross-site"}, 403},
		"a page of another port":               {open, "GET", status, []string{"Sec-Fetch-Site: same-site"}, 403},
		"another website, with the token":      {guarded, "GET", status, []string{right, "Origin: https://evil.example.test"}, 403},
		"the right token":                      {guarded, "GET", status, []string{right}, 200},
		"the scheme's case does not matter":    {guarded, "GET", status, []string{"Authorization: bearer " + secret}, 200},
		"the right token under any name":       {guarded, "GET", status, []string{right, "Host: penstock.example.test"}, 200},
		"no token":                             {guarded, "GET", status, nil, 401},
		"an empty token":                       {guarded, "GET", status, []string{"Authorization: Bearer "}, 401},
		"a wrong token":                        {guarded, "GET", status, []string{"Authorization: Bearer " + secret + "x"}, 401},
		"half of the token":                    {guarded, "GET", status, []string{"Authorization: Bearer " + secret[:9]}, 401},
		"the token without its scheme":         {guarded, "GET", status, []string{"Authorization: " + secret}, 401},
		"the token by another scheme":          {guarded, "GET", status, []string{"Authorization: Basic " + secret}, 401},
		"two tokens":                           {guarded, "GET", status, []string{right, "Authorization: Bearer x"}, 401},
		"the token in the query":               {guarded, "GET", status + "?token=" + secret, nil, 401},
		"the token as a cookie":                {guarded, "GET", status, []string{"Cookie: token=" + secret}, 401},
		"one honest site of two":               {open, "GET", status, []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"}, 403},
		"another name in another case":         {open, "GET", status, []string{"Host: LOCALHOST.Example.Test"}, 403},
		"a name with a trailing dot":           {open, "GET", status, []string{"Host: localhost.:8081"}, 403},
		"an address in decimal":                {open, "GET", status, []string{"Host: 2130706433"}, 403},
		"an origin that only begins like ours": {open, "GET", status, []string{"Origin: http://" + own + ".example.test"}, 403},
		"an origin with our name as its user":  {open, "GET", status, []string{"Origin: http://" + own + "@evil.example.test"}, 403},
		"a form of another website":            {open, "POST", "/api/v1/dead/1/drop", []string{"Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: cross-site"}, 403},
		"a form":                               {open, "POST", "/api/v1/dead/1/drop", []string{"Content-Type: multipart/form-data; boundary=x"}, 415},
		"JSON that a form can send":            {open, "POST", "/api/v1/dead/1/drop", []string{"Content-Type: text/plain; x=application/json"}, 415},
		"two content types":                    {open, "POST", "/api/v1/dead/1/drop", []string{jsonType, "Content-Type: text/plain"}, 415},
		"a method that is overridden":          {open, "GET", "/api/v1/dead/1/drop", []string{"X-HTTP-Method-Override: POST"}, 405},
		"a stranger learns no addresses":       {guarded, "GET", "/nothing", nil, 401},
		"metrics need no token":                {guarded, "GET", "/metrics", nil, 200},
		"whether it lives needs no token":      {guarded, "GET", "/healthz", nil, 200},
		"whether it is ready needs none":       {guarded, "GET", "/readyz", nil, 200},
		"that changes nothing by POST":         {guarded, "POST", "/readyz", []string{jsonType}, 401},
		"readiness under another name":         {open, "GET", "/readyz", []string{"Host: evil.example.test"}, 403},
		"metrics under any name":               {guarded, "GET", "/metrics", []string{"Host: penstock.example.test"}, 200},
		"only reading metrics needs none":      {guarded, "POST", "/metrics", nil, 401},
		"a path like metrics":                  {guarded, "GET", "/metrics/x", nil, 401},
		"a change needs a token":               {guarded, "POST", "/api/v1/dead/1/drop", []string{jsonType}, 401},
		"a change that is a form":              {open, "POST", "/api/v1/dead/1/drop", []string{"Content-Type: application/x-www-form-urlencoded"}, 415},
		"a change that is text":                {open, "POST", "/api/v1/dead/1/drop", []string{"Content-Type: text/plain"}, 415},
		"a change without a type":              {open, "POST", "/api/v1/dead/1/drop", nil, 415},
		"a change by GET":                      {open, "GET", "/api/v1/dead/1/drop", nil, 405},
		"a change by another website":          {open, "POST", "/api/v1/dead/1/drop", []string{jsonType, "Origin: https://evil.example.test"}, 403},
		"a website asks whether it may change": {open, "OPTIONS", "/api/v1/dead/1/drop", []string{"Origin: https://evil.example.test"}, 403},
		"an unknown address":                   {open, "GET", "/api/v1/nothing", nil, 404},
		"the root":                             {open, "GET", "/", nil, 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, body := tt.server.ask(t, tt.method, tt.path, "", tt.headers...)
			if got != tt.want {
				t.Fatalf("%s %s %q answered %d %s, want %d", tt.method, tt.path, tt.headers, got, body, tt.want)
			}
			var p Problem
			if got != http.StatusOK && (json.Unmarshal([]byte(body), &p) != nil || p.Error == "" || p.Hint == "") {
				t.Errorf("%s %s answered %d with %q, want an error and a hint in JSON", tt.method, tt.path, got, body)
			}
		})
	}
}

func TestNothingRefusedChangesAnything(t *testing.T) {
	t.Parallel()
	l := newLetters(1)
	s := serve(t, l, withToken)
	s.ask(t, "POST", "/api/v1/dead/1/drop", "", "Content-Type: application/json")
	s.ask(t, "POST", "/api/v1/dead/1/drop", "", "Authorization: Bearer "+secret)
	s.ask(t, "POST", "/api/v1/dead/drop", `{"all":true}`, "Content-Type: application/json")
	if _, err := l.DeadLetter(t.Context(), 1); err != nil {
		t.Errorf("a refused request dropped it: %v", err)
	}
}

func TestTokenIsNowhere(t *testing.T) {
	t.Parallel()
	s := serve(t, newLetters(2), withToken)
	ctx := t.Context()
	var said []string
	for _, token := range []string{secret, secret + "-wrong", ""} {
		c := s.client(t, token)
		_, err := c.DeadRetry(ctx, 1)
		_, err2 := c.DeadShow(ctx, 99)
		_, err3 := c.DeadRetryMany(ctx, BulkRequest{Sink: "*"})
		said = append(said, fmt.Sprintf("%v %v %v %+v %#v", err, err2, err3, c, s.o))
	}
	said = append(said, s.log.String())
	if !strings.Contains(s.log.String(), "admin change") || !strings.Contains(s.log.String(), "admin request refused") {
		t.Errorf("the log lacks a change or a refusal:\n%s", s.log.String())
	}
	for _, text := range said {
		if strings.Contains(text, secret) {
			t.Errorf("the token is in %q", text)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		addr, token, want string
	}{
		"every interface without a token":  {":8081", "", "server.admin_token"},
		"a public address without a token": {"192.0.2.7:8081", "", "server.admin_token"},
		"a name without a token":           {"penstock.example.test:8081", "", "server.admin_token"},
		"no port":                          {"127.0.0.1", "", "server.admin must be host:port"},
		"every interface with a token":     {":8081", secret, ""},
		"loopback without a token":         {"localhost:8081", "", ""},
		"IPv6 loopback without a token":    {"[::1]:8081", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(Options{
				Addr: tt.addr, Tokens: operator(tt.token), Dead: newLetters(0),
				Sinks:  func(context.Context) ([]SinkStatus, error) { return nil, nil },
				Status: func(context.Context) (Status, error) { return Status{}, nil },
			})
			if got := fmt.Sprint(err); (err != nil) != (tt.want != "") || !strings.Contains(got, tt.want) && err != nil {
				t.Errorf("New(%q) = %v, want an error with %q", tt.addr, err, tt.want)
			}
		})
	}
}

func TestListenOnATakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := New(Options{
		Addr: l.Addr().String(), Dead: newLetters(0),
		Sinks:  func(context.Context) ([]SinkStatus, error) { return nil, nil },
		Status: func(context.Context) (Status, error) { return Status{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Run(t.Context())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "set server.admin to another port") {
		t.Errorf("Run on a taken port = %v, want what to do about server.admin", err)
	}
}
