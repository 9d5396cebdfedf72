package sinks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/delivery"
)

func TestLogLines(t *testing.T) {
	t.Parallel()
	const head = `{"time":"2026-11-23T11:34:56.789Z","sink":"crm","seq":42,"id":"0b9f4a5e-7c1d-4c5e-9a58-0d2f4b6a8c10",` +
		`"type":"orders/invoice.paid","subject":"orders.invoice.paid","source":"clickfunnels","bytes":`
	for name, tt := range map[string]struct {
		options string
		body    string
		want    string // after head
	}{
		"JSON":                    {"", `{"a": 1.50}`, `11,"body":{"a": 1.50}}`},
		"JSON on several lines":   {"", "{\n\t\"a\": \"x y\"\r\n}\n", `17,"body":{"a":"x y"}}`},
		"not JSON":                {"", "a=\"1\"\n\\", `7,"body_text":"a=\"1\"\u000a\\"}`},
		"not JSON over two lines": {"", "{\n", `2,"body_text":"{\u000a"}`},
		"two JSON values":         {"", "1 2", `3,"body_text":"1 2"}`},
		"terminal controls":       {"", "\x1b[31m\u009b\u2028ü", `12,"body_text":"\u001b[31m\u009b\u2028ü"}`},
		"not UTF-8":               {"", "\xff\x00", `2,"body_base64":"/wA="}`},
		"empty":                   {"", "", `0,"body_text":""}`},
		"without the body":        {"body: false", `{"a":1}`, `7}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			e := sampleEvent()
			e.Body = []byte(tt.body)
			if err := openSink(t, "log", tt.options, Deps{Stdout: &out}).Deliver(t.Context(), e); err != nil {
				t.Fatalf("Deliver: %v", err)
			}
			if got, want := out.String(), head+tt.want+"\n"; got != want {
				t.Errorf("line:\n got %s\nwant %s", got, want)
			}
		})
	}
}

func TestLogOptions(t *testing.T) {
	t.Parallel()
	const want = `penstock.yaml:1:7: body: needs true or false, got "maybe"`
	if got := Check(sinkConfig(t, "log", "body: maybe")).Error(); got != want {
		t.Errorf("Check = %s, want %s", got, want)
	}
}

// tearing accepts only some bytes of the first write.
type tearing struct {
	bytes.Buffer
	accept int
	err    error
	torn   bool
}

func (w *tearing) Write(p []byte) (int, error) {
	if w.torn {
		return w.Buffer.Write(p)
	}
	w.torn = true
	w.Buffer.Write(p[:w.accept])
	return w.accept, w.err
}

func TestLogWriteErrors(t *testing.T) {
	t.Parallel()
	full := errors.New("no space left on device")
	for name, tt := range map[string]struct {
		accept int
		err    error
		want   error
		lines  int
	}{
		"nothing written":     {0, full, full, 1},
		"half a line written": {10, full, full, 2},
		"short without error": {10, nil, io.ErrShortWrite, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := &tearing{accept: tt.accept, err: tt.err}
			s := openSink(t, "log", "", Deps{Stdout: out})
			err := s.Deliver(t.Context(), sampleEvent())
			if !errors.Is(err, tt.want) || delivery.ClassOf(err) != delivery.Failed {
				t.Errorf("Deliver = %v (%s), want %v, classed %s", err, delivery.ClassOf(err), tt.want, delivery.Failed)
			}
			if err := s.Deliver(t.Context(), sampleEvent()); err != nil {
				t.Fatalf("Deliver after that: %v", err)
			}
			lines := strings.SplitAfter(strings.TrimSuffix(out.String(), "\n"), "\n")
			if last := lines[len(lines)-1]; len(lines) != tt.lines || !strings.HasPrefix(last, `{"time"`) {
				t.Errorf("wrote %q, want %d lines, the last one whole", out.String(), tt.lines)
			}
		})
	}
}

// blocking holds every write until it is released.
type blocking struct{ entered, release chan struct{} }

func (w blocking) Write(p []byte) (int, error) {
	w.entered <- struct{}{}
	<-w.release
	return len(p), nil
}

func TestLogWaitsForItsTurnNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	out := blocking{make(chan struct{}, 2), make(chan struct{})}
	s := openSink(t, "log", "", Deps{Stdout: out})
	first := make(chan error, 1)
	go func() { first <- s.Deliver(t.Context(), sampleEvent()) }()
	<-out.entered
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() { second <- s.Deliver(ctx, sampleEvent()) }()
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("Deliver behind a blocked write = %v, want context.Canceled", err)
	}
	close(out.release)
	if err := <-first; err != nil {
		t.Errorf("Deliver of the blocked write: %v", err)
	}
}

func BenchmarkLogDeliver(b *testing.B) {
	s := openSink(b, "log", "", Deps{})
	e := sampleEvent()
	e.Body = []byte(`{"data":"` + strings.Repeat("x", 2000) + `"}`)
	b.SetBytes(int64(len(e.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Deliver(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}

var _ Sink = (*logSink)(nil)
