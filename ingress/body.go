package ingress

import (
	"errors"
	"io"
	"math/bits"
	"sync"
	"sync/atomic"
)

// gate bounds the requests at hand and their bodies together. It never lets
// anybody wait: a sender that is told to come back costs nothing meanwhile.
type gate struct {
	maxRequests, maxBytes int64
	requests, bytes       atomic.Int64
}

// enter lets a request in and returns the bytes reserved for it, to be handed
// to leave. A body of undeclared length counts as the largest that is allowed.
func (g *gate) enter(declared, maxBody int64) (reserved int64, ok bool) {
	if g.requests.Add(1) > g.maxRequests {
		g.requests.Add(-1)
		return 0, false
	}
	if declared < 0 {
		declared = maxBody
	}
	if g.bytes.Add(declared) > g.maxBytes {
		g.leave(declared)
		return 0, false
	}
	return declared, true
}

func (g *gate) leave(reserved int64) {
	g.bytes.Add(-reserved)
	g.requests.Add(-1)
}

// settle gives back what a body of undeclared length did not need, and returns
// what is reserved now.
func (g *gate) settle(reserved int64, body []byte) int64 {
	if size := int64(len(body)); size != reserved {
		g.bytes.Add(size - reserved)
		return size
	}
	return reserved
}

// smallest is the size of the smallest buffers. Almost every webhook fits.
const smallest = 4 << 10

// errTooLarge: a body of undeclared length went over the bound.
var errTooLarge = errors.New("body is too large")

// buffer is room for one request: its body, and our answer to it.
type buffer struct {
	body   []byte
	class  int
	answer []byte
}

// buffers keeps buffers for use again, in classes of doubling size, so that
// one large body does not make every later small one hold as much.
type buffers struct {
	max     int // bytes of a body
	classes []sync.Pool
}

func newBuffers(max int) buffers {
	return buffers{max: max, classes: make([]sync.Pool, classOf(max+1)+1)}
}

// classOf returns the class whose buffers hold n bytes.
func classOf(n int) int {
	if n <= smallest {
		return 0
	}
	return bits.Len((uint(n) - 1) / smallest)
}

// get returns a buffer for n bytes, at most max+1.
func (p *buffers) get(n int) *buffer {
	class := classOf(n)
	if b, ok := p.classes[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{body: make([]byte, smallest<<class), class: class}
}

// put takes b back. Nobody may hold any part of it.
func (p *buffers) put(b *buffer) { p.classes[b.class].Put(b) }

// read returns a whole body and the buffer it is in. Its errors are the
// connection's, io.ErrUnexpectedEOF when the sender left early, or errTooLarge;
// there is no buffer then.
func (p *buffers) read(r io.Reader, declared int64) (*buffer, []byte, error) {
	if declared < 0 {
		return p.readAll(r)
	}
	b := p.get(int(declared))
	body := b.body[:declared]
	if _, err := io.ReadFull(r, body); err != nil {
		p.put(b)
		return nil, nil, err
	}
	return b, body, nil
}

// readAll reads a body of undeclared length.
func (p *buffers) readAll(r io.Reader) (*buffer, []byte, error) {
	b, n := p.get(0), 0
	for {
		if n == len(b.body) {
			b = p.grow(b)
		}
		m, err := r.Read(b.body[n:])
		n += m
		switch {
		case n > p.max:
			err = errTooLarge
		case errors.Is(err, io.EOF):
			return b, b.body[:n], nil
		}
		if err != nil {
			p.put(b)
			return nil, nil, err
		}
	}
}

// grow moves b's bytes into a buffer of twice the size.
func (p *buffers) grow(b *buffer) *buffer {
	larger := p.get(2 * len(b.body))
	copy(larger.body, b.body)
	p.put(b)
	return larger
}
