package sinks

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
)

func TestHTTPHeaders(t *testing.T) {
	t.Parallel()
	standard := http.Header{
		"Ce-Id":            {"0b9f4a5e-7c1d-4c5e-9a58-0d2f4b6a8c10"},
		"Ce-Source":        {"/penstock/clickfunnels"},
		"Ce-Specversion":   {"1.0"},
		"Ce-Time":          {"2026-11-23T11:34:56.789Z"},
		"Ce-Type":          {"orders/invoice.paid"},
		"Content-Length":   {"52"},
		"Content-Type":     {"application/json"},
		"Penstock-Subject": {"orders.invoice.paid"},
		"User-Agent":       {"Penstock/1.2.3"},
		"Webhook-Id":       {"0b9f4a5e-7c1d-4c5e-9a58-0d2f4b6a8c10"},
	}
	for name, tt := range map[string]struct {
		options string
		change  func(*event.Event)
		want    http.Header // in which standard is changed
		none    []string
	}{
		"a usual event": {},
		"content type and trace of the request": {
			change: func(e *event.Event) {
				e.ContentType = "application/json; charset=utf-8"
				e.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
			},
			want: http.Header{
				"Content-Type": {"application/json; charset=utf-8"},
				"Traceparent":  {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
			},
		},
		"attributes that need encoding": {
			change: func(e *event.Event) { e.ID, e.Type = "a b", "Größe\r\n" },
			want:   http.Header{"Ce-Id": {"a%20b"}, "Webhook-Id": {"a%20b"}, "Ce-Type": {"Gr%C3%B6%C3%9Fe%0D%0A"}},
		},
		"a type that is too long": {
			change: func(e *event.Event) { e.Type = strings.Repeat("t", 300) },
			want:   http.Header{"Ce-Type": {strings.Repeat("t", 253) + "..."}},
		},
		"a body that could not be read": {
			change: func(e *event.Event) { e.Type, e.Subject = "", "unknown.malformed" },
			want:   http.Header{"Ce-Type": {"unknown.malformed"}, "Penstock-Subject": {"unknown.malformed"}},
		},
		"an event with no attributes": {
			change: func(e *event.Event) { e.Type, e.Subject = "", "" },
			want:   http.Header{"Ce-Type": {"unknown"}},
			none:   []string{"Penstock-Subject"},
		},
		"an empty body": {
			change: func(e *event.Event) { e.Body = nil },
			want:   http.Header{"Content-Length": {"0"}},
		},
		"headers of the configuration win": {
			options: `{authorization: Bearer x, content-type: text/plain, User-Agent: me, CE-SOURCE: /mine, X-Empty: ""}`,
			want: http.Header{
				"Authorization": {"Bearer x"}, "Content-Type": {"text/plain"}, "User-Agent": {"me"},
				"Ce-Source": {"/mine"}, "X-Empty": {""},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, nil)
			options := "url: " + r.URL
			if tt.options != "" {
				options += "\nheaders: " + tt.options
			}
			e, want := sampleEvent(), standard.Clone()
			if tt.change != nil {
				tt.change(&e)
			}
			for k, v := range tt.want {
				want[k] = v
			}
			for _, k := range tt.none {
				want.Del(k)
			}
			if err := openSink(t, "http", options, Deps{Version: "1.2.3"}).Deliver(t.Context(), e); err != nil {
				t.Fatalf("Deliver: %v", err)
			}
			if diff := cmp.Diff(want, r.lastHeader(t)); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHTTPRequestLine(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	s := openSink(t, "http", "method: PUT\nurl: "+r.URL+"/a%2Fb/c?x=1&y", Deps{})
	if err := s.Deliver(t.Context(), sampleEvent()); err != nil {
		t.Fatalf("Deliver: %v", err)
	}
	if got := r.requests[0].Method + " " + r.requests[0].RequestURI; got != "PUT /a%2Fb/c?x=1&y" {
		t.Errorf("request was %q, want %q", got, "PUT /a%2Fb/c?x=1&y")
	}
}

func TestHTTPOptions(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		options string
		want    []string // line:column: path: what
	}{
		"least":             {"url: https://crm.example.com", nil},
		"all":               {"url: http://10.0.0.7:8080/hooks?a=b\nmethod: PATCH\nheaders: {X-A: a, Ce-Tenant: b}", nil},
		"internal services": {"url: http://localhost:9000", nil},
		"nothing":           {"{}", []string{"1:1: has no url"}},
		"empty url":         {`url: ""`, []string{"1:6: url: must begin with http:// or https://"}},
		"url is a list":     {"url: [a]", []string{"1:6: url: needs a string, got a list"}},
		"no scheme":         {"url: crm.example.com/hooks", []string{"1:6: url: must begin with http:// or https://"}},
		"relative":          {"url: /hooks", []string{"1:6: url: must begin with http:// or https://"}},
		"other scheme":      {"url: ftp://crm.example.com", []string{"1:6: url: must begin with http:// or https://"}},
		"no host":           {"url: https:///hooks", []string{"1:6: url: names no host"}},
		"port only":         {"url: https://:8443/hooks", []string{"1:6: url: names no host"}},
		"not a url":         {"url: 'https://crm.example.com:port/'", []string{"1:6: url: is not a URL"}},
		"userinfo":          {"url: https://me:hunter22@crm.example.com", []string{"1:6: url: holds a user name or password"}},
		"fragment":          {"url: https://crm.example.com/#top", []string{"1:6: url: has a fragment (#...), which is never sent"}},
		"metadata address": {"url: http://169.254.169.254/latest",
			[]string{"1:6: url: points to 169.254.169.254, a cloud metadata address, which is never dialled"}},
		"metadata name": {"url: http://Metadata.Google.Internal/",
			[]string{"1:6: url: points to metadata.google.internal, a cloud metadata service, which is never dialled"}},
		"other method": {"url: https://crm.example.com\nmethod: GET",
			[]string{"2:9: method: must be one of POST, PUT, PATCH, got \"GET\""}},
		"unknown key": {"url: https://crm.example.com\nheader: {A: b}", []string{"2:1: header: unknown key"}},
		"headers": {
			"url: https://crm.example.com\nheaders:\n  host: other.example.com\n  Content-Length: 5\n  webhook-id: x\n" +
				"  A: a\n  a: b\n  'No Space': x\n  'Ü': x\n  B: \"x\\ny\"\n  C: \"x\\0y\"\n  '': x",
			[]string{
				"2:1: headers: is not a header name", // the empty one
				"3:9: headers.host: belongs to the connection and cannot be set",
				"4:19: headers.Content-Length: belongs to the connection and cannot be set",
				"5:15: headers.webhook-id: identifies the event and cannot be set",
				"7:6: headers.a: is given twice",
				"8:15: headers.\"No Space\": is not a header name",
				"9:8: headers.\"Ü\": is not a header name",
				"10:6: headers.B: has a line break in its value",
				"11:6: headers.C: has a control character in its value",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := sinkConfig(t, "http", tt.options)
			mistakes := Check(c)
			var got []string
			for _, m := range mistakes {
				place := fmt.Sprintf("%d:%d: ", m.Pos.Line, m.Pos.Column)
				if m.Path != "" {
					place += m.Path + ": "
				}
				got = append(got, place+m.What)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Check (-want +got):\n%s", diff)
			}
			if _, err := Open(c, Deps{}); (err != nil) != (len(tt.want) > 0) {
				t.Errorf("Open = %v with mistakes %v", err, got)
			}
			if strings.Contains(mistakes.Error(), "hunter22") {
				t.Errorf("the mistakes hold a secret: %v", mistakes)
			}
		})
	}
}

func TestHTTPErrorsNameTheReceiver(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string // after the host
	}{
		"server error": {status(503, ""), "answered 503 Service Unavailable"},
		"unnamed":      {status(599, ""), "answered 599"},
		"redirect": {status(302, "https://user:pw@new.example.com/x?token=y"),
			`answered 302 Found: redirects are not followed; set url to where it points, on host "new.example.com"`},
		"redirect to nowhere": {status(302, ""), "answered 302 Found: redirects are not followed"},
		"not modified":        {status(304, ""), "answered 304 Not Modified: redirects are not followed"},
		"unauthorised":        {status(401, ""), "answered 401 Unauthorized: check the sink's credentials"},
		"not found":           {status(404, ""), "answered 404 Not Found: check the sink's url"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, tt.answer)
			err := openSink(t, "http", "url: "+r.URL, Deps{}).Deliver(t.Context(), sampleEvent())
			want := "POST " + strings.TrimPrefix(r.URL, "http://") + ": " + tt.want
			if err == nil || err.Error() != want {
				t.Errorf("Deliver = %v, want %s", err, want)
			}
		})
	}
}

func status(code int, location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if location != "" {
			w.Header().Set("Location", location)
		}
		w.WriteHeader(code)
	}
}

func TestPrintedSinkShowsNoSecret(t *testing.T) {
	t.Parallel()
	s := openSink(t, "http", fixtures()["http"].options("https://crm.example.com"), Deps{})
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, s); got != "POST crm.example.com" {
			t.Errorf("%s prints %q, want POST crm.example.com", format, got)
		}
	}
}

func TestOpenRefusesAnUnknownKind(t *testing.T) {
	t.Parallel()
	c := config.Sink{Name: "crm", Kind: "htp", Pos: config.Pos{File: "penstock.yaml", Line: 3, Column: 5}}
	_, err := Open(c, Deps{})
	const want = `penstock.yaml:3:5: sinks.crm.kind: unknown kind "htp"; known are http, log, s3`
	if got := Check(c).Error(); got != want || err == nil || err.Error() != want {
		t.Errorf("Check = %s\nOpen = %v\nwant %s", got, err, want)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		header string
		want   time.Duration
	}{
		"absent":       {"", 0},
		"seconds":      {"90", 90 * time.Second},
		"padded":       {" 90 ", 90 * time.Second},
		"zero":         {"0", 0},
		"negative":     {"-5", 0},
		"fraction":     {"1.5", 0},
		"nonsense":     {"soon", 0},
		"huge":         {"9223372036854775807", maxRetryAfter},
		"beyond int64": {"99999999999999999999", 0},
		"date":         {"Mon, 23 Nov 2026 12:01:00 GMT", time.Minute},
		"date gone by": {"Mon, 23 Nov 2026 11:59:00 GMT", 0},
		"far date":     {"Mon, 23 Nov 2099 12:00:00 GMT", maxRetryAfter},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := retryAfter(http.Header{"Retry-After": {tt.header}}, now); got != tt.want {
				t.Errorf("retryAfter(%q) = %s, want %s", tt.header, got, tt.want)
			}
		})
	}
}
