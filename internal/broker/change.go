package broker

import (
	"context"
	"errors"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
)

// sinks are the names of the sinks that are configured now.
func (b *Broker) sinks() []string {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	return b.names
}

// SetSinks says which sinks are configured from now on: only these keep events
// from being purged, and what others left may be pruned.
func (b *Broker) SetSinks(names []string) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	b.names = slices.Clone(names)
}

// remember keeps what was prepared, for a consumption that has to make its
// queue again.
func (b *Broker) remember(s delivery.Subscription) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	b.wanted[s.Sink] = s
}

// newest is s with what was prepared for its sink since.
func (b *Broker) newest(s delivery.Subscription) delivery.Subscription {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	if have, ok := b.wanted[s.Sink]; ok {
		return have
	}
	return s
}

// TakeSubjects makes the stream of events take what sources with these roots
// and prefixes send, beside all it takes already.
func (b *Broker) TakeSubjects(ctx context.Context, roots, prefixes []string) error {
	o := b.o
	o.Roots, o.Prefixes = roots, prefixes
	if b.admin.nc == nil { // this role makes nothing; what is missing is told
		for _, p := range prefixes {
			if err := b.checkTaken(ctx, b.ingress, p+".>"); err != nil {
				return err
			}
		}
		return nil
	}
	for _, want := range streamConfigs(o, b.budget) {
		if want.Name == EventsStream {
			_, err := b.provisionStream(ctx, want)
			return err
		}
	}
	return nil
}

// HasQueue reports that the stream has a queue of the sink, from before.
func (b *Broker) HasQueue(ctx context.Context, sink string) (bool, error) {
	_, err := b.admin.js.Consumer(ctx, EventsStream, sinkConsumerPrefix+sink)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return false, nil
	}
	return err == nil, err
}

// LastSequence is that of the latest event stored, 0 when there was none.
func (b *Broker) LastSequence(ctx context.Context) (uint64, error) {
	s, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.LastSeq, nil
}
