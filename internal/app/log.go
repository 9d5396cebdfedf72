package app

import (
	"io"

	"github.com/penstock/penstock/internal/telemetry"
)

// Log writes the log of a process, and LogOptions say how.
type (
	Log        = telemetry.Log
	LogOptions = telemetry.LogOptions
)

// NewLog returns a Log that writes to w.
func NewLog(w io.Writer, o LogOptions) *Log { return telemetry.NewLog(w, o) }
