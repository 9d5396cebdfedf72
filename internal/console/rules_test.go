package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// comparing is a Rules whose comparisons go as do says.
type comparing func(ctx context.Context, q DiffQuery, progress func(SearchProgress, func() delivery.Difference)) (delivery.Difference, error)

func (c comparing) Diff(ctx context.Context, q DiffQuery, progress func(SearchProgress, func() delivery.Difference)) (delivery.Difference, error) {
	return c(ctx, q, progress)
}

func serveRules(t *testing.T, c comparing) running {
	t.Helper()
	return serve(t, newLetters(0), func(o *Options) { o.Rules = c })
}

func someDifference(events uint64, partial bool) delivery.Difference {
	return delivery.Difference{Running: "aaaa", Proposed: "bbbb", Events: events, Selected: 9, Partial: partial,
		Sinks: []delivery.SinkDifference{{Name: "crm", Kind: "log", Routes: []delivery.RouteDifference{}}}, Routes: []delivery.RouteDifference{}}
}

func TestADifferenceIsAskedFor(t *testing.T) {
	t.Parallel()
	var asked DiffQuery
	server := serveRules(t, func(_ context.Context, q DiffQuery, progress func(SearchProgress, func() delivery.Difference)) (delivery.Difference, error) {
		asked = q
		progress(SearchProgress{Searched: 3, Total: 9}, func() delivery.Difference { return someDifference(3, true) })
		return someDifference(9, false), nil
	})
	c := server.client(t, "")
	set := config.RuleSet{Sinks: []config.RuleSink{{Name: "crm", Kind: "log"}}}
	var told []SearchProgress
	d, err := c.RulesDiff(t.Context(), DiffRequest{Rules: set, Since: "2h", Until: "1h", Match: []string{">"}, Source: "cf", Limit: 5, Examples: 2},
		func(p SearchProgress) { told = append(told, p) })
	if err != nil {
		t.Fatalf("RulesDiff: %v", err)
	}
	if diff := cmp.Diff(someDifference(9, false), d); diff != "" {
		t.Errorf("the difference (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]SearchProgress{{3, 9}}, told); diff != "" {
		t.Errorf("progress (-want +got)\n%s", diff)
	}
	want := DiffQuery{Rules: set, Since: noon.Add(-2 * time.Hour), Until: noon.Add(-time.Hour), Match: []string{">"}, Source: "cf", Limit: 5, Examples: 2}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("the query (-want +got)\n%s", diff)
	}
	if log := server.log.String(); !strings.Contains(log, "rules compared") || strings.Contains(log, "admin change") {
		t.Errorf("log = %s; want a line, and not one of a change", log)
	}
}

// TestADifferenceThatBreaksOff: what was found is not lost with the rest.
func TestADifferenceThatBreaksOff(t *testing.T) {
	t.Parallel()
	part := func(progress func(SearchProgress, func() delivery.Difference)) {
		progress(SearchProgress{Searched: 3, Total: 9}, func() delivery.Difference { return someDifference(3, true) })
	}
	server := serveRules(t, func(_ context.Context, _ DiffQuery, progress func(SearchProgress, func() delivery.Difference)) (delivery.Difference, error) {
		part(progress)
		return delivery.Difference{}, errors.New("the store has gone")
	})
	d, err := server.client(t, "").RulesDiff(t.Context(), DiffRequest{}, nil)
	if err == nil || !strings.Contains(err.Error(), "the store has gone") || d.Events != 3 || !d.Partial {
		t.Errorf("of a store that fails: %+v, %v", d, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	server = serveRules(t, func(ctx context.Context, _ DiffQuery, progress func(SearchProgress, func() delivery.Difference)) (delivery.Difference, error) {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := uint64(0); ctx.Err() == nil; n++ {
			progress(SearchProgress{Searched: n, Total: 9}, func() delivery.Difference { return someDifference(n, true) })
			<-tick.C
		}
		stopped <- ctx.Err()
		return someDifference(4, true), nil
	})
	var last uint64
	d, err = server.client(t, "").RulesDiff(ctx, DiffRequest{}, func(p SearchProgress) {
		if last = p.Searched; last > 0 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || d.Events == 0 || d.Events < last {
		t.Errorf("of who stops waiting after %d events: %+v, %v; want what was found of them", last, d, err)
	}
	if err := <-stopped; err == nil {
		t.Error("the comparison goes on for nobody")
	}
}

// TestOneDifferenceAtATime: a second has to wait, and a stop waits for none.
func TestOneDifferenceAtATime(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	server := serveRules(t, func(ctx context.Context, _ DiffQuery, _ func(SearchProgress, func() delivery.Difference)) (delivery.Difference, error) {
		close(begun)
		<-ctx.Done()
		return someDifference(1, true), nil
	})
	c := server.client(t, "")
	type answer struct {
		d   delivery.Difference
		err error
	}
	first := make(chan answer, 1)
	go func() {
		d, err := c.RulesDiff(t.Context(), DiffRequest{}, nil)
		first <- answer{d, err}
	}()
	<-begun
	_, err := c.RulesDiff(t.Context(), DiffRequest{}, nil)
	var no *APIError
	if !errors.As(err, &no) || no.Status != http.StatusTooManyRequests || !strings.Contains(err.Error(), "another comparison of rules is running") {
		t.Errorf("a second = %v", err)
	}
	if err := server.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if a := <-first; a.err != nil || !a.d.Partial {
		t.Errorf("the first ends with %+v, %v; want what it has", a.d, a.err)
	}
}

func TestWrongQuestionsAboutRules(t *testing.T) {
	t.Parallel()
	server := serveRules(t, func(context.Context, DiffQuery, func(SearchProgress, func() delivery.Difference)) (delivery.Difference, error) {
		return delivery.Difference{}, &RulesError{What: "there is no source", Hint: "there are others"}
	})
	const path, jsonType = "/api/v1/rules/diff", "Content-Type: application/json"
	for name, tt := range map[string]struct {
		body   string
		header string
		status int
		want   string
	}{
		"what a web page could send": {"{}", "Content-Type: text/plain", 415, "must be sent as JSON"},
		"a key of another version":   {`{"colour":"red"}`, jsonType, 400, "use the penstock command of the server's version"},
		"too large":                  {fmt.Sprintf(`{"since":%q}`, strings.Repeat("x", maxRules)), jsonType, 413, "larger than"},
		"fewer examples than none":   {`{"examples":-1}`, jsonType, 400, "examples must be 0 to 100"},
		"since something":            {`{"since":"yesterday"}`, jsonType, 400, "neither a time nor a duration"},
		"until before since":         {`{"since":"1h","until":"2h"}`, jsonType, 400, "until is before since"},
		"what makes no sense":        {`{}`, jsonType, 400, `"hint":"there are others"`},
	} {
		if status, body := server.ask(t, "POST", path, tt.body, tt.header); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s, want %d with %q", name, status, body, tt.status, tt.want)
		}
	}
	if status, _ := serve(t, newLetters(0), nil).ask(t, "POST", path, "{}", jsonType); status != 404 {
		t.Errorf("without rules: %d, want 404", status)
	}
}
