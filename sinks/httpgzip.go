package sinks

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// minGzip is the least body that is compressed: below it the gain is some
// bytes of a packet that is sent anyway.
const minGzip = 1 << 10

// compressor compresses bodies. It is safe for concurrent use.
type compressor struct{ writers sync.Pool }

// compress returns body compressed, or as it is and false when that is not
// shorter. The result is the caller's alone and is not used again.
func (c *compressor) compress(body []byte) ([]byte, bool) {
	if len(body) < minGzip {
		return body, false
	}
	w, _ := c.writers.Get().(*gzip.Writer)
	if w == nil {
		// The level is in range, so there is no error. Webhooks are short:
		// higher levels cost a multiple and save a few bytes.
		w, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed)
	}
	defer c.writers.Put(w)
	out := bytes.NewBuffer(make([]byte, 0, len(body)/3+64))
	w.Reset(out)
	if _, err := w.Write(body); err != nil {
		return body, false
	}
	if err := w.Close(); err != nil || out.Len() >= len(body) {
		return body, false
	}
	return out.Bytes(), true
}
