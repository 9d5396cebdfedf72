package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// tracesArm begins the names of the arms that tell what traces cost.
const tracesArm = "traces "

const (
	tracesOff = tracesArm + "off"
	tracesFew = tracesArm + "1 %"
	tracesAll = tracesArm + "100 %"
)

// exportPause outlasts the delay after which the rest of the spans is sent.
const (
	exportDelay = 300 * time.Millisecond
	exportPause = 4 * exportDelay
)

func traceArms() []arm {
	return []arm{{tracesOff, traced("")}, {tracesFew, traced("0.01")}, {tracesAll, traced("1")}}
}

// traced measures the whole path to one sink with traces of a part of the
// events, sent to a collector in another process; "" is off. The server's CPU
// time includes the sending of its last span.
func traced(ratio string) func(context.Context, options, int) (sample, error) {
	return func(ctx context.Context, o options, round int) (sample, error) {
		if ratio == "" {
			return deliver(1, embedded("power"))(ctx, pausing(o), round)
		}
		c, err := start("collector")
		if err != nil {
			return sample{}, err
		}
		defer c.stop()
		s, err := deliver(1, embedded("power", "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+c.addr, "OTEL_TRACES_SAMPLER=parentbased_traceidratio",
			"OTEL_TRACES_SAMPLER_ARG="+ratio, "OTEL_BSP_SCHEDULE_DELAY="+strconv.FormatInt(exportDelay.Milliseconds(), 10)))(ctx, pausing(o), round)
		if err != nil {
			return sample{}, err
		}
		return s, delivered(ctx, c.addr, 1) // a batch of spans, at least
	}
}

func pausing(o options) options {
	o.pause = exportPause
	return o
}

// collector takes spans and throws them away.
func collector() http.Handler {
	var batches atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/count" {
			fmt.Fprintln(w, batches.Load())
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		batches.Add(1)
		w.Header().Set("Content-Type", "application/x-protobuf") // an empty answer is one of success
	})
}

// reportTraces compares the arms round by round.
func reportTraces(w io.Writer, samples map[string][]sample) {
	off := samples[tracesOff]
	if len(off) == 0 {
		return
	}
	fmt.Fprintf(w, "\n## What traces cost\n\nThe whole path to one HTTP sink at durability power, with traces sent by OTLP over HTTP to a collector in another process.\nThe ratio is that of two arms of one round.\n\n"+
		"| traces of | CPU µs an event | more than off | peak RSS |\n|---|---|---|---|\n")
	for _, name := range []string{tracesOff, tracesFew, tracesAll} {
		s := samples[name]
		if len(s) != len(off) {
			continue
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", name[len(tracesArm):],
			spread(s, func(i int) float64 { return micros(s[i].cpu) }, "%.0f"),
			spread(s, func(i int) float64 { return 100 * (micros(s[i].cpu)/micros(off[i].cpu) - 1) }, "%.1f %%"),
			spread(s, func(i int) float64 { return float64(s[i].rss) / (1 << 20) }, "%.0f MiB"))
	}
}
