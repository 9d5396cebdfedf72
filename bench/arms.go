package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// dedupeWindow is broker.dedupe_window of every server under test.
const dedupeWindow = 2 * time.Minute

// sample is one run of one arm.
type sample struct {
	rate     float64       // events a second
	cpu      time.Duration // of the server, per event
	p50, p99 time.Duration
	rss      int64
	allocs   float64         // per event; sinks only
	delays   []time.Duration // from acceptance to arrival, sorted; isolation only
	size                     // of the arms about size only
}

// arm is one thing that is measured.
type arm struct {
	name string
	run  func(ctx context.Context, o options, round int) (sample, error)
}

func arms() []arm {
	return slices.Concat([]arm{
		{"ceiling", runCeiling},
		{"accept process", accept(embedded("process"))},
		{"accept interval", accept(embedded("interval"))},
		{"accept power", accept(embedded("power"))},
		{"deliver 1 sink", deliver(1, embedded("power"))},
		{"deliver 1 sink, no records", deliver(1, embedded("power", noRecordsVariable+"=1"))},
		{"deliver 8 sinks", deliver(8, embedded("power"))},
		{"accept process, 500/s", paced},
	}, clusterArms(), isolationArms(), sinkArms(), sizeArms())
}

func runCeiling(ctx context.Context, o options, round int) (sample, error) {
	c, err := start("ceiling")
	if err != nil {
		return sample{}, err
	}
	defer c.stop()
	return flood(ctx, c, o, round)
}

// accept measures the way in alone: no sink is configured but one that no
// route names.
func accept(start starter) func(context.Context, options, int) (sample, error) {
	return func(ctx context.Context, o options, round int) (sample, error) {
		c, cleanup, err := start(nil)
		if err != nil {
			return sample{}, err
		}
		defer cleanup()
		return flood(ctx, c, o, round)
	}
}

func paced(ctx context.Context, o options, round int) (sample, error) {
	c, cleanup, err := embedded("process")(nil)
	if err != nil {
		return sample{}, err
	}
	defer cleanup()
	g := newGenerator(c.addr, fmt.Sprint("p", round), 16)
	if _, err := g.pace(ctx, 500, time.Second/2); err != nil {
		return sample{}, err
	}
	return measure(c, func() (result, error) { return g.pace(ctx, 500, o.load) })
}

// deliver measures the whole path: the clock stops when every sink has had
// every event.
func deliver(sinks int, begin starter) func(context.Context, options, int) (sample, error) {
	return func(ctx context.Context, o options, round int) (sample, error) {
		r, err := start("receiver")
		if err != nil {
			return sample{}, err
		}
		defer r.stop()
		c, cleanup, err := begin(sinkURLs(r, sinks))
		if err != nil {
			return sample{}, err
		}
		defer cleanup()
		g := newGenerator(c.addr, fmt.Sprint("d", round), o.conns)
		return measure(c, func() (result, error) {
			begin := time.Now()
			res, err := g.flood(ctx, o.conns, o.load)
			if err != nil {
				return res, err
			}
			if err := delivered(ctx, r.addr, res.events*sinks); err != nil {
				return res, err
			}
			res.took = time.Since(begin)
			return res, nil
		})
	}
}

// sinkURLs are n places at a receiver.
func sinkURLs(receiver *child, n int) []string {
	urls := make([]string, n)
	for i := range urls {
		urls[i] = fmt.Sprintf("http://%s/sink%d", receiver.addr, i)
	}
	return urls
}

// delivered waits until the receiver has had n requests.
func delivered(ctx context.Context, addr string, n int) error {
	deadline := time.Now().Add(5 * time.Minute)
	for {
		resp, err := http.Get("http://" + addr + "/count")
		if err != nil {
			return err
		}
		var got int
		err = json.NewDecoder(resp.Body).Decode(&got)
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
		if got >= n {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("%d of %d deliveries arrived", got, n)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func flood(ctx context.Context, c *child, o options, round int) (sample, error) {
	g := newGenerator(c.addr, fmt.Sprint("f", round), o.conns)
	if _, err := g.flood(ctx, o.conns, time.Second/2); err != nil {
		return sample{}, err
	}
	return measure(c, func() (result, error) { return g.flood(ctx, o.conns, o.load) })
}

// measure runs the load and accounts the server's CPU to its events.
func measure(c *child, load func() (result, error)) (sample, error) {
	before, err := c.cpu()
	if err != nil {
		return sample{}, err
	}
	r, err := load()
	if err != nil {
		return sample{}, err
	}
	after, err := c.cpu()
	if err != nil {
		return sample{}, err
	}
	rss, err := c.peakRSS()
	return sample{
		rate: r.rate(), cpu: (after - before) / time.Duration(max(r.events, 1)),
		p50: r.quantile(0.5), p99: r.quantile(0.99), rss: rss,
	}, err
}

// starter starts the server under test, with an HTTP sink for each URL. What it
// returns ends it, and all that belongs to it.
type starter func(urls []string) (*child, func(), error)

// embedded runs Penstock with the queue inside, on a fresh data directory. env
// is the server's.
func embedded(durability string, env ...string) starter {
	return func(urls []string) (*child, func(), error) {
		dir, err := os.MkdirTemp("", "penstock-bench-")
		if err != nil {
			return nil, nil, err
		}
		c, err := start("penstock", append(env, configVariable+"="+configuration(inside(dir, durability), urls))...)
		if err != nil {
			_ = os.RemoveAll(dir)
			return nil, nil, err
		}
		return c, func() { c.stop(); _ = os.RemoveAll(dir) }, nil
	}
}

// inside is a broker section for the queue inside, in dir.
func inside(dir, durability string) string {
	return fmt.Sprintf("{data_dir: %q, durability: %s, dedupe_window: %s, max_bytes: 8GiB}", dir, durability, dedupeWindow)
}

func configuration(broker string, urls []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `server: {listen: "127.0.0.1:0", admin: ""}
broker: %s
sources:
  clickfunnels: {kind: clickfunnels, path: %s, secrets: [%q]}
sinks:
`, broker, webhookPath, secret)
	if len(urls) == 0 {
		b.WriteString("  unused: {kind: log}\nroutes: [{name: none, match: [never.sent], to: [unused]}]\n")
		return b.String()
	}
	var names []string
	for i, u := range urls {
		name := fmt.Sprintf("sink%d", i)
		names = append(names, name)
		fmt.Fprintf(&b, "  %s: {kind: http, url: %q}\n", name, u)
	}
	fmt.Fprintf(&b, "routes: [{name: all, match: [\">\"], to: [%s]}]\n", strings.Join(names, ", "))
	return b.String()
}
