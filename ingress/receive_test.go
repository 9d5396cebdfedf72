package ingress_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/ingress"
	"github.com/penstock/penstock/internal/event"
)

func good(more ...string) http.Header {
	h := http.Header{"X-Signature": {"good"}}
	for i := 0; i < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

func TestReceive(t *testing.T) {
	t.Parallel()
	const body = `{"event_id":"ev-1"}`
	tests := map[string]struct {
		method, path string // default: POST to hookPath
		header       http.Header
		body         io.Reader // default: body
		publish      error
		duplicate    bool

		status     int
		outcome    string
		source     string // of the observation; default: "test"
		says       []string
		wantHeader map[string]string
	}{
		"good": {header: good(), status: 202, outcome: "accepted",
			says: []string{`{"id":"ev-1","subject":"orders.invoice.paid","seq":42,"duplicate":false}`}},
		"stored before": {header: good(), duplicate: true, status: 202, outcome: "duplicate", says: []string{`"seq":42,"duplicate":true`}},
		"id with quotes and accents": {header: good("X-Id", `a"\é€`), status: 202, outcome: "accepted",
			says: []string{`"id":"a\"\\\u00e9\u20ac"`}},
		"id with an emoji": {header: good("X-Id", "\U0001f600"), status: 202, outcome: "accepted", says: []string{`"id":"\ud83d\ude00"`}},
		"query string":     {path: hookPath + "?a=b", header: good(), status: 202, outcome: "accepted"},
		"identity":         {header: good("Content-Encoding", "identity"), status: 202, outcome: "accepted"},
		"unknown length":   {header: good(), body: unsized(body), status: 202, outcome: "accepted"},
		"chunked over 4 K": {header: good(), body: unsized(strings.Repeat("x", 20<<10)), status: 202, outcome: "accepted"},
		"largest allowed":  {header: good(), body: strings.NewReader(strings.Repeat("x", 64<<10)), status: 202, outcome: "accepted"},
		"largest chunked":  {header: good(), body: unsized(strings.Repeat("x", 64<<10)), status: 202, outcome: "accepted"},

		"no signature":    {header: http.Header{}, status: 401, outcome: "unauthorized", says: []string{"missing header X-Signature", `"hint":"compare the secret`}},
		"wrong signature": {header: http.Header{"X-Signature": {"bad"}}, status: 401, outcome: "unauthorized", says: []string{"wrong signature"}},
		"stale":           {header: http.Header{"X-Signature": {"stale"}}, status: 401, outcome: "unauthorized", says: []string{"700 s old"}},
		"own hint":        {header: http.Header{"X-Signature": {"hinted"}}, status: 401, outcome: "unauthorized", says: []string{`"hint":"send seconds"`}},

		"long reason": {header: http.Header{"X-Signature": {"long"}}, status: 401, outcome: "unauthorized", says: []string{`{"error":"` + strings.Repeat("e", 297) + `...","hint"`}},

		"right token":       {path: stepPath + "/" + stepToken, header: http.Header{}, source: "steps", status: 202, outcome: "accepted"},
		"right token, %":    {path: stepPath + "/%74" + stepToken[1:], header: http.Header{}, source: "steps", status: 202, outcome: "accepted"},
		"wrong token":       {path: stepPath + "/" + stepToken + "x", header: good(), source: "steps", status: 401, outcome: "unauthorized", says: []string{"wrong token"}},
		"token and more":    {path: stepPath + "/" + stepToken + "/x", header: good(), source: "steps", status: 401, outcome: "unauthorized"},
		"token missing":     {path: stepPath, header: good(), source: "steps", status: 401, outcome: "unauthorized", says: []string{"secret token must follow"}},
		"GET with token":    {method: "GET", path: stepPath + "/" + stepToken, source: "steps", status: 405, outcome: "method"},
		"token of no token": {path: hookPath + "/x", header: good(), source: "-", status: 404, outcome: "not_found"},

		"GET": {method: "GET", status: 405, outcome: "method", wantHeader: map[string]string{"Allow": "POST"},
			says: []string{"this address takes POSTs from ClickFunnels", "paste it as the webhook URL"}},
		"HEAD":            {method: "HEAD", status: 405, outcome: "method", wantHeader: map[string]string{"Allow": "POST"}},
		"OPTIONS":         {method: "OPTIONS", status: 405, outcome: "method"},
		"made-up method":  {method: "BREW", status: 405, outcome: "method"},
		"unknown path":    {path: "/nowhere", source: "-", status: 404, outcome: "not_found", says: []string{"webhooks are taken at /webhooks/test, /webhooks/steps/<url_token>"}},
		"POST to healthz": {path: "/healthz", source: "-", status: 405, outcome: "method", wantHeader: map[string]string{"Allow": "GET, HEAD"}},

		"gzip":           {header: good("Content-Encoding", "gzip"), status: 415, outcome: "bad_request", says: []string{"without Content-Encoding"}},
		"too large":      {header: good(), body: strings.NewReader(strings.Repeat("x", 64<<10+1)), status: 413, outcome: "too_large", says: []string{"larger than 65536 bytes"}},
		"chunked, large": {header: good(), body: unsized(strings.Repeat("x", 64<<10+1)), status: 413, outcome: "too_large", says: []string{"server.max_body"}},

		"store full":        {header: good(), publish: fmt.Errorf("publish: %w", event.ErrFull), status: 507, outcome: "full", wantHeader: map[string]string{"Retry-After": "60"}},
		"store busy":        {header: good(), publish: fmt.Errorf("publish: %w", event.ErrBusy), status: 429, outcome: "busy", wantHeader: map[string]string{"Retry-After": "1"}},
		"store unavailable": {header: good(), publish: event.ErrUnavailable, status: 503, outcome: "unavailable", wantHeader: map[string]string{"Retry-After": "5"}},
		"store too late":    {header: good(), publish: context.DeadlineExceeded, status: 503, outcome: "unavailable", wantHeader: map[string]string{"Retry-After": "5"}},
		"store odd":         {header: good(), publish: errors.New("odd"), status: 503, outcome: "unavailable", says: []string{"event store does not answer"}},
		"store: too large":  {header: good(), publish: event.ErrTooLarge, status: 413, outcome: "too_large"},

		"source panics": {header: http.Header{"X-Signature": {"panic"}}, status: 500, outcome: "panic", says: []string{"a mistake of ours"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pub := &fakePublisher{do: func(context.Context, event.Event) (event.Receipt, error) {
				return event.Receipt{Seq: 42, Duplicate: tt.duplicate}, tt.publish
			}}
			seen := make(chan ingress.Request, 10)
			o := options(pub)
			o.Observe = func(r ingress.Request) { seen <- r }
			srv := start(t, o)

			method, path, in := or(tt.method, "POST"), or(tt.path, hookPath), tt.body
			if in == nil {
				in = strings.NewReader(body)
			}
			got := send(t, method, srv.url+path, in, tt.header)
			if got.status != tt.status {
				t.Errorf("%s %s = %d %s, want %d", method, path, got.status, got.body, tt.status)
			}
			checkJSON(t, method, got)
			for _, want := range tt.says {
				if !strings.Contains(got.body, want) {
					t.Errorf("answer %s does not say %q", got.body, want)
				}
			}
			for k, want := range tt.wantHeader {
				if v := got.header.Get(k); v != want {
					t.Errorf("header %s = %q, want %q", k, v, want)
				}
			}
			r := receiveFrom(t, seen, "an observation")
			if want := strings.Trim(or(tt.source, "test"), "-"); r.Source != want || r.Outcome != tt.outcome || r.Status != tt.status {
				t.Errorf("observed %+v, want source %q, outcome %q, status %d", r, want, tt.outcome, tt.status)
			}
			if n, want := len(pub.stored()), map[bool]int{true: 1}[tt.status == 202]; n != want {
				t.Errorf("%d events stored, want %d", n, want)
			}
			if len(seen) > 0 {
				t.Errorf("observed once more: %+v", <-seen)
			}
			if again := post(t, srv.url, body); tt.publish == nil && again.status != 202 {
				t.Errorf("the next request = %d, want 202", again.status)
			}
		})
	}
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// unsized hides the length of s, so that it is sent in chunks.
func unsized(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }

// checkJSON fails unless the answer is one JSON object in ASCII.
func checkJSON(t *testing.T, method string, got answer) {
	t.Helper()
	if ct := got.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type = %q, want application/json", ct)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(got.body), &v); err != nil && method != http.MethodHead {
		t.Errorf("answer %q is no JSON: %v", got.body, err)
	}
	for _, b := range []byte(got.body) {
		if b < ' ' || b > '~' {
			t.Errorf("answer %q is not printable ASCII", got.body)
			break
		}
	}
}

func TestStoredAsSent(t *testing.T) {
	t.Parallel()
	clk := newClock()
	pub := &fakePublisher{}
	o := options(pub)
	o.Now = clk.now
	srv := start(t, o)
	// Neither valid JSON nor valid UTF-8, and of sizes around the buffers'.
	var bodies []string
	for _, n := range []int{0, 1, 4095, 4096, 4097, 9000, 64 << 10} {
		bodies = append(bodies, strings.Repeat("\x00\xff{", n/3+1)[:n])
	}
	for _, b := range bodies {
		if got := post(t, srv.url, b); got.status != 202 {
			t.Fatalf("%d bytes = %d %s", len(b), got.status, got.body)
		}
		if got := send(t, "POST", srv.url+hookPath, unsized(b), good()); got.status != 202 {
			t.Fatalf("%d bytes in chunks = %d %s", len(b), got.status, got.body)
		}
	}
	for i, e := range pub.stored() {
		if want := bodies[i/2]; string(e.Body) != want {
			t.Errorf("event %d: stored %d bytes that are not the %d sent", i, len(e.Body), len(want))
		}
		if !e.Received.Equal(clk.now()) {
			t.Errorf("event %d received %s, want %s", i, e.Received, clk.now())
		}
	}
}

func TestPublishOutlivesTheSender(t *testing.T) {
	t.Parallel()
	pub := &fakePublisher{do: func(ctx context.Context, _ event.Event) (event.Receipt, error) {
		if left, ok := ctx.Deadline(); !ok || time.Until(left) > 10*time.Second {
			t.Errorf("deadline = %s, %t, want within 10 s", left, ok)
		}
		return event.Receipt{}, ctx.Err()
	}}
	gone, hangUp := context.WithCancel(context.Background())
	hangUp()
	r := httptest.NewRequestWithContext(gone, "POST", hookPath, strings.NewReader("{}"))
	r.Header = good()
	w := httptest.NewRecorder()
	newServer(t, options(pub)).Handler().ServeHTTP(w, r)
	if w.Code != 202 || len(pub.stored()) != 1 {
		t.Errorf("a request whose sender is gone = %d with %d stored, want 202 with 1", w.Code, len(pub.stored()))
	}
}

func TestBodyIsNotReusedAfterAnError(t *testing.T) {
	t.Parallel()
	var kept [][]byte // as a publisher may that timed out
	pub := &fakePublisher{do: func(_ context.Context, e event.Event) (event.Receipt, error) {
		kept = append(kept, e.Body)
		return event.Receipt{}, event.ErrUnavailable
	}}
	h := newServer(t, options(pub)).Handler()
	want := []string{"first", "other", "third"}
	for _, body := range want {
		r := httptest.NewRequest("POST", hookPath, strings.NewReader(body))
		r.Header = good()
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	var got []string
	for _, b := range kept {
		got = append(got, string(b))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bodies changed under the publisher (-want +got):\n%s", diff)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	reasons := []string{}
	o := options(&fakePublisher{})
	o.Ready = func() []string { return reasons }
	h := newServer(t, o).Handler()
	get := func(method, path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Code, w.Body.String()
	}
	tests := []struct {
		method, path string
		reasons      []string
		status       int
		body         string
	}{
		{"GET", "/healthz", []string{"any"}, 200, `{"status":"ok"}`},
		{"HEAD", "/healthz", nil, 200, `{"status":"ok"}`},
		{"GET", "/readyz", nil, 200, `{"status":"ok"}`},
		{"GET", "/readyz", []string{"no stream", `disk "full"`}, 503, `{"status":"unavailable","reasons":["no stream","disk \"full\""]}`},
	}
	for _, tt := range tests {
		reasons = tt.reasons
		if status, body := get(tt.method, tt.path); status != tt.status || body != tt.body {
			t.Errorf("%s %s with reasons %q = %d %s, want %d %s", tt.method, tt.path, tt.reasons, status, body, tt.status, tt.body)
		}
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte(`{"event_id":"1"}`), "good", "ev-1")
	f.Add([]byte{}, "", "")
	f.Add([]byte("\xff\x00"), "good", "\"\\\n\u2028\U0001f600\xff")
	f.Add([]byte("{}"), "bad", "")
	s, err := ingress.New(options(&fakePublisher{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, signature, id string) {
		if signature == "panic" {
			signature = ""
		}
		r := httptest.NewRequest("POST", hookPath, strings.NewReader(string(body)))
		r.Header = http.Header{"X-Signature": {signature}, "X-Id": {id}}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%d for %q", w.Code, body)
		}
		checkJSON(t, "POST", answer{status: w.Code, header: w.Header(), body: w.Body.String()})
	})
}
