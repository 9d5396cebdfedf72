package console

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
)

const jsonType = "Content-Type: application/json"

func TestDeadListPages(t *testing.T) {
	t.Parallel()
	c := serve(t, newLetters(120), nil).client(t, "")
	for name, tt := range map[string]struct {
		query DeadQuery
		want  string // the number, first and last sequence
	}{
		"all, in pages of 50":   {DeadQuery{}, "120 1..120"},
		"in pages of 7":         {DeadQuery{Limit: 7}, "120 1..120"},
		"a page as large as it": {DeadQuery{Limit: 120}, "120 1..120"},
		"by sink":               {DeadQuery{Sink: "crm", Limit: 7}, "60 1..119"},
		"by class":              {DeadQuery{Class: "sink"}, "60 2..120"},
		"of the last hour":      {DeadQuery{Since: "1h"}, "61 60..120"},
		"since a time":          {DeadQuery{Since: "2026-11-23T11:50:00Z"}, "11 110..120"},
		"after a cursor":        {DeadQuery{Cursor: "100"}, "20 101..120"},
		"sink and class differ": {DeadQuery{Sink: "crm", Class: "sink"}, "0 0..0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seqs []uint64
			for d, err := range c.DeadAll(t.Context(), tt.query) {
				if err != nil {
					t.Fatalf("DeadAll(%+v): %v", tt.query, err)
				}
				seqs = append(seqs, d.Seq)
			}
			got := "0 0..0"
			if len(seqs) > 0 {
				got = fmt.Sprintf("%d %d..%d", len(seqs), seqs[0], seqs[len(seqs)-1])
			}
			if got != tt.want {
				t.Errorf("DeadAll(%+v) gave %s, want %s", tt.query, got, tt.want)
			}
		})
	}
}

func TestDeadListAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, newLetters(2), nil)
	_, got := s.ask(t, "GET", "/api/v1/dead?limit=1", "")
	want := `{"items":[{"seq":1,"sink":"crm","died":"2026-11-23T11:59:00Z","attempts":3,"first_attempt":"2026-11-23T10:59:00Z",` +
		`"generation":0,"class":"rejected","reason":"answered 422 Unprocessable Entity","status":422,` +
		`"event":{"id":"evt-1","type":"orders/invoice.paid","source":"clickfunnels","subject":"orders.invoice.paid",` +
		`"api_version":2,"received":"2026-11-23T09:59:00Z","seq":101}}],"next":"1"}` + "\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("GET /api/v1/dead?limit=1 (-want +got):\n%s", d)
	}
	if _, got := s.ask(t, "GET", "/api/v1/dead?sink=nobody", ""); got != `{"items":[]}`+"\n" {
		t.Errorf("an empty list is %q", got)
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	l := newLetters(3)
	s := serve(t, l, nil)
	for name, tt := range map[string]struct {
		method, path, body string
		want               int
		says               string
	}{
		"a misspelt parameter":     {"GET", "/dead?sinks=crm", "", 400, "sinks"},
		"a parameter twice":        {"GET", "/dead?sink=crm&sink=sales", "", 400, "2 times"},
		"a wildcard for a sink":    {"GET", "/dead?sink=*", "", 400, "not a name"},
		"an unknown class":         {"GET", "/dead?class=odd", "", 400, "rejected"},
		"a since that is none":     {"GET", "/dead?since=yesterday", "", 400, "24h"},
		"a negative since":         {"GET", "/dead?since=-1h", "", 400, "24h"},
		"a limit of 0":             {"GET", "/dead?limit=0", "", 400, "1 to 500"},
		"a limit too large":        {"GET", "/dead?limit=501", "", 400, "1 to 500"},
		"a cursor that is none":    {"GET", "/dead?cursor=abc", "", 400, "cursor"},
		"a number that is none":    {"GET", "/dead/first", "", 400, "first"},
		"number 0":                 {"POST", "/dead/0/retry", "", 400, "0"},
		"a letter that is not":     {"GET", "/dead/99", "", 404, "no such dead letter: 99"},
		"retry of one that is not": {"POST", "/dead/99/retry", "", 404, "no such dead letter: 99"},
		"drop of one that is not":  {"POST", "/dead/99/drop", "{}", 404, "no such dead letter: 99"},
		"bulk without a filter":    {"POST", "/dead/drop", "{}", 400, "all"},
		"bulk without a body":      {"POST", "/dead/drop", "", 400, "body"},
		"bulk with a misspelt key": {"POST", "/dead/drop", `{"sinks":"crm","all":true}`, 400, "sinks"},
		"bulk with two bodies":     {"POST", "/dead/drop", `{"sink":"crm"}{"all":true}`, 400, "more than one"},
		"bulk with a list":         {"POST", "/dead/drop", `[1]`, 400, "body"},
		"bulk with a wildcard":     {"POST", "/dead/drop", `{"sink":">"}`, 400, "not a name"},
		"bulk with a bad cursor":   {"POST", "/dead/drop", `{"all":true,"cursor":"x"}`, 400, "cursor"},
		"bulk too large":           {"POST", "/dead/drop", `{"sink":"` + strings.Repeat("x", maxBody) + `"}`, 413, "65536"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, body := s.ask(t, tt.method, "/api/v1"+tt.path, tt.body, jsonType)
			if got != tt.want || !strings.Contains(body, tt.says) {
				t.Errorf("%s %s answered %d %s, want %d and %q", tt.method, tt.path, got, body, tt.want, tt.says)
			}
		})
	}
	t.Cleanup(func() {
		if len(l.kept) != 3 {
			t.Errorf("bad requests left %d dead letters of 3", len(l.kept))
		}
	})
}

func TestDeadShowBody(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		body           string
		want, encoding string
	}{
		"text as it is": {"{\"a\":\"<é\u2028>\"}", "{\"a\":\"<é\u2028>\"}", BodyText},
		"empty":         {"", "", BodyText},
		"not UTF-8":     {"\xff\x00", "/wA=", BodyBase64},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLetters(1)
			l.kept[0].Event.Body = []byte(tt.body)
			d, err := serve(t, l, nil).client(t, "").DeadShow(t.Context(), 1)
			if err != nil || d.Body != tt.want || d.BodyEncoding != tt.encoding {
				t.Errorf("DeadShow = %q %s, %v, want %q %s", d.Body, d.BodyEncoding, err, tt.want, tt.encoding)
			}
		})
	}
}

func TestRetryAndDropOne(t *testing.T) {
	t.Parallel()
	l := newLetters(3)
	s := serve(t, l, withToken)
	c := s.client(t, secret)
	if d, err := c.DeadRetry(t.Context(), 2); err != nil || d.Event.ID != "evt-2" {
		t.Errorf("DeadRetry(2) = %+v, %v", d, err)
	}
	if d, err := c.DeadDrop(t.Context(), 3); err != nil || d.Sink != "crm" {
		t.Errorf("DeadDrop(3) = %+v, %v", d, err)
	}
	if d := cmp.Diff([][]uint64{{2}, {3}}, [][]uint64{l.retried, l.dropped}); d != "" {
		t.Errorf("retried and dropped (-want +got):\n%s", d)
	}
	for _, want := range []string{
		`action="retry dead letter" by=server.admin_token remote=127.0.0.1:`, "seq=2 sink=sales event=evt-2",
		`action="drop dead letter"`, "seq=3 sink=crm event=evt-3",
	} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, s.log.String())
		}
	}
}

func TestStoreDown(t *testing.T) {
	t.Parallel()
	l := newLetters(9)
	l.fail = func(uint64) error { return errDown }
	s := serve(t, l, nil)
	_, err := s.client(t, "").DeadRetry(t.Context(), 1)
	var api *APIError
	if !errors.As(err, &api) || api.Status != 503 || !strings.Contains(err.Error(), errDown.Error()) {
		t.Errorf("DeadRetry = %v, want 503 and the cause", err)
	}
	if strings.Contains(s.log.String(), "admin change") {
		t.Errorf("the log tells of a change that was not made:\n%s", s.log.String())
	}
	got, err := s.client(t, "").DeadRetryMany(t.Context(), BulkRequest{All: true})
	if err != nil || got.Done != 0 || got.Failed != bulkFailures || got.Next == "" || !strings.Contains(got.Note, errDown.Error()) {
		t.Errorf("DeadRetryMany = %+v, %v, want it to stop after %d failures and say why", got, err, bulkFailures)
	}
}

func TestBulk(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		letters *letters
		request BulkRequest
		options func(*Options)
		want    BulkResult
		left    int
	}{
		"all":          {newLetters(120), BulkRequest{All: true}, nil, BulkResult{Done: 120}, 0},
		"by sink":      {newLetters(120), BulkRequest{Sink: "crm"}, nil, BulkResult{Done: 60}, 60},
		"by class":     {newLetters(9), BulkRequest{Class: "sink"}, nil, BulkResult{Done: 4}, 5},
		"since a time": {newLetters(9), BulkRequest{Since: "2m"}, nil, BulkResult{Done: 3}, 6},
		"more than one request takes": {
			newLetters(bulkMost + 60), BulkRequest{All: true}, nil, BulkResult{Done: bulkMost + 60}, 0,
		},
		"nothing": {newLetters(0), BulkRequest{All: true}, nil, BulkResult{}, 0},
		"what dies meanwhile is left alone": {
			func() *letters {
				l := newLetters(60)
				l.after = func(l *letters, d delivery.DeadLetter) { l.add(int(d.Seq)+1000, noon.Add(time.Second)) }
				return l
			}(), BulkRequest{All: true}, nil, BulkResult{Done: 60}, 60,
		},
		"one that fails does not stop the others": {
			func() *letters {
				l := newLetters(60)
				l.fail = func(seq uint64) error {
					if seq == 7 {
						return errDown
					}
					return nil
				}
				return l
			}(), BulkRequest{All: true}, nil, BulkResult{Done: 59, Failed: 1, Note: errDown.Error()}, 1,
		},
		"a sink with a full retry lane is left for later": {
			newLetters(3), BulkRequest{All: true},
			func(o *Options) {
				o.Outstanding = func(sink string) int { return map[string]int{"sales": bulkLane}[sink] }
			},
			BulkResult{Done: 1, Next: fmt.Sprintf("1-%d", noon.UnixNano()),
				Note: "sink sales has 1000 deliveries waiting for it already; go on when it has caught up"}, 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, tt.letters, tt.options)
			got, err := s.client(t, "").DeadRetryMany(t.Context(), tt.request)
			if err != nil {
				t.Fatalf("DeadRetryMany: %v", err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("DeadRetryMany(%+v) (-want +got):\n%s", tt.request, d)
			}
			if len(tt.letters.kept) != tt.left || len(tt.letters.retried) != tt.want.Done {
				t.Errorf("%d left, %d retried, want %d and %d", len(tt.letters.kept), len(tt.letters.retried), tt.left, tt.want.Done)
			}
		})
	}
}

func TestBulkDropIsAudited(t *testing.T) {
	t.Parallel()
	l := newLetters(4)
	s := serve(t, l, nil)
	got, err := s.client(t, "").DeadDropMany(t.Context(), BulkRequest{Sink: "crm"})
	if err != nil || got.Done != 2 || len(l.dropped) != 2 || len(l.retried) != 0 {
		t.Errorf("DeadDropMany = %+v, %v, dropped %v", got, err, l.dropped)
	}
	want := `action="drop dead letters" by="anybody on this machine"`
	if log := s.log.String(); !strings.Contains(log, want) || !strings.Contains(log, "sink=crm class=\"\" since=\"\" all=false done=2") {
		t.Errorf("the log has no %s:\n%s", want, log)
	}
}

func TestBoundedConcurrency(t *testing.T) {
	t.Parallel()
	l := newLetters(1)
	l.block, l.entered = make(chan struct{}), make(chan struct{}, 9)
	s := serve(t, l, func(o *Options) { o.MaxConcurrent = 2 })
	ask := func(path, body string) <-chan int {
		c, method := make(chan int, 1), "GET"
		if body != "" {
			method = "POST"
		}
		go func() {
			status, _ := s.ask(t, method, path, body, jsonType)
			c <- status
		}()
		return c
	}
	first := ask("/api/v1/dead/drop", `{"all":true}`)
	<-l.entered
	if got := <-ask("/api/v1/dead/drop", `{"all":true}`); got != 429 {
		t.Errorf("a second bulk request answered %d, want 429", got)
	}
	second := ask("/api/v1/dead", "")
	<-l.entered
	if got := <-ask("/api/v1/status", ""); got != 429 {
		t.Errorf("the third request answered %d, want 429", got)
	}
	if got := <-ask("/metrics", ""); got != 200 {
		t.Errorf("metrics answered %d while the API is busy, want 200", got)
	}
	close(l.block)
	if a, b := <-first, <-second; a != 200 || b != 200 {
		t.Errorf("the first two answered %d and %d, want 200", a, b)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	s := serve(t, newLetters(0), func(o *Options) {
		o.Status = func(context.Context) (Status, error) { panic("odd") }
	})
	got, body := s.ask(t, "GET", "/api/v1/status", "")
	if got != 500 || strings.Contains(body, "odd") || !strings.Contains(s.log.String(), "panic: odd") {
		t.Errorf("answered %d %s, want 500 with the panic in the log only", got, body)
	}
}

func TestStopWaitsForRequests(t *testing.T) {
	t.Parallel()
	l := newLetters(1)
	l.block, l.entered = make(chan struct{}), make(chan struct{}, 1)
	s := serve(t, l, nil)
	answered := make(chan int, 1)
	go func() {
		status, _ := s.ask(t, "GET", "/api/v1/dead", "")
		answered <- status
	}()
	<-l.entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	<-s.stopping
	close(l.block)
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if got := <-answered; got != 200 {
		t.Errorf("the request at hand answered %d, want 200", got)
	}
}

func TestStopCutsOffWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	l := newLetters(1)
	l.block, l.entered = make(chan struct{}), make(chan struct{}, 1)
	s, err := New(Options{
		Addr: "127.0.0.1:0", Dead: l, ShutdownTimeout: time.Millisecond,
		Sinks:  func(context.Context) ([]SinkStatus, error) { return nil, nil },
		Status: func(context.Context) (Status, error) { return Status{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	asked := make(chan error, 1)
	go func() {
		c, err := NewClient("http://"+s.Addr().String(), "", nil)
		if err == nil {
			_, err = c.DeadList(context.Background(), DeadQuery{})
		}
		asked <- err
	}()
	<-l.entered
	cancel()
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run = %v, want that it took too long", err)
	}
	if err := <-asked; err == nil {
		t.Error("a request that was cut off has an answer")
	}
}

func TestStopDoesNotWaitForSilentConnections(t *testing.T) {
	t.Parallel()
	// The server would wait five seconds by itself, each time; a machine that
	// is slow once is not each time.
	for range 5 {
		s := serve(t, newLetters(0), func(o *Options) { o.ShutdownTimeout = time.Hour })
		silent, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		start := time.Now()
		if err := s.stop(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if time.Since(start) < 4*time.Second {
			return
		}
	}
	t.Error("Run waits for a connection without a request")
}
