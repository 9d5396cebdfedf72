package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/delivery"
)

// TestDigestTellsOfABurstOnce: what comes together is one message, and an event
// that nothing can be said of becomes a dead letter alone.
func TestDigestTellsOfABurstOnce(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), fmt.Sprintf(`
sinks:
  chat: {kind: slack, webhook_url: %q, text: "{{ .Data.name }} came", digest: {max_events: 6, max_wait: 10m}}
routes: [{match: [">"], to: [chat]}]
`, r.URL+"/hook"))
	for i := range 6 {
		data := fmt.Sprintf(`{"name":"guest %d"}`, i)
		if i == 3 {
			data = `{}`
		}
		accepted(t, p.url(), fmt.Appendf(nil, `{"event_id":"event-%d","event_type":"contact.created","data":%s}`, i, data))
	}
	eventually(t, "one message and one dead letter", func() bool {
		letters, _, err := p.broker.DeadLetters(t.Context(), delivery.DeadFilter{Sink: "chat", Limit: 10})
		return err == nil && len(letters) == 1 && len(r.got()) == 1
	})
	letters, _, err := p.broker.DeadLetters(t.Context(), delivery.DeadFilter{Sink: "chat", Limit: 10})
	if err != nil || letters[0].Event.ID != "event-3" || letters[0].Class != delivery.Ours || letters[0].Attempts != 1 {
		t.Errorf("dead letters %+v, %v; want event-3, classed %s, after one attempt", letters, err, delivery.Ours)
	}
	message := string(r.got()[0].body)
	if !strings.Contains(message, "5 events") || !strings.Contains(message, "guest 5 came") || strings.Contains(message, "guest 3") {
		t.Errorf("the message is %s, want five guests told of", message)
	}
}
