package sinks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// logKeys are the keys of the kind log.
type logKeys struct {
	// Body says whether the event's body is part of the line: JSON as it is,
	// other text as a string under body_text, other bytes as base64 under
	// body_base64.
	Body bool `yaml:"body"`
	// Path is the file to write to, made when it is not there; empty: the
	// standard output. No two sinks may share one.
	Path string `yaml:"path,path" example:"/var/log/penstock/events.jsonl"`
	// MaxSize is the size at which the file is put aside under a name with the
	// time, and a new one begun; whole MiB. A longer line is a dead letter.
	MaxSize config.Size `yaml:"max_size" range:"1MiB..1TiB"`
	// MaxFiles is how many files that were put aside are kept; 0: all.
	MaxFiles int `yaml:"max_files" range:"0..100000"`
	// MaxAge is how long they are kept, in whole days; 0s: for ever.
	MaxAge time.Duration `yaml:"max_age" range:"0s..3650d" example:"30d"`
	// Compress has them compressed with gzip.
	Compress bool `yaml:"compress"`
}

func defaultLog() logKeys {
	return logKeys{Body: true, MaxSize: 100 << 20, MaxFiles: 10}
}

func decodeLog(c config.Sink) (logKeys, config.Mistakes) {
	o := defaultLog()
	n := c.Options
	mistakes := n.Decode(&o)
	if o.Path == "" && !n.Get("path").Unresolved() {
		for _, key := range []string{"max_size", "max_files", "max_age", "compress"} {
			if !n.Get(key).IsZero() {
				mistakes = append(mistakes, n.Errorf(key, "is only for a file", "set path, or remove it"))
			}
		}
	}
	if o.MaxSize%(1<<20) != 0 {
		mistakes = append(mistakes, n.Errorf("max_size", "is not a whole number of MiB", "write 100MiB or 1GiB"))
	}
	if o.MaxAge%(24*time.Hour) != 0 {
		mistakes = append(mistakes, n.Errorf("max_age", "is not a whole number of days", "write 7d or 30d"))
	}
	mistakes.Sort()
	return o, mistakes
}

// logSink writes each event as one line of JSON, to the standard output or to
// a file. An event is delivered when the system has its line, which is not yet
// on the disk then. A file that was renamed or removed from outside, as
// logrotate does, is opened anew within a second; no signal is needed.
type logSink struct {
	name     string
	target   string
	withBody bool
	out      io.Writer
	// turn is held by the one that writes. It is a channel so that the others
	// stop waiting when their context is done.
	turn chan struct{}
	torn bool // the last write ended within a line
	bufs sync.Pool
}

func openLog(c config.Sink, o logKeys, d Deps) (Sink, error) {
	s := &logSink{
		name:     c.Name,
		target:   "standard output",
		withBody: o.Body,
		out:      d.Stdout,
		turn:     make(chan struct{}, 1),
		bufs:     sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
	if o.Path != "" {
		s.target, s.out = o.Path, newLogFile(o)
	}
	return s, nil
}

// Close closes the file. A Deliver after it opens it once more.
func (s *logSink) Close() error {
	c, ok := s.out.(*logFile)
	if !ok {
		return nil
	}
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return c.Close()
}

// Preview implements Previewer: it is the line that Deliver would write.
func (s *logSink) Preview(e event.Event) (Preview, error) {
	var b bytes.Buffer
	s.encode(&b, e)
	return Preview{Target: "one line to " + s.target, Body: b.Bytes()}, nil
}

// maxPooled keeps the buffer of a rare huge event from staying for ever.
const maxPooled = 64 << 10

// Deliver writes e as one line, with one Write, whole lines never mixed. A
// Write that blocks cannot be interrupted: Deliver then outlives its context.
func (s *logSink) Deliver(ctx context.Context, e event.Event) error {
	b := s.bufs.Get().(*bytes.Buffer)
	defer func() {
		if b.Cap() <= maxPooled {
			s.bufs.Put(b)
		}
	}()
	b.Reset()
	b.WriteByte('\n') // closes a torn line, else left out
	s.encode(b, e)
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return delivery.Fail(delivery.Failed, fmt.Errorf("write to log: %w", ctx.Err()))
	}
	defer func() { <-s.turn }()
	if err := ctx.Err(); err != nil {
		return delivery.Fail(delivery.Failed, fmt.Errorf("write to log: %w", err))
	}
	if err := s.write(b.Bytes()); err != nil {
		return err
	}
	delivery.TraceOf(ctx).Said(0, "written to "+s.target)
	return nil
}

// write writes one line that begins with the end of the one before.
func (s *logSink) write(line []byte) error {
	if f, ok := s.out.(*logFile); ok {
		opened, torn, err := f.prepare(len(line))
		if err != nil {
			return err
		}
		if opened {
			s.torn = torn
		}
	}
	if !s.torn {
		line = line[1:]
	}
	n, err := s.out.Write(line)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	if err == nil {
		s.torn = false
		return nil
	}
	if n > 0 {
		s.torn = true
	}
	return delivery.Fail(delivery.Failed, fmt.Errorf("write to log: %w", err))
}

func (s *logSink) encode(b *bytes.Buffer, e event.Event) {
	line := b.AvailableBuffer()
	line = append(line, `{"time":"`...)
	line = e.Received.UTC().AppendFormat(line, time.RFC3339Nano)
	line = append(line, `","sink":`...)
	line = appendJSONString(line, s.name)
	line = append(line, `,"seq":`...)
	line = strconv.AppendUint(line, e.Seq, 10)
	line = append(line, ',')
	line = appendAttributes(line, &e)
	line = append(line, `,"bytes":`...)
	line = strconv.AppendInt(line, int64(len(e.Body)), 10)
	b.Write(line)
	if s.withBody {
		encodeBody(b, e.Body)
	}
	b.WriteString("}\n")
}
