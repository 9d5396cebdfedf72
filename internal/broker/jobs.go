package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// Bounds of the stream of jobs: the oldest go first.
const (
	jobBytes  = 16 << 20
	jobAge    = 30 * 24 * time.Hour
	jobsKept  = 1000
	codeWrong = jetstream.ErrorCode(10071) // not the last sequence of the subject
)

// jobsConfig is the stream that keeps the last state of every job.
func jobsConfig(c config.Broker) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: jobsStream, Description: "Penstock: replays, and how far they have come",
		Subjects: []string{jobPrefix + "*"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
		Discard: jetstream.DiscardOld, MaxBytes: jobBytes, MaxAge: jobAge, MaxMsgs: jobsKept, MaxMsgsPerSubject: 1,
		Duplicates: 2 * time.Minute, Replicas: c.Replicas, AllowDirect: true,
		Metadata: map[string]string{ownerKey: owner},
	}
}

// SaveJob stores j at the configured durability and sets j.Revision. It fails
// with delivery.ErrJobTaken when what is stored is not the revision that j is
// of: somebody else has saved it.
func (b *Broker) SaveJob(ctx context.Context, j *delivery.Job) error {
	data, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("encode job %s: %w", j.ID, err)
	}
	m := &nats.Msg{Subject: jobPrefix + j.ID, Data: data, Header: nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(j.Revision, 10)},
	}}
	ack, err := b.store(ctx, b.admin.js, m)
	if apiCode(err) == codeWrong {
		return fmt.Errorf("save job %s: %w", j.ID, delivery.ErrJobTaken)
	}
	if err != nil {
		return fmt.Errorf("save job %s: %w", j.ID, err)
	}
	j.Revision = ack.Sequence
	return nil
}

// Job returns the job as it was last saved, or delivery.ErrNoJob.
func (b *Broker) Job(ctx context.Context, id string) (delivery.Job, error) {
	s, err := b.admin.js.Stream(ctx, jobsStream)
	if err != nil {
		return delivery.Job{}, fmt.Errorf("look up stream %s: %w", jobsStream, err)
	}
	m, err := s.GetLastMsgForSubject(ctx, jobPrefix+id)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return delivery.Job{}, fmt.Errorf("%w: %s", delivery.ErrNoJob, id)
	}
	if err != nil {
		return delivery.Job{}, fmt.Errorf("read job %s: %w", id, err)
	}
	return decodeJob(m.Data, m.Sequence)
}

// Jobs returns all jobs that are kept, the one that was saved last at the end.
func (b *Broker) Jobs(ctx context.Context) ([]delivery.Job, error) {
	s, err := b.admin.js.Stream(ctx, jobsStream)
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", jobsStream, err)
	}
	var jobs []delivery.Job
	err = scan(ctx, s, jetstream.OrderedConsumerConfig{}, func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
		if j, err := decodeJob(m.Data(), md.Sequence.Stream); err == nil {
			jobs = append(jobs, j)
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read jobs: %w", err)
	}
	return jobs, nil
}

func decodeJob(data []byte, seq uint64) (delivery.Job, error) {
	var j delivery.Job
	if err := json.Unmarshal(data, &j); err != nil {
		return delivery.Job{}, fmt.Errorf("decode job: %w", err)
	}
	j.Revision = seq
	return j, nil
}

// scanBatch is how many messages a scan asks for at a time.
const scanBatch = 2000

// readerIdle is how long the server keeps a reader that has gone silent.
const readerIdle = 30 * time.Second

// scan calls f with every message that cfg selects until f returns false or
// there is none left.
func scan(ctx context.Context, s jetstream.Stream, cfg jetstream.OrderedConsumerConfig, f func(jetstream.Msg, *jetstream.MsgMetadata) bool) error {
	if s.CachedInfo().State.Msgs == 0 {
		return nil
	}
	cfg.InactiveThreshold = readerIdle
	c, err := s.OrderedConsumer(ctx, cfg)
	if err != nil {
		return err
	}
	for more := true; more; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		began := time.Now()
		batch, err := c.FetchNoWait(scanBatch)
		if err != nil {
			return err
		}
		got := 0
		stopped := false
		for m := range batch.Messages() { // all of them, or the consumer stays busy
			md, err := m.Metadata()
			if err != nil {
				return fmt.Errorf("read message metadata: %w", err)
			}
			got++
			stopped = stopped || !f(m, md)
		}
		if err := fetchError(batch); err != nil {
			return err
		}
		if more = !stopped; got > 0 {
			continue
		}
		// An ordered consumer is a new one for each pull.
		none, err := atEnd(ctx, c, began, 0)
		if err != nil {
			return err
		}
		more = !none
	}
	return nil
}

// bodySize is the size of the body of a message read without it.
func bodySize(h nats.Header) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(first(h, nats.MsgSize)), 10, 64)
	return n
}
