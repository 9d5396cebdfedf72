package charttest

import (
	"strings"
	"testing"
	"time"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// TestScalesByWhatCanBeDelivered asks Prometheus's own engine what the
// ScaledObject asks. Events that wait for a sink that is down do not count: lag
// alone would scale up exactly when more routers are of no use.
func TestScalesByWhatCanBeDelivered(t *testing.T) {
	t.Parallel()
	m := render(t, vals(t, cases()["distributed, scaled by KEDA"]))
	query := all[*keda.ScaledObject](m)[0].Spec.Triggers[0].Metadata["query"]
	for name, tt := range map[string]struct {
		series string
		want   string
	}{
		"nobody is scraped": {"", "0"},
		"two routers see the same queue": {`
  penstock_sink_waiting_events{namespace="events",instance="a",sink="crm"} 700
  penstock_sink_waiting_events{namespace="events",instance="b",sink="crm"} 700
  penstock_sink_state{namespace="events",instance="a",sink="crm",state="open"} 1
  penstock_sink_state{namespace="events",instance="a",sink="crm",state="held"} 0
  penstock_sink_state{namespace="events",instance="b",sink="crm",state="open"} 1
  penstock_sink_state{namespace="events",instance="b",sink="crm",state="held"} 0`, "700"},
		"a held sink, and one that works": {`
  penstock_sink_waiting_events{namespace="events",instance="a",sink="crm"} 90000
  penstock_sink_waiting_events{namespace="events",instance="a",sink="lake"} 300
  penstock_sink_state{namespace="events",instance="a",sink="crm",state="open"} 0
  penstock_sink_state{namespace="events",instance="a",sink="crm",state="held"} 1
  penstock_sink_state{namespace="events",instance="a",sink="crm",state="paused"} 0
  penstock_sink_state{namespace="events",instance="a",sink="lake",state="open"} 1
  penstock_sink_state{namespace="events",instance="a",sink="lake",state="held"} 0`, "300"},
		"all sinks are down, each in its way": {`
  penstock_sink_waiting_events{namespace="events",instance="a",sink="crm"} 90000
  penstock_sink_waiting_events{namespace="events",instance="a",sink="lake"} 90000
  penstock_sink_state{namespace="events",instance="a",sink="crm",state="probing"} 1
  penstock_sink_state{namespace="events",instance="a",sink="lake",state="paused"} 1`, "0"},
		"held by one router of two": {`
  penstock_sink_waiting_events{namespace="events",instance="a",sink="crm"} 500
  penstock_sink_state{namespace="events",instance="a",sink="crm",state="held"} 1
  penstock_sink_state{namespace="events",instance="b",sink="crm",state="held"} 0`, "500"},
		"it starts slowly after a hold": {`
  penstock_sink_waiting_events{namespace="events",instance="a",sink="crm"} 500
  penstock_sink_state{namespace="events",instance="a",sink="crm",state="held"} 0
  penstock_sink_state{namespace="events",instance="a",sink="crm",state="slow-start"} 1`, "500"},
		"another release's": {`
  penstock_sink_waiting_events{namespace="other",instance="a",sink="crm"} 500
  penstock_sink_state{namespace="other",instance="a",sink="crm",state="open"} 1`, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engine := promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{
				MaxSamples: 1000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true, Parser: parser.NewParser(parser.Options{}),
			})
			script := "load 1m" + tt.series + "\n\neval instant at 0s " + strings.Join(strings.Fields(query), " ") + "\n  {} " + tt.want + "\n"
			if tt.series == "" {
				script = strings.TrimPrefix(script, "load 1m\n\n")
			}
			promqltest.RunTest(t, script, engine)
		})
	}
}
