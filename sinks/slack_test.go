package sinks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/penstock/penstock/config"
)

// slackFixture is a webhook whose message is the event's id and body. Slack is
// told of an event only what its template says; this one says it all, as far
// as Slack has room.
func slackFixture() fixture {
	return fixture{
		options: func(base string) string {
			return fmt.Sprintf("webhook_url: %q\ntext: '{{ json .ID | raw }} |{{ raw .Body }}|'",
				base+"/"+pathSecret+"?key="+url.QueryEscape(querySecret)+"&more="+url.QueryEscape(headerSecret))
		},
		http:     true,
		receipts: (*receiver).messages,
		arrives: func(body []byte) []byte {
			// What is cut is the end: of the id's 40 bytes, the mark and the body.
			const before = len(`"0b9f4a5e-7c1d-4c5e-9a58-0d2f4b6a8c10" |`)
			text := strings.ToValidUTF8(string(body), "\uFFFD")
			return []byte(strings.TrimSuffix(cutText(text+"|", maxSlackText-before), "|"))
		},
	}
}

// messages returns the events that the fixture's messages tell of.
func (r *receiver) messages(t *testing.T) []receipt {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []receipt
	for _, body := range r.bodies {
		var m struct{ Text string }
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatalf("message %.200q is not JSON: %v", body, err)
		}
		var id string
		d := json.NewDecoder(strings.NewReader(m.Text))
		if err := d.Decode(&id); err != nil {
			t.Fatalf("message %.200q does not begin with an id: %v", m.Text, err)
		}
		_, text, _ := bytes.Cut([]byte(m.Text)[d.InputOffset():], []byte("|"))
		all = append(all, receipt{id, bytes.TrimSuffix(text, []byte("|"))})
	}
	return all
}

func TestSlackOptions(t *testing.T) {
	t.Parallel()
	const hook = "webhook_url: https://hooks.slack.com/services/T/B/x\n"
	for name, tt := range map[string]struct {
		options string
		want    []string // line:column: path: what
	}{
		"webhook":        {hook, nil},
		"token":          {"token: xoxb-1\nchannel: C1", nil},
		"rotating token": {"token: xoxe.xoxb-1\nchannel: '#sales'\napi_url: https://slack-gov.com/api/", nil},
		"all":            {hook + "text: '{{ .Type }}'\nblocks: [{type: divider}]\ndigest: {max_events: 10, max_wait: 1m}", nil},
		"least digest":   {hook + "digest: {}", nil},
		"nothing":        {"{}", []string{"1:1: has neither webhook_url nor token"}},
		"both":           {hook + "token: xoxb-1", []string{"2:8: token: webhook_url is also set"}},
		"no channel":     {"token: xoxb-1", []string{"1:1: channel: has no channel"}},
		"other token":    {"token: xoxp-1\nchannel: C1", []string{"1:8: token: is not a bot token"}},
		"token as a URL": {"token: https://hooks.slack.com/x\nchannel: C1", []string{"1:8: token: is not a bot token"}},
		"channel with webhook": {hook + "channel: C1\napi_url: https://x.example.com", []string{
			"2:10: channel: does nothing with webhook_url: a webhook posts to the channel it was made for",
			"3:10: api_url: does nothing with webhook_url",
		}},
		"webhook is no URL": {"webhook_url: T/B/x", []string{"1:14: webhook_url: must begin with http:// or https://"}},
		"metadata address": {"webhook_url: http://169.254.169.254/", []string{
			"1:14: webhook_url: points to 169.254.169.254, a cloud metadata address, which is never dialled"}},
		"api_url":     {"token: xoxb-1\nchannel: C1\napi_url: slack", []string{"3:10: api_url: must begin with http:// or https://"}},
		"unknown key": {hook + "chanel: C1", []string{"2:1: chanel: unknown key"}},
		"empty text":  {hook + "text: ' '", []string{"2:7: text: is empty"}},
		"text does not parse": {hook + "text: '{{ .Data.a'", []string{
			"2:8: text: is not a template: unclosed action"}},
		"text of lines": {hook + "text: |\n  one\n  {{ .Data.a | uper }} {{ .Dta.x }} {{ date \"2006\" \"Paris\" .Received }}", []string{
			"4:16: text: has no function uper",
		}},
		"what is known before": {hook + "text: |\n  one\n  {{ html .Type }} {{ .Dta.x }} {{ $.Tpe }} {{ date \"2006\" \"Paris\" .Received }}", []string{
			"4:6: text: has no function html",
			"4:23: text: has no field .Dta",
			"4:37: text: has no field .Tpe",
			"4:60: text: does not know the time zone \"Paris\"",
		}},
		"digest of one":   {hook + "digest: {max_events: 1}", []string{"2:22: digest.max_events: must be between 2 and 1000, got \"1\""}},
		"digest too long": {hook + "digest: {max_wait: 2h}", []string{"2:20: digest.max_wait: must be between 100ms and 1h, got \"2h\""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkOptions(t, tt.options, tt.want)
		})
	}
}

// checkOptions checks the mistakes of a slack sink, and that it opens when
// there are none.
func checkOptions(t *testing.T, options string, want []string) {
	t.Helper()
	c := sinkConfig(t, "slack", options)
	mistakes := Check(c)
	var got []string
	for _, m := range mistakes {
		place := fmt.Sprintf("%d:%d: ", m.Pos.Line, m.Pos.Column)
		if m.Path != "" {
			place += m.Path + ": "
		}
		got = append(got, place+m.What)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Check (-want +got):\n%s", diff)
	}
	if _, err := Open(c, Deps{}); (err != nil) != (len(want) > 0) {
		t.Errorf("Open = %v with mistakes %v", err, got)
	}
	if text := mistakes.Error(); strings.Contains(text, "xoxb-1") || strings.Contains(text, "T/B/x") {
		t.Errorf("the mistakes hold a secret: %v", text)
	}
}

func TestSlackIsSlowerByDefault(t *testing.T) {
	t.Parallel()
	c := sinkConfig(t, "slack", "{}")
	Defaults()["slack"](&c)
	if want := (config.Rate{PerSecond: 1, Burst: 1}); c.Rate != want {
		t.Errorf("rate = %v, want %v", c.Rate, want)
	}
}

func TestDefaultMessageOfAnEvent(t *testing.T) {
	t.Parallel()
	defaults, err := newSlackMessages()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ subject, kind, want string }{
		"by subject":              {"orders.invoice.paid", "orders/invoice.paid", "orders.invoice.paid"},
		"another spelling":        {"form.submission.created", "form_submission.created", "form.submission.created"},
		"under a prefix":          {"shop.orders.invoice.paid", "orders/invoice.paid", "orders.invoice.paid"},
		"under a prefix, another": {"shop.form.submission.created", "form_submission.created", "form_submission.created"},
		"unknown":                 {"unknown.brand.thing.made", "brand/thing.made", ">"},
		"no type":                 {"unknown.malformed", "", "unknown.malformed"},
		"nothing at all":          {"", "", ">"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := sampleEvent()
			e.Subject, e.Type = tt.subject, tt.kind
			if got := defaults.of(e).pattern; got != tt.want {
				t.Errorf("message of %q (%q) is that of %s, want %s", tt.subject, tt.kind, got, tt.want)
			}
		})
	}
}

func TestSubjectMatches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a.c", false}, {"a.b", "a", false}, {"a", "a.b", false},
		{"*.b", "a.b", true}, {"a.*", "a.b", true}, {"a.*", "a.b.c", false}, {"a.*", "a", false},
		{"a.>", "a.b.c", true}, {"a.>", "a", false}, {">", "a", true}, {">", "", false},
	} {
		if got := subjectMatches(tt.pattern, tt.subject); got != tt.want {
			t.Errorf("subjectMatches(%q, %q) = %v, want %v", tt.pattern, tt.subject, got, tt.want)
		}
	}
}
