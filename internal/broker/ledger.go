package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
)

// RetryCap is how many deliveries of one sink may wait for a retry before the
// sink takes no new events. The same bound in bytes is retryBytes. What bypasses
// the routes is not counted: whoever puts it there keeps it few.
const RetryCap = 50_000

// retryLedger counts the deliveries of one sink that wait in the retry stream.
// It is kept in memory because asking the server costs a walk over all of them.
type retryLedger struct {
	mu sync.Mutex
	// counted: the sink's Consume has begun here, and with it the count.
	counted bool
	// routed are deliveries by the routes, bypass those of replays and redrives.
	routed, bypass tally
	// inherited were due when the count began. All have the same subject, so
	// that they count as either until they are settled; they are those with a
	// sequence up to through.
	inherited tally
	through   uint64
	// came is when the routed events that wait came in, by their sequence;
	// zero for those that waited when the count began.
	came map[uint64]time.Time
}

// tally is how many there are and how large their bodies are.
type tally struct{ n, bytes int64 }

func (t *tally) add(n int64, size int) {
	t.n += n
	t.bytes += n * int64(size)
}

// of returns the tally of deliveries with an origin.
func (l *retryLedger) of(origin string) *tally {
	if origin != "" {
		return &l.bypass
	}
	return &l.routed
}

// begin takes over what the stream holds.
func (l *retryLedger) begin(routed, bypass, inherited tally, through uint64, waiting []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counted = true
	l.routed, l.bypass, l.inherited, l.through = routed, bypass, inherited, through
	came := make(map[uint64]time.Time, len(waiting))
	for _, seq := range waiting {
		came[seq] = l.came[seq]
	}
	l.came = came
}

// oldest is when the oldest event came in of those that wait, and the first
// sequence of those of which it is not known, 0 for none. It looks at all.
func (l *retryLedger) oldest() (came time.Time, unknown uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for seq, at := range l.came {
		switch {
		case at.IsZero():
			if unknown == 0 || seq < unknown {
				unknown = seq
			}
		case came.IsZero() || at.Before(came):
			came = at
		}
	}
	return came, unknown
}

// anyInherited reports that some wait that were due when the count began.
func (l *retryLedger) anyInherited() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inherited.n > 0
}

// learn takes in when an event came in, if it still waits.
func (l *retryLedger) learn(seq uint64, came time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.came[seq]; ok {
		l.came[seq] = came
	}
}

// put counts a delivery that was published as due, with the sequence it got.
func (l *retryLedger) put(a *delivery.Attempt, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counted && seq > l.through { // or it is counted with what there was
		l.of(a.Origin).add(1, len(a.Event.Body))
	}
}

// scheduled counts a retry that was stored.
func (l *retryLedger) scheduled(a *delivery.Attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(a.Origin).add(1, len(a.Event.Body))
	if a.Origin == "" {
		if l.came == nil {
			l.came = map[uint64]time.Time{}
		}
		l.came[a.Event.Seq] = a.Event.Received
	}
}

// inherits reports that the message with that sequence was due when the count
// began, so that it may have been handed out before.
func (l *retryLedger) inherits(seq uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return seq <= l.through
}

// settled takes a message out that was fetched and is done with.
func (l *retryLedger) settled(it *item) {
	if it.lane != delivery.Retry {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(it.attempt.Origin)
	if it.seq <= l.through {
		t = &l.inherited
	}
	t.add(-1, len(it.attempt.Event.Body))
	if it.attempt.Origin == "" {
		delete(l.came, it.attempt.Event.Seq)
	}
}

// erased takes out a delivery that was erased while it waited.
func (l *retryLedger) erased(a *delivery.Attempt, size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(a.Origin).add(-1, size)
	if a.Origin == "" {
		delete(l.came, a.Event.Seq)
	}
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

// Outstanding is how many deliveries of the sink by its routes wait for a
// retry, as far as this process knows, or the share of RetryCap that their
// bytes take, whichever is more. It is 0 before the sink's Consume has begun.
func (b *Broker) Outstanding(sink string) int {
	l := b.ledger(sink)
	l.mu.Lock()
	defer l.mu.Unlock()
	byBytes := (l.routed.bytes + l.inherited.bytes) * RetryCap / retryBytes
	return int(max(l.routed.n+l.inherited.n, byBytes, 0))
}

// Bypassing is how many replayed and redriven deliveries of the sink are not
// settled yet: due or waiting for a retry. Of what was due when this process
// began it cannot tell, and counts it. A process that does not deliver to the
// sink asks the server, which knows only what is due.
func (b *Broker) Bypassing(ctx context.Context, sink string) (int, error) {
	l := b.ledger(sink)
	l.mu.Lock()
	n, counted := l.bypass.n+l.inherited.n, l.counted
	l.mu.Unlock()
	if counted {
		return int(max(n, 0)), nil
	}
	c, err := b.admin.js.Consumer(ctx, retryStream, retryConsumerPrefix+sink)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up retry queue of sink %s: %w", sink, err)
	}
	return int(c.CachedInfo().NumPending) + c.CachedInfo().NumAckPending, nil
}

// countRetries fills the ledger from what the stream holds.
func (b *Broker) countRetries(ctx context.Context, sink string) error {
	s, err := b.router.js.Stream(ctx, retryStream)
	if err != nil {
		return fmt.Errorf("count retries of sink %s: %w", sink, err)
	}
	var routed, bypass, inherited tally
	due, err := s.Info(ctx, jetstream.WithSubjectFilter(retryDuePrefix+sink))
	if err != nil {
		return fmt.Errorf("count retries of sink %s: %w", sink, err)
	}
	inherited.n = int64(due.State.Subjects[retryDuePrefix+sink])
	at, err := s.Info(ctx, jetstream.WithSubjectFilter(retryAtPrefix+sink+".*"))
	if err != nil {
		return fmt.Errorf("count retries of sink %s: %w", sink, err)
	}
	var waiting []uint64
	for subject, n := range at.State.Subjects {
		if bypassing(subject) {
			bypass.n += int64(n)
		} else {
			routed.n += int64(n)
			if seq, ok := seqOfRetry(subject); ok {
				waiting = append(waiting, seq)
			}
		}
	}
	if st := due.State; st.Msgs > 0 {
		for _, t := range []*tally{&routed, &bypass, &inherited} {
			t.bytes = t.n * int64(st.Bytes/st.Msgs)
		}
	}
	b.ledger(sink).begin(routed, bypass, inherited, due.State.LastSeq, waiting)
	return nil
}

// retriesAddUp reports that the ledgers of an embedded queue, which nobody else
// reads, have together what the stream holds. It spares a walk over all of it.
func (b *Broker) retriesAddUp(ctx context.Context) bool {
	if b.embedded == nil {
		return false
	}
	s, err := b.router.js.Stream(ctx, retryStream)
	if err != nil {
		return false
	}
	b.lanesMu.Lock()
	defer b.lanesMu.Unlock()
	var n int64
	for _, l := range b.lanes {
		l.mu.Lock()
		n += l.routed.n + l.bypass.n + l.inherited.n
		l.mu.Unlock()
	}
	return n == int64(s.CachedInfo().State.Msgs)
}

// hasRetry reports that a retry of this very delivery is already scheduled. A
// sequence alone is not enough: sequences repeat after a restore.
func (b *Broker) hasRetry(ctx context.Context, sink string, seq uint64, id, origin string) (bool, error) {
	s, err := b.retryHandle(ctx)
	if err != nil {
		return false, err
	}
	m, err := s.GetLastMsgForSubject(ctx, retryAtSubject(sink, seq, id, origin))
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
