package console

import "time"

// The types of this file are the JSON of the admin API, as the server writes
// it and Client reads it. Times are RFC 3339 in UTC.

// Status is the answer of GET /api/v1/status.
type Status struct {
	Version       string    `json:"version"`
	Started       time.Time `json:"started"`
	UptimeSeconds int64     `json:"uptime_seconds"`
	// Durability is what a 2xx promises: process, interval or power. When
	// DurabilityAsserted, it is what the operator says of an external cluster.
	Durability         string `json:"durability"`
	DurabilityAsserted bool   `json:"durability_asserted"`
	// DataDir is where the embedded server keeps events; URL is the external
	// cluster, without credentials. One of them is empty.
	DataDir string `json:"data_dir,omitempty"`
	URL     string `json:"url,omitempty"`
	// NATSListen is where other NATS clients may subscribe; empty: nowhere.
	NATSListen string `json:"nats_listen,omitempty"`
	// NotReady says why the process should get no webhooks now, as /readyz
	// does; absent: it should. What sinks do has no part in it.
	NotReady []string    `json:"not_ready,omitempty"`
	Events   EventCounts `json:"events"`
}

// EventCounts say what the stream of events holds.
type EventCounts struct {
	Kept     uint64 `json:"kept"`
	FirstSeq uint64 `json:"first_seq"`
	LastSeq  uint64 `json:"last_seq"`
	Bytes    int64  `json:"bytes"`
	// LimitBytes is what Bytes may grow to; 0: no limit.
	LimitBytes int64 `json:"limit_bytes"`
	// Foreign counts messages on our subjects that somebody else published,
	// since the start.
	Foreign int64 `json:"foreign"`
	// DeadLetters counts those of all sinks.
	DeadLetters int64 `json:"dead_letters"`
}

// SinkStatus is how one sink stands.
type SinkStatus struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// State is open, held, probing, slow-start, throttled or paused; empty when
	// another process delivers to the sink.
	State string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
	// Failures counts the consecutive failures that speak against the sink.
	Failures  int       `json:"failures"`
	NextProbe time.Time `json:"next_probe,omitzero"`
	LastError string    `json:"last_error,omitempty"`
	// PausedUntil is when a pause ends by itself, absent when it does not.
	PausedUntil time.Time `json:"paused_until,omitzero"`
	// Rate is how many events were delivered in a second, over the last ten.
	Rate float64 `json:"rate"`
	// Reason says what else keeps deliveries back.
	Reason string `json:"reason,omitempty"`
	// Running is the number of attempts being made, Limit how many may be.
	Running int `json:"running"`
	Limit   int `json:"limit"`
	// Waiting counts the events that the sink has not been handed, Outstanding
	// the retries that wait, DeadLetters what was given up.
	Waiting int64 `json:"waiting"`
	// OldestWaiting is when the oldest of the waiting events was stored, absent
	// when none waits.
	OldestWaiting time.Time `json:"oldest_waiting,omitzero"`

	Outstanding int64 `json:"outstanding"`
	DeadLetters int64 `json:"dead_letters"`
}

// SinkList is the answer of GET /api/v1/sinks.
type SinkList struct {
	Items []SinkStatus `json:"items"`
	// Removed are sinks that are not configured any more and have left a queue;
	// they are on the last page.
	Removed []RemovedSink `json:"removed"`
	// Next is the cursor of the next page; empty: this was the last one.
	Next string `json:"next,omitempty"`
}

// RemovedSink is what is left of a sink that is not configured any more.
type RemovedSink struct {
	Name string `json:"name"`
	// Waiting counts the events that it was not handed, Retries the deliveries
	// that wait for their next attempt.
	Waiting int64 `json:"waiting"`
	Retries int64 `json:"retries"`
}

// PauseRequest is the body of POST /api/v1/sinks/{name}/pause.
type PauseRequest struct {
	// For is how long, as in 2h; empty: until it is resumed.
	For string `json:"for,omitempty"`
}

// PauseResult is the answer of pausing or resuming a sink.
type PauseResult struct {
	Name   string `json:"name"`
	Paused bool   `json:"paused"`
	// Until is when the pause ends by itself, absent when it does not.
	Until time.Time `json:"until,omitzero"`
}

// Rejected is a request that failed verification and was kept. Headers, Body
// and BodyEncoding are absent in lists.
type Rejected struct {
	Seq      uint64    `json:"seq"`
	Source   string    `json:"source"`
	Received time.Time `json:"received"`
	// Cause is one word of a fixed list, Reason a sentence, Hint what most
	// likely is wrong.
	Cause        string            `json:"cause"`
	Reason       string            `json:"reason"`
	Hint         string            `json:"hint,omitempty"`
	Bytes        int               `json:"bytes"`
	Headers      map[string]string `json:"headers,omitempty"`
	Body         string            `json:"body,omitempty"`
	BodyEncoding string            `json:"body_encoding,omitempty"`
}

// RejectedPage is the answer of GET /api/v1/rejected, oldest first.
type RejectedPage struct {
	Items []Rejected `json:"items"`
	// Next is the cursor of the next page; empty: this was the last one.
	Next string `json:"next,omitempty"`
}

// AcceptRequest is the body of POST /api/v1/rejected/{seq}/accept.
type AcceptRequest struct {
	// IgnoreAge accepts a timestamp that was too far from our clock.
	IgnoreAge bool `json:"ignore_age,omitempty"`
}

// Acceptance says what became of a rejected request that was to be accepted.
type Acceptance struct {
	// Seq is the rejected request's.
	Seq    uint64 `json:"seq"`
	Source string `json:"source"`
	// Outcome is accepted, duplicate (its event was stored before) or refused
	// (it does not verify today either, and is kept).
	Outcome string `json:"outcome"`
	// Event is absent when the request is still refused, Why and Hint when not.
	Event *Event `json:"event,omitempty"`
	Why   string `json:"why,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

// Event is an event without its body.
type Event struct {
	ID          string    `json:"id"`
	Type        string    `json:"type"`
	Source      string    `json:"source"`
	Subject     string    `json:"subject"`
	APIVersion  int       `json:"api_version,omitempty"`
	Received    time.Time `json:"received"`
	ContentType string    `json:"content_type,omitempty"`
	Seq         uint64    `json:"seq"`
}

// The values of DeadLetter.BodyEncoding.
const (
	BodyText   = "text"
	BodyBase64 = "base64" // the body is not UTF-8
)

// DeadLetter is a delivery that was given up. Body and BodyEncoding are absent
// in lists.
type DeadLetter struct {
	Seq      uint64    `json:"seq"`
	Sink     string    `json:"sink"`
	Died     time.Time `json:"died"`
	Attempts int       `json:"attempts"`
	First    time.Time `json:"first_attempt,omitzero"`
	// Generation counts how often it was retried from dead letters before.
	Generation int    `json:"generation"`
	Class      string `json:"class"`
	Reason     string `json:"reason"`
	// Status is the HTTP status of the last answer, absent if there was none.
	Status       int    `json:"status,omitempty"`
	Event        Event  `json:"event"`
	Body         string `json:"body,omitempty"`
	BodyEncoding string `json:"body_encoding,omitempty"`
}

// DeadPage is the answer of GET /api/v1/dead, oldest first.
type DeadPage struct {
	Items []DeadLetter `json:"items"`
	// Next is the cursor of the next page; empty: this was the last one.
	Next string `json:"next,omitempty"`
}

// BulkRequest is the body of POST /api/v1/dead/retry and /api/v1/dead/drop. It
// selects by all that it names. One that names nothing must say All.
type BulkRequest struct {
	Sink  string `json:"sink,omitempty"`
	Class string `json:"class,omitempty"`
	// Since is a time (RFC 3339) or how long ago (24h).
	Since string `json:"since,omitempty"`
	All   bool   `json:"all,omitempty"`
	// Cursor is BulkResult.Next of the answer before.
	Cursor string `json:"cursor,omitempty"`
}

// BulkResult says what one bulk request did. It works on what was dead when
// the first of its requests came, a bounded part at a time.
type BulkResult struct {
	// Done were retried or dropped, Gone had been by somebody else, Failed
	// are still dead letters.
	Done   int `json:"done"`
	Gone   int `json:"gone"`
	Failed int `json:"failed"`
	// Next is the cursor to go on with; empty: there is nothing more to do.
	Next string `json:"next,omitempty"`
	// Note says why it stopped early, or what failed.
	Note string `json:"note,omitempty"`
}

// Problem is the body of every answer that is not 2xx.
type Problem struct {
	// Error says what is wrong.
	Error string `json:"error"`
	// Hint says what would be right; it may be empty.
	Hint string `json:"hint,omitempty"`
}
