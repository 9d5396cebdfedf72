package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
)

// events is an Events in memory that notes what it was asked.
type events struct {
	mu     sync.Mutex
	filter EventFilter
	search EventSearch
	erased []uint64
	// fail is the error of Search after its progress.
	fail error
}

func (e *events) List(_ context.Context, f EventFilter) (EventPage, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.filter = f
	if f.Pattern == "a.>.b" {
		return EventPage{}, &PatternError{errors.New("pattern \"a.>.b\" is none")}
	}
	return EventPage{Items: []EventSummary{{Event: Event{Seq: 3}, Outcome: OutcomeDead, Sinks: map[string]string{"crm": OutcomeDead}}}, Next: "3"}, nil
}

func (e *events) Show(_ context.Context, seq uint64) (EventStory, error) {
	if seq > 10 {
		return EventStory{}, fmt.Errorf("%w: %d", delivery.ErrNoEvent, seq)
	}
	return EventStory{Event: Event{Seq: seq, ID: "evt"}, Outcome: OutcomeDelivered, Deliveries: []Delivery{}, Body: "<1 €>"}, nil
}

func (e *events) Search(_ context.Context, q EventSearch, progress func(SearchProgress)) ([]Event, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.search = q
	progress(SearchProgress{Searched: 10, Total: 20})
	progress(SearchProgress{Searched: 20, Total: 20})
	return []Event{{Seq: 7, ID: q.ID}, {Seq: 9, ID: q.ID}}, e.fail
}

func (e *events) Erase(_ context.Context, seq uint64) (ErasedEvent, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.erased = append(e.erased, seq)
	return ErasedEvent{Seq: seq, Events: 1, Retries: 2, DeadLetters: 3, Records: 4}, nil
}

func serveEvents(t *testing.T, e *events) running {
	t.Helper()
	return serve(t, newLetters(0), func(o *Options) { o.Events = e })
}

func TestEventsAreAskedFor(t *testing.T) {
	t.Parallel()
	e := &events{}
	c := serveEvents(t, e).client(t, "")
	page, err := c.EventList(t.Context(), EventQuery{Pattern: "orders.>", Sink: "crm", Outcome: "dead", Since: "2h", Until: "2026-11-23T11:30:00Z", Cursor: "8", Limit: 5})
	if err != nil || len(page.Items) != 1 || page.Items[0].Sinks["crm"] != OutcomeDead || page.Next != "3" {
		t.Errorf("EventList = %+v, %v", page, err)
	}
	want := EventFilter{Pattern: "orders.>", Sink: "crm", Outcome: "dead", Since: noon.Add(-2 * time.Hour), Until: noon.Add(-30 * time.Minute), Before: 8, Limit: 5}
	if diff := cmp.Diff(want, e.filter); diff != "" {
		t.Errorf("the filter (-want +got):\n%s", diff)
	}
	s, err := c.EventShow(t.Context(), 4)
	if err != nil || s.Seq != 4 || s.ID != "evt" || s.Body != "<1 €>" {
		t.Errorf("EventShow = %+v, %v", s, err)
	}
}

func TestASearchTellsItsProgress(t *testing.T) {
	t.Parallel()
	e := &events{}
	c := serveEvents(t, e).client(t, "")
	var told []uint64
	found, err := c.EventSearch(t.Context(), "6a1c-0f7b", "", "24h", func(p SearchProgress) { told = append(told, p.Searched) })
	if err != nil || len(found) != 2 || found[1].Seq != 9 || !cmp.Equal(told, []uint64{10, 20}) {
		t.Errorf("EventSearch = %+v, %v with progress %v", found, err, told)
	}
	if want := (EventSearch{ID: "6a1c-0f7b", Since: noon.Add(-24 * time.Hour)}); e.search != want {
		t.Errorf("searched for %+v, want %+v", e.search, want)
	}
	e.fail = errors.New("the store has gone")
	if _, err := c.EventSearch(t.Context(), "", "42", "", nil); err == nil || !strings.Contains(err.Error(), "the store has gone") {
		t.Errorf("EventSearch of a store that fails = %v", err)
	}
}

func TestWrongQuestionsAboutEvents(t *testing.T) {
	t.Parallel()
	c := serveEvents(t, &events{}).client(t, "")
	for name, tt := range map[string]struct {
		path   string
		status int
		want   string
	}{
		"a parameter nobody knows":  {"/events?colour=red", 400, `unknown parameter "colour"`},
		"twice the same":            {"/events?sink=a&sink=b", 400, `parameter "sink" is given 2 times`},
		"an outcome that is none":   {"/events?outcome=lost", 400, "known are dead, retrying"},
		"a sink that is a wildcard": {"/events?sink=*", 400, "is not a name"},
		"a pattern that is none":    {"/events?pattern=a.%3E.b", 400, "write a subject"},
		"since something":           {"/events?since=yesterday", 400, "neither a time nor a duration"},
		"a cursor of nobody's":      {"/events?cursor=x", 400, "not one of ours"},
		"too many":                  {"/events?limit=501", 400, "limit must be 1 to 500"},
		"no sequence":               {"/events/abc", 400, "search with ?id="},
		"an event that is not":      {"/events/11", 404, "no such event: 11"},
		"an id of nothing":          {"/events?id=", 400, "an id or for a subject_id"},
		"two searches in one":       {"/events?id=a&subject_id=1", 400, "an id or for a subject_id"},
		"a subject that is no id":   {"/events?subject_id=x", 400, "is not a number"},
		"a search by pattern":       {"/events?id=a&pattern=b", 400, "unknown parameter"},
	} {
		var out any
		err := c.call(t.Context(), http.MethodGet, tt.path, nil, &out)
		var no *APIError
		if !errors.As(err, &no) || no.Status != tt.status || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: GET %s = %v, want %d with %q", name, tt.path, err, tt.status, tt.want)
		}
	}
}

func TestAnErasureIsAChange(t *testing.T) {
	t.Parallel()
	e := &events{}
	server := serveEvents(t, e)
	c := server.client(t, "")
	r, err := c.EventErase(t.Context(), 4711)
	if err != nil || r != (ErasedEvent{4711, 1, 2, 3, 4}) {
		t.Errorf("EventErase = %+v, %v", r, err)
	}
	if want := "action=\"erase event\""; !strings.Contains(server.log.String(), want) || !strings.Contains(server.log.String(), "seq=4711") {
		t.Errorf("log = %s, want %s with the sequence", server.log.String(), want)
	}
	resp, err := http.Post(server.url+"/api/v1/events/4711/erase", "text/plain", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnsupportedMediaType || len(e.erased) != 1 {
		t.Errorf("an erasure that a web page could send = %d, erased %v", resp.StatusCode, e.erased)
	}
}
