package sinks

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// slackSecrets are those of the sinks that slackServer.options makes.
var slackSecrets = []string{slackToken, "hook-secret-0123456789abcd", slackHookPath}

func checkNoSlackSecret(t *testing.T, what, text string) {
	t.Helper()
	for _, s := range slackSecrets {
		for _, form := range spellings(s) {
			if strings.Contains(text, form) {
				t.Errorf("%s holds the secret %q: %s", what, s, text)
			}
		}
	}
}

// eachWay runs test for both ways to post.
func eachWay(t *testing.T, test func(t *testing.T, way string, s *slackServer)) {
	t.Parallel()
	for _, way := range []string{"webhook", "token"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			test(t, way, newSlackServer(t))
		})
	}
}

func paidEvent() event.Event {
	e := sampleEvent()
	e.Body = []byte(`{"data":{"id":776010,"total_amount":"1240.50","currency":"USD","invoice_number":"INV-1 <!channel> & co",
		"order":{"contact":{"first_name":"Ada","last_name":null,"email_address":"ada@example.com"}}}}`)
	return e
}

func TestSlackTakesTheMessage(t *testing.T) {
	const want = ":moneybag: *$1,240.50* paid by Ada (ada@example.com) — invoice INV-1 &lt;!channel&gt; &amp; co"
	eachWay(t, func(t *testing.T, way string, server *slackServer) {
		if err := openSink(t, "slack", server.options(way, ""), Deps{}).Deliver(t.Context(), paidEvent()); err != nil {
			t.Fatalf("Deliver: %v", err)
		}
		got := server.posted()
		if len(got) != 1 || got[0].Text != want {
			t.Fatalf("the channel has %+v, want %q", got, want)
		}
		if way == "token" && (got[0].Metadata == nil || got[0].Metadata.Payload["id"] != paidEvent().ID) {
			t.Errorf("metadata is %+v, want the event's id", got[0].Metadata)
		}
	})
}

func TestWhatSlackAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		way    string
		change func(*slackServer)
		class  delivery.Class
		text   string
		wait   time.Duration
	}{
		"webhook removed":      {"webhook", func(s *slackServer) { s.hooks = nil }, delivery.Refused, "404 Not Found: no_service: the webhook was removed", 0},
		"webhook prohibited":   {"webhook", inState("action_prohibited"), delivery.Refused, "403 Forbidden: action_prohibited: an administrator", 0},
		"webhook, archived":    {"webhook", inState("channel_is_archived"), delivery.Refused, "410 Gone: channel_is_archived: unarchive", 0},
		"webhook, no channel":  {"webhook", inState("channel_not_found"), delivery.Refused, "channel_not_found: set channel", 0},
		"webhook, Slack's own": {"webhook", inState("rollup_error"), delivery.Failed, "500 Internal Server Error: rollup_error: Slack has", 0},
		"webhook, too fast":    {"webhook", full, delivery.Throttled, "429 Too Many Requests: ratelimited: several sinks", 30 * time.Second},
		"token, too fast":      {"token", full, delivery.Throttled, "429 Too Many Requests: ratelimited: several sinks", 30 * time.Second},
		"token of another":     {"token", func(s *slackServer) { s.token = "xoxb-other" }, delivery.Refused, "200 OK: invalid_auth: check the sink's token", 0},
		"token, no channel":    {"token", func(s *slackServer) { s.channels = nil }, delivery.Refused, "channel_not_found: set channel to the id", 0},
		"token, not invited":   {"token", inState("not_in_channel"), delivery.Refused, "not_in_channel: invite the app", 0},
		"token, archived":      {"token", inState("is_archived"), delivery.Refused, "is_archived: unarchive", 0},
		"token, inactive":      {"token", inState("account_inactive"), delivery.Refused, "account_inactive: check the sink's token", 0},
		"token, Slack's own":   {"token", inState("internal_error"), delivery.Failed, "internal_error: Slack has a problem", 0},
		"token, too long":      {"token", inState("msg_too_long"), delivery.Rejected, "msg_too_long: shorten", 0},
		"token, unheard of":    {"token", inState("brand_new_error"), delivery.Refused, "brand_new_error: see Slack's documentation", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newSlackServer(t)
			tt.change(server)
			err := openSink(t, "slack", server.options(tt.way, ""), Deps{}).Deliver(t.Context(), paidEvent())
			checkFailure(t, err, tt.class, tt.text)
			checkNoSlackSecret(t, "error", fmt.Sprint(err))
			var e *delivery.Error
			if !errors.As(err, &e) || e.RetryAfter != tt.wait || e.Status == 0 {
				t.Errorf("Deliver = %#v, want RetryAfter %s and a status", e, tt.wait)
			}
		})
	}
}

func inState(name string) func(*slackServer) {
	return func(s *slackServer) { s.channels["C1"].state = name }
}

func full(s *slackServer) { s.channels["C1"].room = 0 }

func TestSlackAnswersHaveAHint(t *testing.T) {
	t.Parallel()
	known := map[delivery.Class]bool{delivery.Refused: true, delivery.Rejected: true, delivery.Throttled: true, delivery.Failed: true}
	for name, a := range slackAnswers() {
		if !known[a.class] || len(a.hint) < 10 || strings.HasSuffix(a.hint, ".") {
			t.Errorf("%s is %q: %q", name, a.class, a.hint)
		}
	}
}

// TestTokenSlackMisbehaving is what the suite has for webhooks, and what only
// the Web API can do wrong.
func TestTokenSlackMisbehaving(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		class  delivery.Class
		text   string
	}{
		"repeats the token":        {sayJSON(200, `{"ok":false,"error":"invalid_auth","response_metadata":{"messages":["`+slackToken+`"]}}`), delivery.Refused, "invalid_auth (***)"},
		"repeats it in a status":   {reset("HTTP/1.1 500 " + slackToken + "\r\nContent-Length: 0\r\n\r\n"), delivery.Failed, "answered 500"},
		"repeats it with a status": {sayJSON(403, slackToken), delivery.Refused, "answered 403"},
		"is not Slack":             {sayJSON(200, "<html>"), delivery.Failed, "not as Slack's Web API does: check api_url"},
		"says nothing":             {sayJSON(204, ""), delivery.Failed, "not as Slack's Web API does"},
		"breaks off after ok":      {reset("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"ok\":true,\"cha"), "", ""},
		"breaks off before ok":     {reset("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), delivery.Failed, "closed before an answer"},
		"resets":                   {reset(""), delivery.Failed, "before an answer"},
		"redirects":                {status(302, "https://other.example.com/"+slackToken), delivery.Refused, "redirects are not followed"},
		"has a bad gateway":        {sayJSON(502, "<html>"), delivery.Failed, "answered 502 Bad Gateway"},
		"lacks a scope":            {sayJSON(200, `{"ok":false,"error":"missing_scope","needed":"chat:write","provided":"x"}`), delivery.Refused, "missing_scope (needs chat:write): give the app the scope"},
		"says more than is read":   {sayJSON(200, `{"ok":true,"message":"`+strings.Repeat("x", 2*maxReply)+`"}`), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, tt.answer)
			options := fmt.Sprintf("token: %s\nchannel: C1\napi_url: %s/api/", slackToken, r.URL)
			err := openSink(t, "slack", options, Deps{}).Deliver(within(t, longEnough), paidEvent())
			checkFailure(t, err, tt.class, tt.text)
			checkNoSlackSecret(t, "error", fmt.Sprint(err))
			var e *delivery.Error
			if errors.As(err, &e) {
				checkNoSlackSecret(t, "kept answer", string(e.Response))
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.requests) != 1 {
				t.Errorf("%d requests, want 1", len(r.requests))
			}
		})
	}
}

func sayJSON(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

func TestPrintedSlackSinkShowsNoSecret(t *testing.T) {
	eachWay(t, func(t *testing.T, way string, server *slackServer) {
		s := openSink(t, "slack", server.options(way, ""), Deps{})
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if got, want := fmt.Sprintf(format, s), "POST "+strings.TrimPrefix(server.URL, "http://"); got != want {
				t.Errorf("%s prints %q, want %q", format, got, want)
			}
		}
	})
}

func TestSlackPreview(t *testing.T) {
	eachWay(t, func(t *testing.T, way string, server *slackServer) {
		s := openSink(t, "slack", server.options(way, "blocks: [{type: section, text: {type: mrkdwn, text: '{{ .Type }}'}}]"), Deps{})
		e := paidEvent()
		e.Type += slackToken + "hook-secret-0123456789abcd"
		p, err := s.(Previewer).Preview(e)
		if err != nil {
			t.Fatalf("Preview: %v", err)
		}
		var m postedMessage
		if err := json.Unmarshal(p.Body, &m); err != nil || len(m.Blocks) != 1 || !strings.HasPrefix(m.Text, ":moneybag:") {
			t.Errorf("Preview shows %s (%v)", p.Body, err)
		}
		shown := fmt.Sprintf("%v", p)
		if way == "webhook" {
			shown = strings.ReplaceAll(shown, slackToken, "") // not a secret of this sink
		} else {
			shown = strings.ReplaceAll(shown, "hook-secret-0123456789abcd", "")
		}
		checkNoSlackSecret(t, "preview", shown)
		if !strings.Contains(p.Target, server.URL) || len(server.posted()) != 0 {
			t.Errorf("Preview to %q posted %d messages", p.Target, len(server.posted()))
		}
	})
}

func TestSlackTemplateFailsAsOurs(t *testing.T) {
	eachWay(t, func(t *testing.T, way string, server *slackServer) {
		for name, more := range map[string]string{
			"text":   "text: 'Paid by {{ .Data.buyer.name }}'",
			"blocks": "blocks: [{type: header, text: {type: plain_text, text: '{{ .Data.buyer.name }}'}}]",
			"empty":  "text: '{{ if false }}x{{ end }}'",
		} {
			s := openSink(t, "slack", server.options(way, more), Deps{})
			err := s.Deliver(t.Context(), paidEvent())
			if delivery.ClassOf(err) != delivery.Ours {
				t.Errorf("%s: Deliver = %v (%s), want %s", name, err, delivery.ClassOf(err), delivery.Ours)
			}
			if _, err := s.(Previewer).Preview(paidEvent()); delivery.ClassOf(err) != delivery.Ours {
				t.Errorf("%s: Preview = %v (%s), want %s", name, err, delivery.ClassOf(err), delivery.Ours)
			}
		}
		if got := server.posted(); len(got) != 0 {
			t.Errorf("the channel has %+v, want nothing", got)
		}
	})
}

// counting is a transport that notes what goes by it.
type counting struct {
	http.RoundTripper
	agents chan string
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.agents <- r.Header.Get("User-Agent")
	return c.RoundTripper.RoundTrip(r)
}

// TestSlackGoesByTheSharedTransport, which is the guarded one, and is traced.
func TestSlackGoesByTheSharedTransport(t *testing.T) {
	eachWay(t, func(t *testing.T, way string, server *slackServer) {
		transport := NewTransport(Guard{})
		t.Cleanup(transport.CloseIdleConnections)
		shared := counting{transport, make(chan string, 1)}
		s := openSink(t, "slack", server.options(way, ""), Deps{HTTP: shared, Version: "1.2.3"})
		trace := delivery.NewTrace(t.Context())
		if err := s.Deliver(trace, paidEvent()); err != nil {
			t.Fatalf("Deliver: %v", err)
		}
		select {
		case agent := <-shared.agents:
			if agent != "Penstock/1.2.3" {
				t.Errorf("User-Agent is %q, want Penstock/1.2.3", agent)
			}
		default:
			t.Error("the request did not go by the shared transport")
		}
		if timings := trace.Timings(); timings.FirstByte <= 0 || timings.Connect <= 0 {
			t.Errorf("timings = %+v, want the connection's and the answer's", timings)
		}
	})
}
