package telemetry

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	api "go.opentelemetry.io/otel/trace"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// The attributes of our own. They say what the conventions have no name for.
const (
	keySource    = attribute.Key("penstock.source")
	keyEventID   = attribute.Key("penstock.event.id")
	keySeq       = attribute.Key("penstock.event.seq")
	keyDuplicate = attribute.Key("penstock.event.duplicate")
	keyOutcome   = attribute.Key("penstock.outcome")
	keySink      = attribute.Key("penstock.sink")
	keyRoute     = attribute.Key("penstock.route")
	keyClass     = attribute.Key("penstock.class")
	keyAttempt   = attribute.Key("penstock.attempt")
	keyOrigin    = attribute.Key("penstock.origin")
	keyDelay     = attribute.Key("penstock.retry_in_seconds")
	keyDNS       = attribute.Key("penstock.dns_seconds")
	keyConnect   = attribute.Key("penstock.connect_seconds")
	keyTLS       = attribute.Key("penstock.tls_seconds")
)

const failedStatus = codes.Error

// What is the same for every span of its kind is built once.
var (
	asServer   = []api.SpanStartOption{api.WithSpanKind(api.SpanKindServer)}
	asProducer = []api.SpanStartOption{api.WithSpanKind(api.SpanKindProducer)}
	asConsumer = api.WithSpanKind(api.SpanKindConsumer)
	asClient   = []api.SpanStartOption{api.WithSpanKind(api.SpanKindClient)}
	system     = semconv.MessagingSystemKey.String("nats")
	sending    = semconv.MessagingOperationTypeSend
	processing = semconv.MessagingOperationTypeProcess
	publish    = semconv.MessagingOperationName("publish")
	deliver    = semconv.MessagingOperationName("deliver")
	posted     = semconv.HTTPRequestMethodPost

	plainScheme, secureScheme = semconv.URLScheme("http"), semconv.URLScheme("https")
)

// A span is given all its attributes at once, when it ends: the library copies
// them each time, and most of what a recorded span costs is attributes.

// Request follows a webhook request that has just arrived. The sender is not
// trusted to choose our trace or whether it is kept: its own context is only
// linked to.
func (t *Tracing) Request(ctx context.Context, r *http.Request) context.Context {
	ctx, span := t.tracer.Start(ctx, "POST", asServer...)
	if theirs := r.Header["Traceparent"]; len(theirs) == 1 && span.IsRecording() {
		if c, ok := parseParent(theirs[0]); ok {
			span.AddLink(api.Link{SpanContext: c})
		}
	}
	return ctx
}

// Answered ends what Request began. The route is the request's path without
// what may be a token.
func (t *Tracing) Answered(ctx context.Context, source, route string, r *http.Request, outcome string, status int) {
	span := api.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetName("POST " + route)
	scheme := plainScheme
	if r.TLS != nil {
		scheme = secureScheme
	}
	span.SetAttributes(posted, semconv.HTTPRoute(route), semconv.URLPath(route), scheme, keySource.String(source),
		semconv.HTTPResponseStatusCode(status), keyOutcome.String(outcome))
	if status >= http.StatusInternalServerError {
		span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(status)))
		span.SetStatus(codes.Error, outcome)
	}
	span.End()
}

// Store follows the storing of e and gives it the trace context that it is
// stored with: that of the new span, or, where none is recorded, that of the
// request, so that nobody behind us records one either.
func (t *Tracing) Store(ctx context.Context, e *event.Event) context.Context {
	parent := api.SpanFromContext(ctx)
	if c := parent.SpanContext(); c.IsValid() && !parent.IsRecording() && t.env.byParent {
		e.TraceParent = formatParent(c)
		return ctx
	}
	ctx, span := t.tracer.Start(ctx, "publish", asProducer...)
	e.TraceParent = formatParent(span.SpanContext())
	return ctx
}

// Stored ends what Store began.
func (t *Tracing) Stored(ctx context.Context, e *event.Event, r event.Receipt, err error) {
	span := api.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(system, sending, publish, semconv.MessagingDestinationName(e.Subject),
		keyEventID.String(valid(e.ID)), keySeq.Int64(int64(r.Seq)))
	switch {
	case err != nil:
		fail(span, "store", err.Error())
	case r.Duplicate:
		span.SetAttributes(keyDuplicate.Bool(true))
	}
	span.End()
}

// Delivery follows one delivery from began on, within the trace that the event
// was stored in. It returns ctx itself when that is not recorded: then nothing
// is allocated. An event that was stored without a trace has none. link, if
// any, is the trace context of what the delivery was made by.
func (t *Tracing) Delivery(ctx context.Context, name string, a *delivery.Attempt, began time.Time, link string) context.Context {
	if t.env.byParent && !sampledParent(a.Event.TraceParent) {
		return ctx
	}
	parent, ok := parseParent(a.Event.TraceParent)
	if !ok {
		return ctx
	}
	under, span := t.tracer.Start(api.ContextWithRemoteSpanContext(ctx, parent), name, asConsumer, api.WithTimestamp(began))
	if !span.IsRecording() {
		return ctx
	}
	if c, ok := parseParent(link); ok {
		span.AddLink(api.Link{SpanContext: c})
	}
	return under
}

// Attempt follows one attempt of a followed delivery. It returns the trace
// context that goes out with the event, or ctx itself and "".
func (t *Tracing) Attempt(ctx context.Context, name string, a *delivery.Attempt) (context.Context, string) {
	if !api.SpanFromContext(ctx).IsRecording() {
		return ctx, ""
	}
	ctx, span := t.tracer.Start(ctx, name, asClient...)
	if c, ok := parseParent(a.LastAttempt); ok {
		span.AddLink(api.Link{SpanContext: c})
	}
	return ctx, formatParent(span.SpanContext())
}

// Batch follows one attempt with several events: a trace of its own, linked
// to those of the events, which is kept when one of these is.
func (t *Tracing) Batch(ctx context.Context, name string, events []event.Event) (context.Context, string) {
	var links []api.Link
	for i := range events {
		if p := events[i].TraceParent; len(links) < maxLinks && sampledParent(p) {
			if c, ok := parseParent(p); ok {
				links = append(links, api.Link{SpanContext: c})
			}
		}
	}
	if len(links) == 0 {
		return ctx, ""
	}
	keep := context.WithValue(ctx, keepKey{}, true)
	ctx, span := t.tracer.Start(keep, name, append(slices.Clone(asClient), api.WithNewRoot(), api.WithLinks(links...))...)
	span.SetAttributes(semconv.MessagingBatchMessageCount(len(events)))
	return ctx, formatParent(span.SpanContext())
}

// Attempted ends what Attempt or Batch began. number counts the attempts of
// the delivery from 1; 0 is none.
func (t *Tracing) Attempted(ctx context.Context, sink string, number int, v delivery.Verdict, notes *delivery.Trace) {
	span := api.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	var room [10]attribute.KeyValue
	all := append(room[:0], keySink.String(sink))
	if number > 0 {
		all = append(all, keyAttempt.Int(number))
	}
	if p := notes.Peer(); p.Host != "" {
		all = append(all, semconv.HTTPRequestMethodKey.String(p.Method), semconv.ServerAddress(p.Host))
		if p.Port != 0 {
			all = append(all, semconv.ServerPort(p.Port))
		}
		if p.Status != 0 {
			all = append(all, semconv.HTTPResponseStatusCode(p.Status))
		}
	}
	took := notes.Timings()
	all = seconds(all, keyDNS, took.DNS)
	all = seconds(all, keyConnect, took.Connect)
	all = seconds(all, keyTLS, took.TLS)
	span.SetAttributes(all...)
	judged(span, v)
	span.End()
}

// Settled ends what Delivery began.
func (t *Tracing) Settled(ctx context.Context, sink, route string, a *delivery.Attempt, v delivery.Verdict) {
	span := api.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	var room [9]attribute.KeyValue
	all := append(room[:0], system, processing, deliver, semconv.MessagingDestinationName(a.Event.Subject),
		keySink.String(sink), keyRoute.String(route), keyOutcome.String(v.Action.String()))
	if a.Origin != "" {
		all = append(all, keyOrigin.String(a.Origin))
	}
	if v.Action == delivery.Again {
		all = seconds(all, keyDelay, v.Delay)
	}
	span.SetAttributes(all...)
	judged(span, v)
	span.End()
}

// valid is s as protobuf takes it: with one wrong byte in it a whole batch of
// spans would not be sent.
func valid(s string) string { return strings.ToValidUTF8(s, "?") }

func seconds(all []attribute.KeyValue, key attribute.Key, d time.Duration) []attribute.KeyValue {
	if d <= 0 {
		return all
	}
	return append(all, key.Float64(d.Seconds()))
}

// judged notes a failure.
func judged(span api.Span, v delivery.Verdict) {
	if v.Action != delivery.Again && v.Action != delivery.Bury {
		return
	}
	span.SetAttributes(keyClass.String(string(v.Class)))
	kind := string(v.Class)
	if v.Status != 0 {
		kind = strconv.Itoa(v.Status)
	}
	fail(span, kind, v.Reason)
}

// fail gives the span an error. The reason holds no secret: it is what logs
// and dead letters show.
func fail(span api.Span, kind, reason string) {
	reason = valid(reason)
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	span.AddEvent("exception", api.WithAttributes(semconv.ExceptionType(kind), semconv.ExceptionMessage(reason)))
	span.SetStatus(codes.Error, reason)
}
