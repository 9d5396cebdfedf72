package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// EventQuery selects events. The zero EventQuery selects all.
type EventQuery struct {
	Pattern, Sink, Outcome string
	// Since and Until are times (RFC 3339) or how long ago (24h), by the
	// server's clock.
	Since, Until string
	// Cursor is EventPage.Next of the page before.
	Cursor string
	// Limit is the most a page holds, 1 to 500; 0 means 50.
	Limit int
}

func (q EventQuery) encode() string {
	return encode(q.Limit, map[string]string{"pattern": q.Pattern, "sink": q.Sink, "outcome": q.Outcome, "since": q.Since, "until": q.Until, "cursor": q.Cursor})
}

// EventList returns one page of events, newest first.
func (c *Client) EventList(ctx context.Context, q EventQuery) (EventPage, error) {
	var p EventPage
	err := c.call(ctx, http.MethodGet, "/events"+q.encode(), nil, &p)
	return p, err
}

// EventShow tells one event's story, with its body.
func (c *Client) EventShow(ctx context.Context, seq uint64) (EventStory, error) {
	var s EventStory
	err := c.call(ctx, http.MethodGet, "/events/"+strconv.FormatUint(seq, 10), nil, &s)
	return s, err
}

// EventErase removes an event from everywhere.
func (c *Client) EventErase(ctx context.Context, seq uint64) (ErasedEvent, error) {
	var e ErasedEvent
	err := c.call(ctx, http.MethodPost, "/events/"+strconv.FormatUint(seq, 10)+"/erase", struct{}{}, &e)
	return e, err
}

// EventSearch returns the events that have the id, or are about the subject,
// among those stored since a time or for so long ("": all). It tells progress,
// which may be nil, how far the search is.
func (c *Client) EventSearch(ctx context.Context, id, subjectID, since string, progress func(SearchProgress)) ([]Event, error) {
	v := url.Values{}
	for name, value := range map[string]string{"id": id, "subject_id": subjectID, "since": since} {
		if value != "" {
			v.Set(name, value)
		}
	}
	req, err := c.request(ctx, http.MethodGet, "/events?"+v.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.stream(req, searchTimeout)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return c.searchLines(resp, progress)
}

func (c *Client) searchLines(resp *http.Response, progress func(SearchProgress)) ([]Event, error) {
	var found []Event
	dec := json.NewDecoder(resp.Body)
	for {
		var line SearchLine
		if err := dec.Decode(&line); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("it broke off")
			}
			return found, fmt.Errorf("read the answer of %s: %w", c.base, err)
		}
		switch {
		case line.Problem != nil:
			return found, &APIError{Status: http.StatusOK, Problem: *line.Problem}
		case line.Found != nil:
			found = append(found, *line.Found)
		case line.Progress != nil && progress != nil:
			progress(*line.Progress)
		case line.Done != nil:
			return found, nil
		}
	}
}
