package app

import (
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// s3Bucket is the bucket called events of a whole S3 server. It is read by plain
// requests that are signed here, by nothing that the sink uses.
type s3Bucket struct {
	t   *testing.T
	url string // of the server
}

func startS3(t *testing.T) s3Bucket {
	t.Helper()
	return s3Bucket{t, startStore(t).url}
}

// sink is the YAML of a sink that puts objects into the bucket.
func (b s3Bucket) sink(more string) string {
	return fmt.Sprintf("sinks:\n  lake: {kind: s3, bucket: events, endpoint: %q, path_style: true, access_key_id: %s, secret_access_key: %s, %s}\n"+
		"routes: [{match: ['>'], to: [lake]}]\n", b.url, storeKey, storeSecret, more)
}

// get makes a request with a signature of version 4, whose header has only
// what must be signed.
func (b s3Bucket) get(path, query string) ([]byte, http.Header) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+path+"?"+query, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	const signed = "host;x-amz-content-sha256;x-amz-date"
	now := time.Now().UTC()
	day, stamp := now.Format("20060102"), now.Format("20060102T150405Z")
	empty := hash("")
	scope := day + "/us-east-1/s3/aws4_request"
	canonical := strings.Join([]string{"GET", req.URL.EscapedPath(), query,
		"host:" + req.URL.Host + "\nx-amz-content-sha256:" + empty + "\nx-amz-date:" + stamp + "\n", signed, empty}, "\n")
	key := []byte("AWS4" + storeSecret)
	for _, part := range strings.Split(scope, "/") {
		key = sign(key, part)
	}
	signature := hex.EncodeToString(sign(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hash(canonical)))
	req.Header.Set("X-Amz-Content-Sha256", empty)
	req.Header.Set("X-Amz-Date", stamp)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+storeKey+"/"+scope+",SignedHeaders="+signed+",Signature="+signature)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.t.Fatalf("GET %s answered %d %s, %v", path, resp.StatusCode, body, err)
	}
	return body, resp.Header
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func sign(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}

// keys lists the bucket.
func (b s3Bucket) keys() []string {
	b.t.Helper()
	var keys []string
	for after := ""; ; {
		answer, _ := b.get("/events", "list-type=2&start-after="+url.QueryEscape(after))
		var list struct {
			IsTruncated bool
			Contents    []struct{ Key string }
		}
		if err := xml.Unmarshal(answer, &list); err != nil {
			b.t.Fatal(err)
		}
		for _, c := range list.Contents {
			keys, after = append(keys, c.Key), c.Key
		}
		if !list.IsTruncated {
			return keys
		}
	}
}

// object gets one object, whose key is escaped as signatures want it.
func (b s3Bucket) object(key string) ([]byte, http.Header) {
	b.t.Helper()
	return b.get("/events/"+strings.NewReplacer("=", "%3D").Replace(key), "")
}

// TestS3ObjectOfEveryEvent reads back every event once per id, its body byte
// for byte.
func TestS3ObjectOfEveryEvent(t *testing.T) {
	t.Parallel()
	bucket := startS3(t)
	p := run(t, t.TempDir(), bucket.sink("object: event"))
	const n = 60
	sent := map[string]string{}
	for i := range n {
		id := fmt.Sprint("event-", i)
		b := fmt.Sprintf("{\"event_id\": %q,\n \"event_type\": \"orders/invoice.paid\", \"data\": {\"n\": %d.50}}\n", id, i)
		sent[id] = b
		accepted(t, p.url(), []byte(b))
		accepted(t, p.url(), []byte(b)) // senders repeat themselves
	}
	eventually(t, "an object for each event", func() bool { return len(bucket.keys()) >= n })
	for _, key := range bucket.keys() {
		data, header := bucket.object(key)
		id := header.Get("X-Amz-Meta-Id")
		if sent[id] != string(data) {
			t.Errorf("object %s with id %q is %q, want %q", key, id, data, sent[id])
		}
		delete(sent, id)
	}
	if len(sent) != 0 {
		t.Errorf("no object, or a second one, for %v", sent)
	}
}

// TestS3BatchesOfEveryEvent reads back every event once per id from batches.
func TestS3BatchesOfEveryEvent(t *testing.T) {
	t.Parallel()
	bucket := startS3(t)
	p := run(t, t.TempDir(), bucket.sink("batch: {max_events: 50, max_wait: 200ms}"))
	const n = 120
	for i := range n {
		accepted(t, p.url(), body(fmt.Sprint("event-", i), "orders/invoice.paid"))
	}
	seen, read := map[string]int{}, map[string]bool{}
	eventually(t, "all events in batches", func() bool {
		for _, key := range bucket.keys() {
			if !read[key] {
				read[key] = true
				bucket.count(key, seen)
			}
		}
		return len(seen) >= n
	})
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s is there %d times, want once", id, times)
		}
	}
	if len(seen) != n {
		t.Errorf("%d events, want %d", len(seen), n)
	}
}

// count counts the events of a batch by id.
func (b s3Bucket) count(key string, seen map[string]int) {
	b.t.Helper()
	data, _ := b.object(key)
	plain, err := gzip.NewReader(strings.NewReader(string(data)))
	if err != nil {
		b.t.Fatalf("%s: %v", key, err)
	}
	lines := json.NewDecoder(plain)
	for {
		var l struct {
			ID   string
			Body struct {
				ID string `json:"event_id"`
			}
		}
		switch err := lines.Decode(&l); {
		case err == io.EOF:
			return
		case err != nil || l.ID == "" || l.ID != l.Body.ID:
			b.t.Fatalf("%s: %+v, %v", key, l, err)
		}
		seen[l.ID]++
	}
}
