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

// attributes collects what a span is given, all at once, when it ends: the
// library copies attributes each time, and they are most of what a recorded
// span costs.
type attributes struct{ all []attribute.KeyValue }

// seconds adds a time that is not zero.
func (a *attributes) seconds(k attribute.Key, d time.Duration) {
	if d > 0 {
		a.all = append(a.all, k.Float64(d.Seconds()))
	}
}

// attributes returns an empty list, which end takes back to be used again.
func (t *Tracing) attributes() *attributes {
	if a, ok := t.lists.Get().(*attributes); ok {
		return a
	}
	return &attributes{all: make([]attribute.KeyValue, 0, 16)}
}

// end gives the span its attributes, and ends it.
func (t *Tracing) end(span api.Span, a *attributes) {
	span.SetAttributes(a.all...)
	clear(a.all)
	a.all = a.all[:0]
	t.lists.Put(a)
	span.End()
}

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
	a := t.attributes()
	a.all = append(a.all, posted, semconv.HTTPRoute(route), semconv.URLPath(route), scheme, keySource.String(source),
		semconv.HTTPResponseStatusCode(status), keyOutcome.String(outcome))
	if status >= http.StatusInternalServerError {
		a.all = append(a.all, semconv.ErrorTypeKey.String(strconv.Itoa(status)))
		span.SetStatus(codes.Error, outcome)
	}
	t.end(span, a)
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
	a := t.attributes()
	a.all = append(a.all, system, sending, publish, semconv.MessagingDestinationName(e.Subject),
		keyEventID.String(valid(e.ID)), keySeq.Int64(int64(r.Seq)))
	switch {
	case err != nil:
		a.fail(span, "store", err.Error())
	case r.Duplicate:
		a.all = append(a.all, keyDuplicate.Bool(true))
	}
	t.end(span, a)
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
	a := t.attributes()
	a.all = append(a.all, keySink.String(sink))
	if number > 0 {
		a.all = append(a.all, keyAttempt.Int(number))
	}
	if p := notes.Peer(); p.Host != "" {
		a.all = append(a.all, semconv.HTTPRequestMethodKey.String(p.Method), semconv.ServerAddress(p.Host))
		if p.Port != 0 {
			a.all = append(a.all, semconv.ServerPort(p.Port))
		}
		if p.Status != 0 {
			a.all = append(a.all, semconv.HTTPResponseStatusCode(p.Status))
		}
	}
	took := notes.Timings()
	a.seconds(keyDNS, took.DNS)
	a.seconds(keyConnect, took.Connect)
	a.seconds(keyTLS, took.TLS)
	a.judged(span, v)
	t.end(span, a)
}

// Settled ends what Delivery began.
func (t *Tracing) Settled(ctx context.Context, sink, route string, a *delivery.Attempt, v delivery.Verdict) {
	span := api.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	list := t.attributes()
	list.all = append(list.all, system, processing, deliver, semconv.MessagingDestinationName(a.Event.Subject),
		keySink.String(sink), keyRoute.String(route), keyOutcome.String(v.Action.String()))
	if a.Origin != "" {
		list.all = append(list.all, keyOrigin.String(a.Origin))
	}
	if v.Action == delivery.Again {
		list.seconds(keyDelay, v.Delay)
	}
	list.judged(span, v)
	t.end(span, list)
}

// valid is s as protobuf takes it: with one wrong byte in it a whole batch of
// spans would not be sent.
func valid(s string) string { return strings.ToValidUTF8(s, "?") }

// judged notes a failure.
func (a *attributes) judged(span api.Span, v delivery.Verdict) {
	if v.Action != delivery.Again && v.Action != delivery.Bury {
		return
	}
	a.all = append(a.all, keyClass.String(string(v.Class)))
	kind := string(v.Class)
	if v.Status != 0 {
		kind = strconv.Itoa(v.Status)
	}
	a.fail(span, kind, v.Reason)
}

// fail gives the span an error. The reason holds no secret: it is what logs
// and dead letters show.
func (a *attributes) fail(span api.Span, kind, reason string) {
	reason = valid(reason)
	a.all = append(a.all, semconv.ErrorTypeKey.String(kind))
	span.AddEvent("exception", api.WithAttributes(semconv.ExceptionType(kind), semconv.ExceptionMessage(reason)))
	span.SetStatus(codes.Error, reason)
}
