package delivery

import "time"

// Subscription is what one sink wants of the queue: which events, from where,
// and how many at a time.
type Subscription struct {
	// Sink is the sink's name; the queue keeps its position under it.
	Sink string
	// Filters are NATS subject filters of which none covers another, at most
	// 16, in a stable order; [">"] is every event. They may let more through
	// than the routes want: the handler skips the rest. Empty means that no
	// route names the sink: nothing is read from the main lane (never
	// "everything"), and the retry lane is still served, for replays.
	Filters []string
	// Wider: the queue may hold what the sink wanted when it was configured
	// before, so that what its filters let through now stays let through.
	Wider bool
	// Concurrency is the number of attempts at one time, at least 1.
	Concurrency int
	// Batch is the most events of an attempt, when the handler gathers them and
	// so holds many at one time; 0: it takes them one by one.
	Batch int
	// BatchBytes is the most that the bodies of such a batch have together, 0
	// for no bound. The queue keeps about twice that in hand.
	BatchBytes int64
	// Start says where a sink begins that has no position yet.
	Start Start
	// Closing is closed when the queue is to hand out no more. Attempts under
	// way then end as they will, and what was not attempted is given back. Nil:
	// never before the queue itself is stopped.
	Closing <-chan struct{}
}

// Start is where a new sink begins in the stream. The zero Start is "now".
type Start struct {
	// Beginning: the oldest event kept.
	Beginning bool
	// Since: the first event stored that long before the sink was made, when above 0.
	Since time.Duration
	// At: the first event stored at or after At, when not zero.
	At time.Time
}
