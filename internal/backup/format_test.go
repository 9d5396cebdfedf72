package backup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// testFile is a backup of one stream with three messages, in two segments.
func testFile(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := &counter{w: &b}
	fmt.Fprintf(w, "%s%d\n", magic, Format)
	s, d := Stream{Name: "S", Config: []byte(`{"name":"S"}`)}, newDigest()
	for _, seqs := range [][]uint64{{1, 2}, {5}} {
		begun := w.n
		out := newSegmentWriter(w)
		if err := out.json(stateEntry, server.StreamState{}); err != nil {
			tb.Fatal(err)
		}
		for _, seq := range seqs {
			m := &Message{Subject: "a.b", Seq: seq, Time: 7, Header: []byte("NATS/1.0\r\n\r\n"), Body: fmt.Append(nil, "body ", seq)}
			if err := d.add(m); err != nil {
				tb.Fatal(err)
			}
			if err := out.message(m); err != nil {
				tb.Fatal(err)
			}
		}
		if err := out.end(); err != nil {
			tb.Fatal(err)
		}
		s.Segments = append(s.Segments, Segment{Offset: begun, Length: w.n - begun})
	}
	s.Messages, s.First, s.Last, s.NextSeq, s.SHA256 = d.messages, d.first, d.last, 6, d.sum()
	if err := writeEnd(w, &Manifest{Format: Format, Streams: []Stream{s}}); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func verify(tb testing.TB, data []byte) error {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "x.backup")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Verify(tb.Context(), nil)
}

func TestFileIsReadAsWritten(t *testing.T) {
	t.Parallel()
	if err := verify(t, testFile(t)); err != nil {
		t.Fatal(err)
	}
}

// Whichever byte is another one, or wherever the file ends, it is noticed.
func TestEveryDamageIsNoticed(t *testing.T) {
	t.Parallel()
	good := testFile(t)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x20
		if err := verify(t, bad); err == nil {
			t.Errorf("byte %d of %d is another one and nobody says so", i, len(good))
		}
	}
	for n := range good {
		if err := verify(t, good[:n]); err == nil {
			t.Errorf("only %d bytes of %d are there and nobody says so", n, len(good))
		}
	}
}

// Of several messages that stand for the same thing the last counts.
func TestKeyedSums(t *testing.T) {
	t.Parallel()
	a, b := keyed{}, keyed{}
	a.add("x", []byte("old"))
	a.add("y", []byte("1"))
	a.add("x", []byte("new"))
	b.add("x", []byte("new"))
	b.add("y", []byte("1"))
	if a.sums() != b.sums() || a.sums().Messages != 2 {
		t.Errorf("sums are %+v and %+v, want the same of 2", a.sums(), b.sums())
	}
	b.add("y", []byte("2"))
	if a.sums() == b.sums() {
		t.Error("another body has the same sums")
	}
}

func TestOlderSnapshotsAreNamed(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := newSegmentWriter(&b)
	if _, err := w.enc.Write([]byte("meta.inf of a tar archive, which it was before")); err != nil {
		t.Fatal(err)
	}
	if err := w.enc.Close(); err != nil {
		t.Fatal(err)
	}
	if err := visit(&b, visitor{}); err == nil || !strings.Contains(err.Error(), "need NATS 2.15") {
		t.Errorf("visit = %v", err)
	}
}

// Any file is read, or refused; none ends the process.
func FuzzOpen(f *testing.F) {
	good := testFile(f)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(magic + "1\n"))
	f.Fuzz(func(t *testing.T, data []byte) { _ = verify(t, data) })
}
