package telemetry

import (
	"encoding/hex"

	api "go.opentelemetry.io/otel/trace"
)

// The form of a W3C traceparent: version-trace-span-flags.
const (
	parentLength = 55
	atTrace      = 3
	atSpan       = 36
	atFlags      = 53
)

// sampledParent reports that a traceparent says its trace is recorded. It
// looks at nothing else and allocates nothing.
func sampledParent(p string) bool {
	if len(p) < parentLength {
		return false
	}
	n, ok := unhex(p[atFlags+1])
	return ok && n&1 == 1
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// parseParent reads a traceparent of any version; ok is false for one that is
// malformed.
func parseParent(p string) (c api.SpanContext, ok bool) {
	if len(p) < parentLength || p[2] != '-' || p[atSpan-1] != '-' || p[atFlags-1] != '-' || p[:2] == "ff" {
		return api.SpanContext{}, false
	}
	trace, err := api.TraceIDFromHex(p[atTrace : atSpan-1])
	if err != nil {
		return api.SpanContext{}, false
	}
	span, err := api.SpanIDFromHex(p[atSpan : atFlags-1])
	if err != nil {
		return api.SpanContext{}, false
	}
	flags := api.TraceFlags(0)
	if sampledParent(p) {
		flags = api.FlagsSampled
	}
	return api.NewSpanContext(api.SpanContextConfig{TraceID: trace, SpanID: span, TraceFlags: flags, Remote: true}), true
}

// formatParent writes a traceparent, "" for a context that is not valid.
func formatParent(c api.SpanContext) string {
	if !c.IsValid() {
		return ""
	}
	var b [parentLength]byte
	copy(b[:], "00-")
	trace, span := c.TraceID(), c.SpanID()
	hex.Encode(b[atTrace:], trace[:])
	b[atSpan-1] = '-'
	hex.Encode(b[atSpan:], span[:])
	b[atFlags-1], b[atFlags], b[atFlags+1] = '-', '0', '0'
	if c.IsSampled() {
		b[atFlags+1] = '1'
	}
	return string(b[:])
}

// TraceID returns the trace id in a traceparent, "" when it is malformed, and
// whether the trace is recorded.
func TraceID(traceParent string) (id string, sampled bool) {
	c, ok := parseParent(traceParent)
	if !ok {
		return "", false
	}
	return c.TraceID().String(), c.IsSampled()
}
