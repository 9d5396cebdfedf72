package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
)

// ReplayPreview counts what r selects and changes nothing.
func (c *Client) ReplayPreview(ctx context.Context, r ReplayRequest) (Survey, error) {
	r.DryRun = true
	var a ReplayAnswer
	if err := c.call(ctx, http.MethodPost, "/replays", r, &a); err != nil {
		return Survey{}, err
	}
	if a.Survey == nil {
		return Survey{}, errors.New("the answer holds no survey; is the server of another version?")
	}
	return *a.Survey, nil
}

// ReplayStart makes a job of r, which the server works on by itself.
func (c *Client) ReplayStart(ctx context.Context, r ReplayRequest) (Replay, error) {
	r.DryRun = false
	var a ReplayAnswer
	if err := c.call(ctx, http.MethodPost, "/replays", r, &a); err != nil {
		return Replay{}, err
	}
	if a.Job == nil {
		return Replay{}, errors.New("the answer holds no job; is the server of another version?")
	}
	return *a.Job, nil
}

// ReplayJobs returns the jobs that are kept, the one saved last at the end.
func (c *Client) ReplayJobs(ctx context.Context) ([]Replay, error) {
	var jobs []Replay
	for cursor := ""; ; {
		var l ReplayList
		if err := c.call(ctx, http.MethodGet, "/replays"+encode(maxPage, map[string]string{"cursor": cursor}), nil, &l); err != nil {
			return jobs, err
		}
		jobs = append(jobs, l.Items...)
		if cursor = l.Next; cursor == "" {
			return jobs, nil
		}
	}
}

// ReplayJob says how a job stands.
func (c *Client) ReplayJob(ctx context.Context, id string) (Replay, error) {
	return c.replay(ctx, http.MethodGet, id, "")
}

// ReplayResume goes on with a job that is not done; it does nothing to one that runs.
func (c *Client) ReplayResume(ctx context.Context, id string) (Replay, error) {
	return c.replay(ctx, http.MethodPost, id, "/resume")
}

// ReplayPause stops a job so that it can be resumed.
func (c *Client) ReplayPause(ctx context.Context, id string) (Replay, error) {
	return c.replay(ctx, http.MethodPost, id, "/pause")
}

// ReplayAbort stops a job for good.
func (c *Client) ReplayAbort(ctx context.Context, id string) (Replay, error) {
	return c.replay(ctx, http.MethodPost, id, "/abort")
}

func (c *Client) replay(ctx context.Context, method, id, action string) (Replay, error) {
	var r Replay
	err := c.call(ctx, method, "/replays/"+url.PathEscape(id)+action, nil, &r)
	return r, err
}
