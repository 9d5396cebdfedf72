package sinks

import (
	"bytes"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/penstock/penstock/internal/event"
)

// packer turns events into lines of JSON and compresses them. It is safe for
// concurrent use.
type packer struct {
	ext, contentType string
	writers          *sync.Pool // of resetWriter; nil: not compressed
	lines            *sync.Pool // of *bytes.Buffer
}

// resetWriter is a compressor that can be used again.
type resetWriter interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// newPacker takes the fastest level of gzip and zstd: a batch is packed while
// its events wait, and webhooks repeat themselves enough for any level.
func newPacker(compression string) packer {
	p := packer{ext: "ndjson", contentType: "application/x-ndjson", lines: &sync.Pool{New: func() any { return new(bytes.Buffer) }}}
	switch compression {
	case "gzip":
		p.ext, p.contentType = "ndjson.gz", "application/gzip"
		p.writers = &sync.Pool{New: func() any {
			w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
			return w
		}}
	case "zstd":
		p.ext, p.contentType = "ndjson.zst", "application/zstd"
		p.writers = &sync.Pool{New: func() any {
			w, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1)) // the options are valid
			return w
		}}
	}
	return p
}

// pack returns the events at the given places as one object, of about size
// bytes. The bytes are the caller's: a transport may read them after its answer.
func (p *packer) pack(events []event.Event, places []int, size int) ([]byte, error) {
	out := bytes.NewBuffer(make([]byte, 0, max(size+size/8, 4<<10)))
	if p.writers == nil {
		for _, i := range places {
			appendEvent(out, &events[i])
		}
		return out.Bytes(), nil
	}
	w := p.writers.Get().(resetWriter)
	defer p.writers.Put(w)
	w.Reset(out)
	line := p.lines.Get().(*bytes.Buffer)
	defer func() {
		if line.Cap() <= 4*maxPooled {
			p.lines.Put(line)
		}
	}()
	line.Reset()
	for n, i := range places {
		appendEvent(line, &events[i])
		if line.Len() < maxPooled && n < len(places)-1 {
			continue // compressors like larger pieces
		}
		if _, err := w.Write(line.Bytes()); err != nil {
			return nil, err
		}
		line.Reset()
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// appendEvent adds the event as one line: its attributes, then its body so
// that nothing of it is lost.
func appendEvent(b *bytes.Buffer, e *event.Event) {
	line := b.AvailableBuffer()
	line = append(line, '{')
	line = appendAttributes(line, e)
	line = append(line, `,"api_version":`...)
	line = strconv.AppendInt(line, int64(e.APIVersion), 10)
	line = append(line, `,"received":"`...)
	line = e.Received.UTC().AppendFormat(line, time.RFC3339Nano)
	line = append(line, `","seq":`...)
	line = strconv.AppendUint(line, e.Seq, 10)
	b.Write(line)
	encodeBody(b, e.Body)
	b.WriteString("}\n")
}
