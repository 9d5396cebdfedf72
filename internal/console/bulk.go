package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/penstock/penstock/internal/delivery"
)

const (
	// bulkPage is how many dead letters are looked up at a time, bulkMost how
	// many one request takes on, bulkTime how long it may take: what is left
	// is for the next request.
	bulkPage = 50
	bulkMost = 500
	bulkTime = 15 * time.Second
	// bulkPause lets others in between two pages.
	bulkPause = 20 * time.Millisecond
	// bulkLane is how many deliveries may wait in a sink's retry lane for more
	// to be put there.
	bulkLane = 1000
	// bulkFailures is how many failures in a row end a request.
	bulkFailures = 5
)

func (s *Server) retryMany(ctx context.Context, c echo.Context) (any, error) {
	return s.changeMany(ctx, c, &bulk{do: s.o.Dead.RetryDead, outstanding: s.o.Outstanding})
}

func (s *Server) dropMany(ctx context.Context, c echo.Context) (any, error) {
	return s.changeMany(ctx, c, &bulk{do: s.o.Dead.DropDead})
}

// bulk is one bulk request at work.
type bulk struct {
	do          changeOne
	outstanding func(sink string) int // nil: not asked
	list        func(context.Context, delivery.DeadFilter) ([]delivery.DeadLetter, bool, error)
	stopping    <-chan struct{}

	filter delivery.DeadFilter
	// until is when the first request came. What died after it is not touched,
	// or a sink that is down would be given the same events for ever.
	until  time.Time
	result BulkResult
	streak int // failures in a row
}

func (s *Server) changeMany(ctx context.Context, c echo.Context, b *bulk) (any, error) {
	var req BulkRequest
	if err := readJSON(c.Request().Body, &req); err != nil {
		return nil, err
	}
	if req.Sink+req.Class+req.Since == "" && !req.All {
		return nil, bad(`name a sink, class or since, or say "all": true`, "that would be every dead letter")
	}
	var err error
	if b.filter, err = s.filter(req.Sink, req.Class, req.Since); err != nil {
		return nil, err
	}
	if b.filter.After, b.until, err = readBulkCursor(req.Cursor, s.o.Now()); err != nil {
		return nil, err
	}
	select {
	case s.bulk <- struct{}{}:
		defer func() { <-s.bulk }()
	default:
		c.Response().Header().Set("Retry-After", "2")
		return nil, refuse(http.StatusTooManyRequests, "another bulk change is running", "ask again when it is done")
	}
	b.list, b.stopping = s.o.Dead.DeadLetters, s.stopping
	err = b.run(ctx)
	if r := b.result; err == nil || r.Done > 0 {
		note(c, slog.String("sink", req.Sink), slog.String("class", req.Class),
			slog.String("since", req.Since), slog.Bool("all", req.All),
			slog.Int("done", r.Done), slog.Int("gone", r.Gone), slog.Int("failed", r.Failed), slog.Bool("more", r.Next != ""))
	}
	if err != nil && b.result.Done == 0 {
		return nil, err
	}
	if err != nil {
		b.stop("stopped early: " + oneLine(err.Error()))
	}
	return b.result, nil
}

// run works through pages until there is nothing more or a bound is reached.
func (b *bulk) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bulkTime)
	defer cancel()
	for left := bulkMost; ; {
		b.filter.Limit = min(bulkPage, left)
		letters, more, err := b.list(ctx, b.filter)
		if err != nil {
			return err
		}
		for _, d := range letters {
			if d.Died.After(b.until) {
				return nil // what follows died later still
			}
			if !b.one(ctx, d) {
				return nil
			}
		}
		left -= len(letters)
		switch {
		case !more || len(letters) == 0:
			return nil
		case left <= 0 || !b.pause(ctx):
			b.stop("")
			return nil
		}
	}
}

// one changes one dead letter and reports whether to go on.
func (b *bulk) one(ctx context.Context, d delivery.DeadLetter) bool {
	if ctx.Err() != nil {
		b.stop("")
		return false
	}
	if b.outstanding != nil && b.outstanding(d.Sink) >= bulkLane {
		b.stop(fmt.Sprintf("sink %s has %d deliveries waiting for it already; go on when it has caught up", d.Sink, bulkLane))
		return false
	}
	_, err := b.do(ctx, d.Seq)
	if err != nil && ctx.Err() != nil {
		b.stop("") // cut off, not failed: this one comes first next time
		return false
	}
	b.filter.After = d.Seq
	switch {
	case err == nil:
		b.result.Done++
		b.streak = 0
	case errors.Is(err, delivery.ErrNoDeadLetter):
		b.result.Gone++
		b.streak = 0
	default:
		b.result.Failed++
		b.streak++
		b.result.Note = oneLine(err.Error())
	}
	if b.streak >= bulkFailures {
		b.stop("stopped after failures: " + b.result.Note)
		return false
	}
	return true
}

// stop leaves the rest for another request.
func (b *bulk) stop(note string) {
	if note != "" {
		b.result.Note = note
	}
	b.result.Next = strconv.FormatUint(b.filter.After, 10) + "-" + strconv.FormatInt(b.until.UnixNano(), 10)
}

// pause reports whether to go on after it.
func (b *bulk) pause(ctx context.Context) bool {
	t := time.NewTimer(bulkPause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-b.stopping:
	case <-ctx.Done():
	}
	return false
}

// readBulkCursor returns where to go on; without a cursor, from the start and
// with what is dead now.
func readBulkCursor(cursor string, now time.Time) (after uint64, until time.Time, err error) {
	if cursor == "" {
		return 0, now, nil
	}
	a, u, _ := strings.Cut(cursor, "-")
	after, errA := strconv.ParseUint(a, 10, 64)
	nanos, errU := strconv.ParseInt(u, 10, 64)
	if errA != nil || errU != nil {
		return 0, time.Time{}, bad("use the next of the answer before", "cursor %q is not one of ours", cursor)
	}
	return after, time.Unix(0, nanos), nil
}

// keysOf are the keys that a pointer to a struct is read from.
func keysOf(t reflect.Type) []string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var out []string
	if t.Kind() != reflect.Struct {
		return out
	}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "":
			out = append(out, keysOf(field.Type)...)
		case name != "" && name != "-":
			out = append(out, name)
		}
	}
	return out
}

// readJSON reads one JSON value that has no other keys than v. A filter whose
// misspelt half is ignored would select too much.
func readJSON(body io.Reader, v any) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, more := dec.Token(); errors.Is(more, io.EOF) {
			return nil
		}
		return bad("", "the body holds more than one JSON value")
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", large.Limit), "")
	}
	return bad("send an object with "+strings.Join(keysOf(reflect.TypeOf(v)), ", "), "the body is not what is expected: %v", strings.TrimPrefix(err.Error(), "json: "))
}
