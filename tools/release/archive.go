package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// file is one entry of an archive. A mode of 0 stands for 0644.
type file struct {
	name, from string
	mode       int64
}

// writeArchive writes files under one folder, so that the bytes depend on
// nothing but them and the time: sorted, without owners, all of one time.
func writeArchive(path, folder string, files []file, at time.Time) (err error) {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	zipped, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zipped)
	sorted := slices.SortedFunc(slices.Values(files), func(a, b file) int { return strings.Compare(a.name, b.name) })
	for _, f := range sorted {
		if err := addFile(archive, folder, f, at); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return errors.Join(archive.Close(), zipped.Close())
}

func addFile(archive *tar.Writer, folder string, f file, at time.Time) error {
	in, err := os.Open(f.from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	mode := f.mode
	if mode == 0 {
		mode = 0o644
	}
	err = archive.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: folder + "/" + f.name, Size: info.Size(), Mode: mode, ModTime: at, Format: tar.FormatUSTAR,
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(archive, in)
	return err
}

// sumsName is the file that has the hash of every other one.
const sumsName = "SHA256SUMS"

// writeSums writes it, as sha256sum --check reads it.
func writeSums(dir string) error {
	sums, err := hashes(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, sumsName), []byte(sums), 0o644)
}

// hashes are the lines for all files of a folder but the list itself.
func hashes(dir string) (string, error) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return "", err
	}
	var lines strings.Builder
	for _, e := range entries {
		if e.Name() == sumsName {
			continue
		}
		in, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		sum := sha256.New()
		_, err = io.Copy(sum, in)
		if err := errors.Join(err, in.Close()); err != nil {
			return "", err
		}
		fmt.Fprintf(&lines, "%x  %s\n", sum.Sum(nil), e.Name())
	}
	return lines.String(), nil
}
