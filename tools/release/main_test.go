package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseTargets(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"linux/amd64":                "linux_amd64",
		"linux/arm64, windows/amd64": "linux_arm64 windows_amd64",
		"linux":                      "-targets: \"linux\" is no platform; write linux/amd64",
		"":                           "-targets: \"\" is no platform; write linux/amd64",
		"/amd64":                     "-targets: \"/amd64\" is no platform; write linux/amd64",
	} {
		targets, err := parseTargets(list)
		var got []string
		for _, one := range targets {
			got = append(got, one.String())
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("parseTargets(%q) = %s, want %s", list, got, want)
		}
	}
	if targets, err := parseTargets(defaultTargets); err != nil || len(targets) != 5 {
		t.Errorf("the default is %v, %v", targets, err)
	}
}

// TestArchive writes the same files twice, in another order, of other times and
// with other rights, and wants the same bytes.
func TestArchive(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var archives [2][]byte
	for i := range archives {
		dir := t.TempDir()
		var files []file
		for _, name := range []string{"b/page.1", "penstock", "a"} {
			from := filepath.Join(dir, filepath.Base(name))
			if err := os.WriteFile(from, []byte(name), 0o600|os.FileMode(i*0o044)); err != nil {
				t.Fatal(err)
			}
			f := file{name: name, from: from}
			if name == "penstock" {
				f.mode = 0o755
			}
			if i == 0 {
				files = append(files, f)
			} else {
				files = append([]file{f}, files...)
			}
		}
		path := filepath.Join(dir, "x.tar.gz")
		if err := writeArchive(path, "x", files, at); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the same files give other bytes")
	}
	if got, want := entries(t, archives[0]), "x/a 644, x/b/page.1 644, x/penstock 755, "; got != want {
		t.Errorf("the archive has %s want %s", got, want)
	}
}

func entries(t *testing.T, archive []byte) string {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC); !h.ModTime.Equal(want) || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s has the time %s and the owner %d %s", h.Name, h.ModTime, h.Uid, h.Uname)
		}
		fmt.Fprintf(&out, "%s %o, ", h.Name, h.Mode)
	}
}

// TestSums are read by sha256sum --check.
func TestSums(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"b", "a", sumsName} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("abc"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got, err := hashes(dir); err != nil || got != hash+"  a\n"+hash+"  b\n" {
		t.Errorf("hashes = %q, %v", got, err)
	}
}
