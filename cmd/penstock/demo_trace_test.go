package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/app"
)

// spansOfDemo are those of an event with a retry, in the order in which they end.
func spansOfDemo(start time.Time) []app.Span {
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	retried := map[string]string{"penstock.attempt": "1", "penstock.class": "sink", "http.response.status_code": "503"}
	return []app.Span{
		{Trace: "t", ID: "b", Parent: "a", Name: "publish", Kind: "producer", Start: at(1), End: at(3), Attributes: map[string]string{"penstock.event.id": "one"}},
		{Trace: "t", ID: "a", Name: "POST /webhooks/clickfunnels", Kind: "server", Start: at(0), End: at(4), Attributes: map[string]string{"penstock.outcome": "accepted"}},
		{Trace: "other", ID: "x", Name: "publish", Kind: "producer", Start: at(9), End: at(9), Attributes: map[string]string{"penstock.event.id": "one"}},
		{Trace: "t", ID: "d", Parent: "c", Name: "attempt " + strings.Repeat("a-long-name-", 5), Kind: "client", Failed: true, Start: at(5), End: at(25), Attributes: retried},
		{Trace: "t", ID: "c", Parent: "b", Name: "deliver " + strings.Repeat("a-long-name-", 5), Kind: "consumer", Failed: true, Start: at(4), End: at(25)},
		{Trace: "t", ID: "f", Parent: "e", Name: "attempt crm", Kind: "client", Start: at(90), End: at(100), Attributes: map[string]string{"penstock.attempt": "2"}},
		{Trace: "t", ID: "e", Parent: "b", Name: "deliver crm", Kind: "consumer", Start: at(90), End: at(100)},
	}
}

func TestATraceIsDrawn(t *testing.T) {
	t.Parallel()
	var log traceLog
	for _, s := range spansOfDemo(time.Unix(0, 0)) {
		log.ended(s)
	}
	var out strings.Builder
	drawTrace(&out, style{plain: true}, "order.created", log.of("one"))
	want := `
  The trace of order.created: when each part began, and how long it took
  request: accepted                    0.0 ms     4.0 ms #
    store                              1.0 ms     2.0 ms #
      deliver a-long-name-a-long-n     4.0 ms    21.0 ms #####
        attempt 1: 503, class sink     5.0 ms    20.0 ms  #####
      deliver crm                     90.0 ms    10.0 ms                      ##
        attempt 2: delivered          90.0 ms    10.0 ms                      ##
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("drawTrace (-want +got):\n%s", diff)
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns, want 80 at most: %s", n, line)
		}
	}
}

func TestBarsStayWithinTheirSpace(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		offset, took, all time.Duration
		at, n             int
	}{
		"everything":     {0, 24, 24, 0, 24},
		"nothing":        {0, 0, 24, 0, 1},
		"at the end":     {24, 0, 24, 23, 1},
		"half":           {12, 12, 24, 12, 12},
		"before":         {-5, 1, 24, 0, 1},
		"beyond the end": {20, 30, 24, 20, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if at, n := barOf(tt.offset, tt.took, tt.all); at != tt.at || n != tt.n {
				t.Errorf("barOf(%d, %d, %d) = %d, %d; want %d, %d", tt.offset, tt.took, tt.all, at, n, tt.at, tt.n)
			}
		})
	}
}
