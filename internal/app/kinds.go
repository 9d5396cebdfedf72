package app

import "github.com/penstock/penstock/sinks"

// SinkKinds returns the kinds of sinks, sorted.
func SinkKinds() []string { return sinks.Kinds() }

// SourceKinds returns the kinds of sources; the first is the one to begin with.
func SourceKinds() []string { return []string{sourceKind} }
