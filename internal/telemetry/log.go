package telemetry

import (
	"context"
	"hash/maphash"
	"io"
	"log/slog"
	"sync"
	"time"

	api "go.opentelemetry.io/otel/trace"
)

const (
	// repeatWindow is how long a line that repeats is counted instead of written.
	repeatWindow = 10 * time.Second
	// maxRepeats bounds how many different lines are remembered.
	maxRepeats = 256
)

// The keys of a log line that are decided here.
const (
	logRepeated = "repeated"
	logTraceID  = "trace_id"
	logSpanID   = "span_id"
)

// LogOptions say how a log is written.
type LogOptions struct {
	// Level is the least level that is written.
	Level slog.Level
	// Text is for people; else every line is JSON.
	Text bool
}

// Log writes a log. A warning or an error that repeats is written once, and
// then once every ten seconds with how often it came, as "repeated"; lines with
// a count of their own are left alone. A line of something that is followed has
// its trace_id and span_id. Its methods may be called concurrently.
type Log struct {
	logger *slog.Logger
	counts *repeats
}

// NewLog returns a Log that writes to w, one line with each Write. Close it at the end.
func NewLog(w io.Writer, o LogOptions) *Log {
	h := &slog.HandlerOptions{Level: o.Level}
	var inner slog.Handler
	if o.Text {
		inner = slog.NewTextHandler(w, h)
	} else {
		h.ReplaceAttr = readable
		inner = slog.NewJSONHandler(w, h)
	}
	counts := &repeats{seed: maphash.MakeSeed(), open: map[uint64]*repeat{}}
	return &Log{logger: slog.New(&logHandler{inner: inner, counts: counts}), counts: counts}
}

// Logger is what to log with.
func (l *Log) Logger() *slog.Logger { return l.logger }

// Close writes the counts that have not been written. Lines that come
// afterwards are written as they come. It may be called more than once.
func (l *Log) Close() { l.counts.close() }

// readable writes durations as people do: JSON would have nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		d := a.Value.Duration()
		if d > time.Millisecond {
			d = d.Round(time.Microsecond)
		}
		a.Value = slog.StringValue(d.String())
	}
	return a
}

// logHandler adds the trace to a line, and counts lines that repeat.
type logHandler struct {
	inner  slog.Handler
	counts *repeats
	// with is what the attributes that all lines have add to a line's identity.
	with string
}

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.inner.Enabled(ctx, l) }

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := h.with
	for _, a := range attrs {
		with += identity(a)
	}
	return &logHandler{inner: h.inner.WithAttrs(attrs), counts: h.counts, with: with}
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{inner: h.inner.WithGroup(name), counts: h.counts, with: h.with + "\x00" + name}
}

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if c := api.SpanContextFromContext(ctx); c.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String(logTraceID, c.TraceID().String()), slog.String(logSpanID, c.SpanID().String()))
	}
	if r.Level < slog.LevelWarn || counted(r) {
		return h.inner.Handle(ctx, r)
	}
	return h.counts.handle(h, r)
}

// counted reports that whoever wrote the line counts by himself.
func counted(r slog.Record) bool {
	has := false
	r.Attrs(func(a slog.Attr) bool {
		has = a.Key == logRepeated
		return !has
	})
	return has
}

// identity is what an attribute adds to what a line says. Which event it was,
// and how many or how long, makes no difference.
func identity(a slog.Attr) string {
	switch a.Key {
	case "event", "id", "subject", logTraceID, logSpanID:
		return ""
	}
	switch a.Value.Kind() {
	case slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindDuration, slog.KindTime:
		return ""
	}
	return "\x00" + a.Key + "\x00" + a.Value.String()
}

// repeats counts lines. Its lock is held while a line is written, so that what
// is written of one line is in order.
type repeats struct {
	seed   maphash.Seed
	mu     sync.Mutex
	open   map[uint64]*repeat
	closed bool
}

// repeat is a line that was written not long ago.
type repeat struct {
	h     *logHandler
	last  slog.Record // of those that were not written
	n     int         // how many those are
	timer *time.Timer
}

func (c *repeats) key(h *logHandler, r slog.Record) uint64 {
	var m maphash.Hash
	m.SetSeed(c.seed)
	_, _ = m.WriteString(r.Level.String())
	_, _ = m.WriteString(r.Message)
	_, _ = m.WriteString(h.with)
	r.Attrs(func(a slog.Attr) bool {
		_, _ = m.WriteString(identity(a))
		return true
	})
	return m.Sum64()
}

func (c *repeats) handle(h *logHandler, r slog.Record) error {
	k := c.key(h, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return h.inner.Handle(context.Background(), r)
	}
	if e := c.open[k]; e != nil {
		e.h, e.last = h, r.Clone()
		e.n++
		return nil
	}
	if len(c.open) >= maxRepeats {
		c.evict()
	}
	c.open[k] = &repeat{h: h, timer: time.AfterFunc(repeatWindow, func() { c.due(k) })}
	return h.inner.Handle(context.Background(), r)
}

// evict forgets any one line, to make room.
func (c *repeats) evict() {
	for k, e := range c.open {
		e.timer.Stop()
		e.write()
		delete(c.open, k)
		return
	}
}

// due writes what was counted in a window; a line that did not come again is forgotten.
func (c *repeats) due(k uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.open[k]
	if e == nil || c.closed {
		return
	}
	if e.n == 0 {
		delete(c.open, k)
		return
	}
	e.write()
	e.timer.Reset(repeatWindow)
}

// write writes the last of those that were counted, with their number.
func (e *repeat) write() {
	if e.n == 0 {
		return
	}
	e.last.AddAttrs(slog.Int(logRepeated, e.n))
	_ = e.h.inner.Handle(context.Background(), e.last) // as with any line of a log, there is nobody to tell
	e.n, e.last = 0, slog.Record{}
}

func (c *repeats) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for k, e := range c.open {
		e.timer.Stop()
		e.write()
		delete(c.open, k)
	}
}
