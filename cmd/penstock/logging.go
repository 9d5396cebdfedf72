package main

import (
	"io"
	"log/slog"

	"github.com/spf13/pflag"
)

// logFlags are how a command that serves writes its log.
type logFlags struct{ level, format string }

func (f *logFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.level, "log-level", "info", "least level that is logged: debug, info, warn or error")
	flags.StringVar(&f.format, "log-format", "auto", "auto (text on a terminal, else json), text or json")
}

// logger returns a logger on w, which a person attends or not, and whether it
// writes text for people.
func (f *logFlags) logger(w io.Writer, attended bool) (l *slog.Logger, text bool, err error) {
	var level slog.Level
	switch f.level {
	case "debug", "info", "warn", "error":
		_ = level.UnmarshalText([]byte(f.level)) // one of slog's own names
	default:
		return nil, false, usagef("--log-level %q is none of debug, info, warn, error", f.level)
	}
	o := &slog.HandlerOptions{Level: level}
	switch f.format {
	case "auto":
		text = attended
	case "text":
		text = true
	case "json":
	default:
		return nil, false, usagef("--log-format %q is none of auto, text, json", f.format)
	}
	if text {
		return slog.New(slog.NewTextHandler(w, o)), true, nil
	}
	return slog.New(slog.NewJSONHandler(w, o)), false, nil
}
