package telemetry

// Snapshot is how things stand at one moment.
type Snapshot struct {
	// Sinks are the configured sinks.
	Sinks []SinkSnapshot
	// StreamEvents and StreamBytes are what the stream holds, StreamLimit the
	// bytes that it may hold, 0 when it has no limit.
	StreamEvents, StreamBytes, StreamLimit int64
	// Foreign counts messages on our subjects that are not ours, since the start.
	Foreign int64
	// Syncs counts syncs to disk since the start, SyncWaiters the writes that
	// they made safe.
	Syncs, SyncWaiters int64
	// RecordsDropped counts attempt records that found no room, since the start.
	RecordsDropped int64
}

// SinkSnapshot is how one sink stands.
type SinkSnapshot struct {
	Name string
	// State is one of States.
	State string
	// Waiting counts the events that the sink has not been handed, Outstanding
	// the retries that wait, Running the attempts being made, Dead the dead letters.
	Waiting, Outstanding, Running, Dead int64
	// Bypassing counts the replayed and redriven deliveries that are not
	// settled; their retries are not among Outstanding.
	Bypassing int64
}
