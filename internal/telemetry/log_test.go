package telemetry

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
)

// lines are those of a log in JSON, as message and repeated.
func lines(t *testing.T, log string) []string {
	t.Helper()
	out := []string{}
	for line := range strings.Lines(log) {
		var l struct {
			Msg      string
			Repeated int
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if l.Repeated > 0 {
			l.Msg += fmt.Sprint(" x", l.Repeated)
		}
		out = append(out, l.Msg)
	}
	return out
}

func TestRepeatedLinesAreCounted(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		log  func(l *slog.Logger)
		want []string // before Close
		rest []string // of Close
	}{
		"the same error": {func(l *slog.Logger) {
			for i := range 5 {
				l.Warn("down", "err", errors.New("refused"), "in", time.Duration(i), "seq", i, "event", fmt.Sprint(i))
			}
		}, []string{"down"}, []string{"down x4"}},
		"for half a minute": {func(l *slog.Logger) {
			for range 30 {
				l.Error("down", "err", "refused")
				time.Sleep(900 * time.Millisecond)
			}
		}, []string{"down", "down x11", "down x11"}, []string{"down x7"}},
		"with pauses": {func(l *slog.Logger) {
			for range 3 {
				l.Warn("down", "err", "refused")
				time.Sleep(11 * time.Second)
			}
		}, []string{"down", "down", "down"}, nil},
		"other errors":         {func(l *slog.Logger) { l.Warn("down", "err", "refused"); l.Warn("down", "err", "timeout") }, []string{"down", "down"}, nil},
		"other levels":         {func(l *slog.Logger) { l.Warn("down"); l.Error("down") }, []string{"down", "down"}, nil},
		"other sinks":          {func(l *slog.Logger) { l.With("sink", "a").Warn("down"); l.With("sink", "b").Warn("down") }, []string{"down", "down"}, nil},
		"the same sink":        {func(l *slog.Logger) { l.With("sink", "a").Warn("down"); l.With("sink", "a").Warn("down") }, []string{"down"}, []string{"down x1"}},
		"changes of state":     {func(l *slog.Logger) { l.Info("held"); l.Info("held") }, []string{"held", "held"}, nil},
		"lines with own count": {func(l *slog.Logger) { l.Warn("refused", "repeated", 3); l.Warn("refused", "repeated", 4) }, []string{"refused x3", "refused x4"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var out strings.Builder
				l := NewLog(&out, LogOptions{})
				tt.log(l.Logger())
				synctest.Wait()
				before := lines(t, out.String())
				if diff := cmp.Diff(tt.want, before); diff != "" {
					t.Errorf("lines (-want +got):\n%s", diff)
				}
				l.Close()
				if diff := cmp.Diff(append([]string{}, tt.rest...), lines(t, out.String())[len(before):]); diff != "" {
					t.Errorf("lines of Close (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRepeatsAreBounded(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	l := NewLog(&out, LogOptions{})
	const n = 3 * maxRepeats
	for i := range n {
		l.Logger().Warn(fmt.Sprint("line ", i))
		l.Logger().Warn(fmt.Sprint("line ", i))
	}
	if got := len(l.counts.open); got != maxRepeats {
		t.Errorf("%d lines are remembered, want %d at most", got, maxRepeats)
	}
	l.Close()
	l.Logger().Warn("after")
	l.Logger().Warn("after")
	if got := len(lines(t, out.String())); got != 2*n+2 {
		t.Errorf("%d lines, want each and each again with its count, and two after Close: %d", got, 2*n+2)
	}
}

func TestLinesNameTheirTrace(t *testing.T) {
	t.Parallel()
	tr := NewTracing(TracingOptions{Env: env(nil), Spans: func(Span) {}})
	followed := tr.Delivery(t.Context(), "deliver crm", attemptOf(recorded), time.Now(), "")
	var out strings.Builder
	l := NewLog(&out, LogOptions{Level: slog.LevelDebug})
	l.Logger().DebugContext(followed, "attempt", "took", 1234567*time.Nanosecond, "in", 90*time.Second)
	l.Logger().DebugContext(t.Context(), "nobody follows")
	tr.Settled(followed, "crm", "", attemptOf(recorded), delivery.Verdict{})
	var got map[string]any
	first, second, _ := strings.Cut(out.String(), "\n")
	if err := json.Unmarshal([]byte(first), &got); err != nil {
		t.Fatalf("line %q: %v", first, err)
	}
	if span, _ := got["span_id"].(string); got["trace_id"] != recorded[atTrace:atSpan-1] || len(span) != 16 || span == recorded[atSpan:atFlags-1] {
		t.Errorf("line %s, want the trace of %s and a span of its own", first, recorded)
	}
	if got["took"] != "1.235ms" || got["in"] != "1m30s" {
		t.Errorf("line %s, want took 1.235ms and in 1m30s", first)
	}
	if strings.Contains(second, "trace_id") {
		t.Errorf("line %s, want no trace", second)
	}
}
