package broker

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/config"
)

// reader opens a broker that takes NATS clients and connects as a reader.
func reader(t *testing.T, users []config.User, login ...nats.Option) (*Broker, jetstream.JetStream, *nats.Conn) {
	t.Helper()
	o := testOptions(t, t.TempDir())
	o.Config.Listen, o.Config.Users = "127.0.0.1:0", users
	b := open(t, o)
	if _, err := b.ensureConsumers(t.Context(), subscription(">")); err != nil {
		t.Fatal(err)
	}
	login = append(login, nats.Timeout(patience), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	nc, err := nats.Connect("nats://"+b.Info().Listen, login...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return b, js, nc
}

func TestReaderReadsThroughOwnConsumer(t *testing.T) {
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
			b, js, _ := reader(t, tt.users, tt.login...)
			publishAll(t, b, 1, 3)
			c, err := js.CreateOrUpdateConsumer(t.Context(), EventsStream, jetstream.ConsumerConfig{Durable: "billing", FilterSubject: "*.created"})
			if err != nil {
				t.Fatalf("create own consumer: %v", err)
			}
			batch, err := c.Fetch(3, jetstream.FetchMaxWait(patience))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for m := range batch.Messages() {
				n++
				if err := m.DoubleAck(t.Context()); err != nil {
					t.Errorf("acknowledge: %v", err)
				}
			}
			if n != 3 {
				t.Errorf("read %d events, want 3: %v", n, batch.Error())
			}
		})
	}
}

func TestReaderMayNotHarm(t *testing.T) {
	t.Parallel()
	b, js, nc := reader(t, []config.User{{Name: "app", Password: config.NewSecret("pw")}}, nats.UserInfo("app", "pw"))
	publishAll(t, b, 1, 2)
	for name, try := range map[string]func(ctx context.Context) error{
		"publish an event":       func(ctx context.Context) error { _, err := js.Publish(ctx, "order.created", nil); return err },
		"publish a retry":        func(ctx context.Context) error { _, err := js.Publish(ctx, retryDuePrefix+"crm", nil); return err },
		"delete the stream":      func(ctx context.Context) error { return js.DeleteStream(ctx, EventsStream) },
		"delete a sink's queue":  func(ctx context.Context) error { return js.DeleteConsumer(ctx, EventsStream, "sink-crm") },
		"change a sink's queue":  func(ctx context.Context) error { return update(ctx, js, "sink-crm") },
		"read the dead letters":  func(ctx context.Context) error { _, err := js.Stream(ctx, deadStream); return err },
		"make a stream":          func(ctx context.Context) error { return stream(ctx, js) },
		"pull from a sink's own": func(ctx context.Context) error { return pull(ctx, nc, "sink-crm") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if err := try(ctx); err == nil {
				t.Errorf("a reader may %s", name)
			}
		})
	}
	t.Cleanup(func() {
		s, err := b.admin.js.Stream(context.Background(), EventsStream)
		if err != nil || s.CachedInfo().State.Msgs != 2 {
			t.Errorf("after all that the stream is %v", err)
		}
	})
}

func update(ctx context.Context, js jetstream.JetStream, name string) error {
	_, err := js.UpdateConsumer(ctx, EventsStream, jetstream.ConsumerConfig{Durable: name, FilterSubject: "contact.>"})
	return err
}

func stream(ctx context.Context, js jetstream.JetStream) error {
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "MINE", Subjects: []string{"mine.>"}})
	return err
}

func pull(ctx context.Context, nc *nats.Conn, consumer string) error {
	_, err := nc.RequestWithContext(ctx, "$JS.API.CONSUMER.MSG.NEXT."+EventsStream+"."+consumer, []byte(`{"batch":1,"expires":200000000}`))
	return err
}

// A push consumer makes the server publish on its behalf. It must not reach our
// subjects or the API that way.
func TestReaderCannotPublishThroughAPushConsumer(t *testing.T) {
	t.Parallel()
	b, js, nc := reader(t, []config.User{{Name: "app", Password: config.NewSecret("pw")}}, nats.UserInfo("app", "pw"))
	push := func(target string) error {
		_, err := js.CreatePushConsumer(t.Context(), EventsStream, jetstream.ConsumerConfig{
			DeliverSubject: target, HeadersOnly: true, AckPolicy: jetstream.AckNonePolicy,
		})
		return err
	}
	for _, target := range []string{"$JS.API.STREAM.DELETE." + retryStream, retryDuePrefix + "crm", deadPrefix + "crm.x"} {
		if err := push(target); err != nil {
			t.Fatalf("push to %s: %v", target, err)
		}
	}
	if err := push("order.updated"); err == nil {
		t.Error("a push consumer may feed events back into their stream")
	}
	// The one that a reader may have is set up last, and works.
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := push(inbox); err != nil {
		t.Fatal(err)
	}
	publishAll(t, b, 1, 20)
	for range 20 {
		if _, err := sub.NextMsg(patience); err != nil {
			t.Fatalf("own push consumer: %v", err)
		}
	}
	for name, want := range map[string]uint64{retryStream: 0, deadStream: 0, EventsStream: 20} {
		s, err := b.admin.js.Stream(t.Context(), name)
		if err != nil {
			t.Errorf("stream %s: %v", name, err)
			continue
		}
		if got := s.CachedInfo().State.Msgs; got != want {
			t.Errorf("stream %s holds %d messages, want %d", name, got, want)
		}
	}
}
