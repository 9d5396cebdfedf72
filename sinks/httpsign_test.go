package sinks

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestStandardWebhooksVector is the vector that the specification's own
// libraries are tested with.
func TestStandardWebhooksVector(t *testing.T) {
	t.Parallel()
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := standardWebhooks([][]byte{key}).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if got[0] != "1614265330" || got[1] != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signed as %q", got)
	}
}

const (
	rawKey   = "0123456789abcdef0123456789abcdef"
	otherKey = "fedcba9876543210fedcba9876543210"
)

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func sumOf(algorithm func() hash.Hash, key, message string) []byte {
	m := hmac.New(algorithm, []byte(key))
	m.Write([]byte(message))
	return m.Sum(nil)
}

// TestSigned checks the headers that a receiver gets, by the formula of each scheme.
func TestSigned(t *testing.T) {
	t.Parallel()
	big := []byte(`{"data":"` + strings.Repeat("x", 4*minGzip) + `"}`)
	v1 := func(key string, h http.Header, body []byte) string {
		message := h.Get("Webhook-Id") + "." + h.Get("Webhook-Timestamp") + "." + string(body)
		return "v1," + base64Of(string(sumOf(sha256.New, key, message)))
	}
	for name, tt := range map[string]struct {
		sign   string
		header string
		stamp  string // header with the time of the attempt
		want   func(h http.Header, body []byte) string
	}{
		"standard webhooks": {
			"{scheme: standard-webhooks, secrets: whsec_" + base64Of(rawKey) + "}", "Webhook-Signature", "Webhook-Timestamp",
			func(h http.Header, body []byte) string { return v1(rawKey, h, body) },
		},
		"standard webhooks, rotation, without the prefix, without padding": {
			"{scheme: standard-webhooks, secrets: [" + base64Of(rawKey) + ", whsec_" + strings.TrimRight(base64Of(otherKey), "=") + "]}",
			"Webhook-Signature", "Webhook-Timestamp",
			func(h http.Header, body []byte) string { return v1(rawKey, h, body) + " " + v1(otherKey, h, body) },
		},
		"clickfunnels": {
			"{scheme: clickfunnels, secrets: " + rawKey + "}", "X-Webhook-ClickFunnels-Signature", "X-Webhook-ClickFunnels-Timestamp",
			func(h http.Header, body []byte) string {
				return hex.EncodeToString(sumOf(sha256.New, rawKey, h.Get("X-Webhook-ClickFunnels-Timestamp")+"."+string(body)))
			},
		},
		"hmac": {
			"{scheme: hmac, secrets: " + rawKey + ", header: x-signature}", "X-Signature", "",
			func(_ http.Header, body []byte) string {
				return hex.EncodeToString(sumOf(sha256.New, rawKey, string(body)))
			},
		},
		"hmac as GitHub does": {
			"{scheme: hmac, secrets: " + rawKey + ", header: X-Hub-Signature, algorithm: sha1, prefix: sha1=}", "X-Hub-Signature", "",
			func(_ http.Header, body []byte) string {
				return "sha1=" + hex.EncodeToString(sumOf(sha1.New, rawKey, string(body)))
			},
		},
		"hmac in base64": {
			"{scheme: hmac, secrets: " + rawKey + ", header: X-S, algorithm: sha512, encoding: base64}", "X-S", "",
			func(_ http.Header, body []byte) string {
				return base64Of(string(sumOf(sha512.New, rawKey, string(body))))
			},
		},
	} {
		for _, zipped := range []string{"false", "true"} {
			t.Run(name+", gzip "+zipped, func(t *testing.T) {
				t.Parallel()
				r := newReceiver(t, nil)
				s := openSink(t, "http", "url: "+r.URL+"\ngzip: "+zipped+"\nsign: "+tt.sign, Deps{})
				e := sampleEvent()
				e.ID, e.Body = "id with spaces", big
				before := time.Now().Unix()
				if err := s.Deliver(t.Context(), e); err != nil {
					t.Fatalf("Deliver: %v", err)
				}
				h := r.lastHeader(t)
				if got, want := h.Get(tt.header), tt.want(h, big); got != want {
					t.Errorf("%s is %q, want %q", tt.header, got, want)
				}
				if tt.stamp == "" {
					return
				}
				if at, err := strconv.ParseInt(h.Get(tt.stamp), 10, 64); err != nil || at < before || at > time.Now().Unix() {
					t.Errorf("%s is %q, want the time of the attempt", tt.stamp, h.Get(tt.stamp))
				}
			})
		}
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	noise := sumOf(sha512.New, rawKey, "noise")
	for len(noise) < 2*minGzip {
		noise = append(noise, sumOf(sha512.New, rawKey, string(noise))...)
	}
	for name, tt := range map[string]struct {
		body    []byte
		encoded string
	}{
		"nothing":           {nil, ""},
		"one byte":          {[]byte("7"), ""},
		"below 1 KiB":       {bytes.Repeat([]byte("x"), minGzip-1), ""},
		"1 KiB":             {bytes.Repeat([]byte("x"), minGzip), "gzip"},
		"1 MiB":             {bytes.Repeat([]byte("0123456789abcdef"), 1<<16), "gzip"},
		"gets no shorter":   {noise, ""},
		"compressed before": {gzipped(t, noise), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, nil)
			s := openSink(t, "http", "gzip: true\nurl: "+r.URL, Deps{})
			e := sampleEvent()
			e.Body = bytes.Clone(tt.body)
			for range 3 { // the second has the writer of the first
				if err := s.Deliver(t.Context(), e); err != nil {
					t.Fatalf("Deliver: %v", err)
				}
			}
			if got := r.lastHeader(t).Get("Content-Encoding"); got != tt.encoded {
				t.Errorf("Content-Encoding is %q, want %q", got, tt.encoded)
			}
			for i, got := range r.bodies {
				if tt.encoded != "" {
					got = gunzipped(t, got)
				}
				if !bytes.Equal(got, tt.body) {
					t.Errorf("body %d came as %.100q, want %.100q", i, got, tt.body)
				}
			}
			if !bytes.Equal(e.Body, tt.body) {
				t.Error("Deliver changed the event's body")
			}
		})
	}
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gunzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("the body is not gzip: %v", err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read the body: %v", err)
	}
	return out
}
