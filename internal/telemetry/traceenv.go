package telemetry

import (
	"errors"
	"log/slog"
	"net/url"
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

// traceEnv is what the standard variables say of traces.
type traceEnv struct {
	exporter string
	grpc     bool
	sampler  trace.Sampler
	// byParent: the sampler goes by the parent's decision where there is one.
	byParent bool
	// queue is how many spans may wait, batch how many are sent at a time.
	queue, batch int
	// delay is how long a span waits for others, timeout how long sending may take.
	delay, timeout time.Duration
	// secrets are words that no line of the log may show.
	secrets []string
}

// readTraceEnv reads the variables. As the specification has it, a value that
// is not known is warned of and left out. It differs in one default: without
// OTEL_TRACES_EXPORTER traces are on only where an endpoint is set, because
// nobody wants errors of a collector that is not there.
func readTraceEnv(env func(string) (string, bool), log *slog.Logger) traceEnv {
	get := func(names ...string) string {
		for _, n := range names {
			if v, _ := env(n); strings.TrimSpace(v) != "" {
				return strings.TrimSpace(v)
			}
		}
		return ""
	}
	e := traceEnv{exporter: exporterNone}
	if strings.EqualFold(get("OTEL_SDK_DISABLED"), "true") {
		return e
	}
	switch v := get("OTEL_TRACES_EXPORTER"); v {
	case exporterNone, exporterOTLP, exporterConsole:
		e.exporter = v
	case "":
		if get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") != "" {
			e.exporter = exporterOTLP
		}
	default:
		log.Warn("OTEL_TRACES_EXPORTER is none of otlp, console, none; traces are off", "value", v)
	}
	if e.exporter == exporterNone {
		return e
	}
	e.protocol(get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"), log)
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"} {
		// The exporter would print a value that it cannot read, secrets and all.
		secrets, err := headerSecrets(get(name))
		e.secrets = append(e.secrets, secrets...)
		if err != nil {
			log.Warn(name+" is not key=value,...; traces are off", "err", err)
			e.exporter = exporterNone
		}
	}
	e.sample(get("OTEL_TRACES_SAMPLER"), get("OTEL_TRACES_SAMPLER_ARG"), log)
	e.queue = positive(get("OTEL_BSP_MAX_QUEUE_SIZE"), queueSize)
	e.batch = positive(get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"), exportBatch)
	e.delay = time.Duration(positive(get("OTEL_BSP_SCHEDULE_DELAY"), int(exportDelay.Milliseconds()))) * time.Millisecond
	e.timeout = time.Duration(positive(get("OTEL_BSP_EXPORT_TIMEOUT"), int(exportTimeout.Milliseconds()))) * time.Millisecond
	return e
}

func (e *traceEnv) protocol(v string, log *slog.Logger) {
	switch v {
	case "grpc":
		e.grpc = true
	case "", "http/protobuf":
	default:
		log.Warn("OTEL_EXPORTER_OTLP_PROTOCOL is none of grpc, http/protobuf; http/protobuf it is", "value", v)
	}
}

// sample reads the sampler. It is read here, and not by the SDK, because who
// follows the parent's decision need not be asked.
func (e *traceEnv) sample(name, arg string, log *slog.Logger) {
	ratio := 1.0
	if arg != "" && strings.HasSuffix(name, "traceidratio") {
		r, err := strconv.ParseFloat(arg, 64)
		if err != nil || r < 0 || r > 1 {
			log.Warn("OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1; 1 it is", "value", arg)
		} else {
			ratio = r
		}
	}
	kind, byParent := strings.CutPrefix(name, "parentbased_")
	switch kind {
	case "always_on":
		e.sampler = trace.AlwaysSample()
	case "always_off":
		e.sampler = trace.NeverSample()
	case "traceidratio":
		e.sampler = trace.TraceIDRatioBased(ratio)
	default:
		if name != "" {
			log.Warn("OTEL_TRACES_SAMPLER is not known; parentbased_always_on it is", "value", name)
		}
		e.sampler, byParent = trace.AlwaysSample(), true
	}
	if e.byParent = byParent; byParent {
		e.sampler = trace.ParentBased(e.sampler)
	}
}

// leastSecret is how long a word is at least to be taken for a secret.
const leastSecret = 4

// headerSecrets are the words of the values in a list of headers, or what is
// wrong with it, without showing it.
func headerSecrets(list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	var words []string
	for pair := range strings.SplitSeq(list, ",") {
		name, value, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return nil, errors.New("a header has no name or no =")
		}
		for _, r := range name {
			if r <= ' ' || r > '~' || strings.ContainsRune("()<>@,;:\\\"/[]?={}", r) {
				return nil, errors.New("the name of a header has a character that names have not")
			}
		}
		plain, err := url.PathUnescape(value)
		if err != nil {
			return nil, errors.New("the value of a header is not percent-encoded")
		}
		for _, word := range append(strings.Fields(plain), strings.Fields(value)...) {
			if len(word) >= leastSecret && word != "Bearer" && word != "Basic" {
				words = append(words, word)
			}
		}
	}
	return words, nil
}

// positive reads a whole number above 0.
func positive(v string, otherwise int) int {
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return n
	}
	return otherwise
}
