package broker

import (
	"context"
	"fmt"
	"slices"

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

// prepare makes or edits the queues of a sink, and remembers how for a
// consumption that has to make them again.
func (b *Broker) prepare(ctx context.Context, s delivery.Subscription) error {
	b.prepareMu.Lock()
	defer b.prepareMu.Unlock()
	if _, err := b.ensureConsumers(ctx, s); err != nil {
		return err
	}
	b.wanted[s.Sink] = s
	return nil
}

// ensureNewest is ensureConsumers by what was prepared last for the sink: what
// a consumption began with may have been replaced since.
func (b *Broker) ensureNewest(ctx context.Context, s delivery.Subscription) (lanes, error) {
	b.prepareMu.Lock()
	defer b.prepareMu.Unlock()
	if newer, ok := b.wanted[s.Sink]; ok {
		s = newer
	}
	return b.ensureConsumers(ctx, s)
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

// AdmitReaders gives the users of broker.listen the rights that go with these
// sinks, roots and prefixes: they read what the sources send, and stay away
// from the sinks' queues.
func (b *Broker) AdmitReaders(sinks, roots, prefixes []string) error {
	if b.embedded == nil || b.o.Config.Listen == "" {
		return nil
	}
	o := b.o
	o.Sinks, o.Roots, o.Prefixes = sinks, roots, prefixes
	opts, err := serverOptions(o, b.budget)
	if err != nil {
		return err
	}
	if err := b.embedded.server.ReloadOptions(opts); err != nil {
		return fmt.Errorf("change the rights of the users of broker.listen: %w", err)
	}
	return nil
}
