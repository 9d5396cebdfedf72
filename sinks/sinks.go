// Package sinks delivers events to the world, one file per kind.
//
// A new kind is a file with its options, a decode function and an open
// function, one line in the table of kinds, and a fixture in the conformance
// suite. What kinds share is in client.go (HTTP) and guard.go (what may be
// dialled); what the kind http alone can do begins with http in its file's name.
package sinks

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
)

// Sink takes events. Implementations are safe for concurrent use. A Sink that
// holds something also implements io.Closer; Close may be called while Deliver
// runs, and a Deliver after it may fail but does no harm.
type Sink interface {
	// Deliver makes one attempt to hand e over and returns nil when the
	// receiver has it. It returns before or soon after ctx is done. Errors
	// carry a class (delivery.Error) and never a secret.
	Deliver(ctx context.Context, e event.Event) error
}

// Deps are what sinks need of the process. The zero Deps works.
type Deps struct {
	// HTTP makes the requests of all sinks; it is made by NewTransport, once
	// per process. Nil gives each sink that needs one a transport of its own,
	// as have those whose options ask for one.
	HTTP http.RoundTripper
	// Stdout is where the log kind writes, one Write per event. Several sinks
	// may write to it at one time, as *os.File allows. Nil discards.
	Stdout io.Writer
	// Logger is told what is worth knowing beyond the errors of Deliver. Nil
	// discards.
	Logger *slog.Logger
	// Version is ours, for User-Agent. Empty means dev.
	Version string
}

func (d Deps) orDefaults() Deps {
	if d.Stdout == nil {
		d.Stdout = io.Discard
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Version == "" {
		d.Version = "dev"
	}
	return d
}

// kinds is the table of all kinds: the one place that a new kind touches
// besides its own file.
func kinds() map[string]kind {
	return map[string]kind{
		"http":  kindOf(decodeHTTP, openHTTP, defaultHTTP),
		"log":   kindOf(decodeLog, openLog, defaultLog),
		"nats":  kindOf(decodeNATS, openNATS, defaultNATS),
		"s3":    kindOf(decodeS3, openS3, defaultS3),
		"slack": kindOf(decodeSlack, openSlack, defaultSlack).with(slackDefaults),
	}
}

// kind is what the table knows of a kind of sink.
type kind struct {
	check func(config.Sink) config.Mistakes
	open  func(config.Sink, Deps) (Sink, error)
	// keys returns the struct that the kind's keys are decoded into, with its
	// defaults. Its comments and tags are what docs/sinks.md says of the kind.
	keys func() any
	// defaults changes the defaults of the keys that all kinds have; nil: none.
	defaults func(*config.Sink)
	// batching is what the opened sink's would be.
	batching func(config.Sink) Batching
}

// with returns k with other defaults of the keys that all kinds have.
func (k kind) with(defaults func(*config.Sink)) kind {
	k.defaults = defaults
	return k
}

// kindOf joins a kind's functions. decode reads the kind's options and tells
// everything that is wrong with them. open gets options without mistakes and
// starts nothing. defaults returns the keys as they are in an empty file.
func kindOf[O, K any](
	decode func(config.Sink) (O, config.Mistakes),
	open func(config.Sink, O, Deps) (Sink, error),
	defaults func() K,
) kind {
	return kind{
		batching: func(c config.Sink) Batching {
			options, _ := decode(c)
			if b, ok := any(options).(interface{ batching() Batching }); ok {
				return b.batching()
			}
			return Batching{}
		},
		check: func(c config.Sink) config.Mistakes {
			_, mistakes := decode(c)
			return mistakes
		},
		open: func(c config.Sink, d Deps) (Sink, error) {
			options, mistakes := decode(c)
			if fatal := mistakes.Fatal(); len(fatal) > 0 {
				return nil, fatal
			}
			return open(c, options, d)
		},
		keys: func() any { return defaults() },
	}
}

// Kinds returns the names of all kinds, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds())) }

// Defaults returns, for the kinds that have them, what changes the defaults of
// the keys that all kinds have.
func Defaults() map[string]func(*config.Sink) {
	changes := map[string]func(*config.Sink){}
	for name, k := range kinds() {
		if k.defaults != nil {
			changes[name] = k.defaults
		}
	}
	return changes
}

// Check returns everything that is wrong with the options of c, warnings
// included, or nil. It never touches the network, and opens no files but those
// of certificates that the options name.
func Check(c config.Sink) config.Mistakes {
	k, mistake := find(c)
	if mistake != nil {
		return config.Mistakes{*mistake}
	}
	return k.check(c)
}

// Open builds the sink that c describes. It never touches the network and
// starts nothing. The sinks of all kinds are Previewers. The error is config.Mistakes when c is wrong.
func Open(c config.Sink, d Deps) (Sink, error) {
	k, mistake := find(c)
	if mistake != nil {
		return nil, config.Mistakes{*mistake}
	}
	s, err := k.open(c, d.orDefaults())
	if err != nil {
		return nil, fmt.Errorf("open sink %s: %w", c.Name, err)
	}
	return s, nil
}

// BatchingOf returns how the sink that c describes gathers events, without
// opening it: the zero Batching when it does not. What is wrong with c counts
// as its default.
func BatchingOf(c config.Sink) Batching {
	k, mistake := find(c)
	if mistake != nil {
		return Batching{}
	}
	return k.batching(c)
}

func find(c config.Sink) (kind, *config.Mistake) {
	if k, ok := kinds()[c.Kind]; ok {
		return k, nil
	}
	return kind{}, &config.Mistake{
		Pos:  c.Pos,
		Path: "sinks." + c.Name + ".kind",
		What: fmt.Sprintf("unknown kind %q", c.Kind),
		Hint: "known are " + strings.Join(Kinds(), ", "),
	}
}
