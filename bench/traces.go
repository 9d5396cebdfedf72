package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
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

// A round of traces is so many turns, in each of which every arm gets so many
// events. A turn is short, so that what the machine does meanwhile meets all
// arms alike.
const (
	tracesTurns = 6
	turnEvents  = 2000
)

// exportPause outlasts the delay after which the rest of the spans is sent.
const (
	exportDelay = 200 * time.Millisecond
	exportPause = 2 * exportDelay
)

// traced is a server with everything on but for a part of the traces, and its
// sink's receiver. All arms run side by side and are loaded in turn.
type traced struct {
	name      string
	server    *child
	receiver  *child
	generator *generator
	events    int // that it has got
	cleanup   func()
	sum       sample // of the round
}

// beginTraced starts an arm. Metrics are pushed to the collector too; ratio ""
// is neither traces nor pushing.
func beginTraced(name, ratio, collector string, o options) (*traced, error) {
	t := &traced{name: name}
	var err error
	if t.receiver, err = start("receiver"); err != nil {
		return nil, err
	}
	var env []string
	if ratio != "" {
		env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + collector, "OTEL_TRACES_SAMPLER=parentbased_traceidratio",
			"OTEL_TRACES_SAMPLER_ARG=" + ratio, "OTEL_BSP_SCHEDULE_DELAY=" + strconv.FormatInt(exportDelay.Milliseconds(), 10)}
	}
	if t.server, t.cleanup, err = embedded("power", env...)([]string{"http://" + t.receiver.addr + "/sink0"}); err != nil {
		t.receiver.stop()
		return nil, err
	}
	t.generator = newGenerator(t.server.addr, "t", o.conns)
	return t, nil
}

func (t *traced) stop() {
	t.cleanup()
	t.receiver.stop()
}

// turn sends the arm its events and adds what they cost, the sending of the
// last span included.
func (t *traced) turn(ctx context.Context, o options) error {
	s, err := measure(t.server, func() (result, error) {
		res, err := t.generator.send(ctx, o.conns, turnEvents)
		if err != nil {
			return res, err
		}
		t.events += res.events
		if err := delivered(ctx, t.receiver.addr, t.events); err != nil {
			return res, err
		}
		time.Sleep(exportPause)
		return res, nil
	})
	t.sum.rate += s.rate / tracesTurns
	t.sum.cpu += s.cpu / tracesTurns
	t.sum.p50, t.sum.p99, t.sum.rss = max(t.sum.p50, s.p50), max(t.sum.p99, s.p99), s.rss
	return err
}

// runTraces measures what traces cost on the whole path to one sink.
func runTraces(ctx context.Context, o options, samples map[string][]sample) error {
	c, err := start("collector")
	if err != nil {
		return err
	}
	defer c.stop()
	var all []*traced
	for _, a := range [...]struct{ name, ratio string }{{tracesOff, ""}, {tracesFew, "0.01"}, {tracesAll, "1"}} {
		t, err := beginTraced(a.name, a.ratio, c.addr, o)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		defer t.stop()
		all = append(all, t)
	}
	for round := range o.rounds + 1 {
		for turn := range tracesTurns {
			for i := range all {
				t := all[(i+turn)%len(all)]
				if err := t.turn(ctx, o); err != nil {
					return fmt.Errorf("%s: %w", t.name, err)
				}
			}
		}
		for _, t := range all {
			if round > 0 { // the first warms up
				samples[t.name] = append(samples[t.name], t.sum)
				progress(round-1, o, t.name, t.sum)
			}
			t.sum = sample{}
		}
	}
	return delivered(ctx, c.addr, 2*o.rounds) // batches of spans, at least
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
		if strings.HasSuffix(r.URL.Path, "/traces") {
			batches.Add(1)
		}
		w.Header().Set("Content-Type", "application/x-protobuf") // an empty answer is one of success
	})
}

// reportTraces compares the arms round by round.
func reportTraces(w io.Writer, samples map[string][]sample) {
	off := samples[tracesOff]
	if len(off) == 0 {
		return
	}
	fmt.Fprintf(w, "\n## What traces cost\n\nThe whole path to one HTTP sink at durability power, with traces and metrics sent by OTLP over HTTP to a collector in\n"+
		"another process. All arms run side by side and get %d events in turn, %d times a round, so that what else the machine does meets all of\nthem. "+
		"The ratio is that of two arms of one round.\n\n"+
		"| traces of | CPU µs an event | more than off | peak RSS |\n|---|---|---|---|\n", turnEvents, tracesTurns)
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

func progress(round int, o options, name string, s sample) {
	fmt.Fprintf(os.Stderr, "round %d/%d  %-22s %8.0f events/s  %6.1f CPU µs  p50 %-9s p99 %-9s %4d MiB\n", round+1, o.rounds, name,
		s.rate, micros(s.cpu), s.p50.Round(time.Microsecond), s.p99.Round(time.Microsecond), s.rss>>20)
}
