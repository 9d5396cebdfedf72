package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
)

// auditSink stands for a sink's name in the subject of records that are about
// no sink. No sink can have it.
const auditSink = "_audit"

// maxErased bounds what erasures remember.
const maxErased = 100_000

// erasures are the events that were erased since the start, so that what was
// in hand meanwhile does not bring them back. The zero value is ready.
type erasures struct {
	n  atomic.Int64 // len(ids), for the many who ask while there are none
	mu sync.Mutex
	// ids are those of the erased, by sequence: sequences repeat after a restore.
	ids map[uint64]string
}

func (e *erasures) add(seq uint64, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ids == nil {
		e.ids = map[uint64]string{}
	}
	for old := range e.ids {
		if len(e.ids) < maxErased {
			break
		}
		delete(e.ids, old)
	}
	e.ids[seq] = id
	e.n.Store(int64(len(e.ids)))
}

func (e *erasures) has(seq uint64, id string) bool {
	if e.n.Load() == 0 {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	have, ok := e.ids[seq]
	return ok && have == id
}

// Erasure says what was removed of an event.
type Erasure struct {
	Seq uint64
	// Events, Retries and Dead count the copies of the body, Records the
	// records of attempts.
	Events, Retries, Dead, Records int
}

// Erase removes an event, its body, its waiting retries, its dead letters and
// the records of its attempts, and overwrites them on disk. Its sequence stays,
// with a record that it was erased. An attempt under way is not recalled; what
// becomes of it is not stored.
func (b *Broker) Erase(ctx context.Context, seq uint64) (Erasure, error) {
	r := Erasure{Seq: seq}
	e, err := b.Event(ctx, seq)
	if errors.Is(err, delivery.ErrNoEvent) {
		e, err = b.outlived(ctx, seq, err)
	}
	if err != nil {
		return r, err
	}
	b.erased.add(seq, e.ID)
	// The event itself goes last, so that an erasure that was broken off can
	// be found and made again.
	for _, step := range []func() error{
		func() error { r.Retries, err = b.eraseRetries(ctx, e); return err },
		func() error { r.Dead, err = b.eraseDead(ctx, e); return err },
		func() error { r.Records, err = b.eraseRecords(ctx, e); return err },
		func() error { r.Events, err = b.eraseMsg(ctx, EventsStream, seq); return err },
	} {
		if err := step(); err != nil {
			return r, fmt.Errorf("erase event %d: %w", seq, err)
		}
	}
	return r, b.audit(ctx, seq)
}

// outlived returns an event that is only a dead letter any more; none is err.
func (b *Broker) outlived(ctx context.Context, seq uint64, none error) (StoredEvent, error) {
	var e StoredEvent
	err := b.scan(ctx, deadStream, start{seq: 1, headersOnly: true}, func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
		d, ok := deadLetter(m.Headers(), m.Subject(), nil, md.Sequence.Stream, md.Timestamp)
		if ok && d.Event.Seq == seq {
			e.Event = d.Event
		}
		return true
	})
	if err == nil && e.ID == "" {
		err = none
	}
	return e, err
}

// audit records that the event was erased and waits until everything is on disk.
func (b *Broker) audit(ctx context.Context, seq uint64) error {
	line := delivery.AppendRecord(nil, &delivery.Record{Kind: delivery.Erased, Seq: seq, Start: time.Now()})
	if _, err := b.store(ctx, b.admin.js, &nats.Msg{Subject: recordPrefix + auditSink, Data: line}); err != nil {
		return fmt.Errorf("record that event %d was erased: %w", seq, err)
	}
	return nil
}

// ErasedAt is when the event with that sequence was erased, zero if it was not,
// as long as the record is kept.
func (b *Broker) ErasedAt(ctx context.Context, seq uint64) (time.Time, error) {
	var at time.Time
	prefix := string(delivery.RecordPrefix(seq))
	err := b.scan(ctx, recordStream, start{seq: 1, filters: []string{recordPrefix + auditSink}}, func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
		if strings.HasPrefix(string(m.Data()), prefix) {
			at = md.Timestamp
		}
		return true
	})
	return at, err
}

// eraseMsg deletes a message and overwrites it on disk. One that is gone
// already counts for none.
func (b *Broker) eraseMsg(ctx context.Context, stream string, seq uint64) (int, error) {
	s, err := b.admin.js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("look up stream %s: %w", stream, err)
	}
	err = s.SecureDeleteMsg(ctx, seq)
	switch {
	case err == nil:
		return 1, nil
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful):
		return 0, nil
	}
	return 0, fmt.Errorf("delete message %d of stream %s: %w", seq, stream, err)
}

// eraseRetries removes what waits for a retry, scheduled or due, whatever the
// sink and whatever brought it there. The stream is a work queue, which lets
// nobody else read it, so the messages are asked for one by one.
func (b *Broker) eraseRetries(ctx context.Context, e StoredEvent) (int, error) {
	s, err := b.admin.js.Stream(ctx, retryStream)
	if err != nil {
		return 0, fmt.Errorf("look up stream %s: %w", retryStream, err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(retryAtPrefix+">"))
	if err != nil {
		return 0, fmt.Errorf("list waiting retries: %w", err)
	}
	own := retryKey(e.Seq, e.ID, "")
	filters := []string{retryDuePrefix + "*"}
	for subject := range info.State.Subjects {
		key := subject[strings.LastIndexByte(subject, '.')+1:]
		if key == own || strings.HasPrefix(key, bypassKey+own+"-") {
			filters = append(filters, subject)
		}
	}
	n := 0
	for _, filter := range filters {
		removed, err := b.eraseWaiting(ctx, s, filter, e)
		n += removed
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// eraseWaiting removes the event's messages on the subjects of the filter.
func (b *Broker) eraseWaiting(ctx context.Context, s jetstream.Stream, filter string, e StoredEvent) (n int, err error) {
	for next := uint64(1); ; next++ {
		m, err := s.GetMsg(ctx, next, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("read waiting retries: %w", err)
		}
		next = m.Sequence
		a, ok := decodeDelivery(m.Header, nil)
		if !ok || a.Event.Seq != e.Seq || a.Event.ID != e.ID {
			continue
		}
		removed, err := b.eraseMsg(ctx, retryStream, m.Sequence)
		if err != nil {
			return n, err
		}
		if n += removed; removed > 0 {
			b.ledger(first(m.Header, hdrSink)).erased(&a, len(m.Data))
		}
	}
}

func (b *Broker) eraseDead(ctx context.Context, e StoredEvent) (int, error) {
	letters, err := b.DeadOf(ctx, e.Stored, map[uint64]string{e.Seq: e.ID})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, d := range letters {
		removed, err := b.eraseMsg(ctx, deadStream, d.Seq)
		if err != nil {
			return n, err
		}
		n += removed
	}
	return n, nil
}

// eraseRecords takes the event's records out of their batches. A batch cannot
// be changed, so what is left of it is stored anew before it is removed.
func (b *Broker) eraseRecords(ctx context.Context, e StoredEvent) (int, error) {
	if err := b.recorder.flush(ctx, true); err != nil {
		return 0, fmt.Errorf("store attempt records: %w", err)
	}
	type batch struct {
		seq     uint64
		subject string
		rest    []byte
		removed int
	}
	var batches []batch
	err := b.scan(ctx, recordStream, start{at: e.Stored, seq: 1}, func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
		if m.Subject() == recordPrefix+auditSink {
			return true
		}
		if rest, removed := delivery.WithoutEvent(m.Data(), e.Seq); removed > 0 {
			batches = append(batches, batch{md.Sequence.Stream, m.Subject(), rest, removed})
		}
		return true
	})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, old := range batches {
		if len(old.rest) > 0 {
			if _, err := b.store(ctx, b.admin.js, &nats.Msg{Subject: old.subject, Data: old.rest}); err != nil {
				return n, fmt.Errorf("store attempt records: %w", err)
			}
		}
		if _, err := b.eraseMsg(ctx, recordStream, old.seq); err != nil {
			return n, err
		}
		n += old.removed
	}
	return n, nil
}
