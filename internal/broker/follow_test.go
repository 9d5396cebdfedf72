package broker

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A follower whose consumer is gone, as after the loss of a server, goes on
// where it was.
func TestFollowOutlivesItsConsumer(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	enough := errors.New("enough")
	var mu sync.Mutex
	var got []uint64
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(got)
	}
	caughtUp := make(chan struct{})
	once := sync.OnceFunc(func() { close(caughtUp) })
	ended := make(chan error, 1)
	go func() {
		ended <- b.FollowEvents(t.Context(), Follow{CaughtUp: once}, func(e StoredEvent) error {
			mu.Lock()
			defer mu.Unlock()
			if len(e.Body) > 0 {
				t.Errorf("event %d comes with its body", e.Seq)
			}
			if got = append(got, e.Seq); len(got) == 6 {
				return enough
			}
			return nil
		})
	}()
	<-caughtUp
	publishAll(t, b, 1, 3)
	eventually(t, "three events", func() bool { return count() == 3 })
	s, err := b.admin.js.Stream(t.Context(), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	deleted := 0
	for name := range s.ConsumerNames(t.Context()).Name() {
		if err := s.DeleteConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		deleted++
	}
	publishAll(t, b, 4, 6)
	if err := <-ended; !errors.Is(err, enough) || deleted != 1 {
		t.Errorf("FollowEvents = %v, with %d consumers deleted", err, deleted)
	}
	if d := cmp.Diff([]uint64{1, 2, 3, 4, 5, 6}, got); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
}

// Since is right for both streams, whatever they hold.
func TestSinceIsBeforeWhatIsWanted(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 3)
	events, records, err := b.Since(t.Context(), testEvent(1).Received.AddDate(-1, 0, 0))
	if err != nil || events != 0 || records != 0 {
		t.Errorf("Since long ago = %d, %d, %v; want everything", events, records, err)
	}
	if events, records, err = b.Since(t.Context(), testEvent(1).Received.AddDate(99, 0, 0)); err != nil || events != 3 || records != 0 {
		t.Errorf("Since the future = %d, %d, %v; want nothing of 3 events", events, records, err)
	}
}
