package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/penstock/penstock/internal/clickfunnels"
)

// postTimeout bounds one post, answer included.
const postTimeout = 30 * time.Second

// answer is what the server said to one event: its receipt, or why not.
type answer struct {
	Status    int    `json:"status"`
	ID        string `json:"id,omitempty"`
	Subject   string `json:"subject,omitempty"`
	Seq       uint64 `json:"seq,omitempty"`
	Duplicate bool   `json:"duplicate"`
	Error     string `json:"error,omitempty"`
	Hint      string `json:"hint,omitempty"`
}

func (a answer) stored() bool { return a.Status/100 == 2 }

// refusal is an answer that is not 2xx, as an error.
func (a answer) refusal() error {
	text := fmt.Sprintf("answered %d %s", a.Status, http.StatusText(a.Status))
	if a.Error != "" {
		text += ": " + printable(a.Error)
	}
	if a.Hint != "" {
		text += "\n" + printable(a.Hint)
	}
	return errors.New(text)
}

// poster posts events to one place. It is safe for concurrent use.
type poster struct {
	target target
	client *http.Client
}

func newPoster(t target) *poster {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: senders, IdleConnTimeout: 30 * time.Second}
	return &poster{target: t, client: &http.Client{Transport: transport, Timeout: postTimeout}}
}

// send posts one body, signed now. The error is that no answer came.
func (p *poster) send(ctx context.Context, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.target.url, bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("post to %s: not a URL", p.target.shown)
	}
	if p.target.secret != "" {
		req.Header = clickfunnels.Sign(p.target.secret, time.Now(), body)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := p.client.Do(req)
	if err != nil {
		return answer{}, p.noAnswer(ctx, err)
	}
	defer res.Body.Close()
	a := answer{}
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return answer{}, p.noAnswer(ctx, err)
	}
	if json.Unmarshal(text, &a) != nil { // not one of ours that answers
		a = answer{Error: string(bytes.TrimSpace(text[:min(200, len(text))]))}
	}
	a.Status = res.StatusCode
	return a, nil
}

// noAnswer leaves out the URL that Go's errors hold: it may have a token.
func (p *poster) noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return &silentError{p.target.shown, err}
	}
	return fmt.Errorf("post to %s: %w", p.target.shown, err)
}

// silentError: nobody listens.
type silentError struct {
	url string
	err error
}

func (e *silentError) Error() string { return "nothing answers at " + e.url }
func (e *silentError) Unwrap() error { return e.err }

// newID returns a random UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func isJSON(text []byte) bool { return json.Valid(text) }
