package telemetry

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Problem is a variable whose value is of no use. It shows no value that may
// hold a secret.
type Problem struct {
	// Variable is the one that is set.
	Variable string
	// Why it is of no use, as in "is none of grpc, http/protobuf".
	Why string
	// Instead is what holds in its place, as in "traces are off".
	Instead string
}

// String says all of it.
func (p Problem) String() string { return p.Variable + " " + p.Why + "; " + p.Instead }

// Env is what the standard variables OTEL_* say, all read in one place. What is
// wrong with one costs at most the signal that it is about. A nil Env says
// nothing: then nothing is sent.
type Env struct {
	look     func(string) (string, bool)
	disabled bool
	set      []string
	problems []Problem
	// hidden are words that no line of a log may show.
	hidden []string
	traces traceEnv
	push   pushEnv
}

// ReadEnv reads the variables; a nil look is os.LookupEnv. The exporters read
// headers, endpoint and files again from the process's own environment, so
// another look is for who only asks what would be. With OTEL_SDK_DISABLED
// nothing else is looked at.
func ReadEnv(look func(string) (string, bool)) *Env {
	if look == nil {
		look = os.LookupEnv
	}
	e := &Env{look: look, traces: traceEnv{exporter: exporterNone}}
	const disabled = "OTEL_SDK_DISABLED"
	if e.disabled = e.yes(disabled, e.value(disabled)); e.disabled {
		return e
	}
	if e.value("OTEL_RESOURCE_ATTRIBUTES") != "" && !wellFormed(e.value("OTEL_RESOURCE_ATTRIBUTES")) {
		e.problem("OTEL_RESOURCE_ATTRIBUTES", "is not key=value,...", "what cannot be read of it is left out")
	}
	e.value("OTEL_SERVICE_NAME")
	e.readTraces()
	e.readMetrics()
	// The longest first: of two that begin alike the rest would be shown.
	slices.SortFunc(e.hidden, func(a, b string) int { return len(b) - len(a) })
	e.traces.secrets = e.hidden
	return e
}

// Disabled reports that OTEL_SDK_DISABLED is true.
func (e *Env) Disabled() bool { return e != nil && e.disabled }

// Set are the variables that are set and known, in the order of their names.
func (e *Env) Set() []string {
	if e == nil {
		return nil
	}
	return slices.Sorted(slices.Values(e.set))
}

// Problems are the variables whose values are of no use, each once.
func (e *Env) Problems() []Problem {
	if e == nil {
		return nil
	}
	return slices.Clone(e.problems)
}

// Sends says which signals go to a receiver.
func (e *Env) Sends() (traces, metrics bool) {
	if e == nil {
		return false, false
	}
	return e.traces.exporter != exporterNone, e.push.on
}

// Warn logs every problem.
func (e *Env) Warn(log *slog.Logger) {
	for _, p := range e.Problems() {
		log.Warn(p.String())
	}
}

// value is a variable's, without space around it; "" when it is not set.
func (e *Env) value(name string) string {
	v, _ := e.look(name)
	if v = strings.TrimSpace(v); v != "" && !slices.Contains(e.set, name) {
		e.set = append(e.set, name)
	}
	return v
}

// problem notes one. What two signals say of one variable becomes one.
func (e *Env) problem(name, why, instead string) {
	for i := range e.problems {
		p := &e.problems[i]
		if p.Variable != name || p.Why != why {
			continue
		}
		if !strings.Contains(p.Instead, instead) {
			p.Instead += ", " + instead
		}
		return
	}
	e.problems = append(e.problems, Problem{name, why, instead})
}

// yes reads a variable that is true or false.
func (e *Env) yes(name, v string) bool {
	switch strings.ToLower(v) {
	case "true":
		return true
	case "", "false":
	default:
		e.problem(name, fmt.Sprintf("is %s, and neither true nor false", shown(v)), "false it is")
	}
	return false
}

// choice reads a variable that takes one of a few values; instead is what
// holds with another, or without one.
func (e *Env) choice(name, v, instead string, known ...string) string {
	if v == "" {
		return instead
	}
	if slices.Contains(known, v) {
		return v
	}
	e.problem(name, fmt.Sprintf("is %s, and none of %s", shown(v), strings.Join(known, ", ")), instead+" it is")
	return instead
}

// positive reads a variable that is a whole number above 0.
func (e *Env) positive(name string, otherwise int) int {
	v := e.value(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n <= 0 {
		e.problem(name, fmt.Sprintf("is %s, and no whole number above 0", shown(v)), fmt.Sprintf("%d it is", otherwise))
		return otherwise
	}
	return int(n)
}

// millis reads a variable in milliseconds.
func (e *Env) millis(name string, otherwise time.Duration) time.Duration {
	return time.Duration(e.positive(name, int(otherwise.Milliseconds()))) * time.Millisecond
}

// mostShown bounds how much of a value is shown.
const mostShown = 40

// shown is a value for people, of a variable that holds no secret. What is
// longer than any of its values is something else, perhaps a secret.
func shown(v string) string {
	if len(v) > mostShown || strings.ContainsAny(v, "@=: ") {
		return "something else"
	}
	return strconv.Quote(v)
}
