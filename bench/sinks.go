package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/sinks"
)

// sinkArm begins the names of the arms that compare a sink with its own client
// used bare.
const sinkArm = "sinks: "

// sinkLoad are the deliveries at one time in these arms.
const sinkLoad = 16

// sinkVariable names what the role "sink" measures, sinkTarget where it sends,
// and sinkTime for how long.
const (
	sinkVariable = "PENSTOCK_BENCH_SINK"
	sinkTarget   = "PENSTOCK_BENCH_TARGET"
	sinkTime     = "PENSTOCK_BENCH_TIME"
)

// deliverer hands over one event.
type deliverer func(ctx context.Context, e event.Event) error

// comparison is a sink and what its ratio is taken to: the least that a program
// would do to send the same.
type comparison struct {
	name string
	// sink is the kind with its options.
	kind, options string
	bare          func(target string) deliverer
}

// comparisons are the sinks that are measured. A kind more is a line here.
func comparisons() []comparison {
	return []comparison{
		{"http", "http", "url: %s/\nheaders: {Authorization: Bearer token}", bareHTTP},
		{"log", "log", "", bareLog},
	}
}

// sinkArms are two arms for each sink, the bare one first.
func sinkArms() []arm {
	var all []arm
	for _, c := range comparisons() {
		for _, name := range []string{c.name + " bare", c.name} {
			all = append(all, arm{sinkArm + name, sinkRun(name)})
		}
	}
	return all
}

// sinkRun measures one arm in a process of its own, against a receiver in
// another.
func sinkRun(name string) func(context.Context, options, int) (sample, error) {
	return func(_ context.Context, o options, _ int) (sample, error) {
		r, err := start("receiver")
		if err != nil {
			return sample{}, err
		}
		defer r.stop()
		c, err := start("sink", sinkVariable+"="+name, sinkTarget+"=http://"+r.addr, sinkTime+"="+o.load.String())
		if err != nil {
			return sample{}, err
		}
		defer c.stop()
		var f sinkFigures
		if err := json.Unmarshal([]byte(c.addr), &f); err != nil {
			return sample{}, fmt.Errorf("figures of %s: %w", name, err)
		}
		rss, err := c.peakRSS()
		return sample{
			rate: float64(f.Events) / f.Took.Seconds(), cpu: f.CPU / time.Duration(max(f.Events, 1)),
			allocs: float64(f.Allocs) / float64(max(f.Events, 1)), rss: rss,
		}, err
	}
}

// sinkFigures are what the role "sink" prints.
type sinkFigures struct {
	Events, Allocs int64
	CPU, Took      time.Duration
}

// runSinkRole delivers for a while, prints what it took, and waits to be told
// to stop.
func runSinkRole(ctx context.Context) error {
	deliver, stop, err := openDeliverer(os.Getenv(sinkVariable), os.Getenv(sinkTarget))
	if err != nil {
		return err
	}
	defer stop()
	load, err := time.ParseDuration(os.Getenv(sinkTime))
	if err != nil {
		return err
	}
	if _, err := deliverFor(ctx, deliver, load/8); err != nil { // opens the connections
		return err
	}
	f, err := deliverFor(ctx, deliver, load)
	if err != nil {
		return err
	}
	line, err := json.Marshal(f)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	<-ctx.Done()
	return nil
}

// openDeliverer returns the sink of a name, or its bare client.
func openDeliverer(name, target string) (deliverer, func(), error) {
	for _, c := range comparisons() {
		switch name {
		case c.name + " bare":
			return c.bare(target), func() {}, nil
		case c.name:
			return openSink(c, target)
		}
	}
	return nil, nil, fmt.Errorf("no such sink %q", name)
}

func openSink(c comparison, target string) (deliverer, func(), error) {
	text := c.options
	if strings.Contains(text, "%s") {
		text = fmt.Sprintf(text, target)
	}
	n, err := config.NodeFrom("bench.yaml", text)
	if err != nil {
		return nil, nil, err
	}
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	s, err := sinks.Open(config.Sink{Name: "bench", Kind: c.kind, Options: n},
		sinks.Deps{HTTP: sinks.NewTransport(sinks.Guard{}), Stdout: out, Version: "bench"})
	if err != nil {
		return nil, nil, err
	}
	return s.Deliver, func() {
		if closer, ok := s.(io.Closer); ok {
			_ = closer.Close() // nothing is measured any more
		}
		_ = out.Close()
	}, nil
}

// deliverFor keeps sinkLoad deliveries going, each under a time limit as the
// router gives them.
func deliverFor(ctx context.Context, deliver deliverer, load time.Duration) (sinkFigures, error) {
	var n atomic.Int64
	var failure atomic.Pointer[error]
	var wg sync.WaitGroup
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, begin := ownCPU(), time.Now()
	for range sinkLoad {
		wg.Go(func() {
			e := sinkEvent()
			for time.Since(begin) < load && ctx.Err() == nil && failure.Load() == nil {
				attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
				err := deliver(attempt, e)
				cancel()
				if err != nil {
					failure.Store(&err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	if err := failure.Load(); err != nil {
		return sinkFigures{}, *err
	}
	f := sinkFigures{Events: n.Load(), CPU: ownCPU() - cpu, Took: time.Since(begin)}
	runtime.ReadMemStats(&after)
	f.Allocs = int64(after.Mallocs - before.Mallocs)
	return f, nil
}

// ownCPU is the time that this process has run so far.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // cannot be: the arguments are right
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func sinkEvent() event.Event {
	return event.Event{
		ID: "0b9f4a5e-7c1d-4c5e-9a58-0d2f4b6a8c10", Type: "orders/invoice.paid", Source: "clickfunnels",
		Subject: "orders.invoice.paid", APIVersion: 2, Received: time.Unix(1795521125, 789e6),
		Body: []byte(`{"data":"` + strings.Repeat("x", bodySize-11) + `"}`),
	}
}

// bareHTTP posts with net/http as its documentation shows, with keep-alive, and
// sends the headers that the sink sends.
func bareHTTP(target string) deliverer {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}
	return func(ctx context.Context, e event.Event) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, target+"/", bytes.NewReader(e.Body))
		if err != nil {
			return err
		}
		h := req.Header
		h.Set("Authorization", "Bearer token")
		h.Set("Content-Type", "application/json")
		h.Set("User-Agent", "Penstock/bench")
		h.Set("Webhook-Id", e.ID)
		h.Set("Ce-Id", e.ID)
		h.Set("Ce-Specversion", "1.0")
		h.Set("Ce-Type", e.Type)
		h.Set("Ce-Source", "/penstock/"+e.Source)
		h.Set("Ce-Time", e.Received.UTC().Format(time.RFC3339Nano))
		h.Set("Penstock-Subject", e.Subject)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			return fmt.Errorf("answered %s", resp.Status)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
}

// bareLog writes the body and a line break.
func bareLog(string) deliverer {
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	return func(_ context.Context, e event.Event) error {
		if err != nil {
			return err
		}
		_, err := out.Write(append(e.Body[:len(e.Body):len(e.Body)], '\n'))
		return err
	}
}

// reportSinks shows each sink beside its client used bare.
func reportSinks(w io.Writer, samples map[string][]sample) {
	measured := func(c comparison) bool {
		return len(samples[sinkArm+c.name]) > 0 && len(samples[sinkArm+c.name+" bare"]) > 0
	}
	if !slices.ContainsFunc(comparisons(), measured) {
		return
	}
	fmt.Fprintf(w, `
## What a sink adds to its client

Each sink hands over the same event, %d at a time, in a process of its own, in turn with a program that sends the same by the client alone.
Ratios are within a round; what is counted is the process that sends.

| sink | events/s | CPU µs an event | bare | CPU, sink to bare | allocations an event | bare |
|---|---|---|---|---|---|---|
`, sinkLoad)
	for _, c := range comparisons() {
		if !measured(c) {
			continue
		}
		s, bare := samples[sinkArm+c.name], samples[sinkArm+c.name+" bare"]
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s |\n", c.name,
			spread(s, func(i int) float64 { return s[i].rate }, "%.0f"),
			spread(s, func(i int) float64 { return micros(s[i].cpu) }, "%.1f"),
			spread(s, func(i int) float64 { return micros(bare[i].cpu) }, "%.1f"),
			spread(s, func(i int) float64 { return float64(s[i].cpu) / float64(bare[i].cpu) }, "%.2f"),
			spread(s, func(i int) float64 { return s[i].allocs }, "%.0f"),
			spread(s, func(i int) float64 { return bare[i].allocs }, "%.0f"))
	}
}
