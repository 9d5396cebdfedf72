package telemetry

import "slices"

// Kind is what a metric counts as.
type Kind string

// The kinds of metrics.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Metric describes one metric as Prometheus sees it.
type Metric struct {
	Name string
	Kind Kind
	// Labels are the names of its labels, in no order. The values of all of
	// them come from the configuration, the catalogue or a fixed list.
	Labels []string
	Help   string
}

// The labels.
const (
	labelSource    = "source"
	labelOutcome   = "outcome"
	labelType      = "type"
	labelSink      = "sink"
	labelClass     = "class"
	labelReason    = "reason"
	labelState     = "state"
	labelVersion   = "version"
	labelGoVersion = "go_version"
)

// Values of labels that are decided here.
const (
	// other stands for every value that is not known in advance.
	other = "other"
	// none is the source of a request whose path belongs to no source.
	none = "none"
	// accepted is the outcome of a request whose event was stored.
	accepted = "accepted"
	// delivered is the class of an attempt that did not fail, and the outcome
	// of the delivery; skipped and dead are the other ends of a delivery.
	delivered = "delivered"
	skipped   = "skipped"
	dead      = "dead"
)

// states are the values of the label state.
var states = []string{"open", "held", "probing", "slow-start", "throttled", "paused"}

// States returns the states of a sink that the metrics know.
func States() []string { return slices.Clone(states) }

// The metrics that are counted as things happen.
var (
	requestsTotal = Metric{"penstock_requests_total", Counter, []string{labelSource, labelOutcome},
		"Webhook requests, by what became of them."}
	acceptSeconds = Metric{"penstock_accept_duration_seconds", Histogram, []string{labelSource},
		"Time from a webhook's last header to the end of its answer, for accepted ones."}
	requestBytesTotal = Metric{"penstock_request_bytes_total", Counter, []string{labelSource},
		"Bytes of webhook bodies that were read whole."}
	storedTotal = Metric{"penstock_events_stored_total", Counter, []string{labelSource, labelType},
		"Events stored, without duplicates. Types outside the catalogue are \"other\"."}
	duplicatesTotal = Metric{"penstock_events_duplicate_total", Counter, []string{labelSource, labelType},
		"Events that were stored before and were not stored again."}
	rejectedTotal = Metric{"penstock_rejected_total", Counter, []string{labelSource, labelReason},
		"Webhook requests that failed verification, by the most likely cause."}
	rejectedRingTotal = Metric{"penstock_rejected_ring_total", Counter, []string{labelSource, labelOutcome},
		"Of those the ones with well-formed signatures: kept, repeated (the same body is kept already), overflow (too many) or failed (not stored)."}
	deliveriesTotal = Metric{"penstock_deliveries_total", Counter, []string{labelSink, labelOutcome},
		"Deliveries that came to an end: delivered, skipped (no route wants the event any more) or dead."}
	attemptsTotal = Metric{"penstock_attempts_total", Counter, []string{labelSink, labelClass},
		"Attempts to deliver, by the class of their failure, or \"delivered\"."}
	attemptSeconds = Metric{"penstock_attempt_duration_seconds", Histogram, []string{labelSink},
		"Duration of one attempt, rendering and waiting for the answer included."}
)

// The metrics that are read when somebody asks.
var (
	sinkWaiting = Metric{"penstock_sink_waiting_events", Gauge, []string{labelSink},
		"Events in the stream that the sink has not been handed yet."}
	sinkOutstanding = Metric{"penstock_sink_outstanding_retries", Gauge, []string{labelSink},
		"Deliveries that wait for their next attempt."}
	sinkBypassing = Metric{"penstock_sink_outstanding_replays", Gauge, []string{labelSink},
		"Replayed and redriven deliveries that are not settled yet."}
	sinkRunning = Metric{"penstock_sink_running_attempts", Gauge, []string{labelSink},
		"Attempts being made now."}
	sinkDead = Metric{"penstock_sink_dead_letters", Gauge, []string{labelSink},
		"Dead letters kept for the sink."}
	sinkState = Metric{"penstock_sink_state", Gauge, []string{labelSink, labelState},
		"1 for the state the sink is in, 0 for the others."}
	streamEvents = Metric{"penstock_stream_events", Gauge, nil,
		"Events kept in the stream."}
	streamBytes = Metric{"penstock_stream_bytes", Gauge, nil,
		"Bytes that the events in the stream take."}
	streamLimit = Metric{"penstock_stream_limit_bytes", Gauge, nil,
		"Bytes that the events in the stream may take; beyond them webhooks are answered 507."}
	foreignTotal = Metric{"penstock_foreign_messages_total", Counter, nil,
		"Messages on our subjects that somebody else published; they are skipped."}
	syncsTotal = Metric{"penstock_syncs_total", Counter, nil,
		"Syncs to disk, each for a whole cohort of writes. Durability power only."}
	syncWaitersTotal = Metric{"penstock_sync_waiters_total", Counter, nil,
		"Writes that waited for a sync; divided by penstock_syncs_total it is the size of a cohort."}
	recordsDroppedTotal = Metric{"penstock_attempt_records_dropped_total", Counter, nil,
		"Records of attempts that were dropped because too many waited to be stored. Deliveries are not affected."}
	buildInfo = Metric{"penstock_build_info", Gauge, []string{labelVersion, labelGoVersion},
		"Always 1; the labels say what is running."}
)

// Metrics returns every metric of Penstock's own, in the order of the
// reference. Those of the Go runtime and the process come on top.
func Metrics() []Metric {
	return []Metric{
		requestsTotal, acceptSeconds, requestBytesTotal, storedTotal, duplicatesTotal,
		rejectedTotal, rejectedRingTotal, deliveriesTotal, attemptsTotal, attemptSeconds,
		sinkWaiting, sinkOutstanding, sinkBypassing, sinkRunning, sinkDead, sinkState,
		streamEvents, streamBytes, streamLimit, foreignTotal,
		syncsTotal, syncWaitersTotal, recordsDroppedTotal, buildInfo,
		spansSentTotal, spansLostTotal,
	}
}
