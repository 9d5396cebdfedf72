package delivery

import "time"

// Effect is what other rules would make of an event for a sink, or for a route.
type Effect int

// The effects. An event that a sink gets under neither rules is none of them.
const (
	// WouldGain: it would get the event and does not now.
	WouldGain Effect = iota
	// WouldLose: it gets the event and would not.
	WouldLose
	// WouldTransform: it would get another body.
	WouldTransform
	// WouldFail: an expression could not be evaluated any more, so that the
	// event would become a dead letter.
	WouldFail
	// WouldWork: an expression cannot be evaluated now, and could be, or would
	// not matter any more.
	WouldWork
	// StillFails: an expression cannot be evaluated now and could not be then.
	StillFails
	// AsNow: it would get the event as it does.
	AsNow
	// Effects is how many there are.
	Effects
)

// String is the change as it is named in answers and flags.
func (c Effect) String() string {
	if c < 0 || c >= Effects {
		return ""
	}
	return [Effects]string{"gain", "lose", "transform", "error", "fixed", "failing", "unchanged"}[c]
}

// EffectCounts counts events by what would change.
type EffectCounts struct {
	Gain      uint64 `json:"gain"`
	Lose      uint64 `json:"lose"`
	Transform uint64 `json:"transform"`
	Error     uint64 `json:"error"`
	Fixed     uint64 `json:"fixed"`
	Failing   uint64 `json:"failing"`
	Unchanged uint64 `json:"unchanged"`
}

// Of returns where a change is counted. It panics for one that there is not.
func (c *EffectCounts) Of(change Effect) *uint64 {
	return [Effects]*uint64{&c.Gain, &c.Lose, &c.Transform, &c.Error, &c.Fixed, &c.Failing, &c.Unchanged}[change]
}

// Add adds the counts of o.
func (c *EffectCounts) Add(o EffectCounts) {
	for change := range Effects {
		*c.Of(change) += *o.Of(change)
	}
}

// Any reports that something would change.
func (c EffectCounts) Any() bool { return c.Gain+c.Lose+c.Transform+c.Error+c.Fixed > 0 }

// Difference is what other rules than those in force would have made of stored
// events. Nothing in it holds what variables of a file stand for.
type Difference struct {
	// Running and Proposed are the versions of both rules.
	Running  string `json:"running"`
	Proposed string `json:"proposed"`
	// Events were looked at, of about Selected; Foreign messages, which
	// somebody else published, and those of other sources were passed over.
	Events   uint64 `json:"events"`
	Selected uint64 `json:"selected"`
	Foreign  uint64 `json:"foreign"`
	// First and Last are when the first and the last of them were stored; zero
	// when there were none.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	// Partial: there are more that were not looked at.
	Partial bool `json:"partial"`
	// Sinks are those of the new rules in their order, then those that are only
	// in the running ones.
	Sinks []SinkDifference `json:"sinks"`
	// Routes are in the same order; the last stands for what no route matches.
	Routes []RouteDifference `json:"routes"`
}

// The standings of a sink or a route that both rules do not have.
const (
	Added   = "new"
	Removed = "removed"
)

// SinkDifference is what would change for a sink.
type SinkDifference struct {
	Name string `json:"name"`
	// Kind is that of the new rules, KindNow that of the running ones if it is another.
	Kind    string `json:"kind"`
	KindNow string `json:"kind_now,omitempty"`
	// Standing is new or removed, else empty.
	Standing string       `json:"standing,omitempty"`
	Counts   EffectCounts `json:"counts"`
	// Routes say by which route: of what is lost the running route, of all else
	// the new one.
	Routes []RouteDifference `json:"routes"`
}

// RouteDifference is what would change for a route, or for a sink by a route.
type RouteDifference struct {
	Name string `json:"name"`
	// Default: it stands for what no route matches, and is called default.
	Default bool `json:"default,omitempty"`
	// NameNow is the route's name in the running rules when it is another.
	NameNow  string          `json:"name_now,omitempty"`
	Standing string          `json:"standing,omitempty"`
	Counts   EffectCounts    `json:"counts"`
	Examples []EffectExample `json:"examples,omitempty"`
}

// EffectExample is one event of those that are counted.
type EffectExample struct {
	Effect  string `json:"change"`
	Seq     uint64 `json:"seq"`
	ID      string `json:"id"`
	Subject string `json:"subject"`
	// Place and Error say which expression could not be evaluated and why.
	Place string `json:"place,omitempty"`
	Error string `json:"error,omitempty"`
	// Values are those in which the bodies differ, More how many were left out.
	Values []ValueChange `json:"values,omitempty"`
	More   int           `json:"more,omitempty"`
	// Note says what cannot be shown of the bodies.
	Note string `json:"note,omitempty"`
}

// ValueChange is a value of a body that differs. Before and After are JSON,
// cut when they are long; empty: there is none, or it is not shown.
type ValueChange struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}
