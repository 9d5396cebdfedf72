package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
)

// ackWait is how long a message handed out may stay silent before it is handed
// out again: the most that a crash delays an event. Three times in it we say
// that we still work on what we have.
const ackWait = 15 * time.Second

// maxAckPending bounds what one consumer has handed out. Past about 2,000 the
// server's bookkeeping costs more than the work.
const maxAckPending = 2000

// ackPending is what a lane of the sink may have handed out: of batches two,
// one on its way and one that fills.
func ackPending(s delivery.Subscription) int {
	if s.Batch > 0 {
		return 2 * s.Batch
	}
	return maxAckPending
}

// nothing is the filter of a sink that no route names: no event is ever stored
// on it, so its queue is always empty and pins nothing.
const nothing = "penstock.none"

// lanes are the two consumers of one sink.
type lanes struct{ main, retry jetstream.Consumer }

// ensureConsumers makes the consumers of a sink, or edits them in place so
// that they keep their position.
func (b *Broker) ensureConsumers(ctx context.Context, s delivery.Subscription) (lanes, error) {
	main, err := b.ensureMain(ctx, s)
	if err != nil {
		return lanes{}, fmt.Errorf("set up queue of sink %s: %w", s.Sink, err)
	}
	retry, err := b.ensureConsumer(ctx, retryStream, jetstream.ConsumerConfig{
		Durable: retryConsumerPrefix + s.Sink, FilterSubject: retryDuePrefix + s.Sink,
		DeliverPolicy: jetstream.DeliverAllPolicy, MaxAckPending: ackPending(s),
	})
	if err != nil {
		return lanes{}, fmt.Errorf("set up retry queue of sink %s: %w", s.Sink, err)
	}
	return lanes{main: main, retry: retry}, nil
}

func (b *Broker) ensureMain(ctx context.Context, s delivery.Subscription) (jetstream.Consumer, error) {
	cfg := jetstream.ConsumerConfig{
		Durable: sinkConsumerPrefix + s.Sink, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, MaxAckPending: ackPending(s),
	}
	cfg.FilterSubject, cfg.FilterSubjects = setFilters(s.Filters)
	c, err := b.admin.js.Consumer(ctx, EventsStream, cfg.Durable)
	if err == nil {
		if have := filtersOf(c.CachedInfo().Config); s.Wider && !slices.Equal(have, []string{nothing}) {
			cfg.FilterSubject, cfg.FilterSubjects = setFilters(widened(have, s.Filters))
		}
		if err := b.correctRecord(ctx, s.Sink, c.CachedInfo().Config.OptStartSeq); err != nil {
			return nil, err
		}
		if cfg.Metadata, err = b.coverMetadata(ctx, c.CachedInfo(), filtersOf(cfg)); err != nil {
			return nil, err
		}
		return b.ensureConsumer(ctx, EventsStream, cfg)
	}
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, err
	}
	start, known, err := b.startSequence(ctx, s)
	if err != nil {
		return nil, err
	}
	if known && !b.isFirst(s.Sink) {
		b.o.Logger.Warn("the queue of a known sink is gone; delivering again from where the sink began",
			"sink", s.Sink, "from_sequence", start)
	}
	cfg.OptStartSeq = start
	return b.ensureConsumer(ctx, EventsStream, cfg)
}

// setFilters returns filters in the form in which a consumer has them.
func setFilters(filters []string) (one string, several []string) {
	switch len(filters) {
	case 0:
		return nothing, nil
	case 1:
		return filters[0], nil
	}
	return "", filters
}

// maxFilters bounds the filters of one consumer.
const maxFilters = 16

// widened returns filters that let through what either do.
func widened(a, b []string) []string {
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
	out := slices.DeleteFunc(slices.Clone(all), func(f string) bool {
		return slices.ContainsFunc(all, func(g string) bool { return g != f && contains(g, f) })
	})
	if len(out) > maxFilters {
		return []string{">"}
	}
	return out
}

// coverMetadata is the metadata of an existing consumer under other filters:
// the cover, if the filters alone do not say what the sink wants.
func (b *Broker) coverMetadata(ctx context.Context, ci *jetstream.ConsumerInfo, filters []string) (map[string]string, error) {
	have, err := coverOf(ci.Config)
	if err != nil {
		return nil, err
	}
	if slices.Equal(filtersOf(ci.Config), filters) {
		if text, ok := ci.Config.Metadata[coverKey]; ok {
			return map[string]string{coverKey: text}, nil
		}
		return nil, nil
	}
	stream, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return nil, err
	}
	next := stream.CachedInfo().State.LastSeq + 1
	b.o.Logger.Info("the patterns of a sink have changed; new ones apply to events stored from now on",
		"queue", ci.Name, "from_sequence", next, "before", filtersOf(ci.Config), "now", filters)
	return map[string]string{coverKey: have.change(filters, next, ci.AckFloor.Stream+1).encode()}, nil
}

func (b *Broker) ensureConsumer(ctx context.Context, stream string, want jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	js := b.admin.js
	want.AckPolicy, want.AckWait, want.MaxDeliver = jetstream.AckExplicitPolicy, b.o.ackWait, -1
	metadata := map[string]string{ownerKey: owner}
	maps.Copy(metadata, want.Metadata)
	want.Metadata = metadata
	c, err := js.Consumer(ctx, stream, want.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		c, err = b.createConsumer(ctx, stream, want)
	}
	if err != nil {
		return nil, err
	}
	have := c.CachedInfo().Config
	if have.Metadata[ownerKey] != owner {
		return nil, fmt.Errorf("consumer %s on stream %s was not made by Penstock and is left alone; rename the sink, or delete that consumer", want.Durable, stream)
	}
	next := have
	next.FilterSubject, next.FilterSubjects = want.FilterSubject, want.FilterSubjects
	next.AckWait, next.MaxDeliver, next.MaxAckPending = want.AckWait, want.MaxDeliver, want.MaxAckPending
	next.Metadata = maps.Clone(have.Metadata)
	maps.Copy(next.Metadata, want.Metadata)
	if next.FilterSubject == have.FilterSubject && slices.Equal(next.FilterSubjects, have.FilterSubjects) &&
		next.Metadata[coverKey] == have.Metadata[coverKey] &&
		next.AckWait == have.AckWait && next.MaxDeliver == have.MaxDeliver && next.MaxAckPending == have.MaxAckPending {
		return c, nil
	}
	if err := b.admin.need(ctx, createSubject(stream, next), fmt.Sprintf("consumer %s on stream %s differs from the configuration", want.Durable, stream)); err != nil {
		return nil, err
	}
	if c, err = js.UpdateConsumer(ctx, stream, next); err == nil {
		b.changed("updated consumer " + want.Durable + " on stream " + stream)
	}
	return c, err
}

// createConsumer makes a consumer, or returns the one that another process has
// made in the meantime.
func (b *Broker) createConsumer(ctx context.Context, stream string, want jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	if err := b.admin.need(ctx, createSubject(stream, want), fmt.Sprintf("consumer %s on stream %s does not exist", want.Durable, stream)); err != nil {
		return nil, err
	}
	c, err := b.admin.js.CreateConsumer(ctx, stream, want)
	switch apiCode(err) {
	case jetstream.JSErrCodeConsumerExists, jetstream.JSErrCodeConsumerAlreadyExists, jetstream.JSErrCodeConsumerNameExists:
		return b.admin.js.Consumer(ctx, stream, want.Durable)
	}
	if err == nil {
		b.changed("made consumer " + want.Durable + " on stream " + stream)
	}
	return c, err
}

// createSubject is where the request for a consumer goes.
func createSubject(stream string, c jetstream.ConsumerConfig) string {
	s := api + "CONSUMER.CREATE." + stream + "." + c.Durable
	if c.FilterSubject != "" && len(c.FilterSubjects) == 0 {
		s += "." + c.FilterSubject
	}
	return s
}

// startSequence is where the sink begins. known reports that the stream has
// seen the sink before: then it is where it began then, never later, since
// nobody can say what it had delivered. A new sink's start is recorded before
// its consumer is made.
func (b *Broker) startSequence(ctx context.Context, s delivery.Subscription) (seq uint64, known bool, err error) {
	stream, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return 0, false, err
	}
	info := stream.CachedInfo()
	if v, ok := info.Config.Metadata[startKeyPrefix+s.Sink]; ok {
		seq, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return 0, true, fmt.Errorf("recorded start of sink %s is %q, not a sequence", s.Sink, v)
		}
		return max(seq, 1), true, nil
	}
	seq, err = b.newStart(ctx, info, s)
	if err != nil {
		return 0, false, err
	}
	return seq, false, b.record(ctx, map[string]uint64{s.Sink: seq})
}

// correctRecord makes sure that a sink's record is there and is no later than
// where its queue began: of two processes that record at the same time, one
// can undo what the other did.
func (b *Broker) correctRecord(ctx context.Context, sink string, start uint64) error {
	b.startMu.Lock()
	defer b.startMu.Unlock()
	s, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return err
	}
	cfg := s.CachedInfo().Config
	seq, err := strconv.ParseUint(cfg.Metadata[startKeyPrefix+sink], 10, 64)
	if err == nil && seq <= max(start, 1) {
		return nil
	}
	return b.record(ctx, map[string]uint64{sink: max(start, 1)})
}

// record keeps where sinks begin.
func (b *Broker) record(ctx context.Context, starts map[string]uint64) error {
	sinks := slices.Sorted(maps.Keys(starts))
	what := fmt.Sprintf("stream %s has no record of where sink %s begins", EventsStream, strings.Join(sinks, ", "))
	if err := b.admin.need(ctx, api+"STREAM.UPDATE."+EventsStream, what); err != nil {
		return err
	}
	values := map[string]string{}
	for sink, seq := range starts {
		values[startKeyPrefix+sink] = strconv.FormatUint(seq, 10)
	}
	if err := b.setMetadata(ctx, values); err != nil {
		return fmt.Errorf("record start of sink %s: %w", strings.Join(sinks, ", "), err)
	}
	return nil
}

// recordFirstSinks makes what the stream holds the first sinks' to have: it
// came before anybody could read it. All are recorded at once, so that no other
// process takes the rest of them for new.
func (b *Broker) recordFirstSinks(ctx context.Context) error {
	s, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", EventsStream, err)
	}
	info := s.CachedInfo()
	b.startMu.Lock()
	defer b.startMu.Unlock()
	b.firstSinks = map[string]bool{}
	if anySinkRecorded(info) || len(b.sinks()) == 0 {
		return nil
	}
	starts := map[string]uint64{}
	for _, sink := range b.sinks() {
		b.firstSinks[sink], starts[sink] = true, 1
	}
	return b.record(ctx, starts)
}

func (b *Broker) isFirst(sink string) bool {
	b.startMu.Lock()
	defer b.startMu.Unlock()
	return b.firstSinks[sink]
}

// changed remembers what was made or updated.
func (b *Broker) changed(what string) {
	b.startMu.Lock()
	defer b.startMu.Unlock()
	b.changes = append(b.changes, what)
}

// Changes are what Open and Prepare have made or updated, for people, in order.
func (b *Broker) Changes() []string {
	b.startMu.Lock()
	defer b.startMu.Unlock()
	return slices.Clone(b.changes)
}

func (b *Broker) newStart(ctx context.Context, info *jetstream.StreamInfo, s delivery.Subscription) (uint64, error) {
	start, now := s.Start, info.State.LastSeq+1
	switch {
	case start.Beginning:
		return 1, nil
	case start.Since > 0:
		return b.seqAt(ctx, info, time.Now().Add(-start.Since))
	case start.At.IsZero():
		return now, nil
	}
	return b.seqAt(ctx, info, start.At)
}

// anySinkRecorded reports that the stream has had a sink before.
func anySinkRecorded(info *jetstream.StreamInfo) bool {
	for k := range info.Config.Metadata {
		if strings.HasPrefix(k, startKeyPrefix) {
			return true
		}
	}
	return false
}
