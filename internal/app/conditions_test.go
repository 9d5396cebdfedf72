package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/console"
)

// TestConditionsEndToEnd: a condition decides, a transform is what the sink
// gets, and what cannot be evaluated is a dead letter with the reason.
func TestConditionsEndToEnd(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), fmt.Sprintf(`
sinks:
  billing: {kind: http, url: "%s/billing"}
  rest: {kind: http, url: "%s/rest"}
routes:
  - name: large
    match: ["*.invoice.paid"]
    when: money(data.total_amount) >= 100
    to: [billing]
    transform: {id: event.id, total: money(data.total_amount)}
default: [rest]
`, r.URL, r.URL))
	send := func(id, amount string) uint64 {
		return accepted(t, p.url(), fmt.Appendf(nil, `{"event_id":%q,"event_type":"orders/invoice.paid","data":{"total_amount":%s}}`, id, amount)).Seq
	}
	large, small, odd := send("large", `"149.00"`), send("small", `"49.00"`), send("odd", `"a lot"`)

	at := func(s console.EventStory, sink string) console.Delivery {
		for _, d := range s.Deliveries {
			if d.Sink == sink {
				return d
			}
		}
		return console.Delivery{}
	}
	is := func(sink, outcome string) func(console.EventStory) bool {
		return func(s console.EventStory) bool { return at(s, sink).Outcome == outcome }
	}
	s := p.story("the large one is delivered", large, is("billing", console.OutcomeDelivered))
	if d := at(s, "billing"); d.Route != "large" {
		t.Errorf("the large one = %+v", d)
	}
	if got := r.byID()["large"]; len(got) != 1 || string(got[0]) != `{"id":"large","total":149}` {
		t.Errorf("billing got %q", got)
	}
	s = p.story("the small one is delivered by default", small, is("rest", console.OutcomeDelivered))
	if d := at(s, "rest"); !d.Default || at(s, "billing").Outcome == console.OutcomeDelivered {
		t.Errorf("the small one = %+v", s.Deliveries)
	}
	s = p.story("the odd one is a dead letter", odd, is("billing", console.OutcomeDead))
	d := at(s, "billing")
	const reason = `when: money(data.total_amount) >= 100: money: "a lot" is not an amount`
	if d.Route != "large" || !strings.HasPrefix(d.Detail, reason) {
		t.Errorf("the odd one = %+v, want it dead at billing with %q", d, reason)
	}
	letter, err := p.client().DeadShow(t.Context(), d.DeadLetter)
	if err != nil || letter.Class != "ours" || !strings.HasPrefix(letter.Reason, reason) || !strings.Contains(letter.Body, "a lot") {
		t.Errorf("dead letter = %+v, %v; want class ours, the reason and the body as it came", letter, err)
	}
	if got := r.byID()["odd"]; got != nil {
		t.Errorf("the odd one was delivered: %q", got)
	}
}
