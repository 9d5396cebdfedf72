package dashboard

import (
	"fmt"
	"strings"
)

// of writes an expression of which every JOB is the chosen installations, EACH
// the labels that keep these apart, and every SINK the chosen sink.
func of(expr string) string {
	return strings.NewReplacer("JOB", chosen, "SINK", chosen+`, sink="$sink"`, "EACH", "namespace, job").Replace(expr)
}

// chosen are the installations that a dashboard shows. Two in namespaces of
// their own may have jobs of one name.
const chosen = `namespace=~"$namespace", job=~"$job"`

func q(expr, legend string) query { return query{of(expr), legend} }

// quantile is one of a histogram, by some labels.
func quantile(at, histogram, selector, by, legend string) query {
	if by != "" {
		by = ", " + by
	}
	return q(fmt.Sprintf("histogram_quantile(%s, sum by (le%s) (rate(%s_bucket{%s}[$__rate_interval])))", at, by, histogram, selector), legend)
}

// latencies are the middle and the slow end of a histogram.
func latencies(histogram, selector string) []query {
	return []query{
		quantile("0.5", histogram, selector, "", "half within"),
		quantile("0.95", histogram, selector, "", "95 % within"),
		quantile("0.99", histogram, selector, "", "99 % within"),
	}
}

// Overview is the dashboard of a whole installation, as JSON.
func Overview() ([]byte, error) {
	var l layout
	l.row("The promise: what was answered 2xx reaches every sink, or is kept")
	l.stat("Accepted in 24 h", "Webhooks answered 2xx, repeats included.", "short", above{}, "",
		q(`sum(increase(penstock_requests_total{JOB, outcome=~"accepted|duplicate"}[24h]))`, "accepted"), 4)
	l.stat("Expired", "Events that outlived the retention before a sink had them, within 24 h. They are not lost: they are kept as dead letters for 30 days.", "short",
		above{.5, 1}, "never", q(`sum(increase(penstock_events_expired_total{JOB}[24h]))`, "expired"), 4)
	l.stat("Oldest undelivered", "Age of the oldest event that some sink has not got, waiting retries included.", "s", above{900, 3600}, "none",
		q(`max(penstock_sink_oldest_undelivered_age_seconds{JOB})`, "oldest"), 4)
	l.stat("Sinks held", "Sinks that are judged down.", "short", above{1, 2}, "none",
		q(`count(sum by (EACH, sink) (penstock_sink_state{JOB, state=~"held|probing"}) > 0) or vector(0)`, "held"), 4)
	l.stat("Dead letters", "Deliveries that were given up and are kept.", "short", above{1, 100}, "none",
		q(`sum(max by (EACH, sink) (penstock_sink_dead_letters{JOB}))`, "dead letters"), 4)
	l.stat("Instances", "Processes that answer, and whose event store does.", "short", above{1, .5}, "none", q(`sum(penstock_store_reachable{JOB})`, "instances"), 4)

	l.row("In")
	l.graph("Webhooks by outcome", "Requests a second, by what became of them.", "reqps",
		q(`sum by (outcome) (rate(penstock_requests_total{JOB}[$__rate_interval])) > 0`, "{{outcome}}"))
	l.graph("Accept latency", "From a webhook's last header to the end of its answer.", "s", latencies("penstock_accept_duration_seconds", "JOB")...)
	l.graph("Events stored, the ten most frequent types", "Events a second.", "short",
		q(`topk(10, sum by (type) (rate(penstock_events_stored_total{JOB}[$__rate_interval])))`, "{{type}}"))
	l.graph("Refused webhooks by cause", "Requests that failed verification, and signed ones that were not kept.", "reqps",
		q(`sum by (reason) (rate(penstock_rejected_total{JOB}[$__rate_interval])) > 0`, "{{reason}}"),
		q(`sum(rate(penstock_rejected_ring_total{JOB, outcome=~"overflow|failed"}[$__rate_interval])) > 0`, "not kept"))
	l.graph("Silence and clocks", "Time since the last event of each source, and how far its timestamps are from our clock.", "s",
		q(`time() - max by (EACH, source) (penstock_source_last_event_timestamp_seconds{JOB})`, "{{namespace}} {{job}} {{source}}: silent for"),
		q(`max by (EACH, source) (abs(penstock_source_clock_skew_seconds{JOB}))`, "{{namespace}} {{job}} {{source}}: clock off by"))
	l.graph("Being taken in", "Requests being read or stored, and their bytes.", "short",
		q(`sum(penstock_requests_in_flight{JOB})`, "requests"), q(`sum(penstock_request_bytes_in_flight{JOB}) / 1048576`, "MiB"))

	l.row("Out")
	l.graph("Deliveries by sink", "Deliveries a second.", "short",
		q(`sum by (EACH, sink) (rate(penstock_deliveries_total{JOB, outcome="delivered"}[$__rate_interval]))`, "{{namespace}} {{job}} {{sink}}"))
	l.graph("Failed attempts by class", "Attempts a second that failed, by whose fault it was.", "short",
		q(`sum by (sink, class) (rate(penstock_attempts_total{JOB, class!="delivered"}[$__rate_interval])) > 0`, "{{sink}}: {{class}}"))
	l.graph("Oldest undelivered by sink", "Age of the oldest event that the sink has not got.", "s",
		q(`max by (EACH, sink) (penstock_sink_oldest_undelivered_age_seconds{JOB})`, "{{namespace}} {{job}} {{sink}}"))
	l.graph("Backlog by sink", "Events that wait in the stream, and retries that wait for their time.", "short",
		q(`max by (EACH, sink) (penstock_sink_waiting_events{JOB})`, "{{namespace}} {{job}} {{sink}}: waiting"),
		q(`max by (EACH, sink) (penstock_sink_outstanding_retries{JOB}) > 0`, "{{namespace}} {{job}} {{sink}}: retries"))

	l.row("Store and process")
	l.graph("How full the streams are", "Bytes against the limit of each stream.", "percentunit",
		q(`max by (EACH, stream) (penstock_stream_bytes{JOB}) / max by (EACH, stream) (penstock_stream_limit_bytes{JOB})`, "{{namespace}} {{job}} {{stream}}"))
	l.graph("Syncs to disk", "How long a sync takes. Durability power only.", "s", latencies("penstock_sync_duration_seconds", "JOB")...)
	l.graph("Writes made safe by one sync", "The mean size of a cohort.", "short",
		q(`sum(rate(penstock_sync_cohort_writes_sum{JOB}[$__rate_interval])) / sum(rate(penstock_sync_cohort_writes_count{JOB}[$__rate_interval]))`, "writes"))
	l.graph("Purged events", "Delivered events that the janitor purged, by reason.", "short",
		q(`sum by (reason) (rate(penstock_janitor_purged_events_total{JOB}[$__rate_interval]))`, "{{reason}}"))
	l.graph("CPU", "Cores used by each process.", "short", q(`rate(process_cpu_seconds_total{JOB}[$__rate_interval])`, "{{instance}}"))
	l.graph("Memory", "Resident memory of each process.", "bytes", q(`process_resident_memory_bytes{JOB}`, "{{instance}}"))

	b := newBoard("penstock", "Penstock", "A whole Penstock installation: what comes in, what goes out, and whether the promise holds.")
	b.Panels = l.panels
	return b.encode()
}

// Sink is the dashboard of one sink, as JSON.
func Sink() ([]byte, error) {
	var l layout
	l.row("$sink")
	l.stat("Oldest undelivered", "Age of the oldest event that the sink has not got.", "s", above{900, 3600}, "none",
		q(`max(penstock_sink_oldest_undelivered_age_seconds{SINK})`, "oldest"), 4)
	l.stat("Waiting", "Events in the stream that the sink is not done with.", "short", above{1000, 100000}, "none",
		q(`max(penstock_sink_waiting_events{SINK})`, "waiting"), 4)
	l.stat("Until the oldest expires", "Time until the oldest waiting event outlives broker.retention.", "s", above{2 * 86400, 86400}, "",
		q(`min(penstock_sink_retention_left_seconds{SINK})`, "left"), 4)
	l.stat("Room for retries", "How much of the room for retries is taken.", "percentunit", above{.5, .8}, "free",
		q(`max(penstock_sink_retry_fill_ratio{SINK})`, "taken"), 4)
	l.stat("Dead letters", "Deliveries that were given up and are kept.", "short", above{1, 100}, "none",
		q(`max(penstock_sink_dead_letters{SINK})`, "dead letters"), 4)
	l.stat("Held", "Instances on which the sink is judged down.", "short", above{1, 2}, "no",
		q(`sum(penstock_sink_state{SINK, state=~"held|probing"})`, "held"), 4)

	l.row("Deliveries")
	l.graph("Deliveries by end", "Deliveries a second: delivered, skipped because no route wants them, or dead.", "short",
		q(`sum by (outcome) (rate(penstock_deliveries_total{SINK}[$__rate_interval]))`, "{{outcome}}"))
	l.graph("Attempts by class", "Attempts a second, by whose fault a failure was.", "short",
		q(`sum by (class) (rate(penstock_attempts_total{SINK}[$__rate_interval]))`, "{{class}}"))
	l.graph("State", "The state of the sink, by the share of instances that see it so.", "percentunit",
		q(`avg by (state) (penstock_sink_state{SINK})`, "{{state}}"))
	l.graph("Attempts being made", "Of what concurrency allows on each instance.", "short",
		q(`sum by (instance) (penstock_sink_running_attempts{SINK})`, "{{instance}}"))

	l.row("Where the time goes")
	l.graph("1. In the queue", "From the arrival of an event to its first attempt.", "s", latencies("penstock_queue_wait_seconds", "SINK")...)
	l.graph("2. In the attempt", "One attempt, waiting for the answer included.", "s", latencies("penstock_attempt_duration_seconds", "SINK")...)
	l.graph("3. All told", "From the arrival of an event to its delivery, retries included.", "s", latencies("penstock_delivery_duration_seconds", "SINK")...)
	l.graph("Oldest undelivered", "Age of the oldest event that the sink has not got, and time until the oldest waiting one expires.", "s",
		q(`max(penstock_sink_oldest_undelivered_age_seconds{SINK})`, "oldest"))

	l.row("What waits")
	l.graph("Backlog", "Events in the stream that the sink is not done with.", "short", q(`max(penstock_sink_waiting_events{SINK})`, "waiting"))
	l.graph("Retries and replays", "Deliveries that wait for their next attempt, and replayed ones.", "short",
		q(`max(penstock_sink_outstanding_retries{SINK})`, "retries"), q(`max(penstock_sink_outstanding_replays{SINK})`, "replays"))
	l.graph("Bytes of retries", "Their bodies. At 512 MiB the sink takes no new events.", "bytes", q(`max(penstock_sink_outstanding_retry_bytes{SINK})`, "bytes"))
	l.graph("Dead letters and expired events", "Dead letters kept, and events that expired within an hour.", "short",
		q(`max(penstock_sink_dead_letters{SINK})`, "dead letters"), q(`sum(increase(penstock_events_expired_total{SINK}[1h]))`, "expired in 1 h"))

	b := newBoard("penstock-sink", "Penstock: one sink", "One sink: how it stands, where the time goes, and what waits for it.", variable{
		Name: "sink", Label: "Sink", Type: "query", Query: `label_values(penstock_sink_state{` + chosen + `}, sink)`, Datasource: prometheus(), Refresh: 2, Sort: 1,
	})
	b.Panels = l.panels
	return b.encode()
}
