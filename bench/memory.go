package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// memory measures what waits: events for a sink that is down, and retries.
// It takes minutes, so it runs only when it is asked for.
func memory(ctx context.Context, w io.Writer, o options) error {
	fmt.Fprintf(w, "\n## What waiting costs\n\n| what waits | peak RSS, ids of all in the dedupe window | restart to ready | RSS when the window is over |\n|---|---|---|---|\n")
	if err := waitingEvents(ctx, w, o); err != nil {
		return fmt.Errorf("waiting events: %w", err)
	}
	if err := waitingRetries(ctx, w, o); err != nil {
		return fmt.Errorf("waiting retries: %w", err)
	}
	return nil
}

// waitingEvents stores events for a sink that refuses connections.
func waitingEvents(ctx context.Context, w io.Writer, o options) error {
	yaml := func(dir string) string {
		return strings.Replace(configuration(inside(dir, "process"), []string{"http://127.0.0.1:1/sink0"}), "kind: http", "kind: http, hold: {failures: 3, probe: 30s}", 1)
	}
	return waiting(ctx, w, fmt.Sprintf("%d events of %d bytes, sink held", o.waiting, bodySize), yaml, o.waiting, o)
}

// waitingRetries stores events whose first attempt fails, with holding off.
func waitingRetries(ctx context.Context, w io.Writer, o options) error {
	fail := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
	})}
	defer fail.Close()
	addr, err := serveOn(fail)
	if err != nil {
		return err
	}
	yaml := func(dir string) string {
		return strings.Replace(configuration(inside(dir, "process"), []string{"http://" + addr + "/sink0"}), "kind: http", "kind: http, concurrency: 64, hold: {failures: 0}, retry: {initial: 1h}", 1)
	}
	const retries = 50_000
	return waiting(ctx, w, fmt.Sprintf("%d retries of %d bytes", retries, bodySize), yaml, retries, o)
}

// waiting fills a Penstock with n events, then starts it again.
func waiting(ctx context.Context, w io.Writer, what string, yaml func(dir string) string, n int, o options) error {
	dir, err := os.MkdirTemp("", "penstock-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := start("penstock", configVariable+"="+yaml(dir))
	if err != nil {
		return err
	}
	g := newGenerator(c.addr, "w", o.conns)
	if _, err := g.send(ctx, o.conns, n); err != nil {
		c.stop()
		return err
	}
	windowEnds := time.Now().Add(dedupeWindow + 5*time.Second)
	// The attempts follow the events; wait until nothing moves any more.
	rss, err := settled(ctx, c)
	c.stop()
	if err != nil {
		return err
	}
	began := time.Now()
	if c, err = start("penstock", configVariable+"="+yaml(dir)); err != nil {
		return err
	}
	ready := time.Since(began)
	defer c.stop()
	resp, err := http.Get("http://" + c.addr + "/readyz")
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	time.Sleep(time.Until(windowEnds))
	later, err := c.memory("VmRSS:")
	fmt.Fprintf(w, "| %s | %d MiB | %.2f s (%s) | %d MiB |\n", what, rss>>20, ready.Seconds(), resp.Status, later>>20)
	return err
}

// settled waits until the server uses hardly any CPU and returns its peak memory.
func settled(ctx context.Context, c *child) (int64, error) {
	for ctx.Err() == nil {
		before, err := c.cpu()
		if err != nil {
			return 0, err
		}
		time.Sleep(2 * time.Second)
		after, err := c.cpu()
		if err != nil {
			return 0, err
		}
		if after-before < 100*time.Millisecond {
			return c.peakRSS()
		}
	}
	return 0, ctx.Err()
}

// serveOn serves s on a free port and returns its address.
func serveOn(s *http.Server) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = s.Serve(l) }() // Close ends it
	return l.Addr().String(), nil
}
