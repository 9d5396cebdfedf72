package app

import (
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// TestSlackMessageThatCannotBeMade: an event that the template does not fit is
// a dead letter that says where, and the next event is posted.
func TestSlackMessageThatCannotBeMade(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(int, got) int { return http.StatusOK })
	p := run(t, t.TempDir(), "sinks:\n  sales:\n    kind: slack\n    webhook_url: "+r.URL+"/services/T/B/x\n"+
		"    rate: unlimited\n    text: |\n      Order {{ .Data.id }}\n      by {{ .Data.contact.name }}\n"+
		"routes: [{match: ['>'], to: [sales]}]\n")
	accepted(t, p.url(), body("incomplete", "order.created"))
	accepted(t, p.url(), []byte(`{"data":{"id":8,"contact":{"name":"Ada"}},"event_id":"whole","event_type":"order.created","api_version":2}`))
	var letters []delivery.DeadLetter
	eventually(t, "one message and one dead letter", func() bool {
		var err error
		if letters, _, err = p.broker.DeadLetters(t.Context(), delivery.DeadFilter{Sink: "sales", Limit: 10}); err != nil {
			t.Fatal(err)
		}
		return len(letters) == 1 && len(r.got()) == 1
	})
	const want = "make the message: test.yaml:11:13: text: .Data.contact.name is not in this event: .Data has no contact"
	if l := letters[0]; l.Event.ID != "incomplete" || l.Class != delivery.Ours || l.Reason != want || l.Attempts != 1 {
		t.Errorf("dead letter of %s: %s, %s, %d attempts; want %s, %s, 1", l.Event.ID, l.Class, l.Reason, l.Attempts, delivery.Ours, want)
	}
	if got := string(r.got()[0].body); !strings.Contains(got, `"text":"Order 8\nby Ada"`) {
		t.Errorf("posted %s, want the message of the other event", got)
	}
}

func TestSlackPostsOneMessageASecond(t *testing.T) {
	t.Parallel()
	c, ms := Parse("test.yaml", []byte(fullYAML("data", "sinks:\n  sales: {kind: slack, webhook_url: 'https://hooks.slack.com/services/T/B/x'}\n"+
		"  fast: {kind: slack, webhook_url: 'https://hooks.slack.com/services/T/B/y', rate: 5/s}\n"+
		"routes: [{match: ['>'], to: [sales, fast]}]\n")), LoadOptions{})
	if len(ms) > 0 {
		t.Fatal(ms)
	}
	for i, want := range []config.Rate{{PerSecond: 1, Burst: 1}, {PerSecond: 5, Burst: 5}} {
		if c.Sinks[i].Rate != want {
			t.Errorf("%s has rate %+v, want %+v", c.Sinks[i].Name, c.Sinks[i].Rate, want)
		}
	}
}
