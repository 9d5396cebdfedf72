package broker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
)

func TestJobsAreKeptAndFenced(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	want := delivery.Job{
		ID: "abc", State: delivery.JobRunning, Selected: 7, Positions: map[string]uint64{"crm": 3},
		Selection: delivery.Selection{Kind: delivery.Replay, Sink: "crm", Match: []string{"order.>"}, From: 1, To: 9},
		Created:   time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC),
	}
	if err := b.SaveJob(t.Context(), &want); err != nil {
		t.Fatalf("SaveJob: %v", err)
	}
	stale, err := b.Job(t.Context(), "abc")
	if err != nil {
		t.Fatalf("Job: %v", err)
	}
	if d := cmp.Diff(want, stale); d != "" {
		t.Errorf("Job (-saved +read):\n%s", d)
	}
	want.Published = 5
	if err := b.SaveJob(t.Context(), &want); err != nil {
		t.Fatalf("second SaveJob: %v", err)
	}
	if err := b.SaveJob(t.Context(), &stale); !errors.Is(err, delivery.ErrJobTaken) {
		t.Errorf("SaveJob of an old revision = %v, want ErrJobTaken", err)
	}
	jobs, err := b.Jobs(t.Context())
	if err != nil {
		t.Fatalf("Jobs: %v", err)
	}
	if d := cmp.Diff([]delivery.Job{want}, jobs); d != "" {
		t.Errorf("Jobs (-saved +read):\n%s", d)
	}
	if _, err := b.Job(t.Context(), "other"); !errors.Is(err, delivery.ErrNoJob) {
		t.Errorf("Job of an unknown id = %v, want ErrNoJob", err)
	}
}

func everyEvent(string, string) bool { return true }

func TestSurveyAndReadSelect(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 250)
	other := testEvent(251)
	other.Subject = "contact.created"
	if _, err := b.Publish(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if _, err := b.admin.js.Publish(t.Context(), "order.created", []byte("not ours")); err != nil {
		t.Fatal(err)
	}
	publishAll(t, b, 252, 300) // 301 messages, the 252nd is foreign
	for name, tt := range map[string]struct {
		q           EventQuery
		want        int
		first, last uint64
	}{
		"everything":       {EventQuery{From: 1, To: 1000, Wanted: everyEvent}, 300, 1, 301},
		"a filter":         {EventQuery{Filters: []string{"contact.>"}, From: 1, To: 1000, Wanted: everyEvent}, 1, 251, 251},
		"a range":          {EventQuery{From: 100, To: 199, Wanted: everyEvent}, 100, 100, 199},
		"an id":            {EventQuery{From: 1, To: 1000, Wanted: func(_, id string) bool { return id == "id-77" }}, 1, 77, 77},
		"a filter's none":  {EventQuery{Filters: []string{"contact.none"}, From: 1, To: 1000, Wanted: everyEvent}, 0, 0, 0},
		"beyond the end":   {EventQuery{From: 5000, To: 9000, Wanted: everyEvent}, 0, 0, 0},
		"nothing, by hand": {EventQuery{From: 1, To: 1000, Wanted: func(string, string) bool { return false }}, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := b.SurveyEvents(t.Context(), tt.q, "crm")
			if err != nil {
				t.Fatalf("SurveyEvents: %v", err)
			}
			if s.Events != tt.want || s.Sinks["crm"] != tt.want || s.Partial {
				t.Errorf("SurveyEvents = %+v, want %d events", s, tt.want)
			}
			r, err := b.ReadEvents(t.Context(), tt.q, 0)
			if err != nil {
				t.Fatalf("ReadEvents: %v", err)
			}
			var seqs []uint64
			var bytes int64
			for {
				page, err := r.Next(t.Context(), 64)
				if err != nil {
					t.Fatalf("Next: %v", err)
				}
				if len(page) == 0 {
					break
				}
				for _, e := range page {
					seqs, bytes = append(seqs, e.Seq), bytes+int64(len(e.Body))
				}
			}
			if len(seqs) != tt.want || tt.want > 0 && (seqs[0] != tt.first || seqs[len(seqs)-1] != tt.last) {
				t.Errorf("read %d events %v, want %d from %d to %d", len(seqs), seqs, tt.want, tt.first, tt.last)
			}
			if s.Bytes != bytes {
				t.Errorf("the survey says %d bytes, the events have %d", s.Bytes, bytes)
			}
		})
	}
}

func TestEventRange(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 5)
	now := time.Now()
	for name, tt := range map[string]struct {
		since, until time.Time
		from, to     uint64
	}{
		"all":        {time.Time{}, time.Time{}, 1, 5},
		"since then": {now.Add(-time.Hour), time.Time{}, 1, 5},
		"in future":  {now.Add(time.Hour), time.Time{}, 6, 5},
		"until then": {time.Time{}, now.Add(-time.Hour), 1, 0},
		"until soon": {time.Time{}, now.Add(time.Hour), 1, 5},
	} {
		t.Run(name, func(t *testing.T) {
			from, to, err := b.EventRange(t.Context(), tt.since, tt.until)
			if err != nil || from != tt.from || to != tt.to {
				t.Errorf("EventRange = %d, %d, %v; want %d, %d", from, to, err, tt.from, tt.to)
			}
		})
	}
}

// bypassed is Bypassing, which a test's broker always knows.
func bypassed(t *testing.T, b *Broker) int {
	t.Helper()
	n, err := b.Bypassing(t.Context(), "crm")
	if err != nil {
		t.Fatalf("Bypassing: %v", err)
	}
	return n
}

// dueNow is how many deliveries of the retry lanes are due and not settled.
func dueNow(t *testing.T, b *Broker) uint64 {
	t.Helper()
	s, err := b.admin.js.Stream(t.Context(), retryStream)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(retryDuePrefix+">"))
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for _, messages := range info.State.Subjects {
		n += messages
	}
	return n
}

// TestReplaysDoNotCountTowardsTheCap follows replays that fail, over a
// restart, and the retries by the routes beside them.
func TestReplaysDoNotCountTowardsTheCap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := testOptions(t, dir)
	b := New(o)
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	later := func(a delivery.Attempt) delivery.Verdict {
		return delivery.Verdict{Action: delivery.Again, Delay: time.Hour, Spent: true, Class: delivery.Failed, Reason: "answered 503"}
	}
	stop := consume(t, b, subscription("order.>"), &handler{judge: later})
	publishAll(t, b, 1, 3)
	eventually(t, "three retries by the routes", func() bool { return b.Outstanding("crm") == 3 })
	for n := 1; n <= 2; n++ {
		e := testEvent(n)
		e.Seq = uint64(n)
		for range 2 { // a repetition is no second delivery
			if err := b.Replay(t.Context(), "job", "crm", e); err != nil {
				t.Fatalf("Replay: %v", err)
			}
		}
	}
	scheduled := func() int64 {
		s, err := b.admin.js.Stream(t.Context(), retryStream)
		if err != nil {
			t.Fatal(err)
		}
		return int64(s.CachedInfo().State.NumSubjects)
	}
	// A repetition may come when the first is settled already.
	eventually(t, "all five wait, each on its own, and none is due", func() bool {
		return scheduled() == 5 && bypassed(t, b) == 2 && dueNow(t, b) == 0
	})
	if n := b.Outstanding("crm"); n != 3 {
		t.Errorf("Outstanding = %d with 3 retries and 2 replays, want 3", n)
	}
	stop()
	third := testEvent(3)
	third.Seq = 3
	if err := b.Replay(t.Context(), "job", "crm", third); err != nil { // due while nobody consumes
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	again := open(t, o)
	if n := bypassed(t, again); n != 1 {
		t.Errorf("before anybody consumes, %d are known to be due, want 1", n)
	}
	block := make(chan struct{})
	h := &handler{judge: func(a delivery.Attempt) delivery.Verdict { <-block; return done(a) }}
	consume(t, again, subscription("order.>"), h)
	eventually(t, "the replay is attempted", func() bool { return len(h.attempts()) == 1 })
	if n, m := again.Outstanding("crm"), bypassed(t, again); n != 4 || m != 3 {
		t.Errorf("after a restart %d retries and %d replays, want 3 and 2, and in both the one that was due", n, m)
	}
	if got := h.attempts()[0]; got.Origin != "replay/job" || got.Event.ID != "id-3" || got.Attempts != 0 {
		t.Errorf("attempt %+v, want the first of a replay of id-3", got)
	}
	close(block)
	eventually(t, "the one that was due is settled in both counts", func() bool {
		return again.Outstanding("crm") == 3 && bypassed(t, again) == 2
	})
}

// TestReplayThatDiesIsADeadLetterOfItsOwn: one of the same event lies there
// already, and its id must not make this one a duplicate.
func TestReplayThatDiesIsADeadLetterOfItsOwn(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	h := &handler{judge: func(a delivery.Attempt) delivery.Verdict {
		return delivery.Verdict{Action: delivery.Bury, Spent: true, Class: delivery.Rejected, Reason: "answered 422"}
	}}
	consume(t, b, subscription("order.>"), h)
	publishAll(t, b, 1, 1)
	letters := func() int {
		l, _, err := b.DeadLetters(t.Context(), delivery.DeadFilter{Limit: 10})
		if err != nil {
			t.Fatalf("DeadLetters: %v", err)
		}
		return len(l)
	}
	eventually(t, "the first dead letter", func() bool { return letters() == 1 })
	e := testEvent(1)
	e.Seq = 1
	for i, job := range []string{"one", "two"} {
		if err := b.Replay(t.Context(), job, "crm", e); err != nil {
			t.Fatalf("Replay: %v", err)
		}
		eventually(t, fmt.Sprintf("dead letter %d", i+2), func() bool { return letters() == i+2 })
	}
	s, err := b.SurveyDead(t.Context(), delivery.DeadFilter{Sink: "crm"}, 2)
	if err != nil {
		t.Fatalf("SurveyDead: %v", err)
	}
	if s.Events != 2 || s.Bytes != int64(2*len(e.Body)) || s.Subjects["order.created"] != 2 || s.Sinks["crm"] != 2 {
		t.Errorf("SurveyDead up to 2 = %+v, want two letters of %d bytes", s, len(e.Body))
	}
	if s, err := b.SurveyDead(t.Context(), delivery.DeadFilter{Class: delivery.Ours}, 9); err != nil || s.Events != 0 {
		t.Errorf("SurveyDead of another class = %+v, %v", s, err)
	}
}

func TestReplayKeysAreTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, origin := range []string{"", "replay/a", "replay/b", "redrive/7"} {
		subject := retryAtSubject("crm", 7, "id", origin)
		if other, ok := seen[subject]; ok {
			t.Errorf("origins %q and %q share %s", origin, other, subject)
		}
		seen[subject] = origin
		if bypassing(subject) != (origin != "") || strings.Count(subject, ".") != 4 {
			t.Errorf("%s of origin %q is not told apart", subject, origin)
		}
	}
}
