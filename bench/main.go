// Command bench measures what Penstock does on this machine, against the
// ceiling of the same machine: an Echo server that verifies the same signed
// bodies and does nothing else. Every server runs as a process of its own, so
// that its CPU time and memory are its alone; the arms of a comparison take
// turns, so that a machine that slows down slows all of them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		if err := runRole(role); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", role+":", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "how often each arm runs; at least 5 for a figure to quote")
	flag.DurationVar(&o.load, "load", 4*time.Second, "how long each arm is under load")
	flag.IntVar(&o.conns, "conns", 64, "keep-alive connections of the load generator")
	flag.StringVar(&o.only, "only", "", "run only the arms whose names contain this")
	flag.IntVar(&o.waiting, "waiting", 0, "also measure what this many waiting events cost, e.g. 1000000; takes minutes")
	flag.StringVar(&o.out, "out", "", "write the result to this page, e.g. docs/benchmarks.md")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	rounds int
	load   time.Duration
	conns  int
	only   string
	// waiting is how many events to let wait, 0 for none.
	waiting int
	out     string
}
