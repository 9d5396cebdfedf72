package console

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Change is one change made through the admin API, or tried.
type Change struct {
	Seq uint64 `json:"seq"`
	// ID names the change.
	ID string    `json:"id"`
	At time.Time `json:"at"`
	// By is the name of the token, Role what it may do, From the address and
	// port of the caller.
	By   string `json:"by"`
	Role string `json:"role,omitempty"`
	From string `json:"from"`
	// Action is what was to be done, as in "drop dead letter", On the address
	// that was asked.
	Action string `json:"action"`
	On     string `json:"on"`
	// Details say what was changed, by name.
	Details map[string]string `json:"details,omitempty"`
	// Result is done, failed, refused (nothing was changed), or begun: the
	// process ended before the change did.
	Result string `json:"result"`
	// Error says why it failed or was refused.
	Error  string `json:"error,omitempty"`
	TookMS int64  `json:"took_ms,omitempty"`
}

// ChangePage is the answer of GET /api/v1/audit, newest first.
type ChangePage struct {
	Items []Change `json:"items"`
	// Next is the cursor of the next page; empty: this was the last one.
	Next string `json:"next,omitempty"`
}

// ChangeQuery selects changes. The zero ChangeQuery selects all.
type ChangeQuery struct {
	// Since is a time (RFC 3339) or how long ago (24h), by the server's clock.
	Since string
	// By is the name of a token, Action what was done.
	By, Action string
	// Cursor is ChangePage.Next of the page before.
	Cursor string
	// Limit is the most a page holds, 1 to 500; 0 means 50.
	Limit int
}

// Changes returns one page of the audit log, newest first.
func (c *Client) Changes(ctx context.Context, q ChangeQuery) (ChangePage, error) {
	var p ChangePage
	err := c.call(ctx, http.MethodGet, "/audit"+encode(q.Limit, map[string]string{"since": q.Since, "by": q.By, "action": q.Action, "cursor": q.Cursor}), nil, &p)
	return p, err
}

// ChangesAll returns every change from q.Cursor on, a page at a time; it ends
// after the first error.
func (c *Client) ChangesAll(ctx context.Context, q ChangeQuery) iter.Seq2[Change, error] {
	return pages(q.Cursor, func(cursor string) ([]Change, string, error) {
		q.Cursor = cursor
		p, err := c.Changes(ctx, q)
		return p.Items, p.Next, err
	})
}
