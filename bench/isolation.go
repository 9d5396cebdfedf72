package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// isolationRate is events a second, few enough that CPU is not what is scarce.
const isolationRate = 300

// isolationArm begins the names of the arms that measure how long a healthy
// sink waits for its events.
const isolationArm = "isolation: "

// isolationArms deliver to one healthy sink, alone and beside sick ones.
func isolationArms() []arm {
	return []arm{
		{isolationArm + "alone", isolation(nil, "")},
		{isolationArm + "3 sick", isolation(sickSinks, "")},
		{isolationArm + "3 sick, never held", isolation(sickSinks, "hold: {failures: 0}, ")},
	}
}

// sickSinks are the neighbours: paths of the receiver, and a port where nobody
// listens.
var sickSinks = []string{"/hangs", "/fails", ""}

// isolation measures the time from the acceptance of an event, as its Ce-Time
// says, to its arrival at the receiver of the healthy sink.
func isolation(sick []string, extra string) func(context.Context, options, int) (sample, error) {
	return func(ctx context.Context, o options, round int) (sample, error) {
		r, err := start("neighbours")
		if err != nil {
			return sample{}, err
		}
		defer r.stop()
		c, cleanup, err := startIsolated(r.addr, sick, extra)
		if err != nil {
			return sample{}, err
		}
		defer cleanup()
		g := newGenerator(c.addr, fmt.Sprint("i", round), 16)
		if _, err := g.pace(ctx, isolationRate, time.Second); err != nil {
			return sample{}, err
		}
		if _, err := arrivals(ctx, r.addr, isolationRate); err != nil {
			return sample{}, err
		}
		var sent int
		s, err := measure(c, func() (result, error) {
			res, err := g.pace(ctx, isolationRate, o.load)
			sent = res.events
			return res, err
		})
		if err != nil {
			return sample{}, err
		}
		s.delays, err = arrivals(ctx, r.addr, sent)
		s.p50, s.p99 = s.delay(0.5), s.delay(0.99)
		return s, err
	}
}

// startIsolated runs Penstock with a healthy sink and the sick ones.
func startIsolated(receiver string, sick []string, extra string) (*child, func(), error) {
	dir, err := os.MkdirTemp("", "penstock-bench-")
	if err != nil {
		return nil, nil, err
	}
	urls := []string{"http://" + receiver + "/healthy"}
	for _, path := range sick {
		host := receiver
		if path == "" {
			if host, err = deadPort(); err != nil {
				return nil, nil, err
			}
		}
		urls = append(urls, "http://"+host+path)
	}
	yaml := configuration(inside(dir, "power"), urls)
	for i := range sick {
		name := fmt.Sprintf("sink%d: {", i+1)
		yaml = strings.Replace(yaml, name, name+extra, 1)
	}
	c, err := start("penstock", configVariable+"="+yaml)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, nil, err
	}
	return c, func() { c.stop(); _ = os.RemoveAll(dir) }, nil
}

// deadPort is an address that refuses connections.
func deadPort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// arrivals waits until n events have arrived at the healthy sink, returns how
// long each was on its way, and forgets them.
func arrivals(ctx context.Context, addr string, n int) ([]time.Duration, error) {
	var all []time.Duration
	deadline := time.Now().Add(time.Minute)
	for len(all) < n {
		resp, err := http.Get("http://" + addr + "/delays")
		if err != nil {
			return nil, err
		}
		var some []time.Duration
		err = json.NewDecoder(resp.Body).Decode(&some)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if time.Now().After(deadline) || ctx.Err() != nil {
			return nil, fmt.Errorf("%d of %d events arrived at the healthy sink", len(all), n)
		}
		time.Sleep(20 * time.Millisecond)
	}
	slices.Sort(all)
	return all, nil
}

// neighbours is where the sinks of these arms deliver.
func neighbours(ctx context.Context) http.Handler {
	var mu sync.Mutex
	delays := []time.Duration{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /healthy", func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		_, _ = io.Copy(io.Discard, r.Body)
		accepted, err := time.Parse(time.RFC3339Nano, r.Header.Get("Ce-Time"))
		if err != nil {
			http.Error(w, "no Ce-Time", http.StatusBadRequest)
			return
		}
		mu.Lock()
		delays = append(delays, now.Sub(accepted))
		mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /fails", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusInternalServerError)
	})
	mux.HandleFunc("POST /hangs", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-ctx.Done():
		}
	})
	mux.HandleFunc("GET /delays", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		some := delays
		delays = []time.Duration{}
		mu.Unlock()
		_ = json.NewEncoder(w).Encode(some) // whoever hung up asks no more
	})
	return mux
}

// delay is a quantile of how long events were on their way.
func (s sample) delay(q float64) time.Duration {
	return result{latency: s.delays}.quantile(q)
}

// reportIsolation shows the distributions side by side.
func reportIsolation(w io.Writer, samples map[string][]sample) {
	arms := isolationArms()
	alone := samples[arms[0].name]
	if len(alone) == 0 {
		return
	}
	fmt.Fprintf(w, `
## One sick sink delays no other

Time from the acceptance of an event to its arrival at a healthy HTTP sink, at %d events/s and durability power: alone, beside
three sick sinks that are sent every event too (one never answers, one answers 500, one refuses connections), and the same with
hold switched off, so that the sick ones are tried all the time. Ratios are to the arm alone of the same round.

| the healthy sink | p50 | p90 | p99 | longest | p50 to alone | p99 to alone | CPU µs an event |
|---|---|---|---|---|---|---|---|
`, isolationRate)
	for _, a := range arms {
		s := samples[a.name]
		if len(s) == 0 {
			continue
		}
		at := func(q float64) string {
			return spread(s, func(i int) float64 { return float64(s[i].delay(q)) / 1e6 }, "%.2f ms")
		}
		ratio := func(q float64) string {
			return spread(s, func(i int) float64 { return float64(s[i].delay(q)) / float64(alone[i].delay(q)) }, "%.2f")
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", strings.TrimPrefix(a.name, isolationArm),
			at(0.5), at(0.9), at(0.99), at(1), ratio(0.5), ratio(0.99),
			spread(s, func(i int) float64 { return micros(s[i].cpu) }, "%.0f"))
	}
}
