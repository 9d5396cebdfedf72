package telemetry

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
)

// The values of OTEL_TRACES_EXPORTER that we know.
const (
	exporterNone    = "none"
	exporterOTLP    = "otlp"
	exporterConsole = "console"
)

const tracesOff = "traces are off"

// traceEnv is what the standard variables say of traces.
type traceEnv struct {
	exporter string
	grpc     bool
	// requestTimeout bounds one request.
	requestTimeout time.Duration
	sampler        trace.Sampler
	// byParent: the sampler goes by the parent's decision where there is one.
	byParent bool
	// queue is how many spans may wait, batch how many are sent at a time.
	queue, batch int
	// delay is how long a span waits for others, timeout how long sending may take.
	delay, timeout time.Duration
	// secrets are words that no line of the log may show.
	secrets []string
}

// spanLimits are variables that the library reads, with what it uses in place
// of a value that is no number.
func spanLimits() map[string]int {
	return map[string]int{
		"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": maxValue,
		"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT":        trace.DefaultAttributeCountLimit,
		"OTEL_SPAN_EVENT_COUNT_LIMIT":            trace.DefaultEventCountLimit,
		"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT":       trace.DefaultAttributePerEventCountLimit,
		"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT":        trace.DefaultAttributePerLinkCountLimit,
	}
}

// readTraces reads the variables of traces. As the specification has it, a
// value that is not known is warned of and left out. It differs in one default:
// without OTEL_TRACES_EXPORTER traces are on only where an endpoint is set,
// because nobody wants errors of a collector that is not there.
func (e *Env) readTraces() {
	t := &e.traces
	const exporter = "OTEL_TRACES_EXPORTER"
	switch v := e.value(exporter); v {
	case exporterNone:
		return
	case exporterOTLP, exporterConsole:
		t.exporter = v
	case "":
	default:
		e.problem(exporter, fmt.Sprintf("is %s, and none of otlp, console, none", shown(v)), tracesOff)
		return
	}
	o := &otlp{Env: e, signal: "TRACES", off: tracesOff}
	if t.exporter != exporterConsole {
		r := o.read()
		if r.endpoint {
			t.exporter = exporterOTLP
		}
		t.grpc, t.requestTimeout = r.grpc, r.timeout
	}
	e.sample(e.value("OTEL_TRACES_SAMPLER"), e.value("OTEL_TRACES_SAMPLER_ARG"))
	t.queue = e.positive("OTEL_BSP_MAX_QUEUE_SIZE", queueSize)
	t.batch = e.positive("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", exportBatch)
	t.delay = e.millis("OTEL_BSP_SCHEDULE_DELAY", exportDelay)
	t.timeout = e.millis("OTEL_BSP_EXPORT_TIMEOUT", exportTimeout)
	for _, name := range slices.Sorted(maps.Keys(spanLimits())) {
		if v := e.value(name); v != "" {
			if _, err := strconv.Atoi(v); err != nil {
				e.problem(name, fmt.Sprintf("is %s, and no whole number", shown(v)), fmt.Sprintf("%d it is", spanLimits()[name]))
			}
		}
	}
	if o.broken {
		t.exporter = exporterNone
	}
}

// sample reads the sampler. It is read here, and not by the SDK, because who
// follows the parent's decision need not be asked.
func (e *Env) sample(name, arg string) {
	t, ratio := &e.traces, 1.0
	if arg != "" && strings.HasSuffix(name, "traceidratio") {
		r, err := strconv.ParseFloat(arg, 64)
		if err != nil || !(r >= 0 && r <= 1) {
			e.problem("OTEL_TRACES_SAMPLER_ARG", fmt.Sprintf("is %s, and no number from 0 to 1", shown(arg)), "1 it is")
		} else {
			ratio = r
		}
	}
	kind, byParent := strings.CutPrefix(name, "parentbased_")
	switch kind {
	case "always_on":
		t.sampler = trace.AlwaysSample()
	case "always_off":
		t.sampler = trace.NeverSample()
	case "traceidratio":
		t.sampler = trace.TraceIDRatioBased(ratio)
	default:
		if name != "" {
			e.problem("OTEL_TRACES_SAMPLER", fmt.Sprintf("is %s, and none of always_on, always_off, traceidratio, alone or after parentbased_", shown(name)), "parentbased_always_on it is")
		}
		t.sampler, byParent = trace.AlwaysSample(), true
	}
	if t.byParent = byParent; byParent {
		t.sampler = trace.ParentBased(t.sampler)
	}
}
