package main

import (
	"io"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/penstock/penstock/internal/app"
)

// logFlags are how a command that serves writes its log.
type logFlags struct {
	level, format string
	flags         *pflag.FlagSet
}

// The variables that stand in for flags that are not given, for where the
// command line is somebody else's.
const (
	logLevelVariable  = "PENSTOCK_LOG_LEVEL"
	logFormatVariable = "PENSTOCK_LOG_FORMAT"
)

func (f *logFlags) register(flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringVar(&f.level, "log-level", "info", "least level that is logged: debug, info, warn or error; or "+logLevelVariable)
	flags.StringVar(&f.format, "log-format", "auto", "auto (text on a terminal, else json), text or json; or "+logFormatVariable)
}

// logSetting is a flag's value, and under which name it was given.
func (p process) logSetting(f *logFlags, flag, value, variable string) (v, name string) {
	if v, _ := p.env(variable); v != "" && !f.flags.Changed(flag) {
		return v, variable
	}
	return value, "--" + flag
}

// log returns the log on w, which a person attends or not, and whether it is
// text for people. It has to be closed.
func (p process) log(w io.Writer, f *logFlags) (l *app.Log, text bool, err error) {
	var level slog.Level
	switch v, name := p.logSetting(f, "log-level", f.level, logLevelVariable); v {
	case "debug", "info", "warn", "error":
		_ = level.UnmarshalText([]byte(v)) // one of slog's own names
	default:
		return nil, false, usagef("%s %q is none of debug, info, warn, error", name, v)
	}
	switch v, name := p.logSetting(f, "log-format", f.format, logFormatVariable); v {
	case "auto":
		text = p.attends(w)
	case "text":
		text = true
	case "json":
	default:
		return nil, false, usagef("%s %q is none of auto, text, json", name, v)
	}
	return app.NewLog(w, app.LogOptions{Level: level, Text: text}), text, nil
}
