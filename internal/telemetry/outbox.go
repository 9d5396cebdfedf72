package telemetry

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
)

// exportLogGap is the least time between two lines about spans that were lost.
const exportLogGap = time.Minute

// maxSaid bounds how much of an error is logged.
const maxSaid = 300

// outbox sends spans in batches. It wraps the library's batching so that what
// is lost is counted and told in our log: the library would tell its global
// error handler.
type outbox struct {
	trace.SpanProcessor
	inner trace.SpanExporter
	log   *slog.Logger
	clean *strings.Replacer // of what the receiver says

	room    int64 // how many may wait
	waiting atomic.Int64
	sent    atomic.Int64
	// overflow are spans that found no room, unsent those the receiver did not take.
	overflow, unsent atomic.Int64

	mu     sync.Mutex
	logged time.Time
	told   int64
}

// hiding replaces secrets in what a receiver says: some echo the request.
func hiding(secrets []string) *strings.Replacer {
	var pairs []string
	for _, secret := range secrets {
		pairs = append(pairs, secret, "[hidden]")
	}
	return strings.NewReplacer(pairs...)
}

func newOutbox(e trace.SpanExporter, env traceEnv, log *slog.Logger) *outbox {
	o := &outbox{inner: e, log: log, clean: hiding(env.secrets), room: int64(env.queue)}
	o.SpanProcessor = trace.NewBatchSpanProcessor(sender{o},
		trace.WithMaxQueueSize(env.queue), trace.WithMaxExportBatchSize(min(env.batch, env.queue)))
	return o
}

// OnEnd implements trace.SpanProcessor. It does not wait for room.
func (o *outbox) OnEnd(s trace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if o.waiting.Load() >= o.room {
		o.overflow.Add(1)
		return
	}
	o.waiting.Add(1)
	o.SpanProcessor.OnEnd(s)
}

// lost is how many spans were lost so far.
func (o *outbox) lost() int64 { return o.overflow.Load() + o.unsent.Load() }

// report says what was lost and not told yet.
func (o *outbox) report() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := o.lost() - o.told; n > 0 {
		o.told += n
		o.log.Warn("spans lost", "spans", n, "sent", o.sent.Load())
	}
}

// failed tells of a batch that was not sent, not more than once a minute.
func (o *outbox) failed(err error, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.logged.IsZero() && now.Sub(o.logged) < exportLogGap {
		return
	}
	n := o.lost() - o.told
	o.told += n
	o.logged = now
	o.log.Warn("traces not sent; events are not affected", "err", o.said(err), "spans", n)
}

// said is an error as one short line. A receiver may answer with what it was sent.
func (o *outbox) said(err error) string {
	text := strings.Join(strings.Fields(o.clean.Replace(err.Error())), " ")
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "") + "..."
	}
	return text
}

// sender is the exporter that an outbox gives to the library.
type sender struct{ o *outbox }

// ExportSpans implements trace.SpanExporter. It returns no error, because the
// library would print it.
func (s sender) ExportSpans(ctx context.Context, spans []trace.ReadOnlySpan) error {
	n := int64(len(spans))
	s.o.waiting.Add(-n)
	if err := s.o.inner.ExportSpans(ctx, spans); err != nil {
		s.o.unsent.Add(n)
		s.o.failed(err, time.Now())
		return nil
	}
	s.o.sent.Add(n)
	return nil
}

// Shutdown implements trace.SpanExporter.
func (s sender) Shutdown(ctx context.Context) error { return s.o.inner.Shutdown(ctx) }
