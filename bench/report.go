package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// run runs every arm in every round and reports.
func run(ctx context.Context, o options) error {
	all := arms()
	samples := map[string][]sample{}
	for round := range o.rounds {
		for i := range all {
			a := all[(i+round)%len(all)] // who comes first changes: a machine slows down as it warms up
			if !strings.Contains(a.name, o.only) && (a.name != "ceiling" || withoutCeiling(o.only)) {
				continue
			}
			s, err := a.run(ctx, o, round)
			if err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			samples[a.name] = append(samples[a.name], s)
			progress(round, o, a.name, s)
		}
	}
	if strings.HasPrefix(tracesArm, o.only) {
		if err := runTraces(ctx, o, samples); err != nil {
			return err
		}
	}
	var page strings.Builder
	report(&page, o, samples)
	if o.waiting > 0 {
		if err := memory(ctx, &page, o); err != nil {
			return err
		}
	}
	fmt.Print(page.String())
	if o.out == "" {
		return nil
	}
	return os.WriteFile(o.out, []byte(page.String()), 0o644)
}

// withoutCeiling reports whether the arms that only chooses are compared with
// something else than the ceiling, or with nothing.
func withoutCeiling(only string) bool {
	return slices.ContainsFunc([]string{"sinks", "traces", "size"}, func(group string) bool { return strings.HasPrefix(only, group) })
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func report(w io.Writer, o options, samples map[string][]sample) {
	fmt.Fprintf(w, "# Benchmarks\n\nMade by `make bench` on %s, %s, %s, %d CPUs (%s).\n", time.Now().Format("2006-01-02"),
		runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH, runtime.NumCPU(), cpuModel())
	fmt.Fprintf(w, `
Every figure is the median of %d rounds, with the lowest and highest round in brackets. In each round all
arms run one after the other, and ratios are taken within a round. The load generator (%d keep-alive connections, signed bodies of
%d bytes, every id new), the server under test and the receiver are processes of their own and share the CPUs; CPU and memory are
the server's alone. dedupe_window is 2m. The ceiling is an Echo server that reads and verifies the same
requests, answers 202 and does nothing else.

`, o.rounds, o.conns, bodySize)
	reportArms(w, samples)
	extra(w, samples)
	reportIsolation(w, samples)
	reportSinks(w, samples)
	reportTraces(w, samples)
	reportSizes(w, samples)
}

// reportArms shows the arms that are compared with the ceiling.
func reportArms(w io.Writer, samples map[string][]sample) {
	if len(samples["ceiling"]) == 0 {
		return
	}
	fmt.Fprintf(w, "| arm | events/s | of the ceiling | CPU µs an event | p50 | p99 | peak RSS |\n|---|---|---|---|---|---|---|\n")
	for _, a := range arms() {
		if s := samples[a.name]; len(s) > 0 && !slices.ContainsFunc([]string{isolationArm, sinkArm, sizeArm}, func(group string) bool { return strings.HasPrefix(a.name, group) }) {
			row(w, a.name, s, samples["ceiling"])
		}
	}
}

func row(w io.Writer, name string, s, ceiling []sample) {
	fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s |\n", name,
		spread(s, func(i int) float64 { return s[i].rate }, "%.0f"),
		spread(s, func(i int) float64 { return 100 * s[i].rate / ceiling[i].rate }, "%.0f %%"),
		spread(s, func(i int) float64 { return micros(s[i].cpu) }, "%.0f"),
		spread(s, func(i int) float64 { return float64(s[i].p50) / 1e6 }, "%.2f ms"),
		spread(s, func(i int) float64 { return float64(s[i].p99) / 1e6 }, "%.2f ms"),
		spread(s, func(i int) float64 { return float64(s[i].rss) / (1 << 20) }, "%.0f MiB"))
}

// extra is what follows from two arms of one round.
func extra(w io.Writer, samples map[string][]sample) {
	one, eight := samples["deliver 1 sink"], samples["deliver 8 sinks"]
	if len(one) == 0 || len(eight) == 0 {
		return
	}
	fmt.Fprintf(w, "\nEach further HTTP sink costs %s CPU µs an event.\n",
		spread(one, func(i int) float64 { return (micros(eight[i].cpu) - micros(one[i].cpu)) / 7 }, "%.0f"))
	fmt.Fprintf(w, "\nLatency in the deliver arms is that of the 202 while the sinks take their share of the CPUs.\n")
}

// spread is the median of f over the samples, with the least and the most.
func spread(s []sample, f func(int) float64, format string) string {
	v := make([]float64, len(s))
	for i := range s {
		v[i] = f(i)
	}
	slices.SortFunc(v, cmp.Compare)
	num := strings.TrimSuffix(strings.Fields(format)[0], "%%")
	return fmt.Sprintf(format+" ("+num+"–"+num+")", v[len(v)/2], v[0], v[len(v)-1])
}

// cpuModel is what the machine calls its processor.
func cpuModel() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(raw)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown processor"
}
