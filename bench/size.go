package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// sizeArm begins the names of the arms that tell how large a machine has to be:
// one process at a fixed rate, far below what it could do. An event costs more
// there than under full load, where one wake-up, one write and one sync serve
// many.
const sizeArm = "size "

// sizeBody is the size of a body in these arms, in bytes: that of a usual event
// of ClickFunnels.
const sizeBody = 2 << 10

// The rates are events a second. 0 is an idle process.
var (
	sizeRates = [...]int{0, 1, 10, 100, 500, 1000}
	sizeSinks = [...]int{1, 3}
)

const (
	// sizeLoads is how many times -load one of these arms lasts: at one event a
	// second few come in a short time.
	sizeLoads = 2
	// sizeWarm are events before the clock starts: they open connections and files.
	sizeWarm = 5
	// sizeSettle is how long a process is left alone before it is measured.
	sizeSettle = 2 * time.Second
	// sizeFlush outlasts the delays with which records are written.
	sizeFlush = time.Second
)

// size is what an arm of these has besides what all have.
type size struct {
	share float64 // of one CPU, that the process used
	disk  float64 // bytes an event, with the records of its deliveries
}

func sizeName(rate, sinks int) string {
	load := fmt.Sprintf("%d/s", rate)
	if rate == 0 {
		load = "idle"
	}
	return fmt.Sprintf("%s%s, %d HTTP", sizeArm, load, sinks)
}

func sizeArms() []arm {
	var all []arm
	for _, rate := range sizeRates {
		for _, sinks := range sizeSinks {
			all = append(all, arm{sizeName(rate, sinks), sized(rate, sinks)})
		}
	}
	return all
}

// sized measures a process with the queue inside, at durability power.
func sized(rate, sinks int) func(context.Context, options, int) (sample, error) {
	return func(ctx context.Context, o options, round int) (sample, error) {
		r, err := start("receiver")
		if err != nil {
			return sample{}, err
		}
		defer r.stop()
		dir, err := os.MkdirTemp("", "penstock-bench-")
		if err != nil {
			return sample{}, err
		}
		defer os.RemoveAll(dir)
		c, err := start("penstock", configVariable+"="+configuration(inside(dir, "power"), sinkURLs(r, sinks)))
		if err != nil {
			return sample{}, err
		}
		defer c.stop()
		g := newGenerator(c.addr, fmt.Sprint("s", round), 16)
		g.size = sizeBody
		if _, err := g.send(ctx, 1, sizeWarm); err != nil {
			return sample{}, err
		}
		if err := delivered(ctx, r.addr, sizeWarm*sinks); err != nil {
			return sample{}, err
		}
		time.Sleep(sizeSettle)
		return sizeLoad(ctx, c, dir, func() (result, error) {
			if rate == 0 {
				time.Sleep(sizeLoads * o.load)
				return result{}, nil
			}
			res, err := g.pace(ctx, rate, sizeLoads*o.load)
			if err != nil {
				return res, err
			}
			return res, delivered(ctx, r.addr, (sizeWarm+res.events)*sinks)
		})
	}
}

// sizeLoad measures a load with what it leaves on the disk.
func sizeLoad(ctx context.Context, c *child, dir string, load func() (result, error)) (sample, error) {
	before, err := diskUsed(dir)
	if err != nil {
		return sample{}, err
	}
	var took time.Duration
	var events int
	s, err := measure(c, func() (result, error) {
		begin := time.Now()
		res, err := load()
		took, events = time.Since(begin), res.events
		res.took = took
		return res, err
	})
	if err != nil {
		return s, err
	}
	s.share = float64(s.cpu) * float64(max(events, 1)) / float64(took)
	if events == 0 {
		s.cpu = 0 // of no event
	}
	select {
	case <-ctx.Done():
		return s, ctx.Err()
	case <-time.After(sizeFlush):
	}
	after, err := diskUsed(dir)
	if events > 0 {
		s.disk = float64(after-before) / float64(events)
	}
	return s, err
}

// diskUsed is what the messages of all streams take, in bytes.
func diskUsed(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".blk" {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// reportSizes shows the arms, an idle process first.
func reportSizes(w io.Writer, samples map[string][]sample) {
	if len(samples[sizeName(0, 1)]) == 0 {
		return
	}
	fmt.Fprintf(w, `
## What a process needs

One process with the queue inside at durability power and bodies of %d bytes, at a fixed rate far below what it could do. An event costs more
here than above, where one wake-up, one write and one sync serve many. CPU is that of one CPU; disk is what the messages of all streams take,
with the records of the deliveries.

| events/s | HTTP sinks | CPU | CPU µs an event | p99 of the 202 | peak RSS | disk, bytes an event |
|---|---|---|---|---|---|---|
`, sizeBody)
	for _, rate := range sizeRates {
		for _, sinks := range sizeSinks {
			if s := samples[sizeName(rate, sinks)]; len(s) > 0 {
				sizeRow(w, rate, sinks, s)
			}
		}
	}
}

func sizeRow(w io.Writer, rate, sinks int, s []sample) {
	cells := []string{fmt.Sprint(rate), fmt.Sprint(sinks),
		spread(s, func(i int) float64 { return 100 * s[i].share }, "%.1f %%"), "–", "–",
		spread(s, func(i int) float64 { return float64(s[i].rss) / (1 << 20) }, "%.0f MiB"), "–"}
	if rate == 0 {
		cells[0] = "idle"
	} else {
		cells[3] = spread(s, func(i int) float64 { return micros(s[i].cpu) }, "%.0f")
		cells[4] = spread(s, func(i int) float64 { return float64(s[i].p99) / 1e6 }, "%.2f ms")
		cells[6] = spread(s, func(i int) float64 { return s[i].disk }, "%.0f")
	}
	fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
}
