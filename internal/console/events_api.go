package console

import "time"

// The outcomes of a delivery, and of an event: that of the delivery that wants
// attention most, in this order.
const (
	OutcomeDead      = "dead"      // given up
	OutcomeRetrying  = "retrying"  // an attempt failed, another will be made
	OutcomeWaiting   = "waiting"   // not attempted yet
	OutcomeUnknown   = "unknown"   // settled, but no record of it is kept
	OutcomeDelivered = "delivered" // done
	OutcomeSkipped   = "skipped"   // no route wants it
)

// Outcomes returns all of them, in their order.
func Outcomes() []string {
	return []string{OutcomeDead, OutcomeRetrying, OutcomeWaiting, OutcomeUnknown, OutcomeDelivered, OutcomeSkipped}
}

// EventSummary is one event of a list.
type EventSummary struct {
	Event
	// Outcome is one of Outcomes; Sinks has that of every delivery, by sink.
	Outcome string            `json:"outcome"`
	Sinks   map[string]string `json:"sinks,omitempty"`
}

// EventPage is the answer of GET /api/v1/events, newest first. A page may be
// short, even empty, with a Next: the search goes on there.
type EventPage struct {
	Items []EventSummary `json:"items"`
	// Next is the cursor of the next page; empty: this was the last one.
	Next string `json:"next,omitempty"`
}

// EventStory is the answer of GET /api/v1/events/SEQ.
type EventStory struct {
	Event
	Outcome string `json:"outcome"`
	// Stored is when the stream took the event, and Durability what the 2xx
	// promised.
	Stored     time.Time `json:"stored"`
	Durability string    `json:"durability"`
	// Rules names the routes in force now.
	Rules string `json:"rules"`
	// TraceID is the trace that the event was stored in, Sampled whether that
	// is recorded; empty when nobody traced it.
	TraceID    string     `json:"trace_id,omitempty"`
	Sampled    bool       `json:"trace_sampled,omitempty"`
	Deliveries []Delivery `json:"deliveries"`
	// Note says what could not be found out.
	Note         string `json:"note,omitempty"`
	Body         string `json:"body,omitempty"`
	BodyEncoding string `json:"body_encoding,omitempty"`
}

// Delivery is one event on its way to one sink.
type Delivery struct {
	Sink    string `json:"sink"`
	Outcome string `json:"outcome"`
	// Detail says where it waits, or what became of it.
	Detail string `json:"detail,omitempty"`
	// Until is until when it waits, as far as that is known.
	Until time.Time `json:"until,omitzero"`
	// DeadLetter is the number of its dead letter.
	DeadLetter uint64 `json:"dead_letter,omitempty"`
	// Route names the first route that gives the event to the sink under the
	// rules in force now; Default: no route does, and the sink is a default one.
	Route    string        `json:"route,omitempty"`
	Default  bool          `json:"default,omitempty"`
	Attempts []AttemptInfo `json:"attempts"`
}

// AttemptInfo is one attempt, or with the verdict "skip" a decision to make none.
type AttemptInfo struct {
	// Number counts from 1; a throttled attempt is not counted.
	Number int       `json:"number,omitempty"`
	Start  time.Time `json:"start"`
	// The times are in milliseconds. A part that did not take place, or is not
	// measured, is absent.
	TookMS      float64 `json:"took_ms"`
	DNSMS       float64 `json:"dns_ms,omitempty"`
	ConnectMS   float64 `json:"connect_ms,omitempty"`
	TLSMS       float64 `json:"tls_ms,omitempty"`
	FirstByteMS float64 `json:"first_byte_ms,omitempty"`
	Lane        string  `json:"lane"`
	// Origin is absent, or "replay/<job>" or "redrive/<dead letter>".
	Origin     string `json:"origin,omitempty"`
	Generation int    `json:"generation,omitempty"`
	// Route and Rules are those under which the attempt was made.
	Route   string `json:"route,omitempty"`
	Default bool   `json:"default,omitempty"`
	Rules   string `json:"rules,omitempty"`
	// Verdict is done, skip, again, bury or defer; Next when the next attempt
	// was to be made, with again.
	Verdict string    `json:"verdict"`
	Next    time.Time `json:"next,omitzero"`
	Class   string    `json:"class,omitempty"`
	Status  int       `json:"status,omitempty"`
	Error   string    `json:"error,omitempty"`
	// Response is the start of a failing answer.
	Response string `json:"response,omitempty"`
}

// SearchLine is one line of the answer of GET /api/v1/events?id=ID, which is a
// stream of such lines: any number of Progress and Found, then one Done or
// Problem.
type SearchLine struct {
	Progress *SearchProgress `json:"progress,omitempty"`
	Found    *Event          `json:"found,omitempty"`
	Done     *SearchProgress `json:"done,omitempty"`
	Problem  *Problem        `json:"problem,omitempty"`
}

// SearchProgress is how many events were looked at, of about how many.
type SearchProgress struct {
	Searched uint64 `json:"searched"`
	Total    uint64 `json:"total"`
}

// ErasedEvent says what was removed of an event.
type ErasedEvent struct {
	Seq uint64 `json:"seq"`
	// Events, Retries and DeadLetters count the copies of the body, Records
	// the records of attempts.
	Events      int `json:"events"`
	Retries     int `json:"retries"`
	DeadLetters int `json:"dead_letters"`
	Records     int `json:"records"`
}
