package router

import "slices"

// Past is what counts of the time before a sink was configured as it is. The
// zero Past is a sink that was always there.
type Past struct {
	// Since, unless 0: the sink was new then and wants all there is: what was
	// stored before is routed to it by the routes of then.
	Since uint64
	// Absent are the times when the sink was not configured, in order. What was
	// stored then is not for it; what was stored before still is.
	Absent []Absence
}

// Absence is from one sequence up to, and without, another; a To of 0 is now.
type Absence struct{ From, To uint64 }

// maxAbsences bounds those of one sink. Only a queue that never gets on while
// its sink comes and goes has more.
const maxAbsences = 64

// Leave is p of a sink that is removed.
func (p Past) Leave(from uint64) Past {
	p.Absent = append(slices.Clone(p.Absent), Absence{From: from})
	if n := len(p.Absent); n > maxAbsences { // the two oldest become one
		p.Absent[1].From = p.Absent[0].From
		p.Absent = p.Absent[1:]
	}
	return p
}

// Return is p of a sink that is configured from a sequence on. One that was not
// away is new and wants all there is.
func (p Past) Return(from uint64) Past {
	if !p.Away() {
		return Past{Since: from}
	}
	p.Absent = slices.Clone(p.Absent)
	p.Absent[len(p.Absent)-1].To = from
	return p
}

// Settled is what still counts of p when everything up to a sequence is settled.
func (p Past) Settled(up uint64) Past {
	if p.Since <= up+1 {
		p.Since = 0
	}
	p.Absent = slices.DeleteFunc(slices.Clone(p.Absent), func(a Absence) bool { return a.To != 0 && a.To <= up+1 })
	if len(p.Absent) == 0 {
		p.Absent = nil
	}
	return p
}

// Away reports that the sink is not configured now.
func (p Past) Away() bool {
	n := len(p.Absent)
	return n > 0 && p.Absent[n-1].To == 0
}

// Counts reports that p is not zero.
func (p Past) Counts() bool { return p.Since != 0 || len(p.Absent) > 0 }

func (p Past) absentAt(seq uint64) bool {
	return slices.ContainsFunc(p.Absent, func(a Absence) bool { return seq >= a.From && (seq < a.To || a.To == 0) })
}
