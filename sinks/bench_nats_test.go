package sinks

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// BenchmarkNATSDeliver and BenchmarkNATSBare publish the same body to the same
// kind of stream, ours and with nats.go as its documentation shows; so do the
// two with LogFile. Each reports events/s.
func BenchmarkNATSDeliver(b *testing.B) {
	for _, mode := range []string{modeJetStream, modeCore} {
		b.Run(mode, func(b *testing.B) {
			n := startNATS(b, nil)
			n.stream(b, "RELAY", nil, "relay.>")
			s := openSink(b, "nats", fmt.Sprintf("url: %q\nmode: %s", n.as("penstock", headerSecret), mode), Deps{})
			e := sampleEvent()
			e.Body = benchBody()
			if err := s.Deliver(b.Context(), e); err != nil { // connects
				b.Fatal(err)
			}
			i := 0
			perEvent(b, func() error {
				i++
				e.ID = fmt.Sprint(i)
				return s.Deliver(b.Context(), e)
			})
		})
	}
}

func BenchmarkNATSBare(b *testing.B) {
	for _, mode := range []string{modeJetStream, modeCore} {
		b.Run(mode, func(b *testing.B) {
			n := startNATS(b, nil)
			n.stream(b, "RELAY", nil, "relay.>")
			nc, js := n.client(b)
			body := benchBody()
			i := 0
			perEvent(b, func() error {
				i++
				m := &nats.Msg{Subject: "relay.orders.invoice.paid", Data: body}
				if mode == modeCore {
					if err := nc.PublishMsg(m); err != nil {
						return err
					}
					return nc.Flush()
				}
				_, err := js.PublishMsg(b.Context(), m, jetstream.WithMsgID(fmt.Sprint(i)))
				return err
			})
		})
	}
}

func BenchmarkLogFileDeliver(b *testing.B) {
	s := openSink(b, "log", fmt.Sprintf("path: %s/events.log\nmax_size: 1TiB", b.TempDir()), Deps{})
	e := sampleEvent()
	e.Body = benchBody()
	perEvent(b, func() error { return s.Deliver(b.Context(), e) })
}

// BenchmarkLogFileBare writes the body and the end of its line.
func BenchmarkLogFileBare(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "events.log"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 8<<10)
	body := benchBody()
	perEvent(b, func() error {
		if _, err := w.Write(body); err != nil {
			return err
		}
		if err := w.WriteByte('\n'); err != nil {
			return err
		}
		return w.Flush()
	})
}

// perEvent measures what one event costs.
func perEvent(b *testing.B, deliver func() error) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if err := deliver(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
