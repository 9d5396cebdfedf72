package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/archive"
)

const (
	stateEntry     = "state.json"
	consumerPrefix = "consumers/"
	// maxEntry is above what a server takes as one message.
	maxEntry = 128 << 20
)

// Message is one message of a stream as it is stored.
type Message struct {
	Subject string
	Seq     uint64
	Time    int64 // nanoseconds since 1970
	// Header is as on the wire, from NATS/1.0 to the empty line; empty: none.
	Header, Body []byte
}

// visitor is told what a segment holds; a nil function is not told.
type visitor struct {
	state    func(server.StreamState) error
	consumer func(*consumerState) error
	message  func(*Message) error
}

type consumerState = server.SnapshotConsumerState

// errOldSnapshot is returned for the form of servers before 2.15.
var errOldSnapshot = errors.New("the server makes snapshots of an older form; backups need NATS 2.15 or newer on every node")

// visit reads a whole segment. What it passes on is valid until the next.
func visit(r io.Reader, v visitor) error {
	dec := s2.NewReader(r)
	in := archive.NewReader(dec)
	var buf []byte
	first := true
	for {
		h, err := in.Next()
		if first && errors.Is(err, archive.ErrInvalidArchive) {
			return errOldSnapshot
		}
		if errors.Is(err, io.EOF) {
			return errors.New("it ends before its last entry")
		}
		if err != nil {
			return err
		}
		first = false
		size := h.HeaderSize + h.PayloadSize
		if size > maxEntry {
			return fmt.Errorf("an entry of %d bytes cannot be", size)
		}
		if h.Name == "" && h.Sequence == 0 && size == 0 {
			_, err := io.Copy(io.Discard, dec) // so that the checksum of what is left is checked
			return err
		}
		if int64(cap(buf)) < size {
			buf = make([]byte, size)
		}
		buf = buf[:size]
		if _, err := io.ReadFull(in, buf); err != nil && size > 0 {
			return fmt.Errorf("read entry %q: %w", h.Name, err)
		}
		if err := v.entry(h, buf); err != nil {
			return err
		}
	}
}

func (v visitor) entry(h *archive.Header, data []byte) error {
	switch {
	case h.Sequence > 0:
		if v.message == nil {
			return nil
		}
		return v.message(&Message{
			Subject: h.Name, Seq: h.Sequence, Time: h.Timestamp, Header: data[:h.HeaderSize], Body: data[h.HeaderSize:],
		})
	case h.Name == stateEntry:
		if v.state == nil {
			return nil
		}
		var st server.StreamState
		if err := json.Unmarshal(data, &st); err != nil {
			return fmt.Errorf("read state: %w", err)
		}
		return v.state(st)
	case strings.HasPrefix(h.Name, consumerPrefix):
		if v.consumer == nil {
			return nil
		}
		var c consumerState
		if err := json.Unmarshal(data, &c); err != nil {
			return fmt.Errorf("read consumer %s: %w", strings.TrimPrefix(h.Name, consumerPrefix), err)
		}
		if c.ConsumerConfig == nil || c.ConsumerState == nil {
			return fmt.Errorf("consumer %s has no configuration or no state", strings.TrimPrefix(h.Name, consumerPrefix))
		}
		return v.consumer(&c)
	}
	return fmt.Errorf("entry %q is neither a message nor a consumer", h.Name)
}

// durable reports that a consumer outlives its client.
func durable(c *server.ConsumerConfig) bool { return c.Durable != "" }

// segmentWriter writes a segment.
type segmentWriter struct {
	enc *s2.Writer
	out *archive.Writer
}

func newSegmentWriter(w io.Writer) *segmentWriter {
	enc := s2.NewWriter(w, s2.WriterConcurrency(1))
	return &segmentWriter{enc: enc, out: archive.NewWriter(enc)}
}

func (s *segmentWriter) entry(h archive.Header, data ...[]byte) error {
	if err := s.out.WriteHeader(&h); err != nil {
		return err
	}
	for _, d := range data {
		if _, err := s.out.Write(d); err != nil {
			return err
		}
	}
	return nil
}

func (s *segmentWriter) json(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.entry(archive.Header{Name: name, PayloadSize: int64(len(text))}, text)
}

func (s *segmentWriter) message(m *Message) error {
	return s.entry(archive.Header{
		Name: m.Subject, Timestamp: m.Time, Sequence: m.Seq, HeaderSize: int64(len(m.Header)), PayloadSize: int64(len(m.Body)),
	}, m.Header, m.Body)
}

// end writes the last entry and what is buffered.
func (s *segmentWriter) end() error {
	if err := s.entry(archive.Header{}); err != nil {
		return err
	}
	return errors.Join(s.out.Close(), s.enc.Close())
}

// digest sums up messages.
type digest struct {
	h               hash.Hash
	buf             []byte
	messages, bytes uint64
	first, last     uint64
}

func newDigest() *digest { return &digest{h: sha256.New()} }

func (d *digest) add(m *Message) error {
	if m.Seq <= d.last {
		return fmt.Errorf("message %d comes after message %d", m.Seq, d.last)
	}
	b := binary.AppendUvarint(d.buf[:0], uint64(len(m.Subject)))
	b = append(b, m.Subject...)
	b = binary.AppendUvarint(b, m.Seq)
	b = binary.AppendVarint(b, m.Time)
	b = binary.AppendUvarint(b, uint64(len(m.Header)))
	d.buf = binary.AppendUvarint(b, uint64(len(m.Body)))
	d.h.Write(d.buf)
	d.h.Write(m.Header)
	d.h.Write(m.Body)
	d.messages++
	d.bytes += uint64(len(m.Header) + len(m.Body))
	if d.first == 0 {
		d.first = m.Seq
	}
	d.last = m.Seq
	return nil
}

func (d *digest) sum() string { return hex.EncodeToString(d.h.Sum(nil)) }
