package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/clickfunnels"
)

// bodySize is the size of a body, in bytes, where nothing else is said.
const bodySize = 1024

// generator posts signed events, each with an id of its own.
type generator struct {
	url    string
	client *http.Client
	prefix string
	size   int // of a body, in bytes
	next   atomic.Int64
}

func newGenerator(addr, prefix string, conns int) *generator {
	return &generator{
		url:    "http://" + addr + webhookPath,
		prefix: prefix,
		size:   bodySize,
		client: &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns, DisableCompression: true,
		}},
	}
}

// body is an event of g.size bytes.
func (g *generator) body(n int64) []byte {
	b := make([]byte, 0, g.size)
	b = fmt.Appendf(b, `{"event_id":"%s-%012d","event_type":"orders/invoice.paid","subject_id":7,"api_version":2,"data":{"id":7,"total_amount":"49.00","currency":"USD","note":"`, g.prefix, n)
	const end = `"}}`
	b = append(b, bytes.Repeat([]byte("x"), g.size-len(b)-len(end))...)
	return append(b, end...)
}

// post sends one event and returns how long the answer took.
func (g *generator) post(ctx context.Context) (time.Duration, error) {
	body := g.body(g.next.Add(1))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = clickfunnels.Sign(secret, time.Now(), body)
	req.Header.Set("Content-Type", "application/json")
	start := time.Now()
	resp, err := g.client.Do(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	took := time.Since(start)
	if resp.StatusCode != http.StatusAccepted {
		return 0, fmt.Errorf("answered %s", resp.Status)
	}
	return took, nil
}

// result is what one load came to.
type result struct {
	events  int
	took    time.Duration
	latency []time.Duration // sorted
}

func (r result) rate() float64 { return float64(r.events) / r.took.Seconds() }

func (r result) quantile(q float64) time.Duration {
	if len(r.latency) == 0 {
		return 0
	}
	return r.latency[min(int(q*float64(len(r.latency))), len(r.latency)-1)]
}

// flood posts over conns connections, each as fast as it is answered.
func (g *generator) flood(ctx context.Context, conns int, d time.Duration) (result, error) {
	start := time.Now()
	return g.run(ctx, conns, func() bool { return time.Since(start) < d })
}

// send posts n events over conns connections, as fast as they are answered.
func (g *generator) send(ctx context.Context, conns, n int) (result, error) {
	var sent atomic.Int64
	return g.run(ctx, conns, func() bool { return sent.Add(1) <= int64(n) })
}

// pace posts rate events a second, evenly spaced, for d.
func (g *generator) pace(ctx context.Context, rate int, d time.Duration) (result, error) {
	start, total := time.Now(), int64(d.Seconds()*float64(rate))
	var sent atomic.Int64
	return g.run(ctx, 16, func() bool {
		n := sent.Add(1)
		if n > total {
			return false
		}
		at := start.Add(time.Duration(n) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(at))
		return true
	})
}

func (g *generator) run(ctx context.Context, conns int, more func() bool) (result, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		r     result
		first error
	)
	start := time.Now()
	for range conns {
		wg.Go(func() {
			var mine []time.Duration
			for ctx.Err() == nil && more() {
				took, err := g.post(ctx)
				if err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
					return
				}
				mine = append(mine, took)
			}
			mu.Lock()
			r.latency = append(r.latency, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	r.took = time.Since(start)
	r.events = len(r.latency)
	slices.Sort(r.latency)
	g.client.CloseIdleConnections()
	return r, first
}
