package broker

import (
	"io"
	"log/slog"
	"testing"

	"github.com/penstock/penstock/internal/backup"
)

// benchEvents is how many events of 1 KiB the store of the benchmarks holds.
const benchEvents = 20_000

func BenchmarkBackup(b *testing.B) {
	o := benchOptions(b)
	s := New(o)
	defer s.Close()
	if err := s.Open(b.Context()); err != nil {
		b.Fatal(err)
	}
	for n := range benchEvents {
		e := testEvent(n)
		e.Body = append(e.Body, make([]byte, 1024)...)
		if _, err := s.Publish(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	var m *backup.Manifest
	for b.Loop() {
		var err error
		if m, err = s.Backup(b.Context(), BackupOptions{}, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchEvents)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	_, bytes := m.Totals()
	b.SetBytes(int64(bytes))
}

func BenchmarkRestore(b *testing.B) {
	o := benchOptions(b)
	s := New(o)
	defer s.Close()
	if err := s.Open(b.Context()); err != nil {
		b.Fatal(err)
	}
	for n := range benchEvents {
		e := testEvent(n)
		e.Body = append(e.Body, make([]byte, 1024)...)
		if _, err := s.Publish(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	f := save(b, s, BackupOptions{})
	for b.Loop() {
		to := benchOptions(b)
		if _, err := RestoreDataDir(b.Context(), to, f, RestoreOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchEvents)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func benchOptions(b *testing.B) Options {
	o := testOptions(b, b.TempDir())
	o.Logger = slog.New(slog.DiscardHandler)
	return o
}
