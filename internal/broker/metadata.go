package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/nats-io/nats.go/jetstream"
)

// metadataTries bounds how often setMetadata starts over because somebody else
// was writing too.
const metadataTries = 5

// setMetadata changes keys in the metadata of the events stream; an empty
// value deletes its key. The server has no compare-and-set for it, so what was
// written is read back, and written again when another process that wrote at
// the same moment has undone it.
func (b *Broker) setMetadata(ctx context.Context, keys map[string]string) error {
	b.metadataMu.Lock()
	defer b.metadataMu.Unlock()
	for range metadataTries {
		cfg, err := b.eventsConfig(ctx)
		if err != nil {
			return err
		}
		next := maps.Clone(cfg.Metadata)
		for k, v := range keys {
			if v == "" {
				delete(next, k)
			} else {
				next[k] = v
			}
		}
		if maps.Equal(next, cfg.Metadata) {
			return nil
		}
		cfg.Metadata = next
		if _, err := b.admin.js.UpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("update stream %s: %w", EventsStream, err)
		}
	}
	return errors.New("other processes keep changing the metadata of stream " + EventsStream)
}

func (b *Broker) eventsConfig(ctx context.Context) (jetstream.StreamConfig, error) {
	s, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return jetstream.StreamConfig{}, fmt.Errorf("look up stream %s: %w", EventsStream, err)
	}
	return s.CachedInfo().Config, nil
}
