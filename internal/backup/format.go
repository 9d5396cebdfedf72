// Package backup saves JetStream streams into one file, checks such a file, and
// makes streams of it again: messages with their sequences, times and headers,
// and consumers with their positions. It knows the server's snapshots and the
// file, and nothing of what the streams are for.
//
// # The file
//
// A line of text with the version of the format; segments; the manifest, as
// JSON; and a trailer, with which a reader begins. A segment is a snapshot as
// the server makes it, or what was stored after one, in the same form. A stream
// whose messages move on while they are read has one of each. See Save for what
// the order of the segments is good for.
package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Format is the version of the file that this package writes. It reads this
// one and older ones.
const Format = 1

const (
	magic = "PENSTOCK-BACKUP " // the version and a line feed follow
	// trailerMagic ends the file, after the manifest's length and hash.
	trailerMagic = "PENSTOCK-BACKUP-END\n"
	trailerSize  = 8 + sha256.Size + len(trailerMagic)
	maxManifest  = 64 << 20
)

// Manifest says what a file holds.
type Manifest struct {
	Format int `json:"format"`
	// Penstock and NATS are the versions of what wrote the file, and of the
	// server it was read from.
	Penstock string `json:"penstock"`
	NATS     string `json:"nats"`
	// Source is the data directory, or the URL without credentials.
	Source   string    `json:"source"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Streams  []Stream  `json:"streams"`
}

// Stream is what a file holds of one stream.
type Stream struct {
	Name string `json:"name"`
	// Messages, First and Last are those in the file; NextSeq is the sequence
	// that the stream would have given next.
	Messages uint64 `json:"messages"`
	First    uint64 `json:"first_seq"`
	Last     uint64 `json:"last_seq"`
	NextSeq  uint64 `json:"next_seq"`
	Bytes    uint64 `json:"bytes"`
	// SHA256 is over every message: its subject, sequence, time, headers and body.
	SHA256 string `json:"sha256"`
	// Consumers are the names of those that outlive their client.
	Consumers []string `json:"consumers,omitempty"`
	// Config is the stream's, as the server gave it.
	Config   json.RawMessage `json:"config"`
	Segments []Segment       `json:"segments"`
}

// Segment is where a part of a stream lies in the file.
type Segment struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// Stream returns the named stream, or nil.
func (m *Manifest) Stream(name string) *Stream {
	for i := range m.Streams {
		if m.Streams[i].Name == name {
			return &m.Streams[i]
		}
	}
	return nil
}

// Totals are the messages and bytes of all streams.
func (m *Manifest) Totals() (messages, bytes uint64) {
	for _, s := range m.Streams {
		messages += s.Messages
		bytes += s.Bytes
	}
	return messages, bytes
}

// writeEnd writes the manifest and the trailer.
func writeEnd(w io.Writer, m *Manifest) error {
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	sum := sha256.Sum256(text)
	end := binary.BigEndian.AppendUint64(nil, uint64(len(text)))
	end = append(append(end, sum[:]...), trailerMagic...)
	_, err = w.Write(append(text, end...))
	return err
}

// File is a backup that is open for reading. It may be read concurrently.
type File struct {
	Manifest
	// Path and Size are the file's.
	Path string
	Size int64
	f    *os.File
}

// Open reads what a file holds. It refuses one that is none of ours, that a
// newer version wrote, or that ends too early; the messages are checked by Verify.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	b := &File{Path: path, f: f}
	if err := b.readEnds(); err != nil {
		f.Close()
		return nil, fmt.Errorf("backup %s: %w", path, err)
	}
	return b, nil
}

// Close closes the file.
func (b *File) Close() error { return b.f.Close() }

func (b *File) readEnds() error {
	info, err := b.f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	b.Size = info.Size()
	body, err := b.readVersion()
	if err != nil {
		return err
	}
	trailer := make([]byte, trailerSize)
	if b.Size < body+int64(trailerSize) {
		return b.truncated()
	}
	if _, err := b.f.ReadAt(trailer, b.Size-int64(trailerSize)); err != nil {
		return err
	}
	if !bytes.HasSuffix(trailer, []byte(trailerMagic)) {
		return b.truncated()
	}
	length := int64(binary.BigEndian.Uint64(trailer))
	if length < 0 || length > maxManifest || b.Size-int64(trailerSize)-length < body {
		return fmt.Errorf("its manifest is said to have %d bytes, which cannot be: the file is damaged", length)
	}
	text := make([]byte, length)
	if _, err := b.f.ReadAt(text, b.Size-int64(trailerSize)-length); err != nil {
		return err
	}
	if sum := sha256.Sum256(text); !bytes.Equal(sum[:], trailer[8:8+sha256.Size]) {
		return errors.New("its manifest does not have the hash in the trailer: the file is damaged")
	}
	if err := json.Unmarshal(text, &b.Manifest); err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	return b.checkSegments(body, b.Size-int64(trailerSize)-length)
}

// readVersion returns where the first segment begins.
func (b *File) readVersion() (int64, error) {
	line := make([]byte, min(b.Size, int64(len(magic)+8)))
	if _, err := b.f.ReadAt(line, 0); err != nil {
		return 0, err
	}
	rest, ok := strings.CutPrefix(string(line), magic)
	text, _, ended := strings.Cut(rest, "\n")
	version, err := strconv.Atoi(text)
	if !ok || !ended || err != nil {
		return 0, errors.New("it is not a backup of penstock: it does not begin as one")
	}
	if version > Format {
		return 0, fmt.Errorf("it has format %d, this penstock knows up to %d: use the version that wrote it, or a newer one", version, Format)
	}
	return int64(len(magic) + len(text) + 1), nil
}

func (b *File) truncated() error {
	return fmt.Errorf("it ends after %d bytes without its manifest: it was cut off, or its writing was; copy it again, or make another", b.Size)
}

func (b *File) checkSegments(from, to int64) error {
	for _, s := range b.Streams {
		for _, g := range s.Segments {
			if g.Offset < from || g.Length < 0 || g.Offset+g.Length > to {
				return fmt.Errorf("stream %s is said to lie at byte %d, which is not within the segments: the file is damaged", s.Name, g.Offset)
			}
		}
	}
	return nil
}
