package broker

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// What routes events is kept in the metadata of the events stream, where every
// process sees it and it outlives them: erasKey has the eras, and the texts
// stand under textKeyPrefix and their version.
const (
	erasKey       = "penstock.routes"
	textKeyPrefix = "penstock.routes."
	// announcedKey is there while a process records an era. Who sees it waits
	// before it decides about events that it has not seen stored.
	announcedKey = "penstock.routes-announced"
	// pastKeyPrefix, with a sink's name, keeps Routing.Past.
	pastKeyPrefix = "penstock.routes-past."
)

// The bounds of what is kept. The server takes 128 KiB of metadata in all.
const (
	maxEras     = 64
	maxEraBytes = 64 << 10
	// maxRoutingText bounds one text when it is read.
	maxRoutingText = 4 << 20
)

// Era is a version of the routes and the sequence of the first event that it
// routes; it does until the next era begins.
type Era struct {
	From    uint64
	Version string
	// Text is what config.ParseRouting reads; nil when it was too long to keep.
	Text []byte
}

// Routing is what is recorded about routes at one moment.
type Routing struct {
	// Eras are in order. None: nothing was recorded yet.
	Eras []Era
	// Past has, by sink, words about the time before the sink was configured as
	// it is; the broker does not read them.
	Past map[string]string
	// Last is the sequence of the latest event stored.
	Last uint64
	// Announced: a process is about to record an era, which begins after what
	// is stored when it does. The text is another each time.
	Announced string
}

// NotProvisioned reports that err is that our NATS user may not change what is
// missing.
func NotProvisioned(err error) bool { return errors.Is(err, errNotProvisioned) }

// Routing reads what is recorded.
func (b *Broker) Routing(ctx context.Context) (Routing, error) {
	s, err := b.admin.js.Stream(ctx, EventsStream)
	if err != nil {
		return Routing{}, fmt.Errorf("read recorded routes: %w", err)
	}
	return readRouting(s.CachedInfo())
}

func readRouting(info *jetstream.StreamInfo) (Routing, error) {
	meta := info.Config.Metadata
	out := Routing{Last: info.State.LastSeq, Announced: meta[announcedKey], Past: map[string]string{}}
	for key, value := range meta {
		if sink, ok := strings.CutPrefix(key, pastKeyPrefix); ok {
			out.Past[sink] = value
		}
	}
	for word := range strings.FieldsSeq(meta[erasKey]) {
		from, version, ok := strings.Cut(word, "=")
		seq, err := strconv.ParseUint(from, 10, 64)
		if !ok || err != nil {
			return Routing{}, fmt.Errorf("stream %s has %q in its metadata %s, not sequence=version", EventsStream, word, erasKey)
		}
		e := Era{From: seq, Version: version}
		if packed, ok := meta[textKeyPrefix+version]; ok {
			if e.Text, err = unpack(packed); err != nil {
				return Routing{}, fmt.Errorf("read routes %s from the metadata of stream %s: %w", version, EventsStream, err)
			}
		}
		out.Eras = append(out.Eras, e)
	}
	return out, nil
}

// Announce says that an era will be recorded, and returns what is stored after
// everybody who looks sees it.
func (b *Broker) Announce(ctx context.Context, word string) (Routing, error) {
	if err := b.mayRecord(ctx); err != nil {
		return Routing{}, err
	}
	if err := b.setMetadata(ctx, map[string]string{announcedKey: word}); err != nil {
		return Routing{}, fmt.Errorf("announce new routes: %w", err)
	}
	return b.Routing(ctx)
}

func (b *Broker) mayRecord(ctx context.Context) error {
	return b.admin.need(ctx, api+"STREAM.UPDATE."+EventsStream, "the routes recorded with stream "+EventsStream+" are others than those of the file")
}

// EditRouting changes what is recorded. edit returns what should be, of what
// is; it is asked again until it has nothing to change, since another process
// may write at the same moment, so asking it twice has to be as asking it once.
// The oldest eras give way when there are too many.
func (b *Broker) EditRouting(ctx context.Context, edit func(Routing) Routing) error {
	if err := b.mayRecord(ctx); err != nil {
		return err
	}
	b.metadataMu.Lock()
	defer b.metadataMu.Unlock()
	for range metadataTries {
		s, err := b.admin.js.Stream(ctx, EventsStream)
		if err != nil {
			return fmt.Errorf("record routes: %w", err)
		}
		is, err := readRouting(s.CachedInfo())
		if err != nil {
			return err
		}
		cfg := s.CachedInfo().Config
		next := b.writeRouting(cfg.Metadata, edit(is))
		if maps.Equal(next, cfg.Metadata) {
			return nil
		}
		before := cfg.Metadata[erasKey]
		cfg.Metadata = next
		if _, err := b.admin.js.UpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("record routes: update stream %s: %w", EventsStream, err)
		}
		b.tellRouting(before, next[erasKey])
	}
	return errors.New("other processes keep changing the metadata of stream " + EventsStream)
}

// tellRouting adds to Changes that other routes came into force.
func (b *Broker) tellRouting(before, now string) {
	last := func(list string) (from, version string) {
		from, version, _ = strings.Cut(list[strings.LastIndexByte(list, ' ')+1:], "=")
		return from, version
	}
	_, old := last(before)
	if from, version := last(now); before != "" && version != old {
		b.changed("put routes " + version + " in force from sequence " + from)
	}
}

// writeRouting returns the metadata with these routes.
func (b *Broker) writeRouting(meta map[string]string, r Routing) map[string]string {
	next := maps.Clone(meta)
	maps.DeleteFunc(next, func(key, _ string) bool {
		return key == erasKey || key == announcedKey || strings.HasPrefix(key, textKeyPrefix) || strings.HasPrefix(key, pastKeyPrefix)
	})
	list, texts, left := packEras(r.Eras)
	if left > 0 {
		b.o.Logger.Warn("too many versions of the routes are in use at once; events stored under the oldest are routed by later ones",
			"forgotten", left, "kept", len(r.Eras)-left)
	}
	if list != "" {
		next[erasKey] = list
	}
	if r.Announced != "" {
		next[announcedKey] = r.Announced
	}
	for version, packed := range texts {
		next[textKeyPrefix+version] = packed
	}
	for sink, words := range r.Past {
		next[pastKeyPrefix+sink] = words
	}
	return next
}

// packEras returns the eras and their texts as they are kept, and how many of
// the oldest found no room.
func packEras(eras []Era) (list string, texts map[string]string, left int) {
	texts = map[string]string{}
	var words []string
	size := 0
	for i, e := range slices.Backward(eras) {
		packed, have := texts[e.Version]
		if !have {
			packed = pack(e.Text)
		}
		word := strconv.FormatUint(e.From, 10) + "=" + e.Version
		more := len(word) + 1
		if !have {
			more += len(packed)
		}
		newest := len(words) == 0
		switch {
		case len(words) >= maxEras || size+more > maxEraBytes && !newest:
			return join(words), texts, i + 1
		case size+more > maxEraBytes: // one that is too long by itself is named only
			packed = ""
		}
		size += more
		words = append(words, word)
		if packed != "" {
			texts[e.Version] = packed
		}
	}
	return join(words), texts, 0
}

func join(words []string) string {
	slices.Reverse(words)
	return strings.Join(words, " ")
}

func pack(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(text) // a buffer takes everything
	_ = z.Close()
	return base64.StdEncoding.EncodeToString(out.Bytes())
}

func unpack(packed string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(packed)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, maxRoutingText))
}
