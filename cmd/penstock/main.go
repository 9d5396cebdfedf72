// Command penstock receives webhooks, stores them and delivers them.
//
// main only joins the process to run; each command is a file of its own.
package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/penstock/penstock/internal/app"
)

// version, and where the source is no checkout, revision and created (the
// commit and its time), are set by the build:
// go build -ldflags "-X main.version=v1.2.3".
var version, revision, created string

func main() {
	signal.Ignore(syscall.SIGPIPE) // a reader that has gone is an error, and no reason to leave things behind
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(run(process{
		args:    os.Args[1:],
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		env:     os.LookupEnv,
		attends: isTerminal,
		signals: signals,
		adopt:   app.AdoptLibraries,
	}))
}
