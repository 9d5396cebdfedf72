package broker

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// The streams. See docs/ARCHITECTURE.md for their shapes.
const (
	EventsStream = "PENSTOCK_EVENTS"
	retryStream  = "PENSTOCK_RETRY"
	deadStream   = "PENSTOCK_DEAD"
	// rejectedStream is a ring: what is old makes room for what is new.
	rejectedStream = "PENSTOCK_REJECTED"
	jobsStream     = "PENSTOCK_JOBS"
	recordStream   = "PENSTOCK_ATTEMPTS"
	auditStream    = "PENSTOCK_AUDIT"
)

// Subjects of our own streams. None of them is ever made from a request.
const (
	retryAtPrefix  = "penstock.retry.at."
	retryDuePrefix = "penstock.retry.due."
	deadPrefix     = "penstock.dead."
	rejectedPrefix = "penstock.rejected."
	jobPrefix      = "penstock.jobs."
	recordPrefix   = "penstock.attempts."
	auditPrefix    = "penstock.audit."
)

// lockName is the file of the data directory that a running process holds.
const lockName = "penstock.lock"

// Consumer names. A sink's name is unique, so its consumers' are.
const (
	sinkConsumerPrefix  = "sink-"
	retryConsumerPrefix = "retry-"
)

// ownerKey marks every stream and consumer that Penstock made; owner is its
// value. An asset without it belongs to somebody else and is never changed.
const (
	ownerKey = "penstock"
	owner    = "penstock"
	// startKeyPrefix, with a sink's name, keeps the sequence at which the sink
	// began, in the metadata of the events stream.
	startKeyPrefix = "penstock.start."
)

// retryKey names one delivery among a sink's retries. The hash is there
// because sequences repeat after a restore. A delivery that bypasses the routes
// has a key of its own, or it would take the place of the event's other one.
func retryKey(seq uint64, id, origin string) string {
	key := strconv.FormatUint(seq, 10) + "-" + shortHash(id)
	if origin != "" {
		key = bypassKey + key + "-" + shortHash(origin)
	}
	return key
}

// bypassKey begins the keys of deliveries that bypass the routes.
const bypassKey = "b"

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

func retryAtSubject(sink string, seq uint64, id, origin string) string {
	return retryAtPrefix + sink + "." + retryKey(seq, id, origin)
}

// bypassing reports that a subject is where a delivery waits that bypasses the
// routes.
func bypassing(retryAt string) bool {
	return strings.HasPrefix(retryAt[strings.LastIndexByte(retryAt, '.')+1:], bypassKey)
}

// seqOfRetry is the sequence of the event that waits on such a subject, if it
// waits there by its routes.
func seqOfRetry(retryAt string) (uint64, bool) {
	key, _, _ := strings.Cut(retryAt[strings.LastIndexByte(retryAt, '.')+1:], "-")
	seq, err := strconv.ParseUint(key, 10, 64)
	return seq, err == nil
}

// deadSubject is where a dead letter of the sink lies. The event's subject has
// at most 16 tokens and 200 bytes, so the result fits the server's limits.
func deadSubject(sink, subject string) string { return deadPrefix + sink + "." + subject }

// sinkOfDead is the sink's name within a dead letter's subject.
func sinkOfDead(subject string) string {
	rest := strings.TrimPrefix(subject, deadPrefix)
	sink, _, _ := strings.Cut(rest, ".")
	return sink
}
