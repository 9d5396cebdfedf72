package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/delivery"
)

// partOf is what was found of a comparison that did not come to its end.
func partOf(events uint64, lost uint64) delivery.Difference {
	counts := delivery.EffectCounts{Lose: lost, Unchanged: events - lost}
	return delivery.Difference{
		Running: "aaaa", Proposed: "bbbb", Events: events, Selected: 1000, Partial: true,
		Sinks: []delivery.SinkDifference{{Name: "crm", Kind: "log", Counts: counts, Routes: []delivery.RouteDifference{
			{Name: "paid", Counts: counts, Examples: []delivery.EffectExample{{Effect: "lose", Seq: 1, ID: "e\x1b[2J", Subject: "orders.paid"}}},
		}}},
		Routes: []delivery.RouteDifference{{Name: "paid", Counts: counts}, {Name: "default", Default: true}},
	}
}

// TestDiffThatDoesNotEnd: what was found so far is printed, and said to be a
// part, whoever it was that did not wait.
func TestDiffThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	rules := filepath.Join(t.TempDir(), "new.yaml")
	if err := os.WriteFile(rules, []byte("sources: {cf: {kind: clickfunnels, secrets: [\"${SECRET}\"]}}\nsinks: {crm: {kind: log}}\nroutes: [{match: [\">\"], to: [crm]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	some := partOf(400, 3)
	for name, tt := range map[string]struct {
		lines  []console.DiffLine
		hangs  bool // until it is interrupted
		code   int
		stdout []string
		stderr []string
	}{
		"interrupted": {
			lines: []console.DiffLine{{SoFar: &some}, {Progress: &console.SearchProgress{Searched: 400, Total: 1000}}}, hangs: true, code: exitCut,
			stdout: []string{"tried on 400 events", "PARTIAL: it was stopped; about 1000 were selected", "crm        -     3 ", `  e\x1b[2J  orders.paid`},
			stderr: []string{"[#########---------------] 400 of 1000  40 %", "penstock: interrupted"},
		},
		"interrupted before anything was found": {
			lines: []console.DiffLine{{Progress: &console.SearchProgress{Searched: 0, Total: 1000}}}, hangs: true, code: exitCut,
			stderr: []string{"penstock: interrupted"},
		},
		"broken off": {
			lines: []console.DiffLine{{SoFar: &some}}, code: exitUsage,
			stdout: []string{"PARTIAL"}, stderr: []string{"it broke off"},
		},
		"stopped by the server": {
			lines: []console.DiffLine{{Done: &some}}, code: exitUsage,
			stdout: []string{"PARTIAL"}, stderr: []string{"penstock: the server stopped before it was done"},
		},
		"a problem at the end": {
			lines: []console.DiffLine{{SoFar: &some}, {Problem: &console.Problem{Error: "the store has gone"}}}, code: exitUsage,
			stdout: []string{"PARTIAL"}, stderr: []string{"penstock: the store has gone"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(map[string]string{"SECRET": "not-to-be-seen", "NO_COLOR": "1"}, true)
			server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				var req console.DiffRequest
				if err := json.NewDecoder(r.Body).Decode(&req); err != nil || len(req.Rules.Routes) != 1 || req.Since != "24h" {
					t.Errorf("asked for %+v, %v", req, err)
				}
				for _, line := range tt.lines {
					if err := json.NewEncoder(rw).Encode(line); err != nil {
						t.Error(err)
					}
				}
				rw.(http.Flusher).Flush()
				for tt.hangs && !strings.Contains(w.err.String(), " of 1000") {
					select {
					case <-r.Context().Done():
						return
					case <-time.After(5 * time.Millisecond):
					}
				}
				if tt.hangs {
					w.signals <- os.Interrupt
					<-r.Context().Done()
				}
			}))
			defer server.Close()
			w.args = []string{"diff", "-c", rules, "--server", server.URL, "--fail-on", "lose"}
			if code := run(w.process); code != tt.code {
				t.Errorf("code %d, want %d", code, tt.code)
			}
			for _, want := range tt.stdout {
				if !strings.Contains(w.out.String(), want) {
					t.Errorf("stdout lacks %q:\n%s", want, w.out)
				}
			}
			if len(tt.stdout) == 0 && w.out.String() != "" {
				t.Errorf("stdout = %s, want nothing", w.out)
			}
			for _, want := range tt.stderr {
				if !strings.Contains(w.err.String(), want) {
					t.Errorf("stderr lacks %q:\n%s", want, w.err)
				}
			}
		})
	}
}

// TestDiffFindings: what --fail-on asks for.
func TestDiffFindings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		d    delivery.Difference
		want []string
	}{
		"nothing": {delivery.Difference{}, []string{}},
		"of sinks": {delivery.Difference{Sinks: []delivery.SinkDifference{
			{Counts: delivery.EffectCounts{Lose: 1, Unchanged: 1}}, {Counts: delivery.EffectCounts{Transform: 2, Fixed: 1, Failing: 1}},
		}}, []string{"lose", "transform"}},
		"an error that another route covers": {delivery.Difference{Routes: []delivery.RouteDifference{{Counts: delivery.EffectCounts{Error: 1, Gain: 1}}}}, []string{"error"}},
	} {
		if diff := cmp.Diff(tt.want, found(tt.d)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

// TestDiffPage: what is rare has a column only where it is, and an error that
// no sink tells of is told of its route.
func TestDiffPage(t *testing.T) {
	t.Parallel()
	d := delivery.Difference{
		Running: "aaaa", Proposed: "bbbb", Events: 7, Foreign: 1,
		Sinks: []delivery.SinkDifference{{Name: "crm", Kind: "http", KindNow: "log", Counts: delivery.EffectCounts{Fixed: 2, Unchanged: 5},
			Routes: []delivery.RouteDifference{{Name: "all", NameNow: "route-1", Counts: delivery.EffectCounts{Fixed: 2, Unchanged: 5}}}}},
		Routes: []delivery.RouteDifference{
			{Name: "all", NameNow: "route-1", Counts: delivery.EffectCounts{Unchanged: 7}},
			{Name: "vip", Standing: "new", Counts: delivery.EffectCounts{Error: 7}, Examples: []delivery.EffectExample{
				{Effect: "error", ID: "e1", Subject: "orders.paid", Place: "new.yaml:3:9", Error: "when: data.vip: there is no vip"},
				{Effect: "error", ID: "e2", Subject: "orders.paid", Place: "new.yaml:3:9", Error: "when: data.vip: there is no vip"},
			}},
			{Name: "default", Default: true, Counts: delivery.EffectCounts{Lose: 1}},
		},
	}
	want := `rules aaaa (running) and bbbb (new.yaml)
tried on 7 events; 1 message that somebody else published

SINK                    GAIN  LOSE  TRANSFORM  ERROR  FIXED  UNCHANGED
crm (http, now log)     -     -     -          -      2      5
  by all (now route-1)  -     -     -          -      2      5

ROUTE               GAIN  LOSE  TRANSFORM  ERROR  FIXED  UNCHANGED
vip (new)           -     -     -          7      -      -
no route (default)  -     1     -          -      -      -

route vip (new), error: 7 events, the first 2
  e1  orders.paid
    new.yaml:3:9: when: data.vip: there is no vip
  e2  orders.paid

1 of 1 sink would see a change; 1 other route would match the same
`
	if diff := cmp.Diff(want, newDiffPage("new.yaml", d).text()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
