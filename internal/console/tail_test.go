package console

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
)

// feed is a Tails that sends its lines and then waits for the end.
type feed struct {
	lines []TailLine
	asked chan TailFilter
}

func (f *feed) Follow(_ context.Context, q TailFilter) (func(context.Context, Emit) error, error) {
	switch {
	case len(q.Match) > 0 && q.Match[0] == "a.>.b":
		return nil, &PatternError{errors.New(`pattern "a.>.b": token 2 is ">"`)}
	case q.Where == "x":
		return nil, &WhereError{Line: 2, Column: 7, What: "unknown name x", Hint: "write data.x"}
	}
	if f.asked != nil {
		f.asked <- q
	}
	return func(ctx context.Context, emit Emit) error {
		if q.Where == "panic" {
			panic("an odd event")
		}
		for _, l := range f.lines {
			if err := emit(l, false); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return nil
	}, nil
}

func serveFeed(t *testing.T, f *feed) running {
	t.Helper()
	return serve(t, newLetters(1), func(o *Options) { o.Tails = f })
}

var errEnough = errors.New("enough")

func TestTailIsRead(t *testing.T) {
	t.Parallel()
	f := &feed{asked: make(chan TailFilter, 1), lines: []TailLine{
		{ID: "1-2-3", Kind: TailAccepted, At: noon, Seq: 7, EventID: "<é>", Subject: "a.b", Event: &Event{Seq: 7, Received: noon}},
		{Kind: TailSink, At: noon, Sink: "crm", State: "held", Note: "two\nlines"},
	}}
	var got []TailLine
	err := serveFeed(t, f).client(t, "").Tail(t.Context(), TailQuery{Match: []string{"a.>", "b.*"}, Where: "true", Only: TailAccepts, Since: "1h", After: "4-5-6"},
		func(l TailLine) error {
			if got = append(got, l); len(got) == len(f.lines) {
				return errEnough
			}
			return nil
		})
	if !errors.Is(err, errEnough) {
		t.Fatalf("Tail = %v", err)
	}
	if d := cmp.Diff(f.lines, got); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
	want := TailFilter{Match: []string{"a.>", "b.*"}, Where: "true", Accepts: true, Since: noon.Add(-3600e9), AfterEvents: 4, AfterRecords: 5, AfterLines: 6, Resumed: true}
	if d := cmp.Diff(want, <-f.asked); d != "" {
		t.Errorf("filter (-want +got):\n%s", d)
	}
}

func TestAPanicEndsOnlyTheTail(t *testing.T) {
	t.Parallel()
	s := serveFeed(t, &feed{})
	var broken *BrokenOffError
	if err := s.client(t, "").Tail(t.Context(), TailQuery{Where: "panic"}, nil); !errors.As(err, &broken) {
		t.Errorf("Tail = %v, want it to be broken off", err)
	}
	if !strings.Contains(s.log.String(), "an odd event") {
		t.Errorf("the log does not tell of it:\n%s", s.log.String())
	}
}

func TestTailRefuses(t *testing.T) {
	t.Parallel()
	s := serveFeed(t, &feed{})
	for name, tt := range map[string]struct{ query, id, want string }{
		"a pattern":           {"match=a.>.b", "", `token 2 is`},
		"a condition":         {"where=x", "", `where, line 2, column 7: unknown name x`},
		"something else only": {"only=errors", "", `unknown only`},
		"a time":              {"since=soon", "", `since \"soon\" is neither`},
		"a parameter":         {"wher=true", "", `unknown parameter \"wher\"`},
		"two conditions":      {"where=true&where=false", "", "is given 2 times"},
		"many patterns":       {strings.Repeat("match=a&", 17), "", "at most 16 patterns"},
		"an id of others":     {"", "17", "is not one of ours"},
		"an id with a sign":   {"", "1-2-+3", "is not one of ours"},
		"an id and more":      {"", "1-2-3-4", "is not one of ours"},
		"a huge id":           {"", "99999999999999999999-2-3", "is not one of ours"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var headers []string
			if tt.id != "" {
				headers = append(headers, "Last-Event-ID: "+tt.id)
			}
			if status, body := s.ask(t, "GET", "/api/v1/tail?"+tt.query, "", headers...); status != 400 || !strings.Contains(body, tt.want) {
				t.Errorf("answered %d %s, want 400 and %q", status, body, tt.want)
			}
		})
	}
}

func TestTailsAreBoundedAndEndWithTheServer(t *testing.T) {
	t.Parallel()
	f := &feed{asked: make(chan TailFilter, maxTails), lines: []TailLine{{Kind: TailFollowing, At: noon}}}
	s := serveFeed(t, f)
	c := s.client(t, "")
	ended := make(chan error, maxTails)
	for range maxTails {
		go func() { ended <- c.Tail(context.Background(), TailQuery{}, func(TailLine) error { return nil }) }()
		<-f.asked
	}
	var refused *APIError
	if err := c.Tail(t.Context(), TailQuery{}, nil); !errors.As(err, &refused) || refused.Status != 429 {
		t.Errorf("one too many = %v, want 429", err)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("they keep others out: %v", err)
	}
	if err := s.stop(); err != nil {
		t.Errorf("stop while they follow: %v", err)
	}
	for range maxTails {
		var broken *BrokenOffError
		if err := <-ended; !errors.As(err, &broken) {
			t.Errorf("Tail at the end of the server = %v", err)
		}
	}
}

func TestASlowReaderIsToldWhatItMissed(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	tail := &tailer{w: echo.NewResponse(rec, echo.New()), lines: make(chan TailLine, 2)}
	emit := tail.emit(t.Context())
	for n := range 5 {
		if err := emit(TailLine{ID: TailID(uint64(n), 0, 0), Kind: TailAccepted}, true); err != nil {
			t.Fatalf("emit: %v", err)
		}
	}
	for range 2 {
		if err := tail.line(<-tail.lines); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	_ = readSSE(rec.Body, func(id string, data []byte) error {
		kind, _, _ := strings.Cut(strings.TrimPrefix(string(data), `{"`), `","at"`)
		got = append(got, id+" "+kind+map[bool]string{true: " 3"}[strings.Contains(string(data), `"lagged":3`)])
		return nil
	})
	want := []string{` kind":"lagged 3`, `0-0-0 id":"0-0-0","kind":"accepted`, `1-0-0 id":"1-0-0","kind":"accepted`}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("what the reader sees (-want +got):\n%s", d)
	}
}
