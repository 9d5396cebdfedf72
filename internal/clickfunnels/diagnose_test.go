package clickfunnels

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestDiagnose(t *testing.T) {
	t.Parallel()
	const secret = "the-secret"
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	sent := []byte(`{"data":{"name":"a \u0026 b","url":"x/y"},"event_id":"e1","event_type":"order.created"}`)
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, sent, "", "  "); err != nil {
		t.Fatal(err)
	}
	right := Sign(secret, now, sent)
	for name, tt := range map[string]struct {
		secrets []string
		header  http.Header
		body    []byte
		cause   Cause
		hint    string
	}{
		"another secret":          {[]string{"another"}, right, sent, CauseBadSignature, "wrong secret, most likely"},
		"printed by a proxy":      {[]string{secret}, right, pretty.Bytes(), CauseReencoded, "the secret is right, but a proxy"},
		"escapes undone":          {[]string{secret}, right, bytes.ReplaceAll(sent, []byte(`\u0026`), []byte("&")), CauseReencoded, "the secret is right"},
		"a line feed more":        {[]string{"another", secret}, right, append(bytes.Clone(sent), '\n'), CauseReencoded, "the secret is right"},
		"printed, secret unknown": {[]string{"another"}, right, pretty.Bytes(), CauseReencoded, "not in the compact form"},
		"body dropped":            {[]string{secret}, right, nil, CauseReencoded, "the body is empty"},
		"not JSON":                {[]string{secret}, right, []byte("a=b"), CauseBadSignature, "the body is not JSON"},
		"no headers":              {[]string{secret}, http.Header{}, sent, CauseUnsigned, ""},
		"no timestamp":            {[]string{secret}, http.Header{SignatureHeader: right[SignatureHeader]}, sent, CauseUnsigned, ""},
		"a timestamp in words":    {[]string{secret}, http.Header{SignatureHeader: right[SignatureHeader], TimestampHeader: {"now"}}, sent, CauseMalformed, ""},
		"nothing to verify with":  {nil, right, sent, CauseNoSecret, ""},
		"a request held up once":  {[]string{secret}, Sign(secret, now.Add(-time.Hour), sent), sent, CauseStale, "--ignore-age"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewSource(Options{Name: "cf", Secrets: tt.secrets})
			err := s.Verify(tt.header, tt.body, now)
			if err == nil {
				t.Fatal("it verifies")
			}
			d := s.Diagnose(err, tt.header, tt.body)
			if d.Cause != tt.cause || !strings.Contains(d.Hint, tt.hint) || tt.hint == "" && d.Hint != "" {
				t.Errorf("Diagnose = %+v, want cause %s and a hint with %q", d, tt.cause, tt.hint)
			}
			if strings.Contains(d.Hint, secret) {
				t.Errorf("hint %q shows the secret", d.Hint)
			}
		})
	}
	if d := NewSource(Options{}).Diagnose(errors.New("wrong token"), nil, nil); d != (Diagnosis{Cause: CauseOther}) {
		t.Errorf("an error of somebody else: %+v", d)
	}
}

func TestSteadySkewIsAClock(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		skews []int // seconds
		want  []Cause
		hint  string
	}{
		"a clock that is wrong": {[]int{900, 902, 901, 903}, []Cause{CauseStale, CauseStale, CauseClock, CauseClock}, "about 902 s off"},
		"one that is behind":    {[]int{-3600, -3600, -3601}, []Cause{CauseStale, CauseStale, CauseClock}, "about -3600 s off"},
		"requests held up":      {[]int{700, 900, 1500, 4000}, []Cause{CauseStale, CauseStale, CauseStale, CauseStale}, "held up"},
		"a clock that was set":  {[]int{900, 900, 900, 2000}, []Cause{CauseStale, CauseStale, CauseClock, CauseStale}, "held up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewSource(Options{})
			var d Diagnosis
			for i, skew := range tt.skews {
				d = s.Diagnose(&StaleError{Skew: time.Duration(skew) * time.Second}, nil, nil)
				if d.Cause != tt.want[i] {
					t.Errorf("number %d is %s, want %s", i+1, d.Cause, tt.want[i])
				}
			}
			if !strings.Contains(d.Hint, tt.hint) {
				t.Errorf("the last hint is %q, want %q in it", d.Hint, tt.hint)
			}
		})
	}
}

func TestSkewIsTheLeastOfTheLast(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		late []int // seconds
		want int
		ok   bool
	}{
		"too few":            {[]int{0, 0}, 0, false},
		"one was held up":    {[]int{1, 500, 2}, 1, true},
		"a clock behind":     {[]int{-400, -401, -402}, -400, true},
		"beyond what passes": {[]int{3600, 3601, 3602}, 3600, true},
		"set meanwhile":      {[]int{3600, 3600, 3600, 1}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewSource(Options{Secrets: []string{"sesame"}})
			now, body := time.Unix(1_800_000_000, 0), []byte("{}")
			for _, late := range tt.late {
				_ = s.Verify(Sign("sesame", now.Add(-time.Duration(late)*time.Second), body), body, now)
				_ = s.Verify(Sign("stranger", now.Add(time.Hour), body), body, now) // tells nothing
			}
			if got, ok := s.Skew(); ok != tt.ok || ok && got != time.Duration(tt.want)*time.Second {
				t.Errorf("Skew = %s, %v; want %d s, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}
