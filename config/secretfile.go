package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
)

// maxSecretFile bounds a *_file target: secrets are short.
const maxSecretFile = 64 << 10

// secretFiles reads each file once per configuration, so that every part of it
// sees the same content, and remembers which.
type secretFiles struct {
	mu    sync.Mutex
	read  map[string]secretFile
	order []string
	// spots are where secrets stand in the configuration itself.
	spots map[Pos]secretSpot
}

type secretFile struct {
	text string
	err  error
}

// paths returns the files asked for, in order, readable or not.
func (s *secretFiles) paths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

func (s *secretFiles) get(path string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.read[path]
	if !ok {
		if s.read == nil {
			s.read = map[string]secretFile{}
		}
		f.text, f.err = readFile(path, maxSecretFile)
		s.read[path] = f
		s.order = append(s.order, path)
	}
	return f.text, f.err
}

// readFile reads a regular file of at most limit bytes. The error does not
// name the path: the caller knows how the user wrote it, and a path made of
// variables may hold a secret by mistake.
func readFile(path string, limit int64) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", withoutPath(err)
	}
	if !info.Mode().IsRegular() { // reading a pipe or a device could block for ever
		return "", errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return "", withoutPath(err)
	}
	if int64(len(data)) > limit {
		return "", fmt.Errorf("larger than %s", Size(limit))
	}
	return string(data), nil
}

func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// secretFromFile reads the file that n names: its content without the last
// line break.
func secretFromFile(n Node) (Secret, Mistakes) {
	text, ms := n.fileText()
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	if len(ms) == 0 && text == "" {
		ms = Mistakes{n.Errorf("", "the file it names is empty", "put the secret into it, on one line")}
	}
	return NewSecret(text), ms
}

// secretsFromFile reads the file that n names: a secret a line, empty lines skipped.
func secretsFromFile(n Node) ([]Secret, Mistakes) {
	text, ms := n.fileText()
	var out []Secret
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" {
			out = append(out, NewSecret(line))
		}
	}
	if len(ms) == 0 && len(out) == 0 {
		ms = Mistakes{n.Errorf("", "the file it names holds no secret", "put one secret on each line")}
	}
	return out, ms
}

// fileText returns what the file named by n holds, or a placeholder when the
// file is not wanted.
func (n Node) fileText() (string, Mistakes) {
	switch {
	case n.val.kind != scalar || n.val.null || n.val.text == "":
		return "", n.needs("the name of a file", "a relative name is looked for beside this file")
	case n.val.unresolved:
		return placeholder("file"), nil
	}
	text, err := n.docs.get(n.abs(n.val.text))
	if err != nil {
		return "", Mistakes{n.Errorf("", fmt.Sprintf("cannot read %s: %v", show(n.val.raw), err), "a relative name is looked for beside this file")}
	}
	return text, nil
}
