package telemetry

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
	// Unit is what it counts; empty when a number has none.
	Unit string
	// Labels are the names of its labels, in no order. What values each can
	// have is in Labels.
	Labels []string
	Help   string
	// Use says what a person does with it.
	Use string
}

// Label is a label and the values that it can have. None of them is chosen by
// a sender, so that all series can be counted in advance.
type Label struct{ Name, Values string }

// The labels.
const (
	labelSource     = "source"
	labelOutcome    = "outcome"
	labelDurability = "durability"
	labelType       = "type"
	labelSink       = "sink"
	labelClass      = "class"
	labelReason     = "reason"
	labelState      = "state"
	labelStream     = "stream"
	labelVersion    = "version"
	labelGoVersion  = "go_version"
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
	// of the delivery; skipped, dead and expired are its other ends.
	delivered = "delivered"
	skipped   = "skipped"
	dead      = "dead"
	expired   = "expired"
	// byRetention and byPressure are why the janitor purged events.
	byRetention = "retention"
	byPressure  = "pressure"
)

// The values of labels that a series is made of at the start, with 0, so that
// the first of its kind is an increase.
var (
	states      = []string{"open", "held", "probing", "slow-start", "throttled", "paused"}
	outcomes    = []string{accepted, "duplicate", "unauthorized", "too_large", "busy", "full", "unavailable", "bad_request", "panic"}
	reasons     = []string{"unsigned", "malformed", "no_secret", "bad_signature", "reencoded", "stale", "clock_skew"}
	ringEnds    = []string{"kept", "repeated", "overflow", "failed"}
	deliveryEnd = []string{delivered, skipped, dead, expired}
	classes     = []string{delivered, "ours", "rejected", "refused", "sink", "throttled", "network"}
)

// Labels returns every label, with its bound.
func Labels() []Label {
	return []Label{
		{labelSource, "the names of `sources`; `none` for an address of no source"},
		{labelSink, "the names of `sinks`"},
		{labelType, "the subjects of the catalogue, with the prefix of the source; `other` for every other type"},
		{labelOutcome, "of requests: `accepted`, `duplicate`, `unauthorized`, `too_large`, `busy`, `full`, `unavailable`, `bad_request`, `method`, `not_found`, `panic`; " +
			"of rejected ones: `kept`, `repeated`, `overflow`, `failed`; of deliveries: `delivered`, `skipped`, `dead`, `expired`"},
		{labelReason, "of rejected requests: `unsigned`, `malformed`, `no_secret`, `bad_signature`, `reencoded`, `stale`, `clock_skew`, `other`; of purges: `retention`, `pressure`"},
		{labelClass, "`delivered`, `ours`, `rejected`, `refused`, `sink`, `throttled`, `network`"},
		{labelState, "`open`, `held`, `probing`, `slow-start`, `throttled`, `paused`"},
		{labelDurability, "`process`, `interval` or `power`: what is configured"},
		{labelStream, "`events`, `retries`, `dead`, `rejected`, `attempts`, `jobs`"},
		{labelVersion, "one"},
		{labelGoVersion, "one"},
	}
}

// The metrics of what comes in.
var (
	requestsTotal = Metric{"penstock_requests_total", Counter, "requests", []string{labelSource, labelOutcome},
		"Webhook requests, by what became of them.",
		"The rate at the door, and the share that is not taken in."}
	acceptSeconds = Metric{"penstock_accept_duration_seconds", Histogram, "seconds", []string{labelSource, labelDurability},
		"Time from a webhook's last header to the end of its answer, for accepted ones.",
		"Above a second, look at the disk: `penstock_sync_duration_seconds`."}
	requestBytesTotal = Metric{"penstock_request_bytes_total", Counter, "bytes", []string{labelSource},
		"Bytes of webhook bodies that were read whole.",
		"With `broker.retention` it says how large the store has to be."}
	requestsInFlight = Metric{"penstock_requests_in_flight", Gauge, "requests", nil,
		"Webhook requests being read or stored now.",
		"At `server.max_in_flight` webhooks are answered 429."}
	bytesInFlight = Metric{"penstock_request_bytes_in_flight", Gauge, "bytes", nil,
		"Bytes reserved for the bodies of those requests.",
		"At `server.max_in_flight_bytes` webhooks are answered 429."}
	rejectedTotal = Metric{"penstock_rejected_total", Counter, "requests", []string{labelSource, labelReason},
		"Webhook requests that failed verification, by the most likely cause.",
		"`bad_signature` is a wrong secret; `unsigned` and `malformed` are mostly strangers."}
	rejectedRingTotal = Metric{"penstock_rejected_ring_total", Counter, "requests", []string{labelSource, labelOutcome},
		"Of those the ones with well-formed signatures: kept, repeated (the same body is kept already), overflow (too many) or failed (not stored).",
		"What is kept can be taken in later by `penstock rejected accept`."}
	clockSkew = Metric{"penstock_source_clock_skew_seconds", Gauge, "seconds", []string{labelSource},
		"Our clock minus the timestamp of signed requests: the least of the last three. Absent before there were three.",
		"Beyond 600 either way requests are refused."}
	lastEvent = Metric{"penstock_source_last_event_timestamp_seconds", Gauge, "seconds since 1970", []string{labelSource},
		"When the source's last event came in, one that was stored before included; when the process started, if there was none since.",
		"`time() -` it is the silence of the source."}
	storedTotal = Metric{"penstock_events_stored_total", Counter, "events", []string{labelSource, labelType},
		"Events stored, without duplicates. Types outside the catalogue are \"other\".",
		"What comes in, by type. The series of a type begins with its first event: to compare sums, take `penstock_requests_total`."}
	duplicatesTotal = Metric{"penstock_events_duplicate_total", Counter, "events", []string{labelSource, labelType},
		"Events that were stored before and were not stored again.",
		"Many of them: the sender does not get our answers, or not in time."}
	syncSeconds = Metric{"penstock_sync_duration_seconds", Histogram, "seconds", nil,
		"Time of one sync to disk, for a whole cohort of writes. Durability power only.",
		"It bounds the accept latency from below; a growing one is a tired disk."}
	syncCohort = Metric{"penstock_sync_cohort_writes", Histogram, "writes", nil,
		"Writes that one sync made safe together.",
		"Large cohorts are normal under load."}
)

// The metrics of what goes out.
var (
	deliveriesTotal = Metric{"penstock_deliveries_total", Counter, "deliveries", []string{labelSink, labelOutcome},
		"Deliveries that came to an end: delivered, skipped (no route wants the event any more), dead (given up) or expired (broker.retention was over first).",
		"Every `dead` and every `expired` one is kept: `penstock dead ls`."}
	attemptsTotal = Metric{"penstock_attempts_total", Counter, "attempts", []string{labelSink, labelClass},
		"Attempts to deliver, by the class of their failure, or \"delivered\".",
		"The class says whose fault it is."}
	queueWait = Metric{"penstock_queue_wait_seconds", Histogram, "seconds", []string{labelSink},
		"Time from the arrival of an event to its first attempt that counts. Replays and redrives are left out.",
		"It grows when the sink is held, paused or too slow: `concurrency`, `rate`."}
	attemptSeconds = Metric{"penstock_attempt_duration_seconds", Histogram, "seconds", []string{labelSink},
		"Duration of one attempt, rendering and waiting for the answer included.",
		"The sink's own speed; compare with its `timeout`."}
	deliverySeconds = Metric{"penstock_delivery_duration_seconds", Histogram, "seconds", []string{labelSink},
		"Time from the arrival of an event to its delivery, retries included. Replays and redrives are left out.",
		"What a user of the sink sees."}
	expiredTotal = Metric{"penstock_events_expired_total", Counter, "events", []string{labelSink},
		"Events that outlived broker.retention before the sink was handed them; they are in its dead letters.",
		"`penstock dead retry --sink NAME --class expired`, when the sink is well."}
	sinkState = Metric{"penstock_sink_state", Gauge, "", []string{labelSink, labelState},
		"1 for the state the sink is in, 0 for the others.",
		"`penstock sinks ls` shows why."}
	sinkWaiting = Metric{"penstock_sink_waiting_events", Gauge, "events", []string{labelSink},
		"Events in the stream that the sink is not done with: not handed over yet, or being attempted.",
		"The backlog."}
	sinkOldest = Metric{"penstock_sink_oldest_undelivered_age_seconds", Gauge, "seconds", []string{labelSink},
		"Age of the oldest event that the sink has not got, waiting retries included; 0 when it has all.",
		"The first number to look at."}
	sinkLeft = Metric{"penstock_sink_retention_left_seconds", Gauge, "seconds", []string{labelSink},
		"Time until the oldest event that waits in the stream for the sink outlives broker.retention; all of the retention when none waits.",
		"At 0 it goes to the dead letters as `expired`."}
	sinkOutstanding = Metric{"penstock_sink_outstanding_retries", Gauge, "deliveries", []string{labelSink},
		"Deliveries that wait for their next attempt.",
		"At 50,000 the sink takes no new events until some are done."}
	sinkOutstandingBytes = Metric{"penstock_sink_outstanding_retry_bytes", Gauge, "bytes", []string{labelSink},
		"Bytes of the bodies of those.",
		"At 512 MiB the sink takes no new events until some are done."}
	sinkFill = Metric{"penstock_sink_retry_fill_ratio", Gauge, "ratio", []string{labelSink},
		"How much of the room for the sink's retries is taken, by number or by bytes, whichever is more: 0 to 1.",
		"At 1 new events wait in the stream instead."}
	sinkBypassing = Metric{"penstock_sink_outstanding_replays", Gauge, "deliveries", []string{labelSink},
		"Replayed and redriven deliveries that are not settled yet.",
		"How far a replay is: `penstock replay ls`."}
	sinkRunning = Metric{"penstock_sink_running_attempts", Gauge, "attempts", []string{labelSink},
		"Attempts being made now.",
		"At `concurrency` for long: raise it, or the sink is slow."}
	sinkDead = Metric{"penstock_sink_dead_letters", Gauge, "dead letters", []string{labelSink},
		"Dead letters kept for the sink.",
		"`penstock dead ls --sink NAME`."}
)

// The metrics of the store and the process.
var (
	storeReachable = Metric{"penstock_store_reachable", Gauge, "", nil,
		"1 while the event store answers this process, 0 while it does not; then all that has to be asked of the streams is absent.",
		"At 0 no webhook is taken in and nothing is delivered."}
	streamMessages = Metric{"penstock_stream_messages", Gauge, "messages", []string{labelStream},
		"Messages kept in the stream.", "What the store holds."}
	streamBytes = Metric{"penstock_stream_bytes", Gauge, "bytes", []string{labelStream},
		"Bytes that the messages in the stream take.", "Of `events` against its limit: how full the store is."}
	streamLimit = Metric{"penstock_stream_limit_bytes", Gauge, "bytes", []string{labelStream},
		"Bytes that the messages in the stream may take; absent when it has no limit. Beyond that of events webhooks are answered 507.",
		"`broker.max_bytes`, and what follows from it."}
	deadOldest = Metric{"penstock_dead_letters_oldest_age_seconds", Gauge, "seconds", nil,
		"Age of the oldest dead letter of all sinks; 0 when there is none.",
		"Dead letters are deleted when they are 30 days old."}
	retentionSeconds = Metric{"penstock_retention_seconds", Gauge, "seconds", nil,
		"broker.retention, as configured.", "The time there is to bring a sink back."}
	purgedTotal = Metric{"penstock_janitor_purged_events_total", Counter, "events", []string{labelReason},
		"Delivered events that the janitor purged: their retention was over, or the store filled up. Erased ones are counted with them.",
		"Purges by `pressure` mean that events can be replayed for a shorter time than configured."}
	foreignTotal = Metric{"penstock_foreign_messages_total", Counter, "messages", nil,
		"Messages on our subjects that somebody else published; they are skipped.",
		"Anything but 0: another program publishes on Penstock's subjects."}
	recordsDroppedTotal = Metric{"penstock_attempt_records_dropped_total", Counter, "records", nil,
		"Records of attempts that were dropped because too many waited to be stored. Deliveries are not affected.",
		"`penstock events show` may miss attempts of that time."}
	buildInfo = Metric{"penstock_build_info", Gauge, "", []string{labelVersion, labelGoVersion},
		"Always 1; the labels say what is running.", "Whether every instance runs the same."}
)

// The metrics of reloads.
var (
	reloadGood = Metric{"penstock_config_last_reload_successful", Gauge, "", nil,
		"1 while what the configuration files said when they were last read is in force, 0 while it was refused.",
		"`penstock reload --dry-run` says what is wrong with them."}
	reloadAt = Metric{"penstock_config_last_reload_success_timestamp_seconds", Gauge, "seconds since 1970", nil,
		"When the configuration in force was loaded.", "Whether every instance has the latest."}
)

// Metrics returns every metric of Penstock's own, in the order of the
// reference. Those of the Go runtime and the process come on top.
func Metrics() []Metric {
	return []Metric{
		requestsTotal, acceptSeconds, requestBytesTotal, requestsInFlight, bytesInFlight,
		rejectedTotal, rejectedRingTotal, clockSkew, lastEvent, storedTotal, duplicatesTotal, syncSeconds, syncCohort,
		deliveriesTotal, attemptsTotal, queueWait, attemptSeconds, deliverySeconds, expiredTotal,
		sinkState, sinkWaiting, sinkOldest, sinkLeft, sinkOutstanding, sinkOutstandingBytes, sinkFill,
		sinkBypassing, sinkRunning, sinkDead,
		storeReachable, streamMessages, streamBytes, streamLimit, deadOldest, retentionSeconds, purgedTotal,
		foreignTotal, recordsDroppedTotal, buildInfo,
		spansSentTotal, spansLostTotal, reloadGood, reloadAt,
	}
}
