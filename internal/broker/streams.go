package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// codeOverlap is JetStream's "subjects overlap with an existing stream".
const codeOverlap jetstream.ErrorCode = 10065

// eventSubjects are the subjects of the events stream.
func eventSubjects(o Options) []string {
	return subjectsOf(slices.Concat(o.Roots, o.Config.ExtraRoots), o.Prefixes)
}

// subjectsOf lists every first token an event can have, since a stream cannot
// take ">".
func subjectsOf(roots, prefixes []string) []string {
	set := map[string]bool{"unknown.>": true}
	for _, r := range roots {
		set[r], set[r+".>"] = true, true
	}
	for _, p := range prefixes {
		set[p+".>"] = true
	}
	return sortedKeys(set)
}

func sortedKeys(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// streamConfigs are the streams as they should be.
func streamConfigs(o Options, b budget) []jetstream.StreamConfig {
	meta := func() map[string]string { return map[string]string{ownerKey: owner} }
	return []jetstream.StreamConfig{
		{
			Name: EventsStream, Description: "Penstock: events as they came in",
			Subjects: eventSubjects(o), Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			Discard: jetstream.DiscardNew, MaxBytes: b.events, MaxConsumers: -1,
			Duplicates: o.Config.DedupeWindow, Replicas: o.Config.Replicas, AllowDirect: true, Metadata: meta(),
		},
		{
			Name: retryStream, Description: "Penstock: deliveries that wait for their next attempt",
			Subjects: []string{retryAtPrefix + "*.*", retryDuePrefix + "*"}, Retention: jetstream.WorkQueuePolicy,
			Storage: jetstream.FileStorage, Replicas: o.Config.Replicas, AllowDirect: true,
			// A bound here would drop retries; they are bounded per sink, in memory.
			AllowMsgSchedules: true, Duplicates: 10 * time.Minute, Metadata: meta(),
		},
		{
			Name: deadStream, Description: "Penstock: dead letters",
			Subjects: []string{deadPrefix + ">"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			Discard: jetstream.DiscardNew, MaxBytes: b.dead, MaxAge: 30 * 24 * time.Hour,
			Duplicates: 24 * time.Hour, Replicas: o.Config.Replicas, AllowDirect: true, Metadata: meta(),
		},
		{
			Name: rejectedStream, Description: "Penstock: requests that failed verification",
			Subjects: []string{rejectedPrefix + "*"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			Discard: jetstream.DiscardOld, MaxBytes: b.rejected, MaxAge: RejectedAge, Duplicates: RejectedAge,
			Replicas: o.Config.Replicas, AllowDirect: true, Metadata: meta(),
		},
		jobsConfig(o.Config),
		{
			Name: recordStream, Description: "Penstock: what was tried, in batches of records",
			// One subject a sink: the server keeps every subject in memory.
			Subjects: []string{recordPrefix + "*"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			Discard: jetstream.DiscardOld, MaxBytes: b.records, MaxAge: recordAge,
			Duplicates: 2 * time.Minute, Replicas: o.Config.Replicas, AllowDirect: true, Metadata: meta(),
		},
		changesConfig(o.Config, b.changes),
	}
}

// provisionStream makes a stream, or brings an existing one of ours in line, in
// place: what is stored stays. It reports whether anything was changed.
func (b *Broker) provisionStream(ctx context.Context, want jetstream.StreamConfig) (bool, error) {
	js := b.admin.js
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err := b.admin.need(ctx, api+"STREAM.CREATE."+want.Name, "stream "+want.Name+" does not exist"); err != nil {
			return false, err
		}
		_, err = js.CreateStream(ctx, want)
		if err == nil {
			b.changed("made stream " + want.Name)
			return true, nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return false, createError(ctx, js, want, err)
		}
		s, err = js.Stream(ctx, want.Name) // another process was faster
	}
	if err != nil {
		return false, fmt.Errorf("look up stream %s: %w", want.Name, err)
	}
	have := s.CachedInfo().Config
	if have.Metadata[ownerKey] != owner {
		return false, fmt.Errorf("stream %s was not made by Penstock and is left alone; give Penstock a NATS account of its own, or rename that stream", want.Name)
	}
	next, diff := reconcile(have, want)
	if len(diff) == 0 {
		return false, nil
	}
	what := fmt.Sprintf("stream %s differs from the configuration in %s", want.Name, strings.Join(diff, ", "))
	if err := b.admin.need(ctx, api+"STREAM.UPDATE."+want.Name, what); err != nil {
		return false, err
	}
	if _, err := js.UpdateStream(ctx, next); err != nil {
		return false, createError(ctx, js, next, err)
	}
	b.changed("updated stream " + want.Name + " (" + strings.Join(diff, ", ") + ")")
	return true, nil
}

// reconcile returns have with what we decide set as in want, and the names of
// what differs. Subjects are only ever added: one that went would orphan the
// events on it.
func reconcile(have, want jetstream.StreamConfig) (next jetstream.StreamConfig, diff []string) {
	next = have
	set := map[string]bool{}
	for _, s := range slices.Concat(have.Subjects, want.Subjects) {
		set[s] = true
	}
	next.Subjects = sortedKeys(set)
	next.MaxBytes, next.Duplicates, next.Replicas, next.MaxAge = want.MaxBytes, want.Duplicates, want.Replicas, want.MaxAge
	for _, f := range []struct {
		name string
		same bool
	}{
		{"subjects", slices.Equal(slices.Sorted(slices.Values(have.Subjects)), next.Subjects)},
		{"bytes", normBytes(have.MaxBytes) == normBytes(next.MaxBytes)},
		{"dedupe window", have.Duplicates == next.Duplicates},
		{"replicas", max(have.Replicas, 1) == max(next.Replicas, 1)},
		{"age", have.MaxAge == next.MaxAge},
	} {
		if !f.same {
			diff = append(diff, f.name)
		}
	}
	return next, diff
}

// normBytes: the server says -1 where we say 0, no limit.
func normBytes(n int64) int64 {
	if n <= 0 {
		return -1
	}
	return n
}

func createError(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, err error) error {
	if apiCode(err) != codeOverlap {
		return fmt.Errorf("create stream %s: %w", want.Name, err)
	}
	for _, s := range want.Subjects {
		other, lookup := js.StreamNameBySubject(ctx, s)
		if lookup == nil && other != want.Name {
			return fmt.Errorf("stream %s already takes subject %s, which Penstock needs; give Penstock a NATS account of its own, or set subject_prefix on every source", other, s)
		}
	}
	return fmt.Errorf("create stream %s: another stream takes some of its subjects (%s); give Penstock a NATS account of its own, or set subject_prefix on every source", want.Name, strings.Join(want.Subjects, ", "))
}
