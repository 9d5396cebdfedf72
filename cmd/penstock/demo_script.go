package main

import (
	"crypto/sha256"
	"net/http"
	"slices"
	"sync"
)

// demoYAML is what the demo runs: everything to one receiver, what was paid
// also to another. Its retries are quicker than those of the real world.
const demoYAML = `server: {listen: "127.0.0.1:0", admin: "127.0.0.1:0", shutdown_timeout: 5s}
broker: {durability: power, max_bytes: 64MiB}
sources:
  clickfunnels:
    kind: clickfunnels
    secrets: ["${DEMO_SECRET}"]
sinks:
  crm:
    kind: http
    url: "${DEMO_RECEIVER}/crm"
    retry: {initial: 300ms, multiplier: 2, jitter: 0}
    hold: {failures: 0}
  sales:
    kind: http
    url: "${DEMO_RECEIVER}/sales"
    retry: {initial: 300ms, multiplier: 2, jitter: 0}
    hold: {failures: 0}
routes:
  - {name: everything, match: [">"], to: [crm]}
  - {name: paid, match: ["*.invoice.paid"], to: [sales]}
`

// scriptEvent is one event of the demo and what is to become of it.
type scriptEvent struct {
	eventType string
	version   int
	// copies is how often it is sent; only the first is stored.
	copies int
	// forged: it is sent once more with a wrong signature.
	forged bool
	// crm and sales are the statuses of the receivers' answers, attempt by
	// attempt; none: no route names the sink.
	crm, sales []int
	id         string
}

// script is all events of the demo, and what was sent and has arrived of them.
// It is safe for concurrent use once made.
type script struct {
	events []*scriptEvent

	mu      sync.Mutex
	bodies  map[string][sha256.Size]byte
	answers map[string][]int // by sink and event id, those still to give
}

func newScript() *script {
	ok, flaky, never := []int{200}, []int{503, 200}, []int{422}
	s := &script{
		bodies: map[string][sha256.Size]byte{}, answers: map[string][]int{},
		events: []*scriptEvent{
			{eventType: "contact.created", version: 2, copies: 1, forged: true, crm: ok},
			{eventType: "form_submission.created", version: 1, copies: 1, crm: ok},
			{eventType: "orders/invoice.paid", version: 2, copies: 2, crm: ok, sales: flaky},
			{eventType: "subscription.canceled", version: 2, copies: 1, crm: flaky},
			{eventType: "one-time-order.invoice.paid", version: 1, copies: 1, crm: ok, sales: ok},
			{eventType: "contact.identified", version: 2, copies: 1, crm: never},
			{eventType: "courses/enrollment.created", version: 2, copies: 1, crm: ok},
			{eventType: "subscription/invoice.paid", version: 2, copies: 1, crm: ok, sales: ok},
		},
	}
	for _, e := range s.events {
		e.id = newID()
		s.answers["crm "+e.id], s.answers["sales "+e.id] = slices.Clone(e.crm), slices.Clone(e.sales)
	}
	return s
}

// tally counts what became of events.
type tally struct {
	accepted, duplicate, rejected int
	crm, sales                    int // deliveries
	retried, dead, unchanged      int
}

// expected is what the script comes to.
func (s *script) expected() tally {
	var t tally
	for _, e := range s.events {
		t.accepted++
		t.duplicate += e.copies - 1
		if e.forged {
			t.rejected++
		}
		for _, status := range slices.Concat(e.crm, e.sales) {
			switch status {
			case http.StatusOK:
				t.unchanged++
			case http.StatusServiceUnavailable:
				t.retried++
			default:
				t.dead++
			}
		}
		t.crm += countOf(e.crm, http.StatusOK)
		t.sales += countOf(e.sales, http.StatusOK)
	}
	return t
}

func countOf(statuses []int, status int) int {
	n := 0
	for _, s := range statuses {
		if s == status {
			n++
		}
	}
	return n
}

// sent remembers what was sent, to compare it with what arrives.
func (s *script) sent(id string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies[id] = sha256.Sum256(body)
}

// told is the event whose trace is worth a look: one sink of it had to wait.
func (s *script) told() *scriptEvent {
	for _, e := range s.events {
		if len(e.crm) > 0 && len(e.sales) > 1 {
			return e
		}
	}
	return s.events[0]
}

// answer is the receiver's next answer to an event, and whether its body is
// what was sent. What is not in the script is welcome.
func (s *script) answer(sink, id string, body []byte) (status int, unchanged bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unchanged = s.bodies[id] == sha256.Sum256(body)
	rest := s.answers[sink+" "+id]
	if len(rest) == 0 {
		return http.StatusOK, unchanged
	}
	s.answers[sink+" "+id] = rest[1:]
	return rest[0], unchanged
}
