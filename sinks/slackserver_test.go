package sinks

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// slackServer does what Slack documents of incoming webhooks and of
// chat.postMessage: it refuses what Slack refuses, in Slack's words. It shares
// no code with the sink.
type slackServer struct {
	*httptest.Server
	mu       sync.Mutex
	token    string                   // the only valid one
	channels map[string]*slackChannel // by id
	hooks    map[string]string        // path to channel
}

type slackChannel struct {
	// state is "", or the error that posting there is answered with.
	state string
	// room is how many messages it takes before it asks for a pause; negative: any number.
	room   int
	posted []postedMessage
}

// postedMessage is a message in a channel.
type postedMessage struct {
	Text     string           `json:"text"`
	Blocks   []map[string]any `json:"blocks"`
	Metadata *struct {
		EventType string         `json:"event_type"`
		Payload   map[string]any `json:"event_payload"`
	} `json:"metadata"`
}

const (
	slackToken    = "xoxb-token-secret-0123456789"
	slackHookPath = "/services/T0001/B0001/hook-secret-0123456789abcd"
)

func newSlackServer(t testing.TB) *slackServer {
	t.Helper()
	s := &slackServer{
		token:    slackToken,
		channels: map[string]*slackChannel{"C1": {room: -1}},
		hooks:    map[string]string{slackHookPath: "C1"},
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// options is a sink that posts to channel C1 by the way, "webhook" or "token".
func (s *slackServer) options(way, more string) string {
	if way == "webhook" {
		return fmt.Sprintf("webhook_url: %q\n%s", s.URL+slackHookPath, more)
	}
	return fmt.Sprintf("token: %s\nchannel: C1\napi_url: %s/api\n%s", slackToken, s.URL, more)
}

// set changes channel C1.
func (s *slackServer) set(change func(c *slackChannel)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.channels["C1"])
}

// posted returns what is in channel C1.
func (s *slackServer) posted() []postedMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]postedMessage(nil), s.channels["C1"].posted...)
}

func (s *slackServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/api/chat.postMessage" {
		s.method(w, r)
		return
	}
	s.hook(w, r)
}

// hook is an incoming webhook: plain text, with a status.
func (s *slackServer) hook(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	answer := func(status int, text string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
	channel, ok := s.hooks[r.URL.Path]
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var m postedMessage
	switch {
	case !ok:
		answer(http.StatusNotFound, "no_service")
		return
	case r.Method != http.MethodPost:
		answer(http.StatusMethodNotAllowed, "method_not_allowed")
		return
	case kind != "application/json" || json.NewDecoder(r.Body).Decode(&m) != nil:
		answer(http.StatusBadRequest, "invalid_payload")
		return
	}
	status, name, _ := s.take(w, s.channels[channel], m)
	if name == "" {
		status, name = http.StatusOK, "ok"
	}
	answer(status, name)
}

// method is chat.postMessage: JSON, and 200 even for an error.
func (s *slackServer) method(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	answer := func(status int, name string, messages ...string) {
		reply := map[string]any{"ok": name == ""}
		if name != "" {
			reply["error"] = name
			reply["response_metadata"] = map[string]any{"messages": messages}
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(reply) // a broken connection shows at the other end
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" {
		answer(http.StatusOK, "invalid_post_type")
		return
	}
	if err := r.ParseForm(); err != nil {
		answer(http.StatusOK, "invalid_form_data")
		return
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == "" {
		token = r.PostForm.Get("token")
	}
	m := postedMessage{Text: r.PostForm.Get("text")}
	channel := s.channels[r.PostForm.Get("channel")]
	switch {
	case token == "":
		answer(http.StatusOK, "not_authed")
	case token != s.token:
		answer(http.StatusOK, "invalid_auth")
	case channel == nil:
		answer(http.StatusOK, "channel_not_found")
	case r.PostForm.Has("blocks") && json.Unmarshal([]byte(r.PostForm.Get("blocks")), &m.Blocks) != nil:
		answer(http.StatusOK, "invalid_blocks_format")
	case r.PostForm.Has("metadata") && (json.Unmarshal([]byte(r.PostForm.Get("metadata")), &m.Metadata) != nil || m.Metadata.EventType == ""):
		answer(http.StatusOK, "invalid_metadata_format")
	default:
		status, name, detail := s.take(w, channel, m)
		if name != "" && status != http.StatusTooManyRequests {
			status = http.StatusOK
		}
		answer(max(status, http.StatusOK), name, detail)
	}
}

// hookStatuses are the statuses of a webhook's errors.
var hookStatuses = map[string]int{
	"action_prohibited": 403, "posting_to_general_channel_denied": 403, "channel_not_found": 404, "no_service": 404,
	"channel_is_archived": 410, "rollup_error": 500,
}

// take puts a message into a channel, or says why not.
func (s *slackServer) take(w http.ResponseWriter, c *slackChannel, m postedMessage) (status int, name, detail string) {
	problem := blocksProblem(m.Blocks)
	switch {
	case c.room == 0:
		w.Header().Set("Retry-After", "30")
		return http.StatusTooManyRequests, "ratelimited", ""
	case c.state != "":
		return max(hookStatuses[c.state], 0), c.state, ""
	case m.Text == "" && len(m.Blocks) == 0:
		return http.StatusBadRequest, "no_text", ""
	case utf8.RuneCountInString(m.Text) > 40_000:
		return http.StatusBadRequest, "msg_too_long", ""
	case problem != "":
		return http.StatusBadRequest, "invalid_blocks", problem
	}
	c.room--
	c.posted = append(c.posted, m)
	return 0, "", ""
}

// blocksProblem says what Slack would not accept in blocks, as it does.
func blocksProblem(blocks []map[string]any) string {
	if len(blocks) > 50 {
		return "no more than 50 items allowed [json-pointer:/blocks]"
	}
	markdown := 0
	for i, b := range blocks {
		if text, ok := b["text"].(string); ok && b["type"] == "markdown" {
			if markdown += utf8.RuneCountInString(text); markdown > 12_000 {
				return "no more than 12000 characters of markdown in a message"
			}
		}
		at := fmt.Sprintf("[json-pointer:/blocks/%d", i)
		text, fields, elements := b["text"], list(b["fields"]), list(b["elements"])
		problem := ""
		switch b["type"] {
		case "divider":
		case "section":
			problem = firstOf(optional(text, 3000, "mrkdwn", "plain_text"), each(fields, 10, 2000))
			if text == nil && b["fields"] == nil {
				problem = "missing required field: text"
			}
		case "header":
			problem = textProblem(text, 150, "plain_text")
		case "context":
			problem = each(elements, 10, 3000)
		case "actions":
			problem = buttonsProblem(elements)
		case "image":
			problem = firstOf(short(b["image_url"], 3000), short(b["alt_text"], 2000))
		case "markdown":
			problem = short(text, 12_000)
		case "rich_text":
			if len(elements) == 0 {
				problem = "no fewer than 1 items required"
			}
		default:
			problem = fmt.Sprintf("unsupported type: %v", b["type"])
		}
		if problem != "" {
			return problem + " " + at + "]"
		}
	}
	return ""
}

func list(v any) []any { l, _ := v.([]any); return l }

func firstOf(problems ...string) string {
	for _, p := range problems {
		if p != "" {
			return p
		}
	}
	return ""
}

func short(v any, max int) string {
	s, ok := v.(string)
	switch n := utf8.RuneCountInString(s); {
	case !ok || n == 0:
		return "must be more than 0 characters"
	case n > max:
		return fmt.Sprintf("must be less than %d characters", max+1)
	}
	return ""
}

func optional(v any, max int, types ...string) string {
	if v == nil {
		return ""
	}
	return textProblem(v, max, types...)
}

// brokenEscape is an & that begins none of Slack's three escapes.
var brokenEscape = regexp.MustCompile(`&(?:[^agl]|a[^m]|g[^t]|l[^t]|am[^p]|gt[^;]|lt[^;]|amp[^;]|a?m?p?$|[gl]t?$)`)

func textProblem(v any, max int, types ...string) string {
	object, _ := v.(map[string]any)
	for _, kind := range types {
		if object["type"] == kind {
			if s, _ := object["text"].(string); brokenEscape.MatchString(s) {
				return "has a broken escape"
			}
			return short(object["text"], max)
		}
	}
	return fmt.Sprintf("unsupported type: %v", object["type"])
}

func each(items []any, most, max int) string {
	if len(items) > most {
		return fmt.Sprintf("no more than %d items allowed", most)
	}
	for _, item := range items {
		if object, _ := item.(map[string]any); object["type"] == "image" {
			continue
		}
		if p := textProblem(item, max, "mrkdwn", "plain_text"); p != "" {
			return p
		}
	}
	return ""
}

func buttonsProblem(items []any) string {
	if len(items) > 25 || len(items) == 0 {
		return "no more than 25 items allowed"
	}
	for _, item := range items {
		object, _ := item.(map[string]any)
		if p := textProblem(object["text"], 75, "plain_text"); p != "" {
			return p
		}
		if url, has := object["url"]; has && short(url, 3000) != "" {
			return "invalid url"
		}
	}
	return ""
}
