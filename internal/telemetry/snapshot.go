package telemetry

import "time"

// Snapshot is how things stand at one moment. What is nil is not known: its
// metrics are absent then, and not 0.
type Snapshot struct {
	// Reachable reports that the event store answers.
	Reachable bool
	// Sinks are those that this process delivers to.
	Sinks []SinkSnapshot
	// Store is how the streams stand; nil in a process that cannot see them,
	// and while they do not answer.
	Store *StoreSnapshot
	// Sources are those that this process takes requests of.
	Sources []SourceSnapshot
	// InFlight is what is being taken in; nil in a process that takes nothing.
	InFlight *InFlight
	// Foreign counts messages on our subjects that are not ours, since the start.
	Foreign int64
	// RecordsDropped counts attempt records that found no room, since the start.
	RecordsDropped int64
}

// InFlight is what is being taken in now.
type InFlight struct{ Requests, Bytes int64 }

// StoreSnapshot is how the streams stand.
type StoreSnapshot struct {
	Streams []StreamSnapshot
	// DeadOldest is the age of the oldest dead letter, 0 when there is none.
	DeadOldest time.Duration
	// Retention is how long events are kept.
	Retention time.Duration
}

// StreamSnapshot is how one stream stands. A Limit of 0 is none.
type StreamSnapshot struct {
	Name                   string
	Messages, Bytes, Limit int64
}

// SourceSnapshot is what is known of a source's requests.
type SourceSnapshot struct {
	Name string
	// Skew is our clock minus theirs; nil when it is not known.
	Skew *time.Duration
}

// SinkSnapshot is how one sink stands.
type SinkSnapshot struct {
	Name string
	// State is one of States.
	State string
	// Outstanding counts the retries that wait and OutstandingBytes their
	// bodies; Fill is the share of the room for them that is taken, 0 to 1.
	Outstanding, OutstandingBytes int64
	Fill                          float64
	// Running counts the attempts being made.
	Running int64
	// Bypassing counts the replayed and redriven deliveries that are not
	// settled; their retries are not among Outstanding.
	Bypassing int64
	// Queue is how the sink's queue stands; nil while the streams do not answer.
	Queue *QueueSnapshot
}

// QueueSnapshot is how the queue of one sink stands.
type QueueSnapshot struct {
	// Waiting counts the events that the sink is not done with, Dead its dead letters.
	Waiting, Dead int64
	// Oldest is the age of the oldest event that the sink has not got, Left
	// the time until the oldest that waits in the stream outlives the retention.
	Oldest, Left time.Duration
}
