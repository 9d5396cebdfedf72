package sinks

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// logLines reads files and checks that every line of them is whole.
func logLines(t *testing.T, files ...string) (ids []string) {
	t.Helper()
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			var l struct{ ID string }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatalf("%s: line %.100q is not JSON: %v", file, line, err)
			}
			ids = append(ids, l.ID)
		}
	}
	return ids
}

func numbered(i, bytes int) event.Event {
	e := sampleEvent()
	e.ID, e.Body = fmt.Sprint("event-", i), []byte(`"`+strings.Repeat("x", bytes)+`"`)
	return e
}

func TestLogFileRotates(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ options, pattern string }{
		"plain":      {"", "events-*.log"},
		"compressed": {"compress: true", "events-*.log.gz"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := openSink(t, "log", fmt.Sprintf("path: %s/events.log\nmax_size: 1MiB\nmax_files: 2\n%s", dir, tt.options), Deps{})
			for i := range 35 { // of about 100 KiB each: three files full and a part
				if err := s.Deliver(t.Context(), numbered(i, 100<<10)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.(*logSink).Close(); err != nil { // what is under way has ended then
				t.Fatal(err)
			}
			old, err := filepath.Glob(filepath.Join(dir, tt.pattern))
			all, _ := os.ReadDir(dir)
			if err != nil || len(old) != 2 || len(all) != 3 {
				t.Fatalf("the folder has %v, want the file and two older ones like %s", all, tt.pattern)
			}
			if ids := logLines(t, filepath.Join(dir, "events.log")); ids[len(ids)-1] != "event-34" {
				t.Errorf("the file ends with %s, want event-34", ids[len(ids)-1])
			}
			if err := s.Deliver(t.Context(), numbered(35, 10)); err != nil {
				t.Errorf("Deliver after Close: %v", err)
			}
		})
	}
}

func TestLogFileGoesOn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ before, want string }{
		"a file that is not there":      {"", ""},
		"whole lines":                   {"{\"id\":\"old\"}\n", "{\"id\":\"old\"}\n"},
		"a last line that a crash left": {"{\"id\":\"old\"}\n{\"id", "{\"id\":\"old\"}\n{\"id\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "sub", "events.log")
			if tt.before != "" {
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(tt.before), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s := openSink(t, "log", "path: "+file, Deps{})
			if _, err := os.Stat(file); tt.before == "" && err == nil {
				t.Error("Open has made the file")
			}
			for i := range 2 {
				if err := s.Deliver(t.Context(), numbered(i, 1)); err != nil {
					t.Fatal(err)
				}
			}
			data, err := os.ReadFile(file)
			rest, ok := strings.CutPrefix(string(data), tt.want)
			if err != nil || !ok || strings.Count(rest, "\n") != 2 || !strings.HasPrefix(rest, `{"time"`) {
				t.Errorf("the file holds %q, %v; want %q and two lines", data, err, tt.want)
			}
		})
	}
}

// A file that was renamed, as logrotate does, is made anew; until then nothing
// is lost either.
func TestLogFileRenamedFromOutside(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "events.log")
	s := openSink(t, "log", "path: "+file, Deps{})
	n := 0
	deliver := func() {
		if err := s.Deliver(t.Context(), numbered(n, 1)); err != nil {
			t.Fatal(err)
		}
		n++
	}
	deliver()
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(longEnough); ; {
		deliver()
		if _, err := os.Stat(file); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the file is not made anew")
		}
	}
	deliver()
	if ids := logLines(t, file+".1", file); len(ids) != n {
		t.Errorf("%d lines in both files, want %d", len(ids), n)
	}
}

func TestLogFileFailures(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	large := openSink(t, "log", fmt.Sprintf("path: %s/large.log\nmax_size: 1MiB", folder), Deps{})
	checkFailure(t, large.Deliver(t.Context(), numbered(1, 2<<20)), delivery.Rejected, "more than max_size 1MiB")
	if err := large.Deliver(t.Context(), numbered(2, 1)); err != nil {
		t.Errorf("Deliver after a line that is too long: %v", err)
	}
	checkFailure(t, openSink(t, "log", "path: "+folder, Deps{}).Deliver(t.Context(), sampleEvent()), delivery.Failed, "directory")
	if _, err := os.Stat("/dev/full"); err != nil {
		return // not on this system
	}
	checkFailure(t, openSink(t, "log", "path: /dev/full", Deps{}).Deliver(t.Context(), sampleEvent()), delivery.Failed, "no space left on device")
}

func TestLogFileOptions(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"max_size: 1MiB":              "penstock.yaml:1:11: max_size: is only for a file; set path, or remove it",
		"path: x\nmax_size: 1000001B": "penstock.yaml:2:11: max_size: must be between 1MiB and 1TiB, got \"1000001B\"",
		"path: x\nmax_size: 1500KiB":  "penstock.yaml:2:11: max_size: is not a whole number of MiB; write 100MiB or 1GiB",
		"path: x\nmax_age: 36h":       "penstock.yaml:2:10: max_age: is not a whole number of days; write 7d or 30d",
		"path: x\nmax_files: -1":      "penstock.yaml:2:12: max_files: must be between 0 and 100000, got \"-1\"",
		"path: x\nmax_age: 7d\nmax_size: 1GiB\nmax_files: 0\ncompress: true": "",
	} {
		if got := Check(sinkConfig(t, "log", options)).Error(); got != want {
			t.Errorf("Check of %q:\n got %s\nwant %s", options, got, want)
		}
	}
}

func TestSinksThatShareAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	named := func(name, options string) config.Sink {
		c := sinkConfig(t, "log", options)
		c.Name = name
		return c
	}
	got := CheckTogether([]config.Sink{
		named("a", "path: "+dir+"/events.log"), named("b", "path: "+dir+"/link/../events.log"), named("c", ""), named("d", ""),
		named("e", "path: "+dir+"/other.log"), named("f", "path: "+dir+"/link/events.log"),
	})
	const want = "penstock.yaml:1:7: path: is the file of sink a too; give each sink a file of its own"
	if got.Error() != want+"\n"+want {
		t.Errorf("CheckTogether:\n%v\nwant twice\n%s", got, want)
	}
}
