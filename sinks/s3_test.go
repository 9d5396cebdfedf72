package sinks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// s3Keyed is a sink of kind s3 at url, with more keys.
func s3Keyed(url, more string) string {
	return fmt.Sprintf("bucket: events\nregion: eu-central-1\nendpoint: %q\npath_style: true\naccess_key_id: %q\nsecret_access_key: %q\nsession_token: %q\n%s",
		url, querySecret, headerSecret, pathSecret, more)
}

// s3Fixture delivers each event as an object, whose body and id are to be seen.
func s3Fixture() fixture {
	return fixture{
		batch: &batchFixture{
			options: func(url string) string { return s3Keyed(url, "") },
			events:  inOrder(4),
			refuse:  func(r *http.Request) bool { return strings.Contains(r.URL.Path, "hr=12") },
			refused: func(e event.Event) bool { return e.Received.Hour() == 12 },
			ids: func(r *receiver, t *testing.T) []string {
				var ids []string
				for key, data := range r.stored() {
					for line := range strings.Lines(unpack(t, key, data)) {
						var l struct{ ID string }
						if err := json.Unmarshal([]byte(line), &l); err != nil {
							t.Errorf("line %q: %v", line, err)
						}
						ids = append(ids, l.ID)
					}
				}
				return ids
			},
		},
		options: func(url string) string { return s3Keyed(url, "object: event") },
		http:    true,
		receipts: func(r *receiver, _ *testing.T) []receipt {
			r.mu.Lock()
			defer r.mu.Unlock()
			var all []receipt
			for i, req := range r.requests {
				all = append(all, receipt{req.Header.Get("X-Amz-Meta-Id"), r.bodies[i]})
			}
			return all
		},
	}
}

// stored is what a receiver has, by key.
func (r *receiver) stored() map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string][]byte{}
	for i, req := range r.requests {
		all[strings.TrimPrefix(req.URL.Path, "/events/")] = r.bodies[i]
	}
	return all
}

// unpack undoes the compression that the key names.
func unpack(t *testing.T, key string, data []byte) string {
	t.Helper()
	var out bytes.Buffer
	switch {
	case strings.HasSuffix(key, ".gz"):
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.ReadFrom(z); err != nil {
			t.Fatal(err)
		}
	case strings.HasSuffix(key, ".zst"):
		z, err := zstd.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		if _, err := out.ReadFrom(z); err != nil {
			t.Fatal(err)
		}
	default:
		out.Write(data)
	}
	return out.String()
}

// numbered returns n events a minute apart, in an order that is not theirs.
func inOrder(n int) []event.Event {
	var all []event.Event
	for i := range n {
		e := sampleEvent()
		e.Seq = uint64(n - i)
		e.ID = fmt.Sprintf("e%d", e.Seq)
		e.Received = time.Date(2026, 11, 23, 11, 58, 0, 0, time.UTC).Add(time.Duration(e.Seq) * time.Minute)
		all = append(all, e)
	}
	return all
}

func deliverBatch(t *testing.T, s Sink, events []event.Event) []error {
	t.Helper()
	b, ok := s.(BatchSink)
	if !ok {
		t.Fatalf("%T takes no batches", s)
	}
	errs := b.DeliverBatch(t.Context(), events)
	if len(errs) != len(events) {
		t.Fatalf("%d outcomes for %d events", len(errs), len(events))
	}
	return errs
}

func TestS3StoresABatchByPartition(t *testing.T) {
	t.Parallel()
	for _, compression := range []string{"none", "gzip", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, nil)
			s := openSink(t, "s3", s3Keyed(r.URL, "compression: "+compression), Deps{})
			for range 2 { // the same events come to the same objects
				if err := errors.Join(deliverBatch(t, s, inOrder(3))...); err != nil {
					t.Fatal(err)
				}
			}
			objects := r.stored()
			if len(objects) != 2 {
				t.Fatalf("%d objects, want one for each hour", len(objects))
			}
			var lines []string
			for key, data := range objects {
				for line := range strings.Lines(unpack(t, key, data)) {
					var l struct {
						ID       string
						Seq      uint64
						Received time.Time
						Body     json.RawMessage
					}
					if err := json.Unmarshal([]byte(line), &l); err != nil {
						t.Fatalf("line %q: %v", line, err)
					}
					if hour := l.Received.Format("crm/dt=2006-01-02/hr=15/"); !strings.HasPrefix(key, hour) {
						t.Errorf("event of %s lies in %s", l.Received, key)
					}
					if string(l.Body) != string(sampleEvent().Body) {
						t.Errorf("body %s, want %s", l.Body, sampleEvent().Body)
					}
					lines = append(lines, l.ID)
				}
			}
			if len(lines) != 3 {
				t.Errorf("events %q, want three", lines)
			}
		})
	}
}

func TestS3Codes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		code   string
		class  delivery.Class
		text   string
	}{
		{404, "NoSuchBucket", delivery.Refused, "the bucket does not exist"},
		{403, "AccessDenied", delivery.Refused, "bucket's policy"},
		{403, "InvalidAccessKeyId", delivery.Refused, "access_key_id"},
		{403, "SignatureDoesNotMatch", delivery.Refused, "secret_access_key"},
		{400, "ExpiredToken", delivery.Refused, "expired"},
		{301, "PermanentRedirect", delivery.Refused, "the bucket is in region eu-west-1"},
		{400, "AuthorizationHeaderMalformed", delivery.Refused, "the bucket is in region eu-west-1"},
		{503, "SlowDown", delivery.Throttled, "SlowDown"},
		{400, "RequestTimeout", delivery.Failed, "RequestTimeout"},
		{500, "InternalError", delivery.Failed, "InternalError"},
		{400, "EntityTooLarge", delivery.Rejected, "batch.max_bytes"},
		{400, "InvalidArgument", delivery.Rejected, "InvalidArgument"},
		{418, "<script>", delivery.Refused, "answered 418"},
	} {
		t.Run(tt.code, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(tt.status)
				fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s</Message><Region>eu-west-1</Region></Error>", tt.code, r.Header.Get("X-Amz-Security-Token"))
			})
			err := deliverBatch(t, openSink(t, "s3", s3Keyed(r.URL, ""), Deps{}), inOrder(1))[0]
			var e *delivery.Error
			if !errors.As(err, &e) || e.Class != tt.class || e.Status != tt.status || !strings.Contains(e.Error(), tt.text) {
				t.Errorf("%v (%#v), want class %s and %q", err, e, tt.class, tt.text)
			}
			checkNoSecret(t, "error", fmt.Sprint(err))
			if e != nil {
				checkNoSecret(t, "response", string(e.Response))
			}
		})
	}
}

func TestS3AsksForWhatIsConfigured(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	s := openSink(t, "s3", s3Keyed(r.URL, "object: event\nsse: aws:kms\nkms_key_id: key-1\nstorage_class: STANDARD_IA\ntags: {team: sales, a b: \"1&2\"}\ncontent_type: text/plain"), Deps{})
	if err := s.Deliver(t.Context(), sampleEvent()); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, want := range map[string]string{
		"X-Amz-Server-Side-Encryption":                "aws:kms",
		"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "key-1",
		"X-Amz-Storage-Class":                         "STANDARD_IA",
		"X-Amz-Tagging":                               "a+b=1%262&team=sales",
		"Content-Type":                                "text/plain",
		"X-Amz-Meta-Type":                             "orders/invoice.paid",
		"X-Amz-Meta-Seq":                              "42",
	} {
		if got := r.requests[0].Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	evil := sampleEvent()
	evil.ID, evil.Subject = "../../../etc/passwd", "a/../b"
	long := sampleEvent()
	long.ID = strings.Repeat("ü", 500)
	for name, tt := range map[string]struct {
		key  string
		e    event.Event
		want string
	}{
		"default":         {defaultBatchKey, sampleEvent(), "crm/dt=2026-11-23/hr=11/000000000042-000000000050-0b9f4a5e-7c1d-4c5e-9a58-0d2f4b6a8c10.ndjson"},
		"climbs nowhere":  {"{{subject}}/{{id}}", evil, "a%2F..%2Fb/%2E.%2F..%2F..%2Fetc%2Fpasswd"},
		"other digits":    {"v1/2015/20060102/{{ id }}", sampleEvent(), "v1/2015/20060102/0b9f4a5e-7c1d-4c5e-9a58-0d2f4b6a8c10"},
		"nothing to fill": {"{{source}}/{{id}}", event.Event{}, "_/_"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, what, _ := parseKey(tt.key)
			if what != "" {
				t.Fatal(what)
			}
			if diff := cmp.Diff(tt.want, k.render("crm", &tt.e, 50, tt.e.ID, "ndjson")); diff != "" {
				t.Errorf("key (-want +got):\n%s", diff)
			}
		})
	}
	a, b := escapeKey(long.ID), escapeKey(long.ID+"x")
	if a == b || len(a) > maxKeyValue || strings.Contains(a, "/") {
		t.Errorf("long ids came to %q and %q", a, b)
	}
}

func TestS3Mistakes(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"region: eu-central-1":                        "bucket",
		"bucket: Not_A_Bucket":                        "3 to 63",
		"bucket: events\nendpoint: ftp://x":           "https://s3.example.com",
		"bucket: events\naccess_key_id: abc":          "no secret_access_key",
		"bucket: events\nsecret_access_key: abc":      "no access_key_id",
		"bucket: events\nkms_key_id: abc":             "sse: aws:kms",
		"bucket: events\nkey: \"a/{{first}}\"":        "{{id}}",
		"bucket: events\nkey: \"{{nope}}/{{id}}\"":    "known are",
		"bucket: events\nkey: \"../{{id}}\"":          "between slashes",
		"bucket: events\ncompression: brotli":         "gzip",
		"bucket: events\nbatch: {max_events: 0}":      "max_events",
		"bucket: events\nrole_arn: admin":             "arn:aws:iam",
		"bucket: events\nstorage_class: cheap please": "STANDARD_IA",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			if got := Check(sinkConfig(t, "s3", options)); !strings.Contains(fmt.Sprint(got), want) {
				t.Errorf("Check = %v, want it to say %q", got, want)
			}
		})
	}
}

func TestS3Preview(t *testing.T) {
	t.Parallel()
	for _, object := range []string{"event", "batch"} {
		r := newReceiver(t, nil)
		s := openSink(t, "s3", s3Keyed(r.URL, "compression: none\nobject: "+object), Deps{})
		p, err := s.(Previewer).Preview(sampleEvent())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Deliver(t.Context(), sampleEvent()); err != nil {
			t.Fatal(err)
		}
		for key, body := range r.stored() {
			if "s3://events/"+key != p.Target || !bytes.Equal(body, p.Body) {
				t.Errorf("preview %s %s, but stored %s %s", p.Target, p.Body, key, body)
			}
		}
		checkNoSecret(t, "preview", fmt.Sprint(p, s))
	}
}

// wordyBody is 1 KiB of JSON with as much in it that is new as an order has:
// names, numbers and dates.
func wordyBody(r *rand.Rand) []byte {
	b := fmt.Appendf(nil, `{"event_type":"orders/invoice.paid","data":{"id":%d,"items":[`, r.Uint32())
	for len(b) < 940 {
		b = fmt.Appendf(b, `{"sku":"%x","name":"Course %d","price":"%d.%02d","at":"2026-11-%02dT%02d:00:00Z"},`,
			r.Uint32(), r.IntN(500), r.IntN(900), r.IntN(100), 1+r.IntN(30), r.IntN(24))
	}
	b = append(b, `"`...)
	return append(append(b, strings.Repeat("x", 1020-len(b))...), `"]}}`...)
}

// wordyBatch is 1,000 events of 1 KiB.
func wordyBatch() []event.Event {
	events := make([]event.Event, 1000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range events {
		events[i] = sampleEvent()
		events[i].Seq = uint64(i)
		events[i].Body = wordyBody(r)
	}
	return events
}

// BenchmarkS3Pack makes batches and sends them nowhere.
func BenchmarkS3Pack(b *testing.B) {
	events := wordyBatch()
	places := make([]int, len(events))
	for i := range places {
		places[i] = i
	}
	for _, compression := range []string{"none", "gzip", "zstd"} {
		b.Run(compression, func(b *testing.B) {
			p := newPacker(compression)
			size := 0
			b.ReportAllocs()
			for b.Loop() {
				out, err := p.pack(events, places, size)
				if err != nil {
					b.Fatal(err)
				}
				size = len(out)
			}
			b.ReportMetric(float64(b.N*len(events))/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(size)/float64(len(events)), "B/event")
		})
	}
}

// BenchmarkS3Deliver stores batches in a local server that keeps nothing, and
// beside it, as the ceiling, puts objects of the same size there with a bare
// client.
func BenchmarkS3Deliver(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	b.Cleanup(server.Close)
	events := wordyBatch()
	for _, compression := range []string{"none", "gzip", "zstd"} {
		b.Run(compression, func(b *testing.B) {
			s := openSink(b, "s3", s3Keyed(server.URL, "compression: "+compression), Deps{}).(BatchSink)
			b.ReportAllocs()
			for b.Loop() {
				if err := errors.Join(s.DeliverBatch(b.Context(), events)...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*len(events))/b.Elapsed().Seconds(), "events/s")
		})
	}
	b.Run("bare", func(b *testing.B) {
		data := make([]byte, 1000*1200)
		for b.Loop() {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodPut, server.URL+"/events/key", bytes.NewReader(data))
			if err != nil {
				b.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				b.Fatal(err)
			}
			resp.Body.Close()
		}
		b.ReportMetric(float64(b.N*1000)/b.Elapsed().Seconds(), "events/s")
	})
}
