package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// surveyTime is how long a survey counts before it says "at least".
const surveyTime = 20 * time.Second

// EventQuery selects kept events for a replay.
type EventQuery struct {
	// Filters are NATS subject filters of which none covers another; they may
	// let more through than Wanted does.
	Filters []string
	// Wanted decides by subject and id.
	Wanted func(subject, id string) bool
	// From and To are the first and the last sequence.
	From, To uint64
}

func (q EventQuery) consumer(from uint64) jetstream.OrderedConsumerConfig {
	return jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1),
		FilterSubjects: q.Filters, InactiveThreshold: readerIdle,
	}
}

// EventRange returns the sequences of the events stored from since, and before
// until, to what is stored now; a zero time is no bound. From is above to when
// there is none.
func (b *Broker) EventRange(ctx context.Context, since, until time.Time) (from, to uint64, err error) {
	s, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return 0, 0, fmt.Errorf("look up stream %s: %w", EventsStream, err)
	}
	info := s.CachedInfo()
	from, to = info.State.FirstSeq, info.State.LastSeq
	if !since.IsZero() {
		if from, err = b.seqAt(ctx, info, since); err != nil {
			return 0, 0, err
		}
	}
	if !until.IsZero() {
		before, err := b.seqAt(ctx, info, until)
		if err != nil {
			return 0, 0, err
		}
		to = before - 1
	}
	return from, to, nil
}

// SurveyEvents counts what q selects.
func (b *Broker) SurveyEvents(ctx context.Context, q EventQuery, sink string) (delivery.Survey, error) {
	s, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return delivery.Survey{}, fmt.Errorf("look up stream %s: %w", EventsStream, err)
	}
	cfg := q.consumer(q.From)
	cfg.HeadersOnly = true
	var out delivery.Survey
	err = survey(ctx, s, cfg, q.To, &out, func(m jetstream.Msg, md *jetstream.MsgMetadata) {
		if e, ok := decodeEvent(m.Headers(), m.Subject(), nil); ok && q.Wanted(e.Subject, e.ID) {
			out.Add(e.Subject, sink, bodySize(m.Headers()), md.Timestamp)
		}
	})
	if err != nil {
		return delivery.Survey{}, fmt.Errorf("count events: %w", err)
	}
	return out, nil
}

// survey calls f with what cfg selects up to sequence to, as long as there is time.
func survey(ctx context.Context, s jetstream.Stream, cfg jetstream.OrderedConsumerConfig, to uint64, out *delivery.Survey, f func(jetstream.Msg, *jetstream.MsgMetadata)) error {
	deadline := time.Now().Add(surveyTime)
	return scan(ctx, s, cfg, func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
		if md.Sequence.Stream > to {
			return false
		}
		f(m, md)
		out.Partial = time.Now().After(deadline) && md.Sequence.Stream < to && md.NumPending > 0
		return !out.Partial
	})
}

// EventReader reads kept events in the order in which they were stored. It is
// not safe for concurrent use.
type EventReader struct {
	q    EventQuery
	c    jetstream.Consumer
	done bool
}

// ReadEvents returns a reader of what q selects after a sequence.
func (b *Broker) ReadEvents(ctx context.Context, q EventQuery, after uint64) (*EventReader, error) {
	s, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", EventsStream, err)
	}
	if s.CachedInfo().State.Msgs == 0 {
		return &EventReader{done: true}, nil
	}
	c, err := s.OrderedConsumer(ctx, q.consumer(max(after+1, q.From)))
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return &EventReader{q: q, c: c}, nil
}

// Next returns at most the next n events; none: there are no more.
func (r *EventReader) Next(ctx context.Context, n int) ([]event.Event, error) {
	var out []event.Event
	for len(out) == 0 && !r.done {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var err error
		if out, err = r.fetch(ctx, n); err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
	}
	return out, nil
}

func (r *EventReader) fetch(ctx context.Context, n int) ([]event.Event, error) {
	began := time.Now()
	batch, err := r.c.FetchNoWait(n)
	if err != nil {
		return nil, err
	}
	var out []event.Event
	got := 0
	for m := range batch.Messages() {
		md, err := m.Metadata()
		if err != nil {
			return nil, fmt.Errorf("read message metadata: %w", err)
		}
		got++
		if md.Sequence.Stream > r.q.To {
			r.done = true
			continue
		}
		if e, ok := decodeEvent(m.Headers(), m.Subject(), m.Data()); ok && r.q.Wanted(e.Subject, e.ID) {
			e.Seq = md.Sequence.Stream
			out = append(out, e)
		}
	}
	if err := fetchError(batch); err != nil || got > 0 {
		return out, err
	}
	// An ordered consumer is a new one for each pull.
	r.done, err = atEnd(ctx, r.c, began, 0)
	return nil, err
}

// Replay puts a kept event into the sink's retry lane, and only there, as a
// delivery without attempts. The id is that of the job: a repetition within
// the retry stream's dedupe window is dropped.
func (b *Broker) Replay(ctx context.Context, job, sink string, e event.Event) error {
	a := delivery.Attempt{Event: e, History: delivery.History{Origin: "replay/" + job}}
	return b.putDue(ctx, sink, &a, fmt.Sprintf("replay.%s.%d", job, e.Seq))
}

// DeadRange returns the sequences of the dead letters kept now.
func (b *Broker) DeadRange(ctx context.Context) (from, to uint64, err error) {
	s, err := b.admin.js.Stream(ctx, deadStream)
	if err != nil {
		return 0, 0, fmt.Errorf("look up stream %s: %w", deadStream, err)
	}
	st := s.CachedInfo().State
	return st.FirstSeq, st.LastSeq, nil
}

// SurveyDead counts the dead letters that f selects up to a sequence.
func (b *Broker) SurveyDead(ctx context.Context, f delivery.DeadFilter, to uint64) (delivery.Survey, error) {
	s, err := b.admin.js.Stream(ctx, deadStream)
	if err != nil {
		return delivery.Survey{}, fmt.Errorf("look up stream %s: %w", deadStream, err)
	}
	var out delivery.Survey
	err = survey(ctx, s, deadConsumer(f), to, &out, func(m jetstream.Msg, _ *jetstream.MsgMetadata) {
		if d, ok := decodeDead(m); ok && selects(f, d) {
			out.Add(d.Event.Subject, d.Sink, bodySize(m.Headers()), d.Died)
		}
	})
	if err != nil {
		return delivery.Survey{}, fmt.Errorf("count dead letters: %w", err)
	}
	return out, nil
}
