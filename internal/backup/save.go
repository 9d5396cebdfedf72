package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
)

// Progress says how far a transfer has come.
type Progress struct {
	// Stream is the one at work; Messages of its Of are done.
	Stream       string
	Messages, Of uint64
}

// SaveOptions say what to save.
type SaveOptions struct {
	// Order names the streams in the order in which they are read. The second
	// time a stream is named, what was stored in it since the first is added.
	Order []string
	// Penstock and Source are for the manifest.
	Penstock, Source string
	// Progress is called now and then, on the caller's goroutine; nil: never.
	Progress func(Progress)
}

// Save writes the streams to w, which may be written to only sequentially, and
// returns what it wrote. A stream that does not exist is left out.
//
// It may run while the streams are used. A snapshot holds what a stream held
// when it began, less what was deleted before its turn came; consumers in it
// are no further than its last message. When a message stands for one in
// another stream (a retry for an event) and is stored before that one is
// acknowledged, the other stream must come later in Order: then every message
// is in the file, or what stands for it, or both. When it may move on within
// one stream, the stream must be named twice: the second reading goes on to
// the stream's end, wherever that is by then, and so meets it.
func Save(ctx context.Context, nc *nats.Conn, o SaveOptions, w io.Writer) (*Manifest, error) {
	s := &saver{ctx: ctx, nc: nc, o: o, w: &counter{w: w}, digests: map[string]*digest{}}
	s.m = Manifest{Format: Format, Penstock: o.Penstock, NATS: nc.ConnectedServerVersion(), Source: o.Source, Started: time.Now().UTC()}
	if _, err := fmt.Fprintf(s.w, "%s%d\n", magic, Format); err != nil {
		return nil, err
	}
	for _, name := range o.Order {
		if err := s.stream(name); err != nil {
			return nil, fmt.Errorf("save stream %s: %w", name, err)
		}
	}
	for i := range s.m.Streams {
		st, d := &s.m.Streams[i], s.digests[s.m.Streams[i].Name]
		st.Messages, st.Bytes, st.First, st.Last, st.SHA256 = d.messages, d.bytes, d.first, d.last, d.sum()
		st.NextSeq = max(st.NextSeq, d.last+1)
	}
	s.m.Finished = time.Now().UTC()
	return &s.m, writeEnd(s.w, &s.m)
}

type saver struct {
	ctx     context.Context
	nc      *nats.Conn
	o       SaveOptions
	w       *counter
	m       Manifest
	digests map[string]*digest
	told    time.Time
}

func (s *saver) stream(name string) error {
	begun := s.w.n
	st := s.m.Stream(name)
	if st != nil {
		if err := s.rest(st); err != nil {
			return err
		}
	} else {
		s.m.Streams = append(s.m.Streams, Stream{Name: name})
		st = &s.m.Streams[len(s.m.Streams)-1]
		err := s.whole(st)
		if isCode(err, codeNoStream) {
			s.m.Streams = s.m.Streams[:len(s.m.Streams)-1]
			return nil
		}
		if err != nil {
			return err
		}
	}
	st.Segments = append(st.Segments, Segment{Offset: begun, Length: s.w.n - begun})
	return nil
}

// whole copies the server's snapshot as it is, and looks into it on the way.
func (s *saver) whole(st *Stream) error {
	snap, err := startSnapshot(s.ctx, s.nc, st.Name, true)
	if err != nil {
		return err
	}
	defer snap.Close()
	d := newDigest()
	s.digests[st.Name] = d
	st.Config, st.NextSeq = snap.config, snap.state.LastSeq+1
	copied := io.TeeReader(snap, s.w)
	err = visit(copied, visitor{
		consumer: func(c *consumerState) error {
			if durable(c.ConsumerConfig) {
				st.Consumers = append(st.Consumers, c.Durable)
			}
			return nil
		},
		message: func(m *Message) error { s.tell(st.Name, d, snap.state.Msgs); return d.add(m) },
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, copied)
	return err
}

const (
	// readAhead is how many messages are asked for at one time.
	readAhead = 64
	// chase bounds how long the end of a stream is run after.
	chase = 2 * time.Minute
)

// rest adds what was stored since the snapshot, up to the end, message by
// message from the stream's leader: others may not have all of it.
func (s *saver) rest(st *Stream) error {
	d := s.digests[st.Name]
	out := newSegmentWriter(s.w)
	if err := out.json(stateEntry, server.StreamState{}); err != nil {
		return err
	}
	for begun := time.Now(); ; {
		last, err := lastSeq(s.ctx, s.nc, st.Name)
		if err != nil {
			return err
		}
		if last < st.NextSeq {
			return out.end()
		}
		if time.Since(begun) > chase {
			return fmt.Errorf("its messages have moved on faster than they could be read for %s; pause the sink that fails so often, or try again later", chase)
		}
		err = between(s.ctx, s.nc, st.Name, st.NextSeq, last, func(m *Message) error {
			s.tell(st.Name, d, d.messages+last-m.Seq)
			return errors.Join(d.add(m), out.message(m))
		})
		if err != nil {
			return err
		}
		st.NextSeq = last + 1
	}
}

func lastSeq(ctx context.Context, nc *nats.Conn, stream string) (uint64, error) {
	var info struct {
		State server.StreamState `json:"state"`
	}
	err := request(ctx, nc, "STREAM.INFO."+stream, struct{}{}, &info)
	return info.State.LastSeq, err
}

// between calls each with the messages of a stream from one sequence to
// another, in their order. Those that are deleted are left out.
func between(ctx context.Context, nc *nats.Conn, stream string, from, to uint64, each func(*Message) error) error {
	for ; from <= to; from += readAhead {
		n := int(min(readAhead, to-from+1))
		got := make([]*Message, n)
		g, ctx := errgroup.WithContext(ctx)
		for i := range n {
			g.Go(func() (err error) {
				got[i], err = messageAt(ctx, nc, stream, from+uint64(i))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for _, m := range got {
			if m == nil {
				continue
			}
			if err := each(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// messageAt is the message with that sequence, nil when it is gone.
func messageAt(ctx context.Context, nc *nats.Conn, stream string, seq uint64) (*Message, error) {
	var answer struct {
		Message *server.StoredMsg `json:"message"`
	}
	err := request(ctx, nc, "STREAM.MSG.GET."+stream, server.JSApiMsgGetRequest{Seq: seq}, &answer)
	if isCode(err, codeNoMessage) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if answer.Message == nil {
		return nil, errors.New("the server's answer holds no message")
	}
	m := answer.Message
	return &Message{Subject: m.Subject, Seq: m.Sequence, Time: m.Time.UnixNano(), Header: m.Header, Body: m.Data}, nil
}

// tell reports progress, a few times a second.
func (s *saver) tell(stream string, d *digest, of uint64) {
	if s.o.Progress == nil || d.messages%256 != 0 || time.Since(s.told) < 200*time.Millisecond {
		return
	}
	s.told = time.Now()
	s.o.Progress(Progress{Stream: stream, Messages: d.messages, Of: of})
}

// counter counts what is written through it.
type counter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Measure returns the messages and bytes that the streams hold, by name. Those
// that do not exist are left out.
func Measure(ctx context.Context, nc *nats.Conn, streams []string) (map[string]server.StreamState, error) {
	out := map[string]server.StreamState{}
	for _, name := range streams {
		var info struct {
			State  server.StreamState `json:"state"`
			Config json.RawMessage    `json:"config"`
		}
		err := request(ctx, nc, "STREAM.INFO."+name, struct{}{}, &info)
		if isCode(err, codeNoStream) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[name] = info.State
	}
	return out, nil
}
