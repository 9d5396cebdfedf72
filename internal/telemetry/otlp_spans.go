package telemetry

import (
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// Spans are encoded here, once: building the library's messages, to have them
// encoded by reflection, costs as much as all else of a span.

// scopeSpansSpans is the number of the field spans of ScopeSpans.
const scopeSpansSpans protowire.Number = 2

// envelope is what is around the spans: all of ours have one resource and one
// scope. What a message does not know it sends as it is, so encoded spans go
// into it as unknown.
func envelope(s trace.ReadOnlySpan) []*wire.ResourceSpans {
	r, scope := &resource.Resource{}, s.InstrumentationScope()
	for _, a := range s.Resource().Attributes() {
		r.Attributes = append(r.Attributes, &common.KeyValue{Key: string(a.Key),
			Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: a.Value.String()}}})
	}
	return []*wire.ResourceSpans{{
		Resource: r, SchemaUrl: s.Resource().SchemaURL(),
		ScopeSpans: []*wire.ScopeSpans{{
			Scope: &common.InstrumentationScope{Name: scope.Name, Version: scope.Version}, SchemaUrl: scope.SchemaURL,
		}},
	}}
}

// The numbers of the fields of Span and of what is in it, from
// opentelemetry/proto/trace/v1/trace.proto and common/v1/common.proto.
const (
	spanTraceID, spanSpanID, spanParent, spanName, spanKind    protowire.Number = 1, 2, 4, 5, 6
	spanStart, spanEnd, spanAttributes, spanDroppedAttributes  protowire.Number = 7, 8, 9, 10
	spanEvents, spanDroppedEvents, spanLinks, spanDroppedLinks protowire.Number = 11, 12, 13, 14
	spanStatus, spanFlags                                      protowire.Number = 15, 16
	eventTime, eventName, eventAttributes                      protowire.Number = 1, 2, 3
	linkTraceID, linkSpanID, linkFlags                         protowire.Number = 1, 2, 6
	statusMessage, statusCode                                  protowire.Number = 2, 3
	pairKey, pairValue                                         protowire.Number = 1, 2
	valueString, valueBool, valueInt, valueDouble              protowire.Number = 1, 2, 3, 4
)

// appendSpan appends s, encoded. A field that is zero is left out, as the
// encoding has it.
func appendSpan(b []byte, s trace.ReadOnlySpan) []byte {
	c, parent := s.SpanContext(), s.Parent()
	traceID, id, above := c.TraceID(), c.SpanID(), parent.SpanID()
	b = appendBytes(b, spanTraceID, traceID[:])
	b = appendBytes(b, spanSpanID, id[:])
	if above.IsValid() {
		b = appendBytes(b, spanParent, above[:])
	}
	b = appendText(b, spanName, s.Name())
	b = appendNumber(b, spanKind, uint64(s.SpanKind())) // the numbers are the same
	b = appendFixed64(b, spanStart, uint64(s.StartTime().UnixNano()))
	b = appendFixed64(b, spanEnd, uint64(s.EndTime().UnixNano()))
	b = appendAttributes(b, spanAttributes, s.Attributes())
	b = appendNumber(b, spanDroppedAttributes, uint64(s.DroppedAttributes()))
	for _, e := range s.Events() {
		b = nested(b, spanEvents, func(b []byte) []byte {
			b = appendFixed64(b, eventTime, uint64(e.Time.UnixNano()))
			b = appendText(b, eventName, e.Name)
			return appendAttributes(b, eventAttributes, e.Attributes)
		})
	}
	b = appendNumber(b, spanDroppedEvents, uint64(s.DroppedEvents()))
	for _, l := range s.Links() {
		traceID, id := l.SpanContext.TraceID(), l.SpanContext.SpanID()
		b = nested(b, spanLinks, func(b []byte) []byte {
			b = appendBytes(b, linkTraceID, traceID[:])
			b = appendBytes(b, linkSpanID, id[:])
			return appendFixed32(b, linkFlags, flagsOf(l.SpanContext, l.SpanContext))
		})
	}
	b = appendNumber(b, spanDroppedLinks, uint64(s.DroppedLinks()))
	status := s.Status()
	b = nested(b, spanStatus, func(b []byte) []byte {
		b = appendText(b, statusMessage, status.Description)
		return appendNumber(b, statusCode, uint64(statusOf(status.Code)))
	})
	return appendFixed32(b, spanFlags, flagsOf(c, parent))
}

func statusOf(c codes.Code) wire.Status_StatusCode {
	switch c {
	case codes.Error:
		return wire.Status_STATUS_CODE_ERROR
	case codes.Ok:
		return wire.Status_STATUS_CODE_OK
	}
	return wire.Status_STATUS_CODE_UNSET
}

// flagsOf are the flags of a context, and whether remote, the one above it, is.
func flagsOf(c, remote api.SpanContext) uint32 {
	flags := uint32(c.TraceFlags()) | uint32(wire.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	if remote.IsRemote() {
		flags |= uint32(wire.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
	}
	return flags
}

func appendAttributes(b []byte, field protowire.Number, attrs []attribute.KeyValue) []byte {
	for i := range attrs {
		b = nested(b, field, func(b []byte) []byte {
			b = appendText(b, pairKey, string(attrs[i].Key))
			return nested(b, pairValue, func(b []byte) []byte { return appendValue(b, attrs[i].Value) })
		})
	}
	return b
}

// appendValue appends one of several kinds of value, so a zero is not left out.
func appendValue(b []byte, v attribute.Value) []byte {
	switch v.Type() {
	case attribute.INT64:
		return protowire.AppendVarint(protowire.AppendTag(b, valueInt, protowire.VarintType), uint64(v.AsInt64()))
	case attribute.BOOL:
		return protowire.AppendVarint(protowire.AppendTag(b, valueBool, protowire.VarintType), protowire.EncodeBool(v.AsBool()))
	case attribute.FLOAT64:
		return protowire.AppendFixed64(protowire.AppendTag(b, valueDouble, protowire.Fixed64Type), math.Float64bits(v.AsFloat64()))
	}
	return appendString(b, valueString, v.String())
}

// nested appends a message that fill appends the fields of. Most are shorter
// than 128 bytes, whose length takes one byte; a longer one is moved.
func nested(b []byte, field protowire.Number, fill func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	at := len(b)
	b = fill(append(b, 0))
	size := len(b) - at - 1
	if size < 1<<7 {
		b[at] = byte(size)
		return b
	}
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(size))
	b = append(b, length[1:n]...) // room for the rest of the length
	copy(b[at+n:], b[at+1:at+1+size])
	copy(b[at:], length[:n])
	return b
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

// appendString appends v as a receiver takes it: with one byte that is not
// UTF-8 it would refuse the whole batch.
func appendString(b []byte, field protowire.Number, v string) []byte {
	if !utf8.ValidString(v) {
		v = strings.ToValidUTF8(v, "?")
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func appendText(b []byte, field protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	return appendString(b, field, v)
}

func appendNumber(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendFixed64(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), v)
}

func appendFixed32(b []byte, field protowire.Number, v uint32) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed32(protowire.AppendTag(b, field, protowire.Fixed32Type), v)
}
