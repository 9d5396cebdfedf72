package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
)

// RemovedSinks are the sinks that have a queue, retries or a recorded start
// here and are not configured any more, by name. Their queues are kept until
// PruneSink, in case they were removed by mistake.
func (b *Broker) RemovedSinks(ctx context.Context) ([]delivery.RemovedSink, error) {
	found := map[string]*delivery.RemovedSink{}
	sink := func(name string) *delivery.RemovedSink {
		if found[name] == nil {
			found[name] = &delivery.RemovedSink{Name: name}
		}
		return found[name]
	}
	cfg, err := b.eventsConfig(ctx)
	if err != nil {
		return nil, err
	}
	for key := range cfg.Metadata {
		if name, ok := strings.CutPrefix(key, startKeyPrefix); ok {
			sink(name)
		}
	}
	err = errors.Join(
		b.eachQueue(ctx, EventsStream, sinkConsumerPrefix, func(name string, ci *jetstream.ConsumerInfo) {
			sink(name).Waiting = int64(ci.NumPending) + int64(ci.NumAckPending)
		}),
		b.eachQueue(ctx, retryStream, retryConsumerPrefix, func(name string, _ *jetstream.ConsumerInfo) { sink(name) }),
	)
	if err != nil {
		return nil, err
	}
	var out []delivery.RemovedSink
	for name, s := range found {
		if slices.Contains(b.sinks(), name) {
			continue
		}
		if s.Retries, err = b.retriesOf(ctx, name); err != nil {
			return nil, err
		}
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b delivery.RemovedSink) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// eachQueue calls f for each of our consumers on a stream that has the prefix.
func (b *Broker) eachQueue(ctx context.Context, stream, prefix string, f func(sink string, ci *jetstream.ConsumerInfo)) error {
	s, err := b.admin.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", stream, err)
	}
	list := s.ListConsumers(ctx)
	for ci := range list.Info() {
		if name, ok := strings.CutPrefix(ci.Name, prefix); ok && ci.Config.Metadata[ownerKey] == owner {
			f(name, ci)
		}
	}
	if err := list.Err(); err != nil {
		return fmt.Errorf("list queues of stream %s: %w", stream, err)
	}
	return nil
}

// retrySubjects are where retries of the sink wait: scheduled first, then due.
func retrySubjects(sink string) []string {
	return []string{retryAtPrefix + sink + ".*", retryDuePrefix + sink}
}

func (b *Broker) retriesOf(ctx context.Context, sink string) (int64, error) {
	s, err := b.admin.js.Stream(ctx, retryStream)
	if err != nil {
		return 0, fmt.Errorf("look up stream %s: %w", retryStream, err)
	}
	return countSubjects(ctx, s, sink)
}

// countSubjects counts the retries of one sink.
func countSubjects(ctx context.Context, s jetstream.Stream, sink string) (n int64, err error) {
	for _, filter := range retrySubjects(sink) {
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
		if err != nil {
			return 0, fmt.Errorf("count retries of sink %s: %w", sink, err)
		}
		for _, c := range info.State.Subjects {
			n += int64(c)
		}
	}
	return n, nil
}

// PruneSink deletes the queue and the retries of a removed sink, and that it
// ever began: a sink of that name would be a new one. Its dead letters stay.
// It returns what was deleted, delivery.ErrSinkInUse for a configured sink and
// delivery.ErrNoSink for one that left nothing. What a crash leaves half done,
// the next call ends.
func (b *Broker) PruneSink(ctx context.Context, sink string) (delivery.RemovedSink, error) {
	if slices.Contains(b.sinks(), sink) {
		return delivery.RemovedSink{}, fmt.Errorf("%w: %s", delivery.ErrSinkInUse, sink)
	}
	removed, err := b.RemovedSinks(ctx)
	if err != nil {
		return delivery.RemovedSink{}, err
	}
	i := slices.IndexFunc(removed, func(r delivery.RemovedSink) bool { return r.Name == sink })
	if i < 0 {
		return delivery.RemovedSink{}, fmt.Errorf("%w: %s", delivery.ErrNoSink, sink)
	}
	for _, q := range [][2]string{{EventsStream, sinkConsumerPrefix + sink}, {retryStream, retryConsumerPrefix + sink}} {
		if err := b.admin.js.DeleteConsumer(ctx, q[0], q[1]); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return delivery.RemovedSink{}, fmt.Errorf("delete queue of sink %s: %w", sink, err)
		}
	}
	s, err := b.admin.js.Stream(ctx, retryStream)
	if err != nil {
		return delivery.RemovedSink{}, fmt.Errorf("look up stream %s: %w", retryStream, err)
	}
	for _, subject := range retrySubjects(sink) {
		if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return delivery.RemovedSink{}, fmt.Errorf("delete retries of sink %s: %w", sink, err)
		}
	}
	// The record goes last: by it a half-done prune is found again.
	if err := b.setMetadata(ctx, map[string]string{pausedKeyPrefix + sink: "", pastKeyPrefix + sink: "", startKeyPrefix + sink: ""}); err != nil {
		return delivery.RemovedSink{}, fmt.Errorf("delete record of sink %s: %w", sink, err)
	}
	b.lanesMu.Lock()
	delete(b.lanes, sink)
	b.lanesMu.Unlock()
	return removed[i], nil
}
