package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"github.com/penstock/penstock/config"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	// exitCut is the end by a signal before the work was done.
	exitCut = 130
)

// process is everything a command knows of the world outside, so that tests
// run commands within their own process. All fields but signals and adopt are required.
type process struct {
	args           []string // without the program's name
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(name string) (value string, ok bool)
	// attends reports that a person reads or writes a stream: it is a terminal.
	attends func(stream any) bool
	// signals ask to stop: the first gracefully, the second at once.
	signals <-chan os.Signal
	// adopt has what libraries print by themselves written to a log, for the
	// whole process; nil: they print.
	adopt func(*slog.Logger)
}

// run runs one command line and returns the exit code. After a second signal
// it returns while the command still runs: the caller is to exit at once.
func run(p process) int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- execute(ctx, p) }()
	stopping := false
	for {
		select {
		case err := <-done:
			return p.report(err)
		case <-p.signals:
			if stopping {
				fmt.Fprintln(p.stderr, "penstock: second signal, ending at once; nothing that was answered 2xx is lost")
				return exitCut
			}
			stopping = true
			stop()
		}
	}
}

// usageError is a command line that makes no sense, as opposed to one that
// was carried out and went wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errReported ends a command whose failure has been printed already.
var errReported = errors.New("reported")

// errTrouble is errReported for a command whose code 1 means something else.
var errTrouble = errors.New("reported trouble")

// report prints what went wrong and returns the exit code for it.
func (p process) report(err error) int {
	var mistakes config.Mistakes
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported), errors.Is(err, syscall.EPIPE): // nobody reads any more
		return exitFailure
	case errors.Is(err, errTrouble):
		return exitUsage
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(p.stderr, "penstock: interrupted")
		return exitCut
	case errors.As(err, &mistakes):
		fmt.Fprintln(p.stderr, err)
		return exitFailure
	case errors.As(err, &usage):
		fmt.Fprintf(p.stderr, "penstock: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(p.stderr, "penstock: %s\n", strings.ReplaceAll(err.Error(), "\n", "\npenstock: "))
	return exitFailure
}
