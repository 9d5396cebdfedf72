package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// The conformance suite says what every kind of sink must do. A new kind adds
// a fixture and is done when the suite passes; what only HTTP kinds can do
// wrong is in conformance_http_test.go.

// fixture says how the suite sets up one kind.
type fixture struct {
	// options is the YAML of a sink that delivers to url and holds allSecrets
	// as far as the kind has a place for them.
	options func(url string) string
	// http says that url is dialled, so that all that HTTP can do applies.
	http bool
	// receipts returns what the receiver has, in the order of arrival.
	receipts func(*receiver, *testing.T) []receipt
	// serve starts what the kind delivers to when that is neither the HTTP
	// server nor the standard output of a receiver, and returns what options
	// takes for url and what has arrived; receipts is then (*receiver).elsewhere.
	serve func(*testing.T) (url string, arrived func(*testing.T) []receipt)
	// reformats: the kind may change the white space of a JSON body.
	reformats bool
	// arrives says what of a body the receiver has; nil: all of it.
	arrives func(body []byte) []byte
	// batch is how the kind takes batches; nil: it does not.
	batch *batchFixture
}

func fixtures() map[string]fixture {
	return map[string]fixture{
		"http": {
			options: func(base string) string {
				return fmt.Sprintf("url: %q\nheaders: {Authorization: %q}",
					base+"/"+pathSecret+"?key="+url.QueryEscape(querySecret), "Bearer "+headerSecret)
			},
			http:     true,
			receipts: (*receiver).posted,
		},
		"log": {
			options:   func(string) string { return "" },
			receipts:  (*receiver).logged,
			reformats: true,
		},
		"slack": slackFixture(),
		"nats":  natsFixture(),
		"s3":    s3Fixture(),
	}
}

func TestEveryKindHasAFixture(t *testing.T) {
	t.Parallel()
	got := slices.Sorted(maps.Keys(fixtures()))
	if diff := cmp.Diff(Kinds(), got); diff != "" {
		t.Errorf("kinds without a fixture, or fixtures without a kind (-kinds +fixtures):\n%s", diff)
	}
}

// everyKind runs test for each kind.
func everyKind(t *testing.T, test func(t *testing.T, kind string, f fixture)) {
	t.Parallel()
	for kind, f := range fixtures() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, kind, f)
		})
	}
}

// open opens a sink of the kind that delivers to r, and at the end of the test
// looks for secrets in what was logged.
func (f fixture) open(t *testing.T, kind string, r *receiver) Sink {
	t.Helper()
	logger, logged := quiet()
	t.Cleanup(func() { checkNoSecret(t, "log", logged.String()) })
	return openSink(t, kind, f.options(r.at(t, f)), Deps{Stdout: r, Logger: logger})
}

func TestEveryPayloadArrives(t *testing.T) {
	payloads := map[string][]byte{
		"one byte":       []byte("7"),
		"one MiB":        []byte(`"` + strings.Repeat("x", 1<<20-2) + `"`),
		"JSON":           []byte(`{"a": [1.50, "ü", null], "a": 2}`),
		"JSON, indented": []byte("{\r\n  \"a\": [\n    1\n  ]\n}\n"),
		"deep JSON":      []byte(strings.Repeat("[", 20000) + strings.Repeat("]", 20000)),
		"broken JSON":    []byte(`{"a": `),
		"form":           []byte("a=1&b=2"),
		"text of lines":  []byte("one\ntwo\r\n\x1b[31mred\u009b"),
		"not UTF-8":      []byte("{\"a\": \"\xff\xfe\"}"),
		"zero bytes":     make([]byte, 100),
	}
	everyKind(t, func(t *testing.T, kind string, f fixture) {
		for name, payload := range payloads {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := newReceiver(t, nil)
				e := sampleEvent()
				e.Body = bytes.Clone(payload)
				if err := f.open(t, kind, r).Deliver(t.Context(), e); err != nil {
					t.Fatalf("Deliver: %v", err)
				}
				f.checkReceived(t, r, e.ID, payload)
				if !bytes.Equal(e.Body, payload) {
					t.Error("Deliver changed the event's body")
				}
			})
		}
	})
}

// checkReceived checks that r has one event with the body, byte for byte.
func (f fixture) checkReceived(t *testing.T, r *receiver, id string, body []byte) {
	t.Helper()
	got := f.received(t, r, 1)
	if len(got) != 1 || got[0].id != id {
		t.Fatalf("the receiver has %d events (%.300q), want one with id %q", len(got), got, id)
	}
	var compact bytes.Buffer
	if f.reformats && json.Compact(&compact, body) == nil && bytes.ContainsAny(body, "\n") {
		body = compact.Bytes()
	}
	if f.arrives != nil {
		body = f.arrives(body)
	}
	if !bytes.Equal(got[0].body, body) {
		t.Errorf("body arrived as %.300q, want %.300q", got[0].body, body)
	}
}

func TestEveryAttributeIsDeliverable(t *testing.T) {
	attributes := map[string]string{
		"empty":            "",
		"spaces":           " orders / invoice paid ",
		"line breaks":      "orders\r\nX-Evil: 1\r\n\r\nGET / HTTP/1.1",
		"unicode":          "заказ/счёт.оплачен 💰",
		"quotes":           `a"b\c'd%`,
		"NUL and controls": "\x00\x01\x1b[31m\x7f",
		"not UTF-8":        "\xff\xfe",
		"5,000 bytes":      strings.Repeat("long", 1250),
		"5,000 bytes of ü": strings.Repeat("ü", 2500),
	}
	everyKind(t, func(t *testing.T, kind string, f fixture) {
		for name, value := range attributes {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := newReceiver(t, nil)
				s := f.open(t, kind, r)
				e := sampleEvent()
				e.Type, e.Subject, e.ContentType, e.TraceParent = value, value, value, value
				if err := s.Deliver(t.Context(), e); err != nil {
					t.Errorf("Deliver with type %.50q: %v", value, err)
				}
				e.Source = value
				if err := s.Deliver(t.Context(), e); err != nil {
					t.Errorf("Deliver with source %.50q: %v", value, err)
				}
				if got := f.received(t, r, 2); len(got) != 2 || !bytes.Equal(got[0].body, e.Body) {
					t.Errorf("the receiver has %.300q, want the event twice", got)
				}
			})
		}
	})
}

func TestSameIDOnEveryAttempt(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string, f fixture) {
		for name, id := range map[string]string{
			"uuid":                  "0B9F4A5E-7c1d-4c5e-9a58-0d2f4b6a8c10",
			"hash":                  "sha256-0123456789abcdef0123456789abcdef",
			"128 bytes":             strings.Repeat("i", 128),
			"needs encoding":        "order 1\n€",
			"128 bytes of encoding": strings.Repeat("ü", 64),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := newReceiver(t, nil)
				s := f.open(t, kind, r)
				other := sampleEvent()
				e := sampleEvent()
				e.ID = id
				other.ID = id + "x"
				for _, e := range []event.Event{e, e, other, e} {
					if err := s.Deliver(t.Context(), e); err != nil {
						t.Fatalf("Deliver: %v", err)
					}
				}
				got := f.received(t, r, 4)
				if len(got) != 4 || got[0].id == "" || got[1].id != got[0].id || got[3].id != got[0].id {
					t.Errorf("attempts came as %.400q, want the same id", got)
				}
				if got[2].id == got[0].id {
					t.Errorf("ids %q and %q both came as %q", id, other.ID, got[2].id)
				}
			})
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	const senders, each = 16, 20
	everyKind(t, func(t *testing.T, kind string, f fixture) {
		r := newReceiver(t, nil)
		s := f.open(t, kind, r)
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() {
				for j := range each {
					e := sampleEvent()
					e.ID = fmt.Sprintf("%d-%d", i, j)
					e.Body = fmt.Appendf(nil, `{"id":%q}`, e.ID)
					if err := s.Deliver(t.Context(), e); err != nil {
						t.Errorf("Deliver %s: %v", e.ID, err)
					}
				}
			})
		}
		wg.Wait()
		seen := map[string]bool{}
		for _, got := range f.received(t, r, senders*each) {
			if want := fmt.Sprintf(`{"id":%q}`, got.id); string(got.body) != want {
				t.Errorf("event %s came with body %s", got.id, got.body)
			}
			seen[got.id] = true
		}
		if len(seen) != senders*each {
			t.Errorf("%d different events came, want %d", len(seen), senders*each)
		}
	})
}

func TestCancelledBeforeTheAttempt(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string, f fixture) {
		r := newReceiver(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := f.open(t, kind, r).Deliver(ctx, sampleEvent())
		if !errors.Is(err, context.Canceled) || delivery.ClassOf(err) != delivery.Failed {
			t.Errorf("Deliver = %v (%s), want context.Canceled, classed %s", err, delivery.ClassOf(err), delivery.Failed)
		}
		if got := f.receipts(r, t); len(got) != 0 {
			t.Errorf("the receiver has %q, want nothing", got)
		}
	})
}

func TestCloseWhileBusy(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string, f fixture) {
		entered, release := make(chan struct{}, 8), make(chan struct{})
		r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
			entered <- struct{}{}
			<-release
		})
		s := f.open(t, kind, r)
		results := make(chan error, 8)
		for range cap(results) {
			go func() { results <- s.Deliver(t.Context(), sampleEvent()) }()
		}
		if f.http {
			for range cap(entered) {
				<-entered
			}
		}
		if c, ok := s.(io.Closer); ok {
			if err := c.Close(); err != nil {
				t.Errorf("Close while busy: %v", err)
			}
		}
		close(release)
		for range cap(results) {
			// One that has not begun may come after Close.
			if err := <-results; err != nil && !errors.Is(err, errClosed) {
				t.Errorf("Deliver during Close: %v", err)
			}
		}
	})
}

// checkNoSecret checks that text holds no secret, however it is spelt.
func checkNoSecret(t *testing.T, what, text string) {
	t.Helper()
	for _, s := range allSecrets {
		for _, form := range spellings(s) {
			if strings.Contains(text, form) {
				t.Errorf("%s holds the secret %q: %.500q", what, s, text)
			}
		}
	}
}

// longEnough is how long a test waits for what has to come, on whatever machine.
const longEnough = 2 * time.Minute

// received waits until the receiver has n events, and returns all it has. An
// answer may come before the last hop of what it answers.
func (f fixture) received(t *testing.T, r *receiver, n int) (all []receipt) {
	t.Helper()
	eventuallyT(t, fmt.Sprintf("the receiver has %d events", n), func() bool {
		all = f.receipts(r, t)
		return len(all) >= n
	})
	return all
}

// within returns a context that is done soon enough for a test.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
