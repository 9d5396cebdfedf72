// Command subscribe prints the events that Penstock stores on one subject, and
// begins where it stopped the last time.
//
//	go run ./examples/subscribe -name billing -subject orders.invoice.paid
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	url := flag.String("url", "nats://127.0.0.1:4222", "broker.listen of Penstock, as in nats://user:password@host:4222")
	name := flag.String("name", "example", "name of the durable consumer, which keeps the position")
	subject := flag.String("subject", "orders.invoice.paid", "subject, or pattern such as *.invoice.paid")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *url, *name, *subject); err != nil {
		fmt.Fprintln(os.Stderr, "subscribe:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url, name, subject string) error {
	nc, err := nats.Connect(url, nats.Name(name), nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	for ctx.Err() == nil {
		if err := read(ctx, js, name, subject, printEvent); err != nil {
			fmt.Fprintln(os.Stderr, "subscribe:", err, "- going on in a second")
			pause(ctx, time.Second)
		}
	}
	return nil
}

// pause waits d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func printEvent(m jetstream.Msg) error {
	md, err := m.Metadata()
	if err != nil {
		return err
	}
	_, err = fmt.Printf("read seq %d  %s  %s\n", md.Sequence.Stream, m.Subject(), m.Headers().Get("Ce-Id"))
	return err
}

// The README shows what is between the two marks.
// begin

// read hands every event on subject to handle. The server keeps the position
// under name, so that a restart goes on where this stopped.
func read(ctx context.Context, js jetstream.JetStream, name, subject string, handle func(jetstream.Msg) error) error {
	c, err := js.CreateOrUpdateConsumer(ctx, "PENSTOCK_EVENTS", jetstream.ConsumerConfig{
		Durable: name, FilterSubject: subject, AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		return fmt.Errorf("set up consumer %s: %w", name, err)
	}
	for ctx.Err() == nil {
		batch, err := c.Fetch(100, jetstream.FetchContext(ctx))
		if err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		for m := range batch.Messages() {
			if handle(m) == nil { // else it comes again after 30 s
				_ = m.Ack() // one that is lost repeats the event
			}
		}
		if err := batch.Error(); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("fetch: %w", err)
		}
	}
	return nil
}

// end
