package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	// maxTails is how many may follow at one time, tailBuffer how many lines
	// wait for one of them.
	maxTails   = 8
	tailBuffer = 1024
	// heartbeat keeps what is between us and the reader from closing a
	// connection on which nothing happens.
	heartbeat = 15 * time.Second
	// tailPatience is how long a reader may not take what is sent.
	tailPatience = 30 * time.Second
	// mostMatches bounds the patterns of one tail.
	mostMatches = 16
	sseType     = "text/event-stream"
)

// Tails follows what happens to events. Follow may be called concurrently; what
// it sends must hold no secret.
type Tails interface {
	// Follow checks q, and returns what follows it until ctx is done; emit
	// returns an error when it is to stop. A pattern or a condition that is
	// none makes a *PatternError or a *WhereError.
	Follow(ctx context.Context, q TailFilter) (func(ctx context.Context, emit Emit) error, error)
}

// Emit hands a line to the reader. A line that is live is left out when the
// reader is not fast enough; for another, which is of the past, it waits.
type Emit func(line TailLine, live bool) error

// TailFilter is a TailQuery that was read.
type TailFilter struct {
	Match               []string
	Where               string
	Accepts, Deliveries bool
	Since               time.Time
	AfterEvents         uint64 // of Last-Event-ID; with all three 0 there was none
	AfterRecords        uint64
	AfterLines          int // of the batch after AfterRecords
	Resumed             bool
}

// WhereError is a condition that is none.
type WhereError struct {
	// Line and Column are where, counted from 1.
	Line, Column int
	What, Hint   string
}

func (e *WhereError) Error() string {
	at := fmt.Sprintf("column %d", e.Column)
	if e.Line > 1 {
		at = fmt.Sprintf("line %d, %s", e.Line, at)
	}
	return "where, " + at + ": " + e.What
}

// TailID is where a reader is: after an event, and after some lines of the batch
// of records that follows another.
func TailID(events, records uint64, lines int) string {
	return fmt.Sprintf("%d-%d-%d", events, records, lines)
}

func (s *Server) tailFilter(c echo.Context) (TailFilter, error) {
	var f TailFilter
	q := c.QueryParams()
	single := map[string][]string{}
	for name, values := range q {
		if name != "match" {
			single[name] = values
		}
	}
	if err := knownParams(single, "match", "where", "only", "since"); err != nil {
		return f, err
	}
	for _, m := range q["match"] {
		if m != "" {
			f.Match = append(f.Match, m)
		}
	}
	if len(f.Match) > mostMatches {
		return f, bad("use wildcards, or several tails", "at most %d patterns", mostMatches)
	}
	f.Where, f.Accepts, f.Deliveries = q.Get("where"), true, true
	switch only := q.Get("only"); only {
	case "":
	case TailAccepts:
		f.Deliveries = false
	case TailDeliveries:
		f.Accepts = false
	default:
		return f, bad("known are "+TailAccepts+" and "+TailDeliveries, "unknown only %q", only)
	}
	var err error
	if f.Since, err = s.moment("since", q.Get("since")); err != nil {
		return f, err
	}
	if id := c.Request().Header.Get("Last-Event-ID"); id != "" {
		f.Resumed = true
		if n, err := fmt.Sscanf(id, "%d-%d-%d", &f.AfterEvents, &f.AfterRecords, &f.AfterLines); n != 3 || err != nil || f.AfterLines < 0 ||
			TailID(f.AfterEvents, f.AfterRecords, f.AfterLines) != id {
			return f, bad("use the id of the last line, or none", "Last-Event-ID %q is not one of ours", id)
		}
	}
	return f, nil
}

// tail streams what happens as server-sent events.
func (s *Server) tail(c echo.Context) error {
	select {
	case s.tails <- struct{}{}:
		defer func() { <-s.tails }()
	default:
		c.Response().Header().Set("Retry-After", "5")
		s.answer(c, refuse(http.StatusTooManyRequests, fmt.Sprintf("%d others follow already", maxTails), "end one of them, or ask again"))
		return nil
	}
	f, err := s.tailFilter(c)
	if err != nil {
		s.answer(c, asRefusal(err))
		return nil
	}
	ctx, cancel := context.WithCancel(c.Request().Context())
	defer cancel()
	follow, err := s.o.Tails.Follow(ctx, f)
	if err != nil {
		s.answer(c, asRefusal(err))
		return nil
	}
	t := &tailer{w: c.Response(), lines: make(chan TailLine, tailBuffer)}
	t.begin()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { // one odd event must not end the process
			if p := recover(); p != nil {
				s.log.Error("a tail ended early", "err", fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			}
		}()
		if err := follow(ctx, t.emit(ctx)); err != nil && ctx.Err() == nil {
			s.log.Warn("a tail ended early", "err", err)
		}
	}()
	t.write(ended, s.stopping)
	cancel()
	<-ended
	return nil
}

// tailer writes lines to one reader.
type tailer struct {
	w      *echo.Response
	lines  chan TailLine
	lagged atomic.Int64
}

func (t *tailer) begin() {
	h := t.w.Header()
	h.Set(echo.HeaderContentType, sseType)
	h.Set("X-Accel-Buffering", "no")
	t.w.WriteHeader(http.StatusOK)
	// Ours are the deadlines of requests that are answered at once.
	_ = http.NewResponseController(t.w).SetReadDeadline(time.Time{})
	_ = t.send([]byte(": following\nretry: 2000\n\n"))
}

func (t *tailer) emit(ctx context.Context) Emit {
	return func(line TailLine, live bool) error {
		if live {
			select {
			case t.lines <- line:
			default:
				t.lagged.Add(1)
			}
			return ctx.Err()
		}
		select {
		case t.lines <- line:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// write sends lines until the reader is gone, the source ends or we stop.
func (t *tailer) write(ended, stopping <-chan struct{}) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case line := <-t.lines:
			err = t.line(line)
		case <-beat.C:
			err = t.send([]byte(": still here\n\n"))
		case <-ended:
			return
		case <-stopping:
			return
		}
		if err != nil {
			return
		}
	}
}

// line sends one line, and before it how many are missing.
func (t *tailer) line(line TailLine) error {
	if n := t.lagged.Swap(0); n > 0 {
		if err := t.event(TailLine{Kind: TailLagged, At: time.Now().UTC(), Lagged: int(n)}); err != nil {
			return err
		}
	}
	return t.event(line)
}

func (t *tailer) event(line TailLine) error {
	data, err := json.Marshal(line)
	if err != nil {
		return err
	}
	out := append([]byte("event: "), line.Kind...)
	if line.ID != "" {
		out = append(append(out, "\nid: "...), line.ID...)
	}
	out = append(append(append(out, "\ndata: "...), data...), "\n\n"...)
	return t.send(out)
}

func (t *tailer) send(out []byte) error {
	control := http.NewResponseController(t.w)
	if err := control.SetWriteDeadline(time.Now().Add(tailPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := t.w.Write(out); err != nil {
		return err
	}
	return control.Flush()
}
