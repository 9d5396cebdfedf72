package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// oldestLasts is how long it is believed which event is a sink's oldest while
// the sink acknowledges nothing: an event can only be erased meanwhile.
const oldestLasts = time.Second

// oldest remembers the oldest event that waits for each sink. The zero value
// is ready. It is safe for concurrent use.
type oldest struct {
	mu    sync.Mutex
	known map[string]oldestEvent
}

type oldestEvent struct {
	floor  uint64 // where the sink's acknowledgements stood
	stored time.Time
	asked  time.Time
}

func (o *oldest) get(sink string, floor uint64) (time.Time, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, ok := o.known[sink]
	return e.stored, ok && e.floor == floor && time.Since(e.asked) < oldestLasts
}

func (o *oldest) put(sink string, floor uint64, stored time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil {
		o.known = map[string]oldestEvent{}
	}
	o.known[sink] = oldestEvent{floor, stored, time.Now()}
}

// oldestWaiting is when the oldest event was stored that the sink's queue has
// not done with, zero when there is none. Everything up to the queue's floor
// is done, and the first event of its subjects after that is not. It costs a
// request for each filter of the queue.
func (b *Broker) oldestWaiting(ctx context.Context, events jetstream.Stream, sink string, ci *jetstream.ConsumerInfo) (time.Time, error) {
	if ci.NumPending == 0 && ci.NumAckPending == 0 {
		return time.Time{}, nil
	}
	if stored, ok := b.oldest.get(sink, ci.AckFloor.Stream); ok {
		return stored, nil
	}
	var first *jetstream.RawStreamMsg
	for _, filter := range filtersOf(ci.Config) {
		m, err := events.GetMsg(ctx, max(ci.AckFloor.Stream+1, ci.Config.OptStartSeq), jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return time.Time{}, err
		}
		if first == nil || m.Sequence < first.Sequence {
			first = m
		}
	}
	var stored time.Time
	if first != nil {
		stored = first.Time
	}
	b.oldest.put(sink, ci.AckFloor.Stream, stored)
	return stored, nil
}
