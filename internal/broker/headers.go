package broker

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// Headers of a stored event. Nothing of a request becomes a header name, and
// every value is a single line of printable ASCII.
const (
	hdrMsgID       = "Nats-Msg-Id"
	hdrCeSpec      = "Ce-Specversion"
	hdrCeID        = "Ce-Id"
	hdrCeType      = "Ce-Type"
	hdrCeSource    = "Ce-Source"
	hdrCeTime      = "Ce-Time"
	hdrContentType = "Content-Type"
	hdrSource      = "Penstock-Source"
	hdrReceived    = "Penstock-Received"
	hdrAPIVersion  = "Penstock-Api-Version"
	hdrTraceParent = "traceparent"
)

// Headers of a delivery that waits in the retry stream or lies in dead letters,
// besides those of its event.
const (
	hdrSink       = "Penstock-Sink"
	hdrSubject    = "Penstock-Subject"
	hdrSeq        = "Penstock-Seq"
	hdrAttempts   = "Penstock-Attempts"
	hdrFirst      = "Penstock-First"
	hdrHeld       = "Penstock-Held"
	hdrGeneration = "Penstock-Generation"
	hdrOrigin     = "Penstock-Origin"
	hdrClass      = "Penstock-Class"
	hdrReason     = "Penstock-Reason"
	hdrLast       = "Penstock-Last-Attempt"
	hdrStatus     = "Penstock-Status"
	hdrSchedule   = "Nats-Schedule"
	hdrTarget     = "Nats-Schedule-Target"
)

// maxTypeHeader bounds the Ce-Type header; the exact type is in the body.
const maxTypeHeader = 256

// header builds a nats.Header out of one backing array, so that a stored event
// costs one map and one array however many headers it has.
type header struct {
	h    nats.Header
	vals []string
}

func newHeader(n int) *header {
	return &header{h: make(nats.Header, n), vals: make([]string, 0, n)}
}

func (b *header) set(k, v string) {
	b.vals = append(b.vals, v)
	n := len(b.vals)
	b.h[k] = b.vals[n-1 : n : n]
}

// eventHeader is the header under which e is stored.
func eventHeader(e *event.Event, extra int) *header {
	b := newHeader(11 + extra)
	received := e.Received.UTC().Format(time.RFC3339Nano)
	b.set(hdrCeSpec, "1.0")
	b.set(hdrCeID, e.ID)
	b.set(hdrCeType, event.HeaderValue(e.Type, maxTypeHeader))
	b.set(hdrCeSource, "/penstock/"+e.Source)
	b.set(hdrCeTime, received)
	if e.ContentType != "" {
		b.set(hdrContentType, e.ContentType)
	} else {
		b.set(hdrContentType, "application/json")
	}
	b.set(hdrSource, e.Source)
	b.set(hdrReceived, received)
	if e.APIVersion != 0 {
		b.set(hdrAPIVersion, strconv.Itoa(e.APIVersion))
	}
	if e.TraceParent != "" {
		b.set(hdrTraceParent, e.TraceParent)
	}
	return b
}

// deliveryHeader is the header of a delivery that waits or is dead.
func deliveryHeader(sink string, a *delivery.Attempt, extra int) *header {
	b := eventHeader(&a.Event, 9+extra)
	b.set(hdrSink, sink)
	b.set(hdrSubject, a.Event.Subject)
	b.set(hdrSeq, strconv.FormatUint(a.Event.Seq, 10))
	b.set(hdrAttempts, strconv.Itoa(a.Attempts))
	if !a.First.IsZero() {
		b.set(hdrFirst, a.First.UTC().Format(time.RFC3339Nano))
	}
	if a.Held > 0 {
		b.set(hdrHeld, a.Held.String())
	}
	if a.Generation > 0 {
		b.set(hdrGeneration, strconv.Itoa(a.Generation))
	}
	if a.Origin != "" {
		b.set(hdrOrigin, a.Origin)
	}
	if a.LastAttempt != "" {
		b.set(hdrLast, a.LastAttempt)
	}
	return b
}

func first(h nats.Header, key string) string {
	if v := h[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// decodeEvent reads back what eventHeader wrote. It reports false for a
// message that somebody else published on our subjects.
func decodeEvent(h nats.Header, subject string, body []byte) (event.Event, bool) {
	source := first(h, hdrSource)
	id := first(h, hdrCeID)
	received, err := time.Parse(time.RFC3339Nano, first(h, hdrReceived))
	if source == "" || id == "" || err != nil {
		return event.Event{}, false
	}
	e := event.Event{
		ID: id, Type: decodeType(first(h, hdrCeType)), Source: source, Subject: subject,
		Received: received, ContentType: first(h, hdrContentType),
		TraceParent: first(h, hdrTraceParent), Body: body,
	}
	if v := first(h, hdrAPIVersion); v != "" {
		e.APIVersion, _ = strconv.Atoi(v)
	}
	return e, true
}

func decodeType(v string) string {
	if strings.IndexByte(v, '%') < 0 {
		return v
	}
	if s, err := url.PathUnescape(v); err == nil {
		return s
	}
	return v
}

// decodeDelivery reads back what deliveryHeader wrote.
func decodeDelivery(h nats.Header, body []byte) (delivery.Attempt, bool) {
	e, ok := decodeEvent(h, first(h, hdrSubject), body)
	if !ok || e.Subject == "" {
		return delivery.Attempt{}, false
	}
	seq, err := strconv.ParseUint(first(h, hdrSeq), 10, 64)
	if err != nil {
		return delivery.Attempt{}, false
	}
	e.Seq = seq
	a := delivery.Attempt{Event: e, Lane: delivery.Retry}
	a.Attempts, _ = strconv.Atoi(first(h, hdrAttempts))
	a.First, _ = time.Parse(time.RFC3339Nano, first(h, hdrFirst))
	a.Held, _ = time.ParseDuration(first(h, hdrHeld))
	a.Generation, _ = strconv.Atoi(first(h, hdrGeneration))
	a.Origin = first(h, hdrOrigin)
	a.LastAttempt = first(h, hdrLast)
	return a, true
}

// oneLine makes s fit a header value: one line of valid text, at most 512 bytes.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 512 {
		s = strings.ToValidUTF8(s[:512], "")
	}
	return strings.TrimSpace(s)
}
