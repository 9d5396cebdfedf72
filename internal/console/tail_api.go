package console

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The kinds of lines of a tail.
const (
	TailFollowing   = "following"   // the first line: from here on
	TailAccepted    = "accepted"    // an event was stored
	TailDelivered   = "delivered"   // an attempt succeeded
	TailRetry       = "retry"       // an attempt failed, Attempt.Next says when the next is due
	TailDead        = "dead"        // the delivery was given up
	TailSkipped     = "skipped"     // no route wants the event for the sink any more
	TailInterrupted = "interrupted" // our own stop cut an attempt off
	TailSink        = "sink"        // a sink changed its state
	TailLagged      = "lagged"      // Lagged lines were left out: they were not read fast enough
	TailNote        = "note"        // Note says what the reader should know
)

// TailKinds returns all of them.
func TailKinds() []string {
	return []string{TailFollowing, TailAccepted, TailDelivered, TailRetry, TailDead, TailSkipped, TailInterrupted, TailSink, TailLagged, TailNote}
}

// The values of TailQuery.Only.
const (
	TailAccepts    = "accepts"
	TailDeliveries = "deliveries"
)

// TailLine is what happened, as GET /api/v1/tail streams it.
type TailLine struct {
	// ID is where to go on after this line; absent: at the one before.
	ID   string `json:"id,omitempty"`
	Kind string `json:"kind"`
	// At is when the event was stored, the attempt ended, the state changed.
	At time.Time `json:"at"`
	// Seq, EventID and Subject are the event's. Event is all that is known of
	// an accepted one but its body.
	Seq     uint64 `json:"seq,omitempty"`
	EventID string `json:"event_id,omitempty"`
	Subject string `json:"subject,omitempty"`
	Event   *Event `json:"event,omitempty"`
	// Sink is that of a delivery, or the one that changed its State.
	Sink    string       `json:"sink,omitempty"`
	Attempt *AttemptInfo `json:"attempt,omitempty"`
	State   string       `json:"state,omitempty"`
	Until   time.Time    `json:"until,omitzero"`
	Lagged  int          `json:"lagged,omitempty"`
	Note    string       `json:"note,omitempty"`
}

// TailQuery says what is followed. The zero TailQuery is everything from now on.
type TailQuery struct {
	// Match are patterns over subjects, of which one has to match.
	Match []string
	// Where is a condition in the language of routes.
	Where string
	// Only is TailAccepts or TailDeliveries; empty: both.
	Only string
	// Since begins in the past: at a time (RFC 3339), or so long ago (10m), by
	// the server's clock.
	Since string
	// After is TailLine.ID of the last line seen; Since is then not looked at.
	After string
}

// Tail calls each with every line until ctx is done, each returns an error,
// which it returns, or the connection is lost. Go on after that with the ID of
// the last line that has one as q.After.
func (c *Client) Tail(ctx context.Context, q TailQuery, each func(TailLine) error) error {
	v := url.Values{"match": q.Match}
	for name, value := range map[string]string{"where": q.Where, "only": q.Only, "since": q.Since} {
		if value != "" {
			v.Set(name, value)
		}
	}
	req, err := c.request(ctx, http.MethodGet, "/tail?"+v.Encode(), nil)
	if err != nil {
		return err
	}
	if q.After != "" {
		req.Header.Set("Last-Event-ID", q.After)
	}
	resp, err := c.stream(req, 0)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), sseType) {
		return c.stranger(resp)
	}
	err = readSSE(resp.Body, func(id string, data []byte) error {
		var line TailLine
		if err := json.Unmarshal(data, &line); err != nil {
			return fmt.Errorf("read a line of %s: %w", c.base, err)
		}
		if id != "" {
			line.ID = id
		}
		return each(line)
	})
	var told stopReading
	if errors.As(err, &told) {
		return told.err
	}
	return &BrokenOffError{base: c.base, err: err}
}

// BrokenOffError says that a tail ended that nobody wanted to end.
type BrokenOffError struct {
	base string
	err  error
}

func (e *BrokenOffError) Error() string {
	return fmt.Sprintf("the connection to %s was lost: %v", e.base, e.err)
}

// Unwrap returns the cause.
func (e *BrokenOffError) Unwrap() error { return e.err }

// stopReading is the error of whoever is told.
type stopReading struct{ err error }

func (s stopReading) Error() string { return s.err.Error() }

// maxSSELine bounds a line of a stream.
const maxSSELine = 1 << 20

// readSSE calls each with the id and data of every event. It returns when that
// fails or there is nothing more.
func readSSE(r io.Reader, each func(id string, data []byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxSSELine)
	var id string
	var data []byte
	for s.Scan() {
		name, value, _ := bytes.Cut(s.Bytes(), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "": // a comment, or the end of an event
			if len(s.Bytes()) == 0 && len(data) > 0 {
				if err := each(id, data); err != nil {
					return stopReading{err}
				}
				id, data = "", nil
			}
		case "id":
			id = string(value)
		case "data":
			data = append(data, value...)
		}
	}
	if err := s.Err(); err != nil {
		return err
	}
	return io.EOF
}
