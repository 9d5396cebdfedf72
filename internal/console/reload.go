package console

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Reloader replaces the configuration of the running process by what its files
// say now. Its methods may be called concurrently.
type Reloader interface {
	// Reload reads the files and, unless dryRun, carries out what they say. What
	// stands in the way is in the result.
	Reload(ctx context.Context, dryRun bool) ReloadResult
	// ReloadState says how the latest reload went.
	ReloadState() ReloadState
}

// ReloadRequest is the body of POST /api/v1/reload.
type ReloadRequest struct {
	// DryRun only says what a reload would change.
	DryRun bool `json:"dry_run,omitempty"`
}

// ReloadResult is the answer of POST /api/v1/reload: with 200 when the files
// are in force, or could be, and with 422 when they were refused.
type ReloadResult struct {
	OK     bool `json:"ok"`
	DryRun bool `json:"dry_run,omitempty"`
	// Error and Hint say why nothing was changed; empty when OK.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// Mistakes are what is wrong with the files, warnings among them.
	Mistakes []ConfigMistake `json:"mistakes,omitempty"`
	// Changed reports that the files say anything else than what ran before.
	Changed bool        `json:"changed"`
	Routes  NameChanges `json:"routes"`
	Sinks   NameChanges `json:"sinks"`
	Sources NameChanges `json:"sources"`
	// Default: events that no route matched go elsewhere. Order: the routes
	// come in another order.
	Default bool `json:"default_changed,omitempty"`
	Order   bool `json:"order_changed,omitempty"`
	// Tokens: others may call the admin API, or by other tokens.
	Tokens bool `json:"tokens_changed,omitempty"`
	// Rules is the version of the routes, and FromSeq the sequence of the first
	// event that they route; 0 when they are what they were, or were not applied.
	Rules   string `json:"rules,omitempty"`
	FromSeq uint64 `json:"from_seq,omitempty"`
}

// NameChanges names what is new, other than before, or gone.
type NameChanges struct {
	Added   []string `json:"added"`
	Changed []string `json:"changed"`
	Removed []string `json:"removed"`
}

// ConfigMistake is one thing that is wrong in a configuration. Line and column
// count from 1; 0 means nowhere.
type ConfigMistake struct {
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Path     string `json:"path,omitempty"`
	Severity string `json:"severity"` // error or warning
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
	// Text is all of it on one line, as penstock check prints it.
	Text string `json:"text"`
}

// ReloadState is the answer of GET /api/v1/reload.
type ReloadState struct {
	// OK reports that what the files said when they were last read is in force.
	OK bool `json:"ok"`
	// LoadedAt is since when the configuration in force is.
	LoadedAt time.Time `json:"loaded_at"`
	// TriedAt is when a reload was last tried, and By what: a signal, a change
	// of a file, or the API; absent when none was.
	TriedAt time.Time `json:"tried_at,omitzero"`
	By      string    `json:"by,omitempty"`
	// Error and Mistakes say why the last one changed nothing.
	Error    string          `json:"error,omitempty"`
	Mistakes []ConfigMistake `json:"mistakes,omitempty"`
	// Files are the files that are watched.
	Files []string `json:"files"`
	// Rules is the version of the routes in force. It is FileRules, that of the
	// files, unless another process has recorded other ones since.
	Rules     string `json:"rules,omitempty"`
	FileRules string `json:"file_rules,omitempty"`
	// RulesAt is since when those routes are in force: LoadedAt, or when this
	// process saw that another had put others in force.
	RulesAt time.Time `json:"rules_at,omitzero"`
	// Versions is how many versions of the routes are in use: more than one
	// while events wait that were stored before a change.
	Versions int `json:"versions,omitempty"`
}

func (s *Server) reloadRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/reload", summary: "How the latest reload of the configuration went", out: ReloadState{},
			handle: func(context.Context, echo.Context) (any, error) { return s.o.Reload.ReloadState(), nil }},
		{method: http.MethodPost, path: "/reload", summary: "Read the configuration again and put it in force; a dry run only compares",
			in: ReloadRequest{}, optional: true, out: ReloadResult{}, wrong: ReloadResult{}, handle: s.reload},
	}
}

func (s *Server) reload(ctx context.Context, c echo.Context) (any, error) {
	var req ReloadRequest
	if err := readOptional(c.Request().Body, &req); err != nil {
		return nil, err
	}
	if req.DryRun {
		return reloaded(s.o.Reload.Reload(ctx, true))
	}
	return s.changing(ctx, c, "reload", func(ctx context.Context, _ echo.Context) (any, error) {
		return reloaded(s.o.Reload.Reload(ctx, false))
	})
}

func reloaded(r ReloadResult) (any, error) {
	if r.OK {
		return r, nil
	}
	no := refuse(http.StatusUnprocessableEntity, r.Error, r.Hint)
	no.body = r
	return nil, no
}

// Reload has the server read its configuration again; with dryRun it only says
// what would change. A configuration that is refused is no error: the result
// says so.
func (c *Client) Reload(ctx context.Context, dryRun bool) (ReloadResult, error) {
	var r ReloadResult
	err := c.callAccepting(ctx, http.MethodPost, "/reload", ReloadRequest{DryRun: dryRun}, &r, http.StatusUnprocessableEntity)
	return r, err
}

// ReloadState says how the latest reload went.
func (c *Client) ReloadState(ctx context.Context) (ReloadState, error) {
	var s ReloadState
	err := c.call(ctx, http.MethodGet, "/reload", nil, &s)
	return s, err
}
