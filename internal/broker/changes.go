package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// Bounds of the log of changes: the oldest go first.
const (
	maxChangeBytes = 32 << 20
	minChangeBytes = 4 << 20
	changeAge      = 365 * 24 * time.Hour
	changesKept    = 50_000
	// changeWindow is how many sequences are read at a time.
	changeWindow = 1024
)

// changesConfig is the stream of changes. Each has a subject of its own, on
// which the record of its end replaces that of its beginning.
func changesConfig(c config.Broker, bytes int64) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: auditStream, Description: "Penstock: who changed what through the admin API",
		Subjects: []string{auditPrefix + "*"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
		Discard: jetstream.DiscardOld, MaxBytes: bytes, MaxAge: changeAge, MaxMsgs: changesKept, MaxMsgsPerSubject: 1,
		Duplicates: 2 * time.Minute, Replicas: c.Replicas, AllowDirect: true,
		Metadata: map[string]string{ownerKey: owner},
	}
}

// SaveChange stores c at the configured durability, in place of what is stored
// under its ID.
func (b *Broker) SaveChange(ctx context.Context, c delivery.Change) error {
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode audit record: %w", err)
	}
	if _, err := b.store(ctx, b.admin.js, &nats.Msg{Subject: auditPrefix + c.ID, Data: data}); err != nil {
		return fmt.Errorf("store audit record: %w", err)
	}
	return nil
}

// AuditedChanges returns those that f selects, newest first, and whether there may be
// more.
func (b *Broker) AuditedChanges(ctx context.Context, f delivery.ChangeFilter) (changes []delivery.Change, more bool, err error) {
	s, err := b.admin.js.Stream(ctx, auditStream)
	if err != nil {
		return nil, false, fmt.Errorf("look up stream %s: %w", auditStream, err)
	}
	state := s.CachedInfo().State
	high := state.LastSeq
	if f.Before != 0 {
		high = min(high, f.Before-1)
	}
	for low := max(state.FirstSeq, 1); state.Msgs > 0 && high >= low; {
		from := max(low, high-min(high, changeWindow-1))
		part, over, err := b.changesFrom(ctx, from, high, f)
		if err != nil {
			return nil, false, err
		}
		changes = append(changes, part...)
		if len(changes) > f.Limit {
			return changes[:f.Limit], true, nil
		}
		if over {
			break
		}
		high = from - 1
	}
	return changes, false, nil
}

// changesFrom reads the changes from one sequence to another, newest first. It
// reports that those before are older than wanted.
func (b *Broker) changesFrom(ctx context.Context, from, to uint64, f delivery.ChangeFilter) (part []delivery.Change, over bool, err error) {
	err = b.scan(ctx, auditStream, start{seq: from, upTo: to}, func(m jetstream.Msg, md *jetstream.MsgMetadata) bool {
		var c delivery.Change
		if json.Unmarshal(m.Data(), &c) != nil {
			return true // not ours
		}
		c.Seq = md.Sequence.Stream
		switch {
		case md.Timestamp.Before(f.Since):
			over = true
		case f.By != "" && c.By != f.By, f.Action != "" && c.Action != f.Action:
		default:
			part = append(part, c)
		}
		return true
	})
	slices.Reverse(part)
	return part, over, err
}
