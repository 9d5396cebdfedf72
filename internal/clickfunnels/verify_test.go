package clickfunnels

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// vector is a request made by hand, with the signature of the wrong reading of
// the secret beside the right one.
type vector struct {
	Secret    string `json:"secret"`
	Timestamp string `json:"timestamp"`
	Body      string `json:"body"`
	Signature string `json:"signature"`
	Wrong     string `json:"wrong_if_secret_hex_decoded"`
}

func readVector(t *testing.T) vector {
	t.Helper()
	data, err := os.ReadFile("testdata/signature_vector.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerify(t *testing.T) {
	t.Parallel()
	v := readVector(t)
	seconds, err := strconv.ParseInt(v.Timestamp, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(seconds, 0)
	header := func(signature, timestamp string) http.Header {
		return http.Header{SignatureHeader: {signature}, TimestampHeader: {timestamp}}
	}
	right := header(v.Signature, v.Timestamp)
	raw, err := hex.DecodeString(v.Secret)
	if err != nil {
		t.Fatal(err)
	}
	only := []string{v.Secret}
	for name, tt := range map[string]struct {
		secrets []string
		header  http.Header
		body    string
		now     time.Time
		want    error
	}{
		"right":                            {only, right, v.Body, at, nil},
		"second of two secrets":            {[]string{"other", v.Secret}, right, v.Body, at, nil},
		"first of two secrets":             {[]string{v.Secret, "other"}, right, v.Body, at, nil},
		"wrong secret":                     {[]string{"other"}, right, v.Body, at, ErrBadSignature},
		"several wrong secrets":            {[]string{"other", "another"}, right, v.Body, at, ErrBadSignature},
		"no secret":                        {nil, right, v.Body, at, ErrNoSecret},
		"empty secret":                     {[]string{""}, Sign("", at, []byte(v.Body)), v.Body, at, ErrNoSecret},
		"empty beside a right one":         {[]string{"", v.Secret}, Sign("", at, []byte(v.Body)), v.Body, at, ErrBadSignature},
		"body changed":                     {only, right, v.Body + " ", at, ErrBadSignature},
		"body empty":                       {only, right, "", at, ErrBadSignature},
		"timestamp changed":                {only, header(v.Signature, strconv.FormatInt(seconds+1, 10)), v.Body, at, ErrBadSignature},
		"same number, other text":          {only, header(v.Signature, "0"+v.Timestamp), v.Body, at, ErrBadSignature},
		"signed with the decoded secret":   {only, header(v.Wrong, v.Timestamp), v.Body, at, ErrBadSignature},
		"decoded secret configured":        {[]string{string(raw)}, right, v.Body, at, ErrBadSignature},
		"no headers":                       {only, nil, v.Body, at, ErrNoSignature},
		"timestamp alone":                  {only, http.Header{TimestampHeader: {v.Timestamp}}, v.Body, at, ErrNoSignature},
		"signature alone":                  {only, http.Header{SignatureHeader: {v.Signature}}, v.Body, at, ErrNoTimestamp},
		"signature twice":                  {only, http.Header{SignatureHeader: {v.Signature, v.Signature}, TimestampHeader: {v.Timestamp}}, v.Body, at, ErrDuplicateHeader},
		"timestamp twice":                  {only, http.Header{SignatureHeader: {v.Signature}, TimestampHeader: {v.Timestamp, v.Timestamp}}, v.Body, at, ErrDuplicateHeader},
		"upper case":                       {only, header(strings.ToUpper(v.Signature), v.Timestamp), v.Body, at, ErrMalformedSignature},
		"signature with a scheme":          {only, header("sha256="+v.Signature, v.Timestamp), v.Body, at, ErrMalformedSignature},
		"signature cut off":                {only, header(v.Signature[:63], v.Timestamp), v.Body, at, ErrMalformedSignature},
		"signature with a blank":           {only, header(v.Signature[:63]+" ", v.Timestamp), v.Body, at, ErrMalformedSignature},
		"signature empty":                  {only, header("", v.Timestamp), v.Body, at, ErrMalformedSignature},
		"signature huge":                   {only, header(strings.Repeat("a", 1<<20), v.Timestamp), v.Body, at, ErrMalformedSignature},
		"timestamp empty":                  {only, header(v.Signature, ""), v.Body, at, ErrMalformedTimestamp},
		"timestamp in milliseconds":        {only, header(v.Signature, v.Timestamp+"000"), v.Body, at, ErrMalformedTimestamp},
		"timestamp a date":                 {only, header(v.Signature, "2026-11-20T14:03:22Z"), v.Body, at, ErrMalformedTimestamp},
		"timestamp with a sign":            {only, header(v.Signature, "+"+v.Timestamp), v.Body, at, ErrMalformedTimestamp},
		"timestamp below zero":             {only, header(v.Signature, "-1"), v.Body, at, ErrMalformedTimestamp},
		"timestamp with a fraction":        {only, header(v.Signature, v.Timestamp+".5"), v.Body, at, ErrMalformedTimestamp},
		"timestamp huge":                   {only, header(v.Signature, strings.Repeat("1", 1<<20)), v.Body, at, ErrMalformedTimestamp},
		"600 s old":                        {only, right, v.Body, at.Add(600 * time.Second), nil},
		"600 s ahead":                      {only, right, v.Body, at.Add(-600 * time.Second), nil},
		"601 s old":                        {only, right, v.Body, at.Add(601 * time.Second), &StaleError{601 * time.Second}},
		"601 s ahead":                      {only, right, v.Body, at.Add(-601 * time.Second), &StaleError{-601 * time.Second}},
		"1000 years old":                   {only, right, v.Body, at.AddDate(1000, 0, 0), &StaleError{9223372036 * time.Second}},
		"old and not signed by the secret": {[]string{"other"}, right, v.Body, at.Add(601 * time.Second), ErrBadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := NewSource(Options{Secrets: tt.secrets}).Verify(tt.header, []byte(tt.body), tt.now)
			var stale, wantStale *StaleError
			if errors.As(tt.want, &wantStale) {
				if !errors.As(err, &stale) || *stale != *wantStale {
					t.Errorf("Verify = %v, want %v", err, tt.want)
				}
			} else if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
			malformed := errors.Is(tt.want, ErrNoSignature) || errors.Is(tt.want, ErrNoTimestamp) || errors.Is(tt.want, ErrDuplicateHeader) ||
				errors.Is(tt.want, ErrMalformedSignature) || errors.Is(tt.want, ErrMalformedTimestamp)
			if got := WellFormed(tt.header); got == malformed {
				t.Errorf("WellFormed = %t, want %t", got, !malformed)
			}
			if err != nil && strings.Contains(err.Error(), v.Secret) {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestSignMakesTheVector(t *testing.T) {
	t.Parallel()
	v := readVector(t)
	seconds, err := strconv.ParseInt(v.Timestamp, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	h := Sign(v.Secret, time.Unix(seconds, 999), []byte(v.Body))
	if got := h.Get("X-Webhook-ClickFunnels-Signature"); got != v.Signature {
		t.Errorf("signature %s, want %s", got, v.Signature)
	}
	if got := h.Get("X-Webhook-ClickFunnels-Timestamp"); got != v.Timestamp {
		t.Errorf("timestamp %s, want %s", got, v.Timestamp)
	}
}

func TestStaleErrorSaysWhichClockIsBehind(t *testing.T) {
	t.Parallel()
	for skew, want := range map[time.Duration]string{
		734 * time.Second:  "timestamp is 734 s behind our clock; at most 600 s are accepted",
		-734 * time.Second: "timestamp is 734 s ahead of our clock; at most 600 s are accepted",
	} {
		if got := (&StaleError{skew}).Error(); !strings.Contains(got, want) {
			t.Errorf("StaleError{%s} says %q, want %q in it", skew, got, want)
		}
	}
}

// A source is used by many requests at once, and its hashes are used again.
func TestVerifyConcurrently(t *testing.T) {
	t.Parallel()
	s := NewSource(Options{Secrets: []string{"old", "new"}})
	for worker := range 8 {
		t.Run(strconv.Itoa(worker), func(t *testing.T) {
			t.Parallel()
			for i := range 200 {
				body := fmt.Appendf(nil, `{"worker":%d,"i":%d}`, worker, i)
				if err := s.Verify(Sign([]string{"old", "new"}[i%2], arrival, body), body, arrival); err != nil {
					t.Fatalf("Verify = %v, want nil", err)
				}
				if err := s.Verify(Sign("wrong", arrival, body), body, arrival); !errors.Is(err, ErrBadSignature) {
					t.Fatalf("Verify of a wrong signature = %v, want %v", err, ErrBadSignature)
				}
			}
		})
	}
}

func FuzzVerifyHeaders(f *testing.F) {
	body := []byte(`{"event_id":"a"}`)
	good := Sign("sesame", arrival, body)
	sig, stamp := good.Get(SignatureHeader), good.Get(TimestampHeader)
	f.Add(sig, stamp, body)
	f.Add(strings.ToUpper(sig), stamp, body)
	f.Add("sha256="+sig, stamp, body)
	f.Add(sig, "0"+stamp, body)
	f.Add(sig, stamp+"000", body)
	f.Add(sig, "-"+stamp, body)
	f.Add(sig[:63]+"g", stamp, body)
	f.Add("", "", []byte{})
	f.Add(sig, "\x00", body)
	s := NewSource(Options{Secrets: []string{"other", "sesame"}})
	f.Fuzz(func(t *testing.T, sig, stamp string, body []byte) {
		h := http.Header{SignatureHeader: {sig}, TimestampHeader: {stamp}}
		err := s.Verify(h, body, arrival)
		m := hmac.New(sha256.New, []byte("sesame"))
		m.Write([]byte(stamp + "." + string(body)))
		signed := sig == hex.EncodeToString(m.Sum(nil))
		var stale *StaleError
		if ours := err == nil || errors.As(err, &stale); ours && !signed {
			t.Errorf("Verify(%q, %q) = %v, but the signature is wrong", sig, stamp, err)
		}
		if n, perr := strconv.ParseInt(stamp, 10, 64); err == nil && (perr != nil || n < arrival.Unix()-600 || n > arrival.Unix()+600) {
			t.Errorf("Verify accepts the timestamp %q", stamp)
		}
		if wellFormed := WellFormed(h); !wellFormed && (err == nil || errors.Is(err, ErrBadSignature)) {
			t.Errorf("Verify = %v of headers that are not well-formed", err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	body, err := NewCatalog().Sample("contact.identified", SampleOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for _, secrets := range [][]string{{"sesame"}, {"old", "sesame"}} {
		s := NewSource(Options{Secrets: secrets})
		h := Sign("sesame", arrival, body)
		b.Run(fmt.Sprintf("%dB/secrets=%d", len(body), len(secrets)), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if err := s.Verify(h, body, arrival); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
