package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/trace"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
)

// exportLogGap is the least time between two lines about spans that were lost.
const exportLogGap = time.Minute

// maxSaid bounds how much of an error is logged.
const maxSaid = 300

// outbox is the span processor that sends spans in batches, by the library's
// client. A span is encoded when it ends and then forgotten: thousands that
// wait as objects, as in the library's batching, cost the garbage collector as
// much as recording them. What is lost is counted and told in our log.
type outbox struct {
	client  otlptrace.Client
	log     *slog.Logger
	clean   *strings.Replacer // of what the receiver says
	batch   int               // spans sent at a time
	room    int               // spans that may wait
	delay   time.Duration     // after which fewer than a batch are sent
	timeout time.Duration     // of sending one batch

	wake    chan struct{}      // a batch is full
	flushes chan chan struct{} // each is closed when all before it is sent
	quit    chan struct{}
	ended   chan struct{}
	ending  sync.Once
	sending context.Context // done when Shutdown waits no longer
	giveUp  context.CancelFunc

	boxMu   sync.Mutex
	out     []*wire.ResourceSpans // around the spans; nil before the first
	filling spanBatch
	full    []spanBatch
	spare   [][]byte // memory of batches that were sent
	waiting int      // spans in filling, in full and on their way

	sent atomic.Int64
	// overflow are spans that found no room, unsent those the receiver did not take.
	overflow, unsent atomic.Int64

	logMu  sync.Mutex
	logged time.Time
	told   int64
}

// spanBatch is encoded spans.
type spanBatch struct {
	encoded []byte
	spans   int
}

// hiding replaces secrets in what a receiver says: some echo the request.
func hiding(secrets []string) *strings.Replacer {
	var pairs []string
	for _, secret := range secrets {
		pairs = append(pairs, secret, "[hidden]")
	}
	return strings.NewReplacer(pairs...)
}

// newOutbox returns one that keeps what it gets until Run.
func newOutbox(client otlptrace.Client, env traceEnv, log *slog.Logger) *outbox {
	o := &outbox{
		client: client, log: log, clean: hiding(env.secrets),
		batch: min(env.batch, env.queue), room: env.queue, delay: env.delay, timeout: env.timeout,
		wake: make(chan struct{}, 1), flushes: make(chan chan struct{}), quit: make(chan struct{}), ended: make(chan struct{}),
	}
	o.sending, o.giveUp = context.WithCancel(context.Background())
	return o
}

// OnStart implements trace.SpanProcessor.
func (o *outbox) OnStart(context.Context, trace.ReadWriteSpan) {}

// OnEnd implements trace.SpanProcessor. It does not wait for room.
func (o *outbox) OnEnd(s trace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	o.boxMu.Lock()
	defer o.boxMu.Unlock()
	if o.waiting >= o.room {
		o.overflow.Add(1)
		return
	}
	if o.out == nil {
		o.out = envelope(s)
	}
	o.waiting++
	o.filling.spans++
	o.filling.encoded = nested(o.filling.encoded, scopeSpansSpans, func(b []byte) []byte { return appendSpan(b, s) })
	if o.filling.spans < o.batch {
		return
	}
	o.seal()
	select {
	case o.wake <- struct{}{}:
	default: // it is awake
	}
}

// seal ends the batch that is being filled.
func (o *outbox) seal() {
	if o.filling.spans == 0 {
		return
	}
	o.full = append(o.full, o.filling)
	o.filling = spanBatch{}
	if n := len(o.spare); n > 0 {
		o.filling.encoded, o.spare = o.spare[n-1][:0], o.spare[:n-1]
	}
}

// run sends what ends until Shutdown, and then what is left.
func (o *outbox) run() {
	defer close(o.ended)
	tick := time.NewTicker(o.delay)
	defer tick.Stop()
	for {
		select {
		case <-o.wake:
			o.send(false)
		case <-tick.C:
			o.send(true)
		case done := <-o.flushes:
			o.send(true)
			close(done)
		case <-o.quit:
			o.send(true)
			return
		}
	}
}

// send sends the full batches, and with all what there is of the next one too.
func (o *outbox) send(all bool) {
	for {
		b, ok := o.take(all)
		if !ok {
			return
		}
		err := o.upload(b)
		o.boxMu.Lock()
		o.waiting -= b.spans
		o.spare = append(o.spare, b.encoded)
		o.boxMu.Unlock()
		if err != nil {
			o.unsent.Add(int64(b.spans))
			o.failed(err, time.Now())
			continue
		}
		o.sent.Add(int64(b.spans))
	}
}

func (o *outbox) take(all bool) (spanBatch, bool) {
	o.boxMu.Lock()
	defer o.boxMu.Unlock()
	if len(o.full) == 0 && all {
		o.seal()
	}
	if len(o.full) == 0 {
		return spanBatch{}, false
	}
	b := o.full[0]
	o.full = append(o.full[:0], o.full[1:]...)
	return b, true
}

func (o *outbox) upload(b spanBatch) error {
	ctx, cancel := context.WithTimeout(o.sending, o.timeout)
	defer cancel()
	o.out[0].ScopeSpans[0].ProtoReflect().SetUnknown(b.encoded)
	return o.client.UploadTraces(ctx, o.out)
}

// ForceFlush implements trace.SpanProcessor.
func (o *outbox) ForceFlush(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case o.flushes <- done:
	case <-o.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shutdown implements trace.SpanProcessor. What is not sent when ctx is done is
// lost.
func (o *outbox) Shutdown(ctx context.Context) error {
	o.ending.Do(func() { close(o.quit) })
	defer o.giveUp()
	select {
	case <-o.ended:
	case <-ctx.Done():
		o.giveUp()
		<-o.ended
	}
	o.close()
	if err := o.client.Stop(ctx); err != nil {
		return fmt.Errorf("stop OTLP client: %w", err)
	}
	return ctx.Err()
}

// close lets nobody wait any more.
func (o *outbox) close() {
	o.boxMu.Lock()
	defer o.boxMu.Unlock()
	o.unsent.Add(int64(o.waiting))
	o.waiting, o.room = 0, 0
}

// lost is how many spans were lost so far.
func (o *outbox) lost() int64 { return o.overflow.Load() + o.unsent.Load() }

// report says what was lost and not told yet.
func (o *outbox) report() {
	o.logMu.Lock()
	defer o.logMu.Unlock()
	if n := o.lost() - o.told; n > 0 {
		o.told += n
		o.log.Warn("spans lost", "spans", n, "sent", o.sent.Load())
	}
}

// failed tells of a batch that was not sent, not more than once a minute.
func (o *outbox) failed(err error, now time.Time) {
	o.logMu.Lock()
	defer o.logMu.Unlock()
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
