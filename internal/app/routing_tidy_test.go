package app

import (
	"maps"
	"testing"
	"time"
)

// Earlier routes are forgotten by what has been settled all the time for a
// while: a kill takes positions back, and a sink that comes has to be seen as
// long as the others.
func TestSettledForAWhile(t *testing.T) {
	t.Parallel()
	type at struct {
		seconds int
		settled map[string]uint64
	}
	for name, tt := range map[string]struct {
		samples []at
		want    map[string]uint64
	}{
		"too short a time":    {[]at{{0, map[string]uint64{"a": 9}}, {59, map[string]uint64{"a": 9}}}, nil},
		"long enough":         {[]at{{0, map[string]uint64{"a": 5}}, {30, map[string]uint64{"a": 7}}, {60, map[string]uint64{"a": 9}}}, map[string]uint64{"a": 5}},
		"older ones are gone": {[]at{{0, map[string]uint64{"a": 5}}, {30, map[string]uint64{"a": 7}}, {91, map[string]uint64{"a": 9}}}, map[string]uint64{"a": 7}},
		"too much at first":   {[]at{{0, map[string]uint64{"a": 99}}, {2, map[string]uint64{"a": 3}}, {61, map[string]uint64{"a": 9}}}, map[string]uint64{"a": 3}},
		"taken back":          {[]at{{0, map[string]uint64{"a": 50}}, {40, map[string]uint64{"a": 10}}, {61, map[string]uint64{"a": 60}}}, map[string]uint64{"a": 10}},
		"a sink that comes":   {[]at{{0, map[string]uint64{"a": 5}}, {61, map[string]uint64{"a": 9, "b": 9}}}, nil},
		"a sink that goes":    {[]at{{0, map[string]uint64{"a": 5, "b": 1}}, {61, map[string]uint64{"a": 9}}}, map[string]uint64{"a": 5}},
	} {
		g := &routing{forgetAfter: time.Minute}
		start := time.Unix(1_800_000_000, 0)
		var got map[string]uint64
		for _, s := range tt.samples {
			got = g.settledFor(sample{at: start.Add(time.Duration(s.seconds) * time.Second), settled: s.settled})
		}
		if !maps.Equal(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
