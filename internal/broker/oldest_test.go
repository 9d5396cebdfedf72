package broker

import (
	"testing"
	"time"

	"github.com/penstock/penstock/internal/delivery"
)

func TestOldestWaiting(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.Sinks = []string{"crm", "other"}
	b := open(t, o)
	for _, s := range []delivery.Subscription{
		{Sink: "crm", Filters: []string{"contact.>", "order.>"}, Concurrency: 4}, {Sink: "other", Concurrency: 4},
	} {
		if _, err := b.ensureConsumers(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	oldest := func() time.Time {
		st, err := b.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := st.Sinks["other"].Oldest; !got.IsZero() {
			t.Errorf("a sink that gets nothing has an oldest event of %s", got)
		}
		return st.Sinks["crm"].Oldest
	}
	if got := oldest(); !got.IsZero() {
		t.Errorf("oldest of an empty queue is %s", got)
	}
	publishAll(t, b, 1, 5)
	first := storedAt(t, b, 1)
	// The server counts what is pending a moment after it has answered the publisher.
	eventually(t, "the oldest is the first event", func() bool { return oldest().Equal(first) })
	// All but the third are done with: it is the oldest, although later ones are not waiting.
	h := &handler{judge: func(a delivery.Attempt) delivery.Verdict {
		if a.Event.Seq == 3 {
			<-t.Context().Done()
			return delivery.Verdict{}
		}
		return done(a)
	}}
	consume(t, b, delivery.Subscription{Sink: "crm", Filters: []string{"contact.>", "order.>"}, Concurrency: 4}, h)
	third := storedAt(t, b, 3)
	eventually(t, "the oldest is the third event", func() bool { return oldest().Equal(third) })
}

func storedAt(t *testing.T, b *Broker, seq uint64) time.Time {
	t.Helper()
	s, err := b.admin.js.Stream(t.Context(), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), seq)
	if err != nil {
		t.Fatal(err)
	}
	return m.Time
}
