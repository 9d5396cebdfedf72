package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Verify reads every message of the file and compares count and hash of every
// stream with the manifest.
func (b *File) Verify(ctx context.Context, progress func(Progress)) error {
	for i := range b.Streams {
		if err := b.verify(ctx, &b.Streams[i], progress); err != nil {
			return fmt.Errorf("backup %s: stream %s: %w", b.Path, b.Streams[i].Name, err)
		}
	}
	return nil
}

func (b *File) verify(ctx context.Context, s *Stream, progress func(Progress)) error {
	d := newDigest()
	err := b.read(s, visitor{
		consumer: func(*consumerState) error { return nil },
		message: func(m *Message) error {
			if progress != nil && d.messages%8192 == 0 {
				progress(Progress{Stream: s.Name, Messages: d.messages, Of: s.Messages})
			}
			return errors.Join(ctx.Err(), d.add(m))
		},
	})
	if err != nil {
		return fmt.Errorf("after %d of %d messages: %w", d.messages, s.Messages, err)
	}
	if d.messages != s.Messages {
		return fmt.Errorf("it holds %d messages, the manifest says %d", d.messages, s.Messages)
	}
	if have := d.sum(); have != s.SHA256 {
		return fmt.Errorf("its %d messages have the hash %.12s…, the manifest says %.12s…: the file is damaged", d.messages, have, s.SHA256)
	}
	return nil
}

// read visits all that the file holds of a stream.
func (b *File) read(s *Stream, v visitor) error {
	for i, g := range s.Segments {
		if err := visit(io.NewSectionReader(b.f, g.Offset, g.Length), v); err != nil {
			return fmt.Errorf("segment at byte %d: %w", g.Offset, err)
		}
		if i == 0 {
			v.state = nil // those of later segments say nothing
		}
	}
	return nil
}

// RestoreOptions say how a stream is made again.
type RestoreOptions struct {
	// Adapt returns the configuration that the stream is to have, given the
	// one it had.
	Adapt func(*server.StreamConfig) error
	// Key names what a message stands for: of several messages with the same
	// key only the last is restored, and consumers are not, because all that is
	// stored is still to be handed out. Nil: every message stands for itself.
	Key func(*Message) string
	// Progress; nil: nobody.
	Progress func(Progress)
}

// Restore makes a stream of the file again. The stream must not exist. With an
// error it may exist in part.
func (b *File) Restore(ctx context.Context, nc *nats.Conn, name string, o RestoreOptions) error {
	s := b.Stream(name)
	if s == nil {
		return fmt.Errorf("the backup has no stream %s", name)
	}
	if err := b.restore(ctx, nc, s, o); err != nil {
		return fmt.Errorf("restore stream %s: %w", name, err)
	}
	return nil
}

func (b *File) restore(ctx context.Context, nc *nats.Conn, s *Stream, o RestoreOptions) error {
	var cfg server.StreamConfig
	if err := json.Unmarshal(s.Config, &cfg); err != nil {
		return fmt.Errorf("read its configuration: %w", err)
	}
	cfg.Metadata = ourMetadata(cfg.Metadata)
	if err := o.Adapt(&cfg); err != nil {
		return err
	}
	p, err := b.plan(s, o.Key)
	if err != nil {
		return err
	}
	u, err := startUpload(ctx, nc, &cfg, &p.state)
	if err != nil {
		return err
	}
	defer u.Close()
	out := newSegmentWriter(u)
	if err := out.json(stateEntry, p.state); err != nil {
		return err
	}
	for _, c := range p.consumers {
		if err := out.json(consumerPrefix+c.Durable, c); err != nil {
			return err
		}
	}
	n := uint64(0)
	err = b.read(s, visitor{message: func(m *Message) error {
		if p.last != nil && p.last[o.Key(m)] != m.Seq {
			return nil
		}
		if n++; o.Progress != nil && n%4096 == 0 {
			o.Progress(Progress{Stream: s.Name, Messages: n, Of: p.state.Msgs})
		}
		return errors.Join(ctx.Err(), out.message(m))
	}})
	if err := errors.Join(err); err != nil {
		return err
	}
	if err := out.end(); err != nil {
		return err
	}
	return u.finish()
}

// plan is what of a stream is restored.
type plan struct {
	state     server.StreamState
	consumers []*consumerState
	last      map[string]uint64 // by key; nil: every message
}

// plan looks through the stream for what a server wants to know first.
func (b *File) plan(s *Stream, key func(*Message) string) (*plan, error) {
	p := &plan{state: server.StreamState{Msgs: s.Messages, Bytes: s.Bytes, FirstSeq: s.First, LastSeq: max(s.NextSeq, 1) - 1}}
	if key != nil {
		p.last = map[string]uint64{}
		if err := b.read(s, visitor{message: func(m *Message) error { p.last[key(m)] = m.Seq; return nil }}); err != nil {
			return nil, err
		}
		p.state.Msgs = uint64(len(p.last))
		if len(p.last) > 0 {
			p.state.FirstSeq = s.Last
			for _, seq := range p.last {
				p.state.FirstSeq = min(p.state.FirstSeq, seq)
			}
		}
	} else {
		err := b.read(&Stream{Segments: s.Segments[:min(1, len(s.Segments))]}, visitor{
			consumer: func(c *consumerState) error {
				if durable(c.ConsumerConfig) {
					c.ConsumerConfig.Metadata = ourMetadata(c.ConsumerConfig.Metadata)
					p.consumers = append(p.consumers, c)
				}
				return nil
			},
			message: func(*Message) error { return errEnough },
		})
		if err != nil && !errors.Is(err, errEnough) {
			return nil, err
		}
	}
	p.state.Consumers = len(p.consumers)
	if p.state.Msgs == 0 {
		p.state.FirstSeq = p.state.LastSeq + 1
	}
	if p.state.LastSeq == 0 {
		p.state.FirstSeq = 0
	}
	return p, nil
}

// errEnough ends a reading early.
var errEnough = errors.New("enough")

// Delete deletes a stream, if it is there.
func Delete(ctx context.Context, nc *nats.Conn, stream string) error {
	var answer struct{}
	err := request(ctx, nc, "STREAM.DELETE."+stream, struct{}{}, &answer)
	if isCode(err, codeNoStream) {
		return nil
	}
	return err
}

// Config is the configuration of a stream, nil when it does not exist.
func Config(ctx context.Context, nc *nats.Conn, stream string) (*server.StreamConfig, error) {
	var info struct {
		Config *server.StreamConfig `json:"config"`
	}
	err := request(ctx, nc, "STREAM.INFO."+stream, struct{}{}, &info)
	if isCode(err, codeNoStream) {
		return nil, nil
	}
	return info.Config, err
}

// Sums are what two copies of a stream are compared by.
type Sums struct {
	Messages, First, Last uint64
	SHA256                string
}

// Sums of the file's stream, or of the messages that Restore takes when key is
// not nil: then first and last are 0, and neither the order nor what else
// differs between messages with one key counts, but only keys and bodies.
func (b *File) Sums(name string, key func(*Message) string) (Sums, error) {
	s := b.Stream(name)
	if s == nil {
		return Sums{}, fmt.Errorf("the backup has no stream %s", name)
	}
	if key == nil {
		return Sums{Messages: s.Messages, First: s.First, Last: s.Last, SHA256: s.SHA256}, nil
	}
	k := keyed{}
	if err := b.read(s, visitor{message: func(m *Message) error { k.add(key(m), m.Body); return nil }}); err != nil {
		return Sums{}, err
	}
	return k.sums(), nil
}

// SumsOf reads a server's stream and sums it up as File.Sums does.
func SumsOf(ctx context.Context, nc *nats.Conn, name string, key func(*Message) string) (Sums, error) {
	snap, err := startSnapshot(ctx, nc, name, false)
	if err != nil {
		return Sums{}, fmt.Errorf("read stream %s: %w", name, err)
	}
	defer snap.Close()
	d, k := newDigest(), keyed{}
	next := snap.state.LastSeq + 1
	err = visit(snap, visitor{message: func(m *Message) error {
		if key != nil {
			k.add(key(m), m.Body)
		}
		return d.add(m)
	}})
	if err != nil {
		return Sums{}, fmt.Errorf("read stream %s: %w", name, err)
	}
	if key == nil {
		return Sums{Messages: d.messages, First: d.first, Last: d.last, SHA256: d.sum()}, nil
	}
	last, err := lastSeq(ctx, nc, name) // what has moved on since
	if err != nil {
		return Sums{}, fmt.Errorf("read stream %s: %w", name, err)
	}
	err = between(ctx, nc, name, next, last, func(m *Message) error { k.add(key(m), m.Body); return nil })
	return k.sums(), err
}

// keyed sums up messages by what they stand for.
type keyed map[string][sha256.Size]byte

func (k keyed) add(key string, body []byte) { k[key] = sha256.Sum256(body) }

func (k keyed) sums() Sums {
	keys := make([]string, 0, len(k))
	for key := range k {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	h := sha256.New()
	for _, key := range keys {
		sum := k[key]
		h.Write([]byte(strconv.Itoa(len(key)) + ":" + key))
		h.Write(sum[:])
	}
	return Sums{Messages: uint64(len(k)), SHA256: hex.EncodeToString(h.Sum(nil))}
}

// Position is how far a consumer had come.
type Position struct {
	Consumer string
	// AckFloor is the sequence up to which everything was acknowledged, Pending
	// how many messages above it were handed out and not acknowledged.
	AckFloor uint64
	Pending  int
}

// Positions are those of the file's consumers of a stream.
func (b *File) Positions(stream string) ([]Position, error) {
	s := b.Stream(stream)
	if s == nil {
		return nil, fmt.Errorf("the backup has no stream %s", stream)
	}
	p, err := b.plan(s, nil)
	if err != nil {
		return nil, err
	}
	var out []Position
	for _, c := range p.consumers {
		out = append(out, Position{Consumer: c.Durable, AckFloor: c.AckFloor.Stream, Pending: len(c.Pending)})
	}
	return out, nil
}
