package delivery

import (
	"errors"
	"time"
)

// Errors of jobs.
var (
	// ErrNoJob: there is none with that id (any more).
	ErrNoJob = errors.New("no such job")
	// ErrJobTaken: another process has saved the job since we read it, so it
	// is that process's now.
	ErrJobTaken = errors.New("another process works on the job")
)

// JobKind says what a job hands to sinks once more.
type JobKind string

// The kinds of jobs. The strings appear in records and answers.
const (
	// Replay: kept events, to one sink.
	Replay JobKind = "replay"
	// Redrive: dead letters, each to the sink it was for.
	Redrive JobKind = "redrive"
)

// JobState is how a job stands.
type JobState string

// The states of a job. The strings appear in records and answers.
const (
	// JobRunning: it is being worked on.
	JobRunning JobState = "running"
	// JobPaused: a person stopped it for now.
	JobPaused JobState = "paused"
	// JobInterrupted: the process that worked on it ended.
	JobInterrupted JobState = "interrupted"
	// JobFailed: something went wrong; Note says what. It can be resumed.
	JobFailed JobState = "failed"
	// JobDone: everything it selects was handed over, or is gone.
	JobDone JobState = "done"
	// JobAborted: a person gave it up.
	JobAborted JobState = "aborted"
)

// Ended reports that nothing more will come of the job, nor can it be resumed.
func (s JobState) Ended() bool { return s == JobDone || s == JobAborted }

// Selection names what a job works on. It is fixed when the job is made: what
// is stored later is not part of it.
type Selection struct {
	Kind JobKind `json:"kind"`
	// Sink gets the events of a replay; with a redrive, "" means every sink.
	Sink string `json:"sink,omitempty"`
	// Match are patterns over subjects, of which one has to match; none: all.
	// Replay only.
	Match []string `json:"match,omitempty"`
	// IDs are ids of events; none: all. Replay only.
	IDs []string `json:"ids,omitempty"`
	// Class is that of dead letters; "": all. Redrive only.
	Class Class `json:"class,omitempty"`
	// Since and Until bound when the events were stored, or given up; zero: no
	// bound. Until itself is not part of it.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// From and To are the sequences, both included, that this came to.
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Survey is what a selection holds.
type Survey struct {
	Events int   `json:"events"`
	Bytes  int64 `json:"bytes"`
	// First and Last are when the first and the last of them were stored, or
	// given up.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	// Subjects and Sinks count them by subject and by the sink they are for.
	Subjects map[string]int `json:"subjects,omitempty"`
	Sinks    map[string]int `json:"sinks,omitempty"`
	// Partial: there was no time to count them all; there are more.
	Partial bool `json:"partial,omitempty"`
}

// Add counts one event.
func (s *Survey) Add(subject, sink string, bytes int64, at time.Time) {
	if s.Events == 0 {
		s.Subjects, s.Sinks = map[string]int{}, map[string]int{}
		s.First = at
	}
	s.Events++
	s.Bytes += bytes
	s.Last = at
	s.Subjects[subject]++
	s.Sinks[sink]++
}

// Job hands what it selects to sinks once more, through their retry lanes. It
// outlives the process: what it has done is saved as it goes, so that one that
// goes on repeats at most what was done since it was last saved.
type Job struct {
	ID        string    `json:"id"`
	Selection Selection `json:"selection"`
	// Rate is the most events a second; 0: no bound.
	Rate    float64   `json:"rate,omitempty"`
	State   JobState  `json:"state"`
	Created time.Time `json:"created"`
	// Updated is when the job was last saved.
	Updated time.Time `json:"updated"`
	// Selected and Bytes are what the selection held when the job was made;
	// Partial: at least that.
	Selected int   `json:"selected"`
	Bytes    int64 `json:"bytes"`
	Partial  bool  `json:"partial,omitempty"`
	// Published were handed to a retry lane. Gone were not there any more
	// when their turn came.
	Published int `json:"published"`
	Gone      int `json:"gone"`
	// Positions are the sequences up to which that was done, by sink.
	Positions map[string]uint64 `json:"positions"`
	// Note says why a job failed.
	Note string `json:"note,omitempty"`
	// Revision is that of the stored job, for SaveJob; 0: it is new.
	Revision uint64 `json:"-"`
}
