package console

import "time"

// ReplayRequest is the body of POST /api/v1/replays: what to hand to sinks once
// more. The zero Kind is "replay".
type ReplayRequest struct {
	// Kind is "replay", kept events to one sink, or "redrive", dead letters to
	// the sinks they were for.
	Kind string `json:"kind,omitempty"`
	// Sink is required for a replay.
	Sink string `json:"sink,omitempty"`
	// Match are patterns over subjects, IDs ids of events: for a replay.
	Match []string `json:"match,omitempty"`
	IDs   []string `json:"ids,omitempty"`
	// Class is that of dead letters. A redrive that names neither sink, class
	// nor since must say All.
	Class string `json:"class,omitempty"`
	All   bool   `json:"all,omitempty"`
	// Since and Until are times (RFC 3339) or how long ago (24h). A replay's
	// are of the storing of events; a redrive has only Since.
	Since string `json:"since,omitempty"`
	Until string `json:"until,omitempty"`
	// Rate is the most events in a time: 50/s, 600/m, 10/h; empty: as fast as
	// the sink takes them.
	Rate string `json:"rate,omitempty"`
	// UpTo leaves out what was stored after that sequence; 0: nothing. It is
	// Survey.UpTo of a dry run, so that exactly what it counted is taken.
	UpTo uint64 `json:"up_to,omitempty"`
	// DryRun only counts.
	DryRun bool `json:"dry_run,omitempty"`
}

// ReplayAnswer is the answer of POST /api/v1/replays: Survey of a dry run, else
// Job.
type ReplayAnswer struct {
	Survey *Survey `json:"survey,omitempty"`
	Job    *Replay `json:"job,omitempty"`
}

// Survey says what a request selects.
type Survey struct {
	Events int   `json:"events"`
	Bytes  int64 `json:"bytes"`
	// Partial: there was no time to count them all; there are more.
	Partial bool `json:"partial,omitempty"`
	// First and Last are when the first and the last were stored, or given up.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	UpTo  uint64    `json:"up_to"`
	// Subjects are the most frequent ones, the most frequent first; OtherSubjects
	// counts the subjects that are not among them. Sinks are all.
	Subjects      []Tally `json:"subjects"`
	OtherSubjects int     `json:"other_subjects,omitempty"`
	Sinks         []Tally `json:"sinks"`
}

// Tally is how many there are of a name.
type Tally struct {
	Name   string `json:"name"`
	Events int    `json:"events"`
}

// Replay is a job that hands events to sinks once more.
type Replay struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`
	// State is running, paused, interrupted (its process ended), failed, done
	// or aborted. All but the last two can be resumed.
	State string   `json:"state"`
	Sink  string   `json:"sink,omitempty"`
	Match []string `json:"match,omitempty"`
	IDs   []string `json:"ids,omitempty"`
	Class string   `json:"class,omitempty"`
	// Since and Until are what bounds the selection in time.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// PerSecond is the most events a second; absent: no bound.
	PerSecond float64   `json:"per_second,omitempty"`
	Created   time.Time `json:"created"`
	Updated   time.Time `json:"updated"`
	// Selected is what the selection held when the job was made, at least that
	// if Partial. Published of them were handed to a retry lane, Gone were not
	// there any more when their turn came.
	Selected  int   `json:"selected"`
	Bytes     int64 `json:"bytes"`
	Partial   bool  `json:"partial,omitempty"`
	Published int   `json:"published"`
	Gone      int   `json:"gone"`
	// Waiting says why nothing is handed over right now, Note why it failed.
	Waiting string `json:"waiting,omitempty"`
	Note    string `json:"note,omitempty"`
}

// Ended reports that nothing more comes of the job and that it cannot be resumed.
func (r Replay) Ended() bool { return r.State == "done" || r.State == "aborted" }

// ReplayList is the answer of GET /api/v1/replays, the one saved last at the end.
type ReplayList struct {
	Items []Replay `json:"items"`
	// Next is the cursor of the next page; empty: this was the last one.
	Next string `json:"next,omitempty"`
}
