package sinks

import (
	"context"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
)

// BatchSink is a Sink that hands over many events at a time.
type BatchSink interface {
	Sink
	// Batching says how events are to be collected. It never changes; with
	// the zero Batching Deliver is used instead.
	Batching() Batching
	// DeliverBatch makes one attempt to hand over all events, at least one and
	// within the bounds of Batching. It returns one error for each event, nil
	// where the receiver has it, and otherwise keeps what Deliver promises. It
	// does not keep the slice.
	DeliverBatch(ctx context.Context, events []event.Event) []error
}

// Batching bounds a batch, which is handed over as soon as one of the bounds is
// reached. The zero Batching means that events are handed over one by one.
type Batching struct {
	// MaxEvents is the most events of a batch.
	MaxEvents int
	// MaxBytes is what the bodies of a batch may have together; an event that
	// has more is a batch of its own. 0 means no bound.
	MaxBytes int64
	// MaxWait is the longest that an event waits for others.
	MaxWait time.Duration
}

// batchKeys is the key batch of the kinds that collect events.
type batchKeys struct {
	// MaxEvents is the most events of a batch.
	MaxEvents int `yaml:"max_events" range:"1..10000"`
	// MaxBytes is what the bodies of a batch may have together.
	MaxBytes config.Size `yaml:"max_bytes" range:"1KiB..256MiB"`
	// MaxWait is the longest that an event waits for others.
	MaxWait time.Duration `yaml:"max_wait" range:"10ms..10m"`
}

// defaultBatch are the bounds that suit objects in a store.
func defaultBatch() batchKeys {
	return batchKeys{MaxEvents: 1000, MaxBytes: 8 << 20, MaxWait: 30 * time.Second}
}

func (k batchKeys) batching() Batching {
	return Batching{MaxEvents: k.MaxEvents, MaxBytes: int64(k.MaxBytes), MaxWait: k.MaxWait}
}
