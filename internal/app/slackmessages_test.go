package app

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/sinks"
)

var updateMessages = flag.Bool("update", false, "write testdata/slack_messages.golden anew")

const messagesGolden = "testdata/slack_messages.golden"

// messageMaker returns what the default messages of a slack sink say of an event.
func messageMaker(t *testing.T) func(event.Event) (string, error) {
	t.Helper()
	options, err := config.NodeFrom("penstock.yaml", "webhook_url: https://hooks.slack.com/services/T/B/x")
	if err != nil {
		t.Fatal(err)
	}
	s, err := sinks.Open(config.Sink{Name: "sales", Kind: "slack", Options: options}, sinks.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return func(e event.Event) (string, error) {
		p, err := s.(sinks.Previewer).Preview(e)
		if err != nil {
			return "", err
		}
		var m struct{ Text string }
		return m.Text, json.Unmarshal(p.Body, &m)
	}
}

// catalogEvents returns a sample of every type of the catalogue in every
// version, by "type version".
func catalogEvents(t *testing.T) map[string]event.Event {
	t.Helper()
	catalog, all := clickfunnels.NewCatalog(), map[string]event.Event{}
	for _, entry := range catalog.Entries() {
		for _, version := range entry.Versions {
			body, err := catalog.Sample(entry.Type, clickfunnels.SampleOptions{Version: version, ID: "00000000-0000-4000-8000-000000000001"})
			if err != nil {
				t.Fatal(err)
			}
			all[fmt.Sprintf("%s v%d", entry.Type, version)] = event.Event{
				ID: "00000000-0000-4000-8000-000000000001", Type: entry.Type, Subject: entry.Subject, Source: "clickfunnels",
				APIVersion: version, Received: time.Date(2026, 11, 20, 14, 3, 26, 0, time.UTC), Body: body,
			}
		}
	}
	return all
}

// checkClean looks for signs of a message that was not made well.
func checkClean(t *testing.T, name, message string) {
	t.Helper()
	for _, sign := range []string{"<no value>", "map[", "**", "* *", "{{", "}}", "()", " ,", "[]", "%!", "&lt;", "<nil>", "\n"} {
		if strings.Contains(message, sign) {
			t.Errorf("%s: the message holds %q: %s", name, sign, message)
		}
	}
	if strings.TrimSpace(message) != message || message == "" {
		t.Errorf("%s: the message is %q", name, message)
	}
}

// TestDefaultSlackMessages compares the message of every type of the catalogue
// with the golden file, which is the page to read when judging them.
func TestDefaultSlackMessages(t *testing.T) {
	t.Parallel()
	message, events := messageMaker(t), catalogEvents(t)
	if len(events) < 91 {
		t.Fatalf("%d samples, want one of each of 91 types at least", len(events))
	}
	var lines []string
	for name, e := range events {
		text, err := message(e)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkClean(t, name, text)
		if strings.HasPrefix(text, ":bell:") {
			t.Errorf("%s has no message of its own: %s", name, text)
		}
		lines = append(lines, name+"\t"+text+"\n")
	}
	slices.Sort(lines)
	got := strings.Join(lines, "")
	if *updateMessages {
		if err := os.WriteFile(messagesGolden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(messagesGolden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("messages (-want +got); run with -update and read the difference:\n%s", diff)
	}
}

// TestDefaultSlackMessagesOfIncompleteEvents takes out of every sample each
// value that a message may show, and puts values of other shapes in its place.
func TestDefaultSlackMessagesOfIncompleteEvents(t *testing.T) {
	t.Parallel()
	message := messageMaker(t)
	table, err := os.ReadFile(filepath.Join(moduleRoot, "sinks/slack_messages.txt"))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, word := range regexp.MustCompile(`[a-z0-9_]+`).FindAllString(string(table), -1) {
		shown[word] = true
	}
	n := 0
	events := catalogEvents(t)
	for name, e := range events {
		if _, twice := events[strings.TrimSuffix(name, "1")+"2"]; twice && e.APIVersion == 1 && e.Type != "form/submission.created" {
			continue // much the same in version 2
		}
		try := func(change string, payload map[string]any) {
			n++
			var err error
			if e.Body, err = json.Marshal(payload); err != nil {
				t.Fatal(err)
			}
			text, err := message(e)
			if err != nil {
				t.Errorf("%s, %s: %v", name, change, err)
				return
			}
			checkClean(t, name+", "+change, text)
		}
		var payload map[string]any
		if err := json.Unmarshal(e.Body, &payload); err != nil {
			t.Fatal(err)
		}
		alter(payload["data"], "data", shown, func(change string) { try(change, payload) })
		for _, data := range []any{nil, map[string]any{}, []any{1}, "text"} {
			try(fmt.Sprintf("data is %v", data), map[string]any{"data": data})
		}
		e.Body = []byte("not JSON")
		n++
		if _, err := message(e); err != nil {
			t.Errorf("%s, no JSON: %v", name, err)
		}
	}
	if n < 2000 {
		t.Errorf("%d incomplete events, want 2,000 at least: the test has lost its way", n)
	}
}

// alter changes every value below v whose key is shown, one at a time, and
// calls try after each change; then it puts back what was there.
func alter(v any, path string, shown map[string]bool, try func(change string)) {
	switch v := v.(type) {
	case []any:
		for i := range v[:min(1, len(v))] {
			alter(v[i], fmt.Sprintf("%s.%d", path, i), shown, try)
		}
	case map[string]any:
		for key, was := range v {
			if !shown[key] {
				continue
			}
			delete(v, key)
			try(path + "." + key + " is missing")
			for _, other := range []any{nil, " ", map[string]any{"a": 1}, []any{}, 7} {
				v[key] = other
				try(fmt.Sprintf("%s.%s is %#v", path, key, other))
			}
			v[key] = was
			alter(was, path+"."+key, shown, try)
		}
	}
}
