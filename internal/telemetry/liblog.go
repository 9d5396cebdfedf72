package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/resource"
)

// AdoptLibrary has what the OpenTelemetry library says by itself, and else
// prints as plain text, written to log, without the secrets of the standard
// variables. It holds for the whole process, so it is main who decides on it.
func AdoptLibrary(log *slog.Logger) {
	h := libraryHandler{log.Handler(), hiding(ReadEnv(nil).hidden)}
	otel.SetLogger(logr.FromSlogHandler(h))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		if !errors.Is(err, resource.ErrPartialResource) { // Env.Warn tells of it, without the value
			slog.New(h).Warn("error", "err", err)
		}
	}))
}

// libraryHandler is a handler for lines of the library.
type libraryHandler struct {
	slog.Handler
	clean *strings.Replacer
}

// libraryLevel is the level that the library means: it writes warnings at 1,
// what is of interest at 4 and details at 8, which slog has below 0.
func libraryLevel(l slog.Level) slog.Level {
	if l >= -1 {
		return slog.LevelWarn // of errors, too: it is telemetry that suffers, no event
	}
	return slog.LevelDebug
}

// Enabled implements slog.Handler.
func (h libraryHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l > -8 && h.Handler.Enabled(ctx, libraryLevel(l))
}

// Handle implements slog.Handler.
func (h libraryHandler) Handle(ctx context.Context, r slog.Record) error {
	level := libraryLevel(r.Level)
	var attrs []slog.Attr
	r.Attrs(func(a slog.Attr) bool {
		if attrs = append(attrs, h.attr(a)); ofVariable(a.Key) {
			level = slog.LevelDebug // Env.Warn tells of it
		}
		return true
	})
	if !h.Handler.Enabled(ctx, level) {
		return nil
	}
	out := slog.NewRecord(r.Time, level, "OpenTelemetry: "+h.cleaned(r.Message), r.PC)
	out.AddAttrs(attrs...)
	return h.Handler.Handle(ctx, out)
}

// WithAttrs implements slog.Handler.
func (h libraryHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = h.attr(a)
	}
	return libraryHandler{h.Handler.WithAttrs(out), h.clean}
}

// WithGroup implements slog.Handler.
func (h libraryHandler) WithGroup(name string) slog.Handler {
	return libraryHandler{h.Handler.WithGroup(name), h.clean}
}

// ofVariable reports that the library shows the value of a variable so.
func ofVariable(key string) bool { return key == "input" || key == "value" }

// attr is a without what is secret.
func (h libraryHandler) attr(a slog.Attr) slog.Attr {
	if ofVariable(a.Key) {
		return slog.String(a.Key, "[hidden]")
	}
	return slog.String(a.Key, h.cleaned(fmt.Sprint(a.Value.Resolve().Any())))
}

func (h libraryHandler) cleaned(s string) string {
	s = h.clean.Replace(s)
	if len(s) > maxSaid {
		s = s[:maxSaid] + "..."
	}
	return strings.ToValidUTF8(s, "")
}
