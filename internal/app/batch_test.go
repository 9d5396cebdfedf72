package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/penstock/penstock/internal/broker"
)

// batchYAML stores batches in the receiver.
func batchYAML(dir string, r *receiver, batch, more string) string {
	return fullYAML(dir, fmt.Sprintf(`
server: {listen: "127.0.0.1:0", admin: ""}
sinks:
  lake:
    kind: s3
    bucket: events
    endpoint: %s
    region: eu-central-1
    path_style: true
    access_key_id: a-key-of-tests
    secret_access_key: a-secret-of-tests
    batch: %s
    retry: {initial: 50ms, max_interval: 200ms}
    hold: {failures: 0}
    %s
routes:
  - {match: [">"], to: [lake]}
`, r.URL, batch, more))
}

// idsIn are the ids of the events of an object, as a reader of it finds them.
func idsIn(t *testing.T, g got) []string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(g.body))
	if err != nil {
		t.Errorf("object %s: %v", g.path, err)
		return nil
	}
	var ids []string
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct{ ID string }
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Errorf("line %s: %v", lines.Text(), err)
		}
		ids = append(ids, l.ID)
	}
	return ids
}

// objectIDs counts the events in all objects that the receiver took.
func objectIDs(t *testing.T, r *receiver, taken func(got) bool) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, g := range r.got() {
		if taken(g) {
			for _, id := range idsIn(t, g) {
				n[id]++
			}
		}
	}
	return n
}

func everything(got) bool { return true }

func TestBatchesAreStored(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), batchYAML(t.TempDir(), r, "{max_events: 10, max_wait: 10m}", ""))
	for i := range 20 {
		accepted(t, p.url(), body(fmt.Sprint("e", i), "order.created"))
	}
	eventually(t, "two full batches", func() bool { return len(objectIDs(t, r, everything)) == 20 })
	for id, n := range objectIDs(t, r, everything) {
		if n != 1 {
			t.Errorf("%s was stored %d times", id, n)
		}
	}
}

func TestNothingWaitsLongerThanMaxWait(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, ok)
	p := run(t, t.TempDir(), batchYAML(t.TempDir(), r, "{max_events: 1000, max_wait: 50ms}", ""))
	accepted(t, p.url(), body("alone", "order.created"))
	eventually(t, "one event stored without others", func() bool { return objectIDs(t, r, everything)["alone"] == 1 })
}

// TestOnlyTheFailedPartIsRepeated has one of the two objects of every batch
// refused once.
func TestOnlyTheFailedPartIsRepeated(t *testing.T) {
	t.Parallel()
	var refused atomic.Bool
	bad := func(g got) bool { return strings.Contains(g.path, "/order.created/") }
	r := newReceiver(t, func(_ int, g got) int {
		if bad(g) && !refused.Swap(true) {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	p := run(t, t.TempDir(), batchYAML(t.TempDir(), r, "{max_events: 4, max_wait: 10m}", `key: "{{subject}}/{{id}}"`))
	for i, typ := range []string{"order.created", "contact.created", "order.created", "contact.created"} {
		accepted(t, p.url(), body(fmt.Sprint("e", i), typ))
	}
	eventually(t, "a part is refused", refused.Load)
	for _, id := range []string{"e4", "e5"} { // which fill the batch of its retry
		accepted(t, p.url(), body(id, "contact.created"))
	}
	eventually(t, "the failed part comes again", func() bool {
		n := objectIDs(t, r, everything)
		return n["e0"] >= 2 && n["e2"] >= 2 && n["e1"] >= 1 && n["e3"] >= 1 && n["e4"] >= 1 && n["e5"] >= 1
	})
	for id, n := range objectIDs(t, r, func(g got) bool { return !bad(g) }) {
		if n != 1 {
			t.Errorf("%s was stored and then %d times more", id, n-1)
		}
	}
}

// TestACrashBetweenUploadAndAcknowledgementRepeats kills the process when a
// batch has been stored and none, or some, of its events are acknowledged.
func TestACrashBetweenUploadAndAcknowledgementRepeats(t *testing.T) {
	t.Parallel()
	for _, crash := range []string{string(broker.StepAttempted) + ":1", string(broker.StepAttempted) + ":15", string(broker.StepSettled) + ":5"} {
		t.Run(crash, func(t *testing.T) {
			t.Parallel()
			const events = 30
			r := newReceiver(t, ok)
			yaml := batchYAML(t.TempDir(), r, "{max_events: 10, max_wait: 200ms}", "")
			v := startVictim(t, yaml, crash)
			sent := 0
			for ; sent < events; sent++ {
				if got, err := tryPost(t.Context(), v.url, body(fmt.Sprint("e", sent), "order.created")); err != nil || got.Status != http.StatusAccepted {
					break // it was killed; the sender sends this one again
				}
			}
			select {
			case <-v.dead:
			case <-time.After(patience):
				t.Fatalf("the process never came to step %s", crash)
			}
			before := objectIDs(t, r, everything)
			if len(before) == 0 {
				t.Fatal("nothing was stored before the crash")
			}
			v = startVictim(t, yaml, "")
			for ; sent < events; sent++ {
				accepted(t, v.url, body(fmt.Sprint("e", sent), "order.created"))
			}
			eventually(t, "every event is stored", func() bool { return len(objectIDs(t, r, everything)) == events })
			v.signal(syscall.SIGTERM)
		})
	}
}

// TestStopStoresWhatWaitsInABatch stops once all events are in the open batch.
func TestStopStoresWhatWaitsInABatch(t *testing.T) {
	t.Parallel()
	const events = 5
	r := newReceiver(t, ok)
	dir, fetched := t.TempDir(), atomic.Int64{}
	c, ms := Parse("batch.yaml", []byte(batchYAML(dir, r, "{max_events: 1000, max_wait: 10m}", "")), LoadOptions{})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatal(fatal)
	}
	a, err := New(c, Options{step: func(s broker.Step) {
		if s == broker.StepFetched {
			fetched.Add(1)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for i := range events {
		accepted(t, "http://"+a.Addr().String()+"/webhooks/clickfunnels", body(fmt.Sprint("e", i), "order.created"))
	}
	eventually(t, "all are in the batch", func() bool { return fetched.Load() == events })
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := len(objectIDs(t, r, everything)); n != events {
		t.Errorf("%d events were stored when it stopped, want all %d", n, events)
	}
}
