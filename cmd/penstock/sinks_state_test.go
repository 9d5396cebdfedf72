package main

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/console"
)

// A sink that does not flow says why, and until when.
func TestSinksSayWhatTheyWaitFor(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 11, 24, 12, 0, 30, 0, time.UTC)
	for name, tt := range map[string]struct {
		sink console.SinkStatus
		want string
	}{
		"open":      {console.SinkStatus{State: "open"}, "open"},
		"throttled": {console.SinkStatus{State: "throttled", NextProbe: until}, "throttled until " + formatTime(until)},
		"held":      {console.SinkStatus{State: "held", Reason: "401"}, "held (401)"},
		"paused":    {console.SinkStatus{State: "open", PausedUntil: until}, "paused until " + formatTime(until)},
	} {
		if got := stateOf(tt.sink); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
