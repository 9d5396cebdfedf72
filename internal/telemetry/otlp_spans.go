package telemetry

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
)

// otlp is the exporter to OTLP receivers. The library's client sends; the
// messages are built here, in memory that serves batch after batch: the
// library's own building of them costs as much as all else of a span.
//
// The batching calls ExportSpans once at a time, as the interface has it, and
// the client keeps nothing after it has returned.
type otlp struct {
	client otlptrace.Client
	out    []*wire.ResourceSpans

	spans  slab[wire.Span]
	status slab[wire.Status]
	pairs  slab[common.KeyValue]
	values slab[common.AnyValue]
	texts  slab[common.AnyValue_StringValue]
	ints   slab[common.AnyValue_IntValue]
}

// slab is a growing store of T that is used again after reset.
type slab[T any] struct {
	chunks [][]T
	used   int
}

const slabChunk = 512

func (s *slab[T]) next() *T {
	chunk, place := s.used/slabChunk, s.used%slabChunk
	if chunk == len(s.chunks) {
		s.chunks = append(s.chunks, make([]T, slabChunk))
	}
	s.used++
	return &s.chunks[chunk][place]
}

func newOTLP(ctx context.Context, client otlptrace.Client) (*otlp, error) {
	if err := client.Start(ctx); err != nil {
		return nil, fmt.Errorf("start OTLP client: %w", err)
	}
	return &otlp{client: client}, nil
}

// ExportSpans implements trace.SpanExporter.
func (o *otlp) ExportSpans(ctx context.Context, spans []trace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	if o.out == nil {
		o.out = o.envelope(spans[0])
	}
	o.spans.used, o.status.used, o.pairs.used, o.values.used, o.texts.used, o.ints.used = 0, 0, 0, 0, 0, 0
	scope := o.out[0].ScopeSpans[0]
	scope.Spans = scope.Spans[:0]
	for _, s := range spans {
		scope.Spans = append(scope.Spans, o.span(s))
	}
	return o.client.UploadTraces(ctx, o.out)
}

// Shutdown implements trace.SpanExporter.
func (o *otlp) Shutdown(ctx context.Context) error { return o.client.Stop(ctx) }

// envelope is what is around the spans. All of ours have one resource and one
// scope.
func (o *otlp) envelope(s trace.ReadOnlySpan) []*wire.ResourceSpans {
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

func (o *otlp) span(s trace.ReadOnlySpan) *wire.Span {
	out, c, parent := o.spans.next(), s.SpanContext(), s.Parent()
	traceID, id, above := c.TraceID(), c.SpanID(), parent.SpanID()
	out.TraceId = append(out.TraceId[:0], traceID[:]...)
	out.SpanId = append(out.SpanId[:0], id[:]...)
	out.ParentSpanId = out.ParentSpanId[:0]
	if above.IsValid() {
		out.ParentSpanId = append(out.ParentSpanId, above[:]...)
	}
	out.Flags = flagsOf(c, parent)
	out.Name, out.Kind = s.Name(), wire.Span_SpanKind(s.SpanKind())
	out.StartTimeUnixNano, out.EndTimeUnixNano = uint64(s.StartTime().UnixNano()), uint64(s.EndTime().UnixNano())
	out.Attributes = o.attributes(out.Attributes[:0], s.Attributes())
	out.DroppedAttributesCount = uint32(s.DroppedAttributes())
	out.DroppedEventsCount, out.DroppedLinksCount = uint32(s.DroppedEvents()), uint32(s.DroppedLinks())
	out.Events, out.Links = out.Events[:0], out.Links[:0]
	for _, e := range s.Events() {
		out.Events = append(out.Events, &wire.Span_Event{Name: e.Name, TimeUnixNano: uint64(e.Time.UnixNano()), Attributes: o.attributes(nil, e.Attributes)})
	}
	for _, l := range s.Links() {
		traceID, id := l.SpanContext.TraceID(), l.SpanContext.SpanID()
		out.Links = append(out.Links, &wire.Span_Link{TraceId: traceID[:], SpanId: id[:], Flags: flagsOf(l.SpanContext, l.SpanContext)})
	}
	out.Status = o.status.next()
	out.Status.Code, out.Status.Message = statusOf(s.Status().Code), s.Status().Description
	return out
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

func (o *otlp) attributes(out []*common.KeyValue, attrs []attribute.KeyValue) []*common.KeyValue {
	for i := range attrs {
		pair := o.pairs.next()
		pair.Key, pair.Value = string(attrs[i].Key), o.values.next()
		switch v := attrs[i].Value; v.Type() {
		case attribute.INT64:
			n := o.ints.next()
			n.IntValue, pair.Value.Value = v.AsInt64(), n
		case attribute.BOOL:
			pair.Value.Value = &common.AnyValue_BoolValue{BoolValue: v.AsBool()}
		case attribute.FLOAT64:
			pair.Value.Value = &common.AnyValue_DoubleValue{DoubleValue: v.AsFloat64()}
		default:
			text := o.texts.next()
			text.StringValue, pair.Value.Value = v.String(), text
		}
		out = append(out, pair)
	}
	return out
}
