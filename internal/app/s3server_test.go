package app

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/klauspost/compress/zstd"

	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/sinks"
)

const (
	storeKey    = "key-of-the-tests"
	storeSecret = "secret-of-the-tests"
)

// buildStore builds the S3 server, unless make tools has: it takes a while and
// is in a module of its own, so that the product requires nothing of it.
var buildStore = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs(moduleRoot)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(root, "dist/tools/versitygw")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	build := exec.Command("go", "-C", filepath.Join(root, "tools/s3server"), "build", "-o", binary, "github.com/versity/versitygw/cmd/versitygw")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build S3 server: %w\n%s", err, out)
	}
	return binary, nil
})

// objectStore is a real S3 server and a client that reads from it.
type objectStore struct {
	url    string
	client *s3.Client
}

func startStore(t *testing.T) *objectStore {
	t.Helper()
	binary, err := buildStore()
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + freePort(t)
	root, sidecar := t.TempDir(), t.TempDir()
	cmd := exec.Command(binary, "--access", storeKey, "--secret", storeSecret, "--port", address, "--quiet", "posix", "--sidecar", sidecar, root)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	o := &objectStore{url: "http://" + address}
	o.client = s3.New(s3.Options{
		BaseEndpoint: aws.String(o.url), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(storeKey, storeSecret, ""),
	})
	eventually(t, "the S3 server answers", func() bool {
		_, err := o.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("events")})
		return err == nil
	})
	return o
}

// read returns all objects, by key.
func (o *objectStore) read(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	pages := s3.NewListObjectsV2Paginator(o.client, &s3.ListObjectsV2Input{Bucket: aws.String("events")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range page.Contents {
			got, err := o.client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("events"), Key: x.Key})
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(got.Body)
			got.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			all[*x.Key] = data
		}
	}
	return all
}

// storedEvent is a line of an object.
type storedEvent struct {
	ID   string
	Body json.RawMessage
}

// events returns the lines of all objects.
func (o *objectStore) events(t *testing.T) []storedEvent {
	t.Helper()
	var all []storedEvent
	for key, data := range o.read(t) {
		var r io.Reader = bytes.NewReader(data)
		switch filepath.Ext(key) {
		case ".gz":
			z, err := gzip.NewReader(r)
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			r = z
		case ".zst":
			z, err := zstd.NewReader(r)
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			defer z.Close()
			r = z
		}
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			var e storedEvent
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatalf("%s: line %.200s: %v", key, lines.Text(), err)
			}
			all = append(all, e)
		}
		if err := lines.Err(); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
	}
	return all
}

// yaml is the options of a sink that stores here.
func (o *objectStore) yaml(more string) string {
	return fmt.Sprintf("{kind: s3, bucket: events, endpoint: %q, region: us-east-1, path_style: true, access_key_id: %s, secret_access_key: %s, %s}",
		o.url, storeKey, storeSecret, more)
}

// openStoreSink opens the sink that the YAML describes.
func openStoreSink(t *testing.T, yaml string) sinks.BatchSink {
	t.Helper()
	c, ms := Parse("s3.yaml", []byte(fullYAML(t.TempDir(), "sinks: {lake: "+yaml+"}\nroutes: [{match: [\">\"], to: [lake]}]\n")), LoadOptions{})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatal(fatal)
	}
	s, err := sinks.Open(c.Sinks[0], sinks.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return s.(sinks.BatchSink)
}

func sampleBatch(n, size int) []event.Event {
	var all []event.Event
	for i := range n {
		noise := make([]byte, size) // that no compressor makes smaller
		for j := range noise {
			noise[j] = byte('#' + rand.IntN(57)) // no quotes, no backslash
		}
		all = append(all, event.Event{
			ID: fmt.Sprint("e", i), Type: "order.created", Subject: "order.created", Source: "cf", Seq: uint64(i + 1),
			Received: time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC), Body: fmt.Appendf(nil, `{"n":%d,"noise":"%s"}`, i, noise),
		})
	}
	return all
}

func TestObjectsComeBackFromAServer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		options string
		n, size int
	}{
		"none":           {"compression: none", 50, 100},
		"gzip":           {"compression: gzip", 50, 100},
		"zstd":           {"compression: zstd", 50, 100},
		"in parts":       {"compression: none", 20, 1 << 20},
		"tags and class": {"tags: {team: sales}, storage_class: STANDARD", 2, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := startStore(t)
			batch := sampleBatch(tt.n, tt.size)
			s := openStoreSink(t, o.yaml(tt.options))
			for range 2 { // repeated, it replaces itself
				if err := errors.Join(s.DeliverBatch(t.Context(), batch)...); err != nil {
					t.Fatal(err)
				}
			}
			got := map[string]string{}
			for _, e := range o.events(t) {
				got[e.ID] += string(e.Body)
			}
			for _, e := range batch {
				if got[e.ID] != string(e.Body) {
					t.Errorf("%s came back as %.100q, want it once as it was", e.ID, got[e.ID])
				}
			}
			if len(got) != tt.n {
				t.Errorf("%d events came back, want %d", len(got), tt.n)
			}
		})
	}
}

func TestAServerRefuses(t *testing.T) {
	t.Parallel()
	o := startStore(t)
	for name, tt := range map[string]struct{ from, to, want string }{
		"wrong key":      {storeKey, "another-key", "the access key is not known"},
		"wrong secret":   {storeSecret, "another-secret", "SignatureDoesNotMatch"},
		"missing bucket": {"bucket: events", "bucket: others", "NoSuchBucket"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openStoreSink(t, strings.Replace(o.yaml("object: batch"), tt.from, tt.to, 1))
			for _, err := range s.DeliverBatch(t.Context(), sampleBatch(2, 10)) {
				if delivery.ClassOf(err) != delivery.Refused || !strings.Contains(fmt.Sprint(err), tt.want) {
					t.Errorf("%v (%s), want %s, classed %s", err, delivery.ClassOf(err), tt.want, delivery.Refused)
				}
			}
		})
	}
}

// TestEveryEventReachesTheServer goes the whole way, with a kill after objects
// were stored and before all of their events were acknowledged.
func TestEveryEventReachesTheServer(t *testing.T) {
	t.Parallel()
	const events = 60
	o := startStore(t)
	yaml := fullYAML(t.TempDir(), "server: {listen: \"127.0.0.1:0\", admin: \"\"}\nsinks: {lake: "+
		o.yaml("batch: {max_events: 10, max_wait: 200ms}, retry: {initial: 50ms}")+"}\nroutes: [{match: [\">\"], to: [lake]}]\n")
	v := startVictim(t, yaml, string(broker.StepAttempted)+":15")
	sent := 0
	for ; sent < events; sent++ {
		if got, err := tryPost(t.Context(), v.url, body(fmt.Sprint("e", sent), "order.created")); err != nil || got.Status != http.StatusAccepted {
			break // it was killed; the sender sends this one again
		}
	}
	select {
	case <-v.dead:
	case <-time.After(patience):
		t.Fatal("the process was never killed")
	}
	v = startVictim(t, yaml, "")
	for ; sent < events; sent++ {
		accepted(t, v.url, body(fmt.Sprint("e", sent), "order.created"))
	}
	ids := map[string]int{}
	eventually(t, "every event is stored", func() bool {
		clear(ids)
		for _, e := range o.events(t) {
			ids[e.ID]++
		}
		return len(ids) == events
	})
	v.signal(syscall.SIGTERM)
	for i := range events {
		if ids[fmt.Sprint("e", i)] == 0 {
			t.Errorf("e%d is missing", i)
		}
	}
}
