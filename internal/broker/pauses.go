package broker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/delivery"
)

// pausedKeyPrefix, with a sink's name, keeps a pause in the metadata of the
// events stream, where every process sees it and it outlives them.
const pausedKeyPrefix = "penstock.paused."

// forever is the end of a pause that only a person ends.
const forever = "-"

// PauseSink records that nothing is to be delivered to the sink until then; a
// zero time is until ResumeSink. It replaces an earlier pause. Whoever runs
// the sink's worker has to look at Pauses.
func (b *Broker) PauseSink(ctx context.Context, sink string, until time.Time) error {
	value := forever
	if !until.IsZero() {
		value = until.UTC().Format(time.RFC3339)
	}
	if err := b.setMetadata(ctx, map[string]string{pausedKeyPrefix + sink: value}); err != nil {
		return fmt.Errorf("record pause of sink %s: %w", sink, err)
	}
	return nil
}

// ResumeSink ends a pause. It is no error that there is none.
func (b *Broker) ResumeSink(ctx context.Context, sink string) error {
	if err := b.setMetadata(ctx, map[string]string{pausedKeyPrefix + sink: ""}); err != nil {
		return fmt.Errorf("end pause of sink %s: %w", sink, err)
	}
	return nil
}

// Pauses are the recorded pauses by sink. Some may be over.
func (b *Broker) Pauses(ctx context.Context) (map[string]delivery.Pause, error) {
	cfg, err := b.eventsConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("read pauses: %w", err)
	}
	out := map[string]delivery.Pause{}
	for key, value := range cfg.Metadata {
		sink, ok := strings.CutPrefix(key, pausedKeyPrefix)
		if !ok {
			continue
		}
		// One that cannot be read lasts: a sink that is not paused when it
		// should be cannot be undone.
		until, _ := time.Parse(time.RFC3339, value)
		out[sink] = delivery.Pause{Until: until}
	}
	return out, nil
}
