package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

func TestIntersect(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ a, b, want string }{
		{"order.created", "order.created", "order.created"},
		{"order.created", "order.paid", ""},
		{"order.>", "order.created", "order.created"},
		{"order.>", "order", ""},
		{">", "*.paid", "*.paid"},
		{"order.*", "*.paid", "order.paid"},
		{"*.*", "order.>", "order.*"},
		{"a.*.c", "*.b.>", "a.b.c"},
		{"a.*", "a.*.c", ""},
		{nothing, "order.>", ""},
	} {
		for _, pair := range [][2]string{{tt.a, tt.b}, {tt.b, tt.a}} {
			got, ok := intersect(pair[0], pair[1])
			if got != tt.want && (ok || tt.want != "") || ok != (tt.want != "") {
				t.Errorf("intersect(%q, %q) = %q, %t, want %q", pair[0], pair[1], got, ok, tt.want)
			}
		}
	}
}

// coverFrom is the cover of a consumer whose filters were never changed.
func coverFrom(filters ...string) cover {
	c, err := coverOf(jetstream.ConsumerConfig{FilterSubjects: filters})
	if err != nil {
		panic(err)
	}
	return c
}

func TestCoverChanges(t *testing.T) {
	t.Parallel()
	type step struct {
		filters       []string
		next, settled uint64
	}
	for name, tt := range map[string]struct {
		from  []string
		steps []step
		want  string
	}{
		"a pattern more":                       {[]string{"a.x"}, []step{{[]string{"a.x", "b.>"}, 11, 1}}, "a.x@1 b.>@11"},
		"a pattern less":                       {[]string{"a.x", "b.>"}, []step{{[]string{"a.x"}, 11, 1}}, "a.x@1"},
		"removed and added again":              {[]string{"a.x", "b.>"}, []step{{[]string{"a.x"}, 11, 1}, {[]string{"a.x", "b.>"}, 21, 1}}, "a.x@1 b.>@21"},
		"widened":                              {[]string{"a.x"}, []step{{[]string{"a.>"}, 11, 1}}, "a.x@1 a.>@11"},
		"narrowed":                             {[]string{"a.>"}, []step{{[]string{"a.x"}, 11, 1}}, "a.x@1"},
		"widened, then narrowed to another":    {[]string{"a.x"}, []step{{[]string{"a.>"}, 11, 1}, {[]string{"a.y"}, 21, 1}}, "a.y@11"},
		"widened, then narrowed to what was":   {[]string{"a.x"}, []step{{[]string{"a.>"}, 11, 1}, {[]string{"a.x"}, 21, 1}}, "a.x@1"},
		"narrowed, then what it does not name": {[]string{"a.>"}, []step{{[]string{"a.x"}, 11, 1}, {[]string{"a.x", "a.y"}, 21, 1}}, "a.x@1 a.y@21"},
		"a part in common":                     {[]string{"*.paid"}, []step{{[]string{"order.*"}, 11, 1}}, "order.paid@1 order.*@11"},
		"all is settled":                       {[]string{"a.x"}, []step{{[]string{"a.>"}, 11, 11}}, "a.>@11"},
		"no route, then one":                   {[]string{nothing}, []step{{[]string{"a.>"}, 11, 1}}, "a.>@11"},
		"a route, none, the same":              {[]string{"a.>"}, []step{{[]string{nothing}, 11, 1}, {[]string{"a.>"}, 21, 1}}, "a.>@21"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := coverFrom(tt.from...)
			for _, s := range tt.steps {
				c = c.change(s.filters, s.next, s.settled)
			}
			if got := c.encode(); got != tt.want {
				t.Errorf("cover is %q, want %q", got, tt.want)
			}
			back, err := coverOf(jetstream.ConsumerConfig{Metadata: map[string]string{coverKey: c.encode()}})
			if err != nil || !slices.Equal(back, c) {
				t.Errorf("read back as %v, %v, want %v", back, err, c)
			}
		})
	}
}

// However often filters change over a backlog, a cover stays bounded, and
// gives up precision rather than events.
func TestCoverIsBounded(t *testing.T) {
	t.Parallel()
	c := coverFrom("a.>")
	for n := range uint64(300) {
		filters := []string{fmt.Sprintf("*.t%d.>", n), fmt.Sprintf("a.*.u%d.>", n), "a.>", "b.*", fmt.Sprintf("*.*.v%d", n)}
		c = c.change(filters, 10*n+10, 1)
		if len(c) > maxCover {
			t.Fatalf("%d spans after %d changes, at most %d are allowed", len(c), n+1, maxCover)
		}
		if !c.wants("a.first", 5) {
			t.Fatalf("after %d changes an event that was always wanted is not: %s", n+1, c.encode())
		}
	}
}

func TestBrokenCoverIsReported(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a.>", "a.>@x", "a.>@-1"} {
		_, err := coverOf(jetstream.ConsumerConfig{Durable: "sink-crm", Metadata: map[string]string{coverKey: text}})
		if err == nil || !strings.Contains(err.Error(), "sink-crm") {
			t.Errorf("cover %q: error %v, want one that names the consumer", text, err)
		}
	}
}

// on is testEvent on another subject.
func on(subject string, n int) event.Event {
	e := testEvent(n)
	e.Subject, e.Type = subject, subject
	return e
}

func publish1(t *testing.T, b *Broker, e event.Event) {
	t.Helper()
	if _, err := b.Publish(t.Context(), e); err != nil {
		t.Fatalf("Publish(%s): %v", e.ID, err)
	}
}

// ids are those of the attempts, in order, without the early ones.
func ids(as []delivery.Attempt) (wanted, early []string) {
	for _, a := range as {
		if a.Early {
			early = append(early, a.Event.ID)
		} else {
			wanted = append(wanted, a.Event.ID)
		}
	}
	slices.Sort(wanted)
	slices.Sort(early)
	return wanted, early
}

// A sink with a backlog gets another pattern: what lies in the backlog under
// the new one is not for it, what it was waiting for still is, and nothing it
// had comes again.
func TestNewPatternAppliesFromNowOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := testOptions(t, dir)
	b := open(t, o)
	prepare := func(filters ...string) {
		t.Helper()
		if err := b.Prepare(t.Context(), []delivery.Subscription{subscription(filters...)}); err != nil {
			t.Fatalf("Prepare: %v", err)
		}
	}
	prepare("order.>")
	publish1(t, b, on("order.created", 1)) // had
	publish1(t, b, on("contact.created", 2))
	first := &handler{judge: done}
	stop := consume(t, b, subscription("order.>"), first)
	eventually(t, "the first event", func() bool { return len(first.attempts()) == 1 })
	stop()
	publish1(t, b, on("order.created", 3)) // waits
	publish1(t, b, on("contact.created", 4))

	prepare("contact.>", "order.>")
	publish1(t, b, on("contact.created", 5))
	second := &handler{judge: done}
	stop = consume(t, b, subscription("contact.>", "order.>"), second)
	eventually(t, "all after the change", func() bool { return len(second.attempts()) == 3 })
	stop()
	wanted, early := ids(second.attempts())
	if fmt.Sprint(wanted) != "[id-3 id-5]" || fmt.Sprint(early) != "[id-4]" {
		t.Errorf("wanted %v, early %v; want [id-3 id-5] and [id-4]", wanted, early)
	}

	// Without it and with it again, it begins anew.
	prepare("order.>")
	publish1(t, b, on("contact.created", 6))
	publish1(t, b, on("order.created", 7))
	prepare("contact.>", "order.>")
	publish1(t, b, on("contact.created", 8))
	third := &handler{judge: done}
	stop = consume(t, b, subscription("contact.>", "order.>"), third)
	eventually(t, "all after the second change", func() bool { return len(third.attempts()) == 3 })
	stop()
	wanted, early = ids(third.attempts())
	if fmt.Sprint(wanted) != "[id-7 id-8]" || fmt.Sprint(early) != "[id-6]" {
		t.Errorf("wanted %v, early %v; want [id-7 id-8] and [id-6]", wanted, early)
	}
}

// A consumer that sits at the stream's end gets what is stored on a new
// pattern right after it.
func TestNewPatternOfAnIdleSink(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	for _, filters := range [][]string{{}, {"order.>"}, {"contact.>"}, {">"}} {
		if err := b.Prepare(t.Context(), []delivery.Subscription{subscription(filters...)}); err != nil {
			t.Fatalf("Prepare(%v): %v", filters, err)
		}
		publish1(t, b, on("contact.created", len(filters)+10))
		publish1(t, b, testEvent(len(filters)+20))
		if err := b.Prepare(t.Context(), []delivery.Subscription{subscription(filters...)}); err != nil {
			t.Fatalf("Prepare(%v) again: %v", filters, err)
		}
	}
	for i, filter := range []string{"contact.>", "order.>", ">"} {
		if err := b.Prepare(t.Context(), []delivery.Subscription{subscription(filter)}); err != nil {
			t.Fatalf("Prepare(%s): %v", filter, err)
		}
		h := &handler{judge: done}
		stop := consume(t, b, subscription(filter), h)
		want := on(strings.TrimSuffix(filter, ".>")+".new", 100+i)
		if filter == ">" {
			want.Subject = "order.other"
		}
		publish1(t, b, want)
		eventually(t, "the event stored after the pattern", func() bool {
			wanted, _ := ids(h.attempts())
			return slices.Contains(wanted, want.ID)
		})
		stop()
	}
}

// Whatever a new pattern would have let through and the janitor finds
// undelivered is no dead letter.
func TestEarlyEventsDoNotExpireIntoDeadLetters(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	for _, filters := range [][]string{{"order.>"}, {"contact.>", "order.>"}} {
		if err := b.Prepare(t.Context(), []delivery.Subscription{subscription(filters...)}); err != nil {
			t.Fatalf("Prepare: %v", err)
		}
		publish1(t, b, on("contact.created", len(filters)))
		publish1(t, b, on("order.created", len(filters)+10))
	}
	var letters []delivery.DeadLetter
	eventually(t, "all have expired", func() bool {
		if err := b.expire(t.Context(), "crm", 100); err != nil {
			t.Fatalf("expire: %v", err)
		}
		var err error
		if letters, _, err = b.DeadLetters(t.Context(), delivery.DeadFilter{Limit: 10}); err != nil {
			t.Fatal(err)
		}
		return len(letters) >= 3
	})
	var got []string
	for _, d := range letters {
		got = append(got, d.Event.ID)
	}
	if fmt.Sprint(got) != "[id-11 id-2 id-12]" {
		t.Errorf("expired %v, want [id-11 id-2 id-12]", got)
	}
}
