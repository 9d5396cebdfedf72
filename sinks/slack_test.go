package sinks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
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
