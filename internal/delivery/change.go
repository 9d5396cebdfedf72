package delivery

import "time"

// Change is one change that a person or program made through the admin API, or
// tried to. It holds no secret and no body of an event.
type Change struct {
	// Seq is its place in the log, set by whoever reads it.
	Seq uint64 `json:"-"`
	// ID is the same in the two records of one change, of which the second
	// replaces the first.
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
	// Result is one of the results below, Error why it failed.
	Result string `json:"result"`
	Error  string `json:"error,omitempty"`
	TookMS int64  `json:"took_ms,omitempty"`
}

// The results of a change.
const (
	// ChangeBegun stays when the process ended before the change did: what
	// became of it is not known.
	ChangeBegun  = "begun"
	ChangeDone   = "done"
	ChangeFailed = "failed"
	// ChangeRefused: nothing was changed.
	ChangeRefused = "refused"
)

// ChangeFilter selects changes. The zero filter selects all.
type ChangeFilter struct {
	// Since is when they were recorded at the earliest, when not zero.
	Since time.Time
	// By and Action are those of the change; "": any.
	By, Action string
	// Before is the sequence of the last one already seen; 0: none.
	Before uint64
	// Limit is the most to return, at least 1.
	Limit int
}
