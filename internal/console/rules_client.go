package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/delivery"
)

// RulesDiff tells what other rules than those of the server would have made of
// stored events. It tells progress, which may be nil, how far it is. When it
// fails before it is done, or ctx ends, it returns what was found until then
// with the error; Proposed is empty when nothing was.
func (c *Client) RulesDiff(ctx context.Context, r DiffRequest, progress func(SearchProgress)) (delivery.Difference, error) {
	var found delivery.Difference
	req, err := c.request(ctx, http.MethodPost, "/rules/diff", r)
	if err != nil {
		return found, err
	}
	resp, err := c.stream(req, diffTimeout+writeTimeout)
	if err != nil {
		return found, err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var line DiffLine
		if err := dec.Decode(&line); err != nil {
			return found, c.brokenOff(ctx, err)
		}
		switch {
		case line.Problem != nil:
			return found, &APIError{Status: http.StatusOK, Problem: *line.Problem}
		case line.SoFar != nil:
			found = *line.SoFar
		case line.Progress != nil && progress != nil:
			progress(*line.Progress)
		case line.Done != nil:
			return *line.Done, nil
		}
	}
}

// unanswered is unreachable, unless whoever asked has stopped waiting.
func (c *Client) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.unreachable(err)
}

// brokenOff explains an answer that ended before it was complete.
func (c *Client) brokenOff(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it broke off")
	}
	return fmt.Errorf("read the answer of %s: %w", c.base, err)
}
