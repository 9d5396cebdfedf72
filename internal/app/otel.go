package app

import (
	"context"
	"log/slog"
	"strings"

	"github.com/penstock/penstock/internal/telemetry"
)

// AdoptLibraries has what libraries say by themselves written to log. It holds
// for the whole process.
func AdoptLibraries(log *slog.Logger) { telemetry.AdoptLibrary(log) }

// readEnv reads the standard variables OTEL_* and tells what is wrong with them.
func (a *App) readEnv() *telemetry.Env {
	if !a.o.Traces {
		return nil
	}
	e := telemetry.ReadEnv(nil)
	e.Warn(a.log.With("part", "telemetry"))
	return e
}

// checkOTel tells what the standard variables have sent where, as far as this
// process's environment says.
func checkOTel(_ context.Context, p *patient) []Finding {
	e := telemetry.ReadEnv(p.o.Env)
	if e.Disabled() {
		return good("OTEL_SDK_DISABLED is true: no traces are made and no metrics pushed; they are at /metrics")
	}
	var out []Finding
	for _, x := range e.Problems() {
		out = append(out, warn("correct it, in the environment of the process that serves; docs/tracing.md has them all", "%s", x)...)
	}
	traces, metrics := e.Sends()
	set := strings.Join(e.Set(), ", ")
	switch {
	case set == "":
		return skipped("no variable OTEL_* is set here: no traces are made, and metrics are at /metrics only")
	case len(out) > 0:
		return out
	case traces && metrics:
		return good("traces and metrics are sent, by %s", set)
	case traces:
		return good("traces are sent, by %s", set)
	case metrics:
		return good("metrics are pushed, by %s", set)
	}
	return good("nothing is sent, by %s", set)
}
