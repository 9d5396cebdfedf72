package broker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
)

// RetryCap is how many deliveries of one sink may wait for a retry before the
// sink takes no new events. The same bound in bytes is retryBytes.
const RetryCap = 50_000

// retryLedger counts the deliveries of one sink that wait in the retry stream.
// It is kept in memory because asking the server costs a walk over all of them.
type retryLedger struct{ n, bytes atomic.Int64 }

func (l *retryLedger) add(size int) {
	l.n.Add(1)
	l.bytes.Add(int64(size))
}

func (l *retryLedger) remove(size int) {
	l.n.Add(-1)
	l.bytes.Add(-int64(size))
}

// ledger returns the sink's ledger, an empty one at first.
func (b *Broker) ledger(sink string) *retryLedger {
	b.lanesMu.Lock()
	defer b.lanesMu.Unlock()
	l := b.lanes[sink]
	if l == nil {
		l = &retryLedger{}
		b.lanes[sink] = l
	}
	return l
}

// Outstanding is how many deliveries of the sink wait for a retry, as far as
// this process knows, or the share of RetryCap that their bytes take, whichever
// is more. It is 0 before the sink's Consume has begun.
func (b *Broker) Outstanding(sink string) int {
	l := b.ledger(sink)
	byBytes := l.bytes.Load() * RetryCap / retryBytes
	return int(max(l.n.Load(), byBytes, 0))
}

// countRetries fills the ledger from what the stream holds.
func (b *Broker) countRetries(ctx context.Context, sink string) error {
	s, err := b.router.js.Stream(ctx, retryStream)
	if err != nil {
		return fmt.Errorf("count retries of sink %s: %w", sink, err)
	}
	n, err := countSubjects(ctx, s, sink)
	if err != nil {
		return err
	}
	l := b.ledger(sink)
	l.n.Store(n)
	if st := s.CachedInfo().State; st.Msgs > 0 {
		l.bytes.Store(n * int64(st.Bytes/st.Msgs))
	}
	return nil
}

// hasRetry reports that a retry of this very delivery is already scheduled. A
// sequence alone is not enough: sequences repeat after a restore.
func (b *Broker) hasRetry(ctx context.Context, sink string, seq uint64, id string) (bool, error) {
	s, err := b.retryHandle(ctx)
	if err != nil {
		return false, err
	}
	m, err := s.GetLastMsgForSubject(ctx, retryAtSubject(sink, seq, id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look up scheduled retry: %w", err)
	}
	return first(m.Header, hdrCeID) == id, nil
}

func (b *Broker) retryHandle(ctx context.Context) (jetstream.Stream, error) {
	b.lanesMu.Lock()
	s := b.retries
	b.lanesMu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := b.router.js.Stream(ctx, retryStream)
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", retryStream, err)
	}
	b.lanesMu.Lock()
	b.retries = s
	b.lanesMu.Unlock()
	return s, nil
}
