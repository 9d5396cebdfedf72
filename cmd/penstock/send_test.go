package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/clickfunnels"
)

func TestParseRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"": 0, "50/s": 20 * time.Millisecond, "600/m": 100 * time.Millisecond, "10/h": 6 * time.Minute, "0.5/s": 2 * time.Second,
	} {
		if got, err := parseRate(text); got != want || err != nil {
			t.Errorf("parseRate(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"50", "/s", "50/", "50/d", "0/s", "-1/s", "NaN/s", "1e9/s", "fast"} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("parseRate(%q) = %s, want an error", text, got)
		}
	}
}

// stored answers as Penstock does for an event that it stored.
func stored(seq *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"id":"x","subject":"contact.created","seq":%d,"duplicate":false}`, seq.Add(1))
	}
}

func TestManyEventsOnATerminalShowProgressInsteadOfLines(t *testing.T) {
	t.Parallel()
	var seq atomic.Int64
	s := httptest.NewServer(stored(&seq))
	defer s.Close()
	w := newWorld(secretEnv(), true, "send", "contact.created", "--count", "60", "--url", s.URL)
	if code := run(w.process); code != exitOK {
		t.Fatalf("send = %d, want 0; stderr: %s", code, w.err)
	}
	if got := w.out.String(); got != "" {
		t.Errorf("stdout = %q, want nothing", got)
	}
	if got := w.err.String(); !strings.Contains(got, " of 60 stored \r") || !strings.Contains(got, "60 of 60 stored, 0 duplicates, in ") {
		t.Errorf("stderr = %q, want progress and a summary", got)
	}
	if got := seq.Load(); got != 60 {
		t.Errorf("%d events arrived, want 60", got)
	}
}

func TestEventsAreSignedAndDiffer(t *testing.T) {
	t.Parallel()
	catalog := clickfunnels.NewCatalog()
	source := clickfunnels.NewSource(clickfunnels.Options{Name: "test", Secrets: []string{"not-to-be-seen"}, Catalog: catalog})
	ids := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = source.Verify(r.Header, body, time.Now())
		}
		if err != nil {
			t.Errorf("verify what was sent: %v", err)
		}
		ids <- source.Decode(r.Header, body, time.Now()).ID
		w.WriteHeader(http.StatusAccepted)
	}))
	defer s.Close()
	w := newWorld(secretEnv(), false, "send", "contact.created", "--count", "10", "--url", s.URL)
	if code := run(w.process); code != exitOK {
		t.Fatalf("send = %d, want 0; stderr: %s", code, w.err)
	}
	close(ids)
	seen := map[string]bool{}
	for id := range ids {
		seen[id] = true
	}
	if len(seen) != 10 {
		t.Errorf("10 events had %d ids", len(seen))
	}
}

func TestSendStopsAtTheFirstRefusal(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "busy \x1b[31m")
	}))
	defer s.Close()
	w := newWorld(secretEnv(), false, "send", "contact.created", "--count", "1000", "--url", s.URL)
	if code := run(w.process); code != exitFailure {
		t.Errorf("send = %d, want %d", code, exitFailure)
	}
	if n := asked.Load(); n > 2*senders {
		t.Errorf("%d events were sent after the first refusal", n)
	}
	if got, want := w.err.String(), `penstock: answered 503 Service Unavailable: busy \x1b[31m`; !strings.Contains(got, want) {
		t.Errorf("stderr = %q, want %q in it", got, want)
	}
}

func TestErrorsOfPostingHoldNoToken(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer s.Close()
	p := newPoster(target{url: s.URL + "/the-token", shown: s.URL + "/<url_token>"})
	_, err := p.send(context.Background(), []byte("{}"))
	if err == nil || strings.Contains(err.Error(), "the-token") || !strings.Contains(err.Error(), "/<url_token>: ") {
		t.Errorf("send to a server that hangs up: %v; want an error that names the URL without the token", err)
	}
}

func TestQuoteArg(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, s := range []string{"penstock.yaml", "my file.yaml", "it's"} {
		got[s] = quoteArg(s)
	}
	want := map[string]string{"penstock.yaml": "penstock.yaml", "my file.yaml": "'my file.yaml'", "it's": `'it'\''s'`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("quoteArg (-want +got):\n%s", diff)
	}
}
