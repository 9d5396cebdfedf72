package console

import (
	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// DiffRequest is the body of POST /api/v1/rules/diff: other rules, and which
// stored events they are tried on. Nothing is sent and nothing changes.
type DiffRequest struct {
	Rules config.RuleSet `json:"rules"`
	// Since and Until are times (RFC 3339) or how long ago (24h).
	Since string `json:"since,omitempty"`
	Until string `json:"until,omitempty"`
	// Match are patterns over subjects, of which one has to match; none: all.
	Match []string `json:"match,omitempty"`
	// Source is the only source whose events count; empty: all do.
	Source string `json:"source,omitempty"`
	// Limit is how many events to look at at most, the newest; 0: all.
	Limit uint64 `json:"limit,omitempty"`
	// Examples is how many events to name of each change, 0 to 100.
	Examples int `json:"examples"`
}

// DiffLine is one line of the answer of POST /api/v1/rules/diff, a stream of
// such lines: any number of Progress and SoFar, then one Done or Problem.
type DiffLine struct {
	Progress *SearchProgress `json:"progress,omitempty"`
	// SoFar is partial: what was found up to now.
	SoFar   *delivery.Difference `json:"so_far,omitempty"`
	Done    *delivery.Difference `json:"done,omitempty"`
	Problem *Problem             `json:"problem,omitempty"`
}
