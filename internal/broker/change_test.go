package broker

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// TestReadersStayAwayFromNewSinks: the rights of NATS clients follow the sinks
// while they are connected, and ours stay.
func TestReadersStayAwayFromNewSinks(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		users []config.User
		login []nats.Option
	}{
		"with a password":         {[]config.User{{Name: "app", Password: config.NewSecret("pw")}}, []nats.Option{nats.UserInfo("app", "pw")}},
		"anonymously on loopback": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, js, nc := reader(t, tt.users, append(tt.login, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))...)
			if err := b.AdmitReaders([]string{"crm", "new"}, b.o.Roots, []string{"shop"}); err != nil {
				t.Fatal(err)
			}
			if err := b.Prepare(t.Context(), []delivery.Subscription{{Sink: "new", Filters: []string{">"}, Concurrency: 1}}); err != nil {
				t.Fatal(err)
			}
			publishAll(t, b, 1, 3)
			eventually(t, "the reader still reads by a queue of its own", func() bool {
				_, err := js.CreateOrUpdateConsumer(t.Context(), EventsStream, jetstream.ConsumerConfig{Durable: "own"})
				return err == nil
			})
			for _, queue := range []string{"sink-new", "sink-crm"} {
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				if err := pull(ctx, nc, queue); err == nil {
					t.Errorf("a reader may pull from %s", queue)
				}
				cancel()
			}
		})
	}
}

func TestRoutingIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, testOptions(t, dir))
	got, err := b.Routing(t.Context())
	if err != nil || len(got.Eras) != 0 {
		t.Fatalf("Routing of a new stream = %+v, %v; want nothing", got, err)
	}
	publishAll(t, b, 1, 3)
	want := Routing{
		Eras: []Era{{From: 0, Version: "aaaa", Text: []byte("one")}, {From: 2, Version: "bbbb", Text: []byte("two")}, {From: 3, Version: "aaaa", Text: []byte("one")}},
		Past: map[string]string{"crm": "3 5-7"},
	}
	if err := b.EditRouting(t.Context(), func(Routing) Routing { return want }); err != nil {
		t.Fatal(err)
	}
	announced, err := b.Announce(t.Context(), "soon")
	if err != nil || announced.Announced != "soon" || announced.Last == 0 {
		t.Errorf("Announce = %+v, %v", announced, err)
	}
	want.Last, want.Announced = announced.Last, "soon"
	if diff := cmp.Diff(want, announced); diff != "" {
		t.Errorf("what was recorded (-want +got):\n%s", diff)
	}
	want.Eras, want.Past, want.Announced = want.Eras[1:2], map[string]string{}, ""
	if err := b.EditRouting(t.Context(), func(Routing) Routing { return want }); err != nil {
		t.Fatal(err)
	}
	cfg, err := b.eventsConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for key := range cfg.Metadata {
		if strings.Contains(key, "aaaa") || key == announcedKey || strings.HasPrefix(key, pastKeyPrefix) {
			t.Errorf("%s is still kept", key)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, testOptions(t, dir))
	if got, err = again.Routing(t.Context()); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("after a restart %+v, %v; want %+v", got, err, want)
	}
}

func TestRoutingHasABound(t *testing.T) {
	t.Parallel()
	var eras []Era
	for i := range 3 * maxEras {
		eras = append(eras, Era{From: uint64(i), Version: fmt.Sprintf("%08x", i%7), Text: []byte("text")})
	}
	list, texts, left := packEras(eras)
	if n := len(strings.Fields(list)); n != maxEras || left != 2*maxEras || len(texts) != 7 {
		t.Errorf("%d eras, %d texts are kept and %d left, want %d, 7 and %d", n, len(texts), left, maxEras, 2*maxEras)
	}
	if !strings.HasSuffix(list, fmt.Sprintf("%d=%s", len(eras)-1, eras[len(eras)-1].Version)) {
		t.Errorf("the newest is not kept: %s", list)
	}
	// Of a text that is too long the version is kept.
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise) // so that it cannot be packed
	list, texts, _ = packEras([]Era{{From: 1, Version: "aaaa", Text: []byte("one")}, {From: 2, Version: "bbbb", Text: noise}})
	if list != "2=bbbb" || len(texts) != 0 {
		t.Errorf("with a text that is too long %q and %d texts are kept", list, len(texts))
	}
	if got, err := unpack(pack([]byte("one"))); err != nil || !bytes.Equal(got, []byte("one")) {
		t.Errorf("unpack = %q, %v", got, err)
	}
	if _, err := unpack("no"); err == nil {
		t.Error("what is not packed was read")
	}
}

func TestWiderFiltersStay(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	s := delivery.Subscription{Sink: "crm", Filters: []string{"contact.>"}, Concurrency: 1}
	filters := func() []string {
		t.Helper()
		if err := b.Prepare(t.Context(), []delivery.Subscription{s}); err != nil {
			t.Fatal(err)
		}
		c, err := b.admin.js.Consumer(t.Context(), EventsStream, sinkConsumerPrefix+"crm")
		if err != nil {
			t.Fatal(err)
		}
		return filtersOf(c.CachedInfo().Config)
	}
	filters()
	s.Filters, s.Wider = []string{"contact.created", "order.>"}, true
	if got := filters(); !slices.Equal(got, []string{"contact.>", "order.>"}) {
		t.Errorf("wider filters are %v", got)
	}
	s.Wider = false
	if got := filters(); !slices.Equal(got, s.Filters) {
		t.Errorf("narrowed filters are %v, want %v", got, s.Filters)
	}
	var many []string
	for i := range 2 * maxFilters {
		many = append(many, fmt.Sprint("a", i))
	}
	if got := widened(many, nil); !slices.Equal(got, []string{">"}) {
		t.Errorf("too many filters became %v, want >", got)
	}
}
