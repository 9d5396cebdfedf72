package sinks

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/DeRuina/timberjack"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

const (
	// logLook is how often it is looked whether the file is still the one that
	// has the name.
	logLook = time.Second
	// logFileMode lets a group read what may be personal, and nobody else.
	logFileMode = 0o640
)

// logFile is a file that is put aside when it is large, and opened anew when
// somebody else puts it aside. It is not safe for concurrent use.
type logFile struct {
	keys   logKeys
	out    *timberjack.Logger // nil: to be opened
	is     os.FileInfo        // the file that out writes to, nil before the first write
	size   int64              // of that file
	looked time.Time
}

func newLogFile(keys logKeys) *logFile { return &logFile{keys: keys} }

// prepare makes the file ready for a line of n bytes. opened reports that it
// is another than before, torn that its last line has no end: a crash cut it.
func (f *logFile) prepare(n int) (opened, torn bool, err error) {
	if int64(n) > int64(f.keys.MaxSize) {
		return false, false, delivery.Permanent(fmt.Errorf("write to log: the line has %d bytes, more than max_size %s", n, f.keys.MaxSize))
	}
	if f.out != nil && f.stillThere() {
		return false, false, nil
	}
	if err := f.Close(); err != nil {
		return false, false, delivery.Fail(delivery.Failed, fmt.Errorf("close log: %w", err))
	}
	if torn, err = endsTorn(f.keys.Path); err != nil {
		return false, false, delivery.Fail(delivery.Failed, fmt.Errorf("open log: %w", err))
	}
	compression := "none"
	if f.keys.Compress {
		compression = "gzip"
	}
	f.out = &timberjack.Logger{
		Filename: f.keys.Path, MaxSize: int(f.keys.MaxSize >> 20), MaxBackups: f.keys.MaxFiles,
		MaxAge: int(f.keys.MaxAge / (24 * time.Hour)), Compression: compression, FileMode: logFileMode,
	}
	return true, torn, nil
}

// stillThere reports that the file has its name, as far as was looked of late.
func (f *logFile) stillThere() bool {
	if f.is == nil || time.Since(f.looked) < logLook {
		return true
	}
	f.looked = time.Now()
	info, err := os.Stat(f.keys.Path)
	return err == nil && os.SameFile(info, f.is)
}

// Write writes one line. When it does not fit, the file is put aside first.
func (f *logFile) Write(p []byte) (int, error) {
	n, err := f.out.Write(p)
	if f.is != nil && f.size+int64(len(p)) < int64(f.keys.MaxSize) {
		f.size += int64(n)
		return n, err
	}
	f.is, f.looked = nil, time.Now()
	if info, statErr := os.Stat(f.keys.Path); statErr == nil {
		f.is, f.size = info, info.Size()
	}
	return n, err
}

// Close closes the file, once what was put aside is compressed.
func (f *logFile) Close() error {
	if f.out == nil {
		return nil
	}
	out := f.out
	f.out, f.is = nil, nil
	return out.Close()
}

// endsTorn reports that a file does not end with the end of a line.
func endsTorn(path string) (bool, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || end == 0 {
		return false, err
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], end-1)
	return last[0] != '\n', err
}

// CheckTogether returns what is wrong with sinks only beside each other.
func CheckTogether(all []config.Sink) config.Mistakes {
	var mistakes config.Mistakes
	owner := map[string]string{}
	for _, c := range all {
		if c.Kind != "log" || c.Options.Get("path").Unresolved() {
			continue
		}
		o, _ := decodeLog(c) // its mistakes are told elsewhere
		if o.Path == "" {
			continue
		}
		path := realPath(o.Path)
		if other, taken := owner[path]; taken {
			mistakes = append(mistakes, c.Options.Errorf("path", "is the file of sink "+other+" too", "give each sink a file of its own"))
			continue
		}
		owner[path] = c.Name
	}
	return mistakes
}

// realPath is the one name of a file, however it is written.
func realPath(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(dir, filepath.Base(path))
	}
	return path
}
