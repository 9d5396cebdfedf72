package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/router"
)

func TestWhatTheScriptComesTo(t *testing.T) {
	t.Parallel()
	want := tally{accepted: 8, duplicate: 1, rejected: 1, crm: 7, sales: 3, retried: 2, dead: 1, unchanged: 10}
	if diff := cmp.Diff(want, newScript().expected(), cmp.AllowUnexported(tally{})); diff != "" {
		t.Errorf("expected (-want +got):\n%s", diff)
	}
}

func TestTableTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := newScreen(&out, newScript(), style{})
	s.got = s.expected
	if !s.table(time.Second) {
		t.Errorf("table with the counts expected = false, want true:\n%s", &out)
	}
	out.Reset()
	s.got.sales--
	if s.table(time.Second) {
		t.Errorf("table with a delivery too few = true, want false:\n%s", &out)
	}
	if want := "delivered to sales        2         3  ✗\n"; !strings.Contains(out.String(), want) {
		t.Errorf("table:\n%s\nwant %q in it", &out, want)
	}
}

func TestAttemptsAreShownAfterTheirEvent(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	script := newScript()
	s := newScreen(&out, script, style{plain: true})
	e := script.events[0]
	s.attempted(router.Observation{
		Sink: "crm", Event: event.Event{ID: e.id, Subject: "contact.created"}, Verdict: delivery.Verdict{Action: delivery.Done},
	})
	if out.Len() > 0 {
		t.Errorf("shown before the event was answered: %s", &out)
	}
	s.answered(e, answer{Status: 202, Subject: "contact.created", Seq: 1}, time.Millisecond)
	accepted, delivered := strings.Index(out.String(), "accepted"), strings.Index(out.String(), "delivered")
	if accepted < 0 || delivered < accepted {
		t.Errorf("shown:\n%s\nwant accepted, then delivered", &out)
	}
}

func TestScriptAnswersInOrderAndComparesBodies(t *testing.T) {
	t.Parallel()
	s := newScript()
	paid := s.events[2]
	s.sent(paid.id, []byte("body"))
	type reply struct {
		Status    int
		Unchanged bool
	}
	var got []reply
	for _, body := range []string{"body", "body", "other"} {
		status, unchanged := s.answer("sales", paid.id, []byte(body))
		got = append(got, reply{status, unchanged})
	}
	if diff := cmp.Diff([]reply{{503, true}, {200, true}, {200, false}}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}
