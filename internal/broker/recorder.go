package broker

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
)

// recordAge is how long records are kept.
const recordAge = 7 * 24 * time.Hour

// Bounds of the records that wait in memory, and when they are stored.
const (
	maxRecordsWaiting = 64 << 10
	maxRecordBytes    = 16 << 20
	// recordChunk is the size at which a message is closed: below what every
	// server we accept takes, whatever server.max_body is.
	recordChunk = 56 << 10
	// recordRoom is left for the record that closes a chunk.
	recordRoom = 6 << 10
	flushEvery = 200 * time.Millisecond
	// flushLast bounds the storing of what is left at the end.
	flushLast = time.Second
)

// recorder gathers attempt records and stores them in batches. A record that
// finds no room is dropped and counted: nothing ever waits for the recorder.
type recorder struct {
	// publish stores a message; it is set when the broker opens.
	publish func(context.Context, *nats.Msg) (*jetstream.PubAck, error)
	log     *slog.Logger
	name    string // of this process's batches, for their ids

	dropped atomic.Int64
	wake    chan struct{} // capacity 1: a chunk is full

	mu      sync.Mutex
	filling map[string]*chunk // by sink
	full    []*chunk
	free    []*chunk
	waiting int // records, those being stored included
	bytes   int
	batches uint64

	flushing chan struct{} // capacity 1: held by the one who stores
}

// chunk is one message in the making.
type chunk struct {
	sink string
	id   string
	data []byte
	n    int
}

func newRecorder(log *slog.Logger) *recorder {
	return &recorder{
		log: log, name: randomPassword()[:16], filling: map[string]*chunk{},
		wake: make(chan struct{}, 1), flushing: make(chan struct{}, 1),
	}
}

// Record keeps what became of an attempt, unless too much waits to be stored.
// It does not wait for anything and does not keep r.
func (b *Broker) Record(r *delivery.Record) {
	if r.Kind == delivery.Attempted && b.erased.has(r.Seq, r.EventID) {
		return
	}
	b.recorder.add(r)
}

// RecordsDropped counts the records that found no room, since the start.
func (b *Broker) RecordsDropped() int64 { return b.recorder.dropped.Load() }

// RunRecords stores records until ctx is done, and then, for at most a second,
// what is left. A record is stored some 200 ms after it was made.
func (b *Broker) RunRecords(ctx context.Context) error {
	b.recorder.run(ctx)
	return nil
}

func (r *recorder) add(rec *delivery.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting >= maxRecordsWaiting || r.bytes >= maxRecordBytes {
		r.dropped.Add(1)
		return
	}
	c := r.filling[rec.Sink]
	if c == nil {
		c = r.newChunk(rec.Sink)
		r.filling[rec.Sink] = c
	}
	before := len(c.data)
	c.data = delivery.AppendRecord(c.data, rec)
	c.n++
	r.waiting++
	r.bytes += len(c.data) - before
	if len(c.data) >= recordChunk-recordRoom {
		r.full = append(r.full, c)
		delete(r.filling, rec.Sink)
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

func (r *recorder) newChunk(sink string) *chunk {
	r.batches++
	c := &chunk{}
	if n := len(r.free); n > 0 {
		c, r.free = r.free[n-1], r.free[:n-1]
	}
	c.sink, c.data, c.n = sink, c.data[:0], 0
	c.id = r.name + "." + strconv.FormatUint(r.batches, 10)
	return c
}

// take returns the next chunk to store: a full one, or else, with all, any.
func (r *recorder) take(all bool) *chunk {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.full) > 0 {
		c := r.full[0]
		r.full = r.full[1:]
		return c
	}
	if !all {
		return nil
	}
	for sink, c := range r.filling {
		delete(r.filling, sink)
		return c
	}
	return nil
}

// done forgets a chunk that was stored, or lost.
func (r *recorder) done(c *chunk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting -= c.n
	r.bytes -= len(c.data)
	if len(r.free) < 16 {
		r.free = append(r.free, c)
	}
}

func (r *recorder) run(ctx context.Context) {
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		all := false
		select {
		case <-ctx.Done():
		case <-t.C:
			all = true
		case <-r.wake:
		}
		_ = r.flush(ctx, all) // fails only when ctx is done
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLast)
	defer cancel()
	if err := r.flush(last, true); err != nil {
		r.lose(err)
	}
}

// flush stores the chunks that are full, or all. It fails when ctx is done;
// what was not stored then waits for the next flush.
func (r *recorder) flush(ctx context.Context, all bool) error {
	select {
	case r.flushing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.flushing }()
	for c := r.take(all); c != nil; c = r.take(all) {
		if err := r.store(ctx, c); err != nil {
			r.mu.Lock()
			r.full = append([]*chunk{c}, r.full...)
			r.mu.Unlock()
			return err
		}
		r.done(c)
	}
	return nil
}

// store publishes a chunk and tries again until it is stored or ctx is done.
// Its id makes a repetition a duplicate.
func (r *recorder) store(ctx context.Context, c *chunk) error {
	wait := fetchBackoff()
	for told := false; ; {
		m := &nats.Msg{Subject: recordPrefix + c.sink, Data: c.data, Header: nats.Header{hdrMsgID: []string{c.id}}}
		try, cancel := context.WithTimeout(ctx, publishTimeout)
		_, err := r.publish(try, m)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !told {
			r.log.Warn("attempt records not stored, trying again; deliveries go on", "err", err)
			told = true
		}
		if err := pause(ctx, wait.NextBackOff()); err != nil {
			return err
		}
	}
}

// lose drops what could not be stored before the end.
func (r *recorder) lose(err error) {
	lost := 0
	for c := r.take(true); c != nil; c = r.take(true) {
		lost += c.n
		r.done(c)
	}
	if lost == 0 {
		return
	}
	r.dropped.Add(int64(lost))
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("not stored within " + flushLast.String())
	}
	r.log.Warn("attempt records lost at the end; deliveries are not affected", "records", lost, "err", err)
}
