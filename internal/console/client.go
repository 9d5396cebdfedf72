package console

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/penstock/penstock/config"
)

// DefaultServer is where the admin API is when nothing else is said.
const DefaultServer = "http://127.0.0.1:8081"

// maxAnswer bounds what the client reads of one answer: a body of 8 MiB in the
// worst encoding.
const maxAnswer = 64 << 20

// Client asks the admin API of a running penstock. It is safe for concurrent
// use. No error of it holds the token.
type Client struct {
	base  string
	token config.Secret
	http  *http.Client
}

// NewClient returns a client of the server at base, such as DefaultServer; ""
// means that one. The token may be empty. A nil hc has a timeout of a minute
// for each request; redirects are never followed, for they would take the
// token along. It does not connect.
func NewClient(base, token string, hc *http.Client) (*Client, error) {
	base = strings.TrimRight(cmp.Or(base, DefaultServer), "/")
	u, err := url.Parse(base)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("the server must be an address such as " + DefaultServer)
	case u.User != nil:
		return nil, errors.New("the server's address must have no user or password; the token goes into PENSTOCK_TOKEN")
	case strings.ContainsAny(token, "\r\n"):
		return nil, errors.New("the token must be one line")
	}
	own := http.Client{Timeout: time.Minute}
	if hc != nil {
		own = *hc
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: base, token: config.NewSecret(token), http: &own}, nil
}

// APIError is an answer that is not 2xx.
type APIError struct {
	// Status is its HTTP status.
	Status int
	Problem
}

func (e *APIError) Error() string {
	if e.Hint == "" {
		return e.Problem.Error
	}
	return e.Problem.Error + "; " + e.Hint
}

// DeadQuery selects dead letters. The zero DeadQuery selects all.
type DeadQuery struct {
	Sink, Class string
	// Since is a time (RFC 3339) or how long ago (24h), by the server's clock.
	Since string
	// Cursor is DeadPage.Next of the page before.
	Cursor string
	// Limit is the most a page holds, 1 to 500; 0 means 50.
	Limit int
}

func (q DeadQuery) encode() string {
	return encode(q.Limit, map[string]string{"sink": q.Sink, "class": q.Class, "since": q.Since, "cursor": q.Cursor})
}

// encode writes the parameters of a list; those that are empty, and a limit of
// 0, are left out.
func encode(limit int, params map[string]string) string {
	v := url.Values{}
	for name, value := range params {
		if value != "" {
			v.Set(name, value)
		}
	}
	if limit != 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// Status says what the server is and what it holds.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.call(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}

// Sinks says how every sink stands.
func (c *Client) Sinks(ctx context.Context) ([]SinkStatus, error) {
	l, err := c.SinkList(ctx)
	return l.Items, err
}

// DeadList returns one page of dead letters, oldest first, without bodies.
func (c *Client) DeadList(ctx context.Context, q DeadQuery) (DeadPage, error) {
	var p DeadPage
	err := c.call(ctx, http.MethodGet, "/dead"+q.encode(), nil, &p)
	return p, err
}

// DeadAll returns every dead letter from q.Cursor on, a page at a time; it
// ends after the first error.
func (c *Client) DeadAll(ctx context.Context, q DeadQuery) iter.Seq2[DeadLetter, error] {
	return pages(q.Cursor, func(cursor string) ([]DeadLetter, string, error) {
		q.Cursor = cursor
		p, err := c.DeadList(ctx, q)
		return p.Items, p.Next, err
	})
}

// pages returns what all pages from a cursor on hold, and ends after the first
// error. page returns one of them and the cursor of the next, empty at the end.
func pages[T any](cursor string, page func(cursor string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			items, next, err := page(cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			cursor = next
		}
	}
}

// stream sends a request whose answer may take as long as patience, 0 for any
// time, and returns that answer, to be closed, if it is a good one.
func (c *Client) stream(req *http.Request, patience time.Duration) (*http.Response, error) {
	patient := *c.http
	patient.Timeout = patience
	resp, err := patient.Do(req)
	if err != nil {
		return nil, c.unanswered(req.Context(), err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	return nil, c.refused(resp, body)
}

// DeadShow returns one dead letter with its body.
func (c *Client) DeadShow(ctx context.Context, seq uint64) (DeadLetter, error) {
	return c.dead(ctx, http.MethodGet, seq, "")
}

// DeadRetry hands one dead letter to its sink once more and returns what it was.
func (c *Client) DeadRetry(ctx context.Context, seq uint64) (DeadLetter, error) {
	return c.dead(ctx, http.MethodPost, seq, "/retry")
}

// DeadDrop deletes one dead letter and returns what it was.
func (c *Client) DeadDrop(ctx context.Context, seq uint64) (DeadLetter, error) {
	return c.dead(ctx, http.MethodPost, seq, "/drop")
}

func (c *Client) dead(ctx context.Context, method string, seq uint64, action string) (DeadLetter, error) {
	var d DeadLetter
	err := c.call(ctx, method, "/dead/"+strconv.FormatUint(seq, 10)+action, nil, &d)
	return d, err
}

// DeadRetryMany retries what r selects. It asks until there is nothing more,
// or until an answer got nowhere: then Next is set and Note says why. The
// counts are of all that was done, also when it returns an error.
func (c *Client) DeadRetryMany(ctx context.Context, r BulkRequest) (BulkResult, error) {
	return c.bulk(ctx, "/dead/retry", r)
}

// DeadDropMany drops what r selects, as DeadRetryMany retries it.
func (c *Client) DeadDropMany(ctx context.Context, r BulkRequest) (BulkResult, error) {
	return c.bulk(ctx, "/dead/drop", r)
}

func (c *Client) bulk(ctx context.Context, path string, r BulkRequest) (BulkResult, error) {
	var sum BulkResult
	for {
		var part BulkResult
		if err := c.call(ctx, http.MethodPost, path, r, &part); err != nil {
			return sum, err
		}
		sum.Done += part.Done
		sum.Gone += part.Gone
		sum.Failed += part.Failed
		sum.Next, sum.Note = part.Next, cmp.Or(part.Note, sum.Note)
		if part.Next == "" || part.Done+part.Gone == 0 {
			return sum, nil
		}
		r.Cursor = part.Next
	}
}

// call makes one request and reads its answer into out.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	return c.callAccepting(ctx, method, path, in, out, http.StatusOK)
}

// callAccepting is call where another status than 200 may bring the answer too.
func (c *Client) callAccepting(ctx context.Context, method, path string, in, out any, other int) error {
	req, err := c.request(ctx, method, path, in)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != other {
		return c.refused(resp, body)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return c.stranger(resp)
	}
	return nil
}

func (c *Client) request(ctx context.Context, method, path string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/api/v1"+path, body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
	}
	if !c.token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	return req, nil
}

// unreachable explains why there is no answer at all.
func (c *Client) unreachable(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return &UnreachableError{"no penstock answers at " + c.base + "; is `penstock serve` running? Name it by -c FILE or --server URL", err}
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return &UnreachableError{fmt.Sprintf("ask %s: %v", c.base, err), err}
}

// refused explains an answer that is not 200.
func (c *Client) refused(resp *http.Response, body []byte) error {
	e := &APIError{Status: resp.StatusCode}
	if json.Unmarshal(body, &e.Problem) != nil || e.Problem.Error == "" {
		return c.stranger(resp)
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized && c.token.IsZero():
		e.Problem = Problem{Error: "the admin API wants a token: set PENSTOCK_TOKEN"}
	case resp.StatusCode == http.StatusUnauthorized:
		e.Problem = Problem{Error: "the admin API wants another token: compare PENSTOCK_TOKEN with the server's server.admin_token and server.admin_tokens"}
	}
	return e
}

// stranger: something answers, but not as we do.
func (c *Client) stranger(resp *http.Response) error {
	return fmt.Errorf("what answers at %s is not the admin API of penstock (status %d, %q); name the address of server.admin by -c FILE or --server URL",
		c.base, resp.StatusCode, oneLine(resp.Header.Get("Content-Type")))
}

// UnreachableError says that there was no answer.
type UnreachableError struct {
	text string
	err  error
}

func (e *UnreachableError) Error() string { return e.text }

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.err }
