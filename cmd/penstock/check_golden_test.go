package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite what the cases in testdata/check expect")

// checkCase is a file in testdata/check. Its comment says what it is about;
// lines in it that begin with "$ " are flags of the command, with "env "
// variables, and "terminal" lets a person look on. Several YAML files but those of
// tests are a folder. The file want is the exit code and everything that is printed.
type checkCase struct {
	*txtar.Archive
	flags    []string
	env      map[string]string
	terminal bool
}

func readCheckCase(t *testing.T, file string) checkCase {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := checkCase{Archive: a, env: map[string]string{"SECRET": "s3cr3t-of-the-environment", "NO_COLOR": "1"}}
	for line := range strings.Lines(string(a.Comment)) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "$ "); ok {
			c.flags = append(c.flags, strings.Fields(rest)...)
		}
		if rest, ok := strings.CutPrefix(line, "env "); ok {
			name, value, _ := strings.Cut(rest, "=")
			c.env[name] = value
		}
		c.terminal = c.terminal || line == "terminal"
	}
	return c
}

// run writes the files of the case and runs check on them.
func (c checkCase) run(t *testing.T) string {
	t.Helper()
	dir, yaml := t.TempDir(), []string{}
	for _, f := range c.Files {
		if f.Name == "want" {
			continue
		}
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(f.Name) == ".yaml" && !strings.HasSuffix(f.Name, "_test.yaml") {
			yaml = append(yaml, path)
		}
	}
	target := dir
	if len(yaml) == 1 {
		target = yaml[0]
	}
	w := newWorld(c.env, c.terminal, append([]string{"check", "-c", target}, c.flags...)...)
	code := run(w.process)
	return strings.ReplaceAll(fmt.Sprintf("exit %d\n%s%s", code, w.out, w.err), dir+"/", "")
}

// want is what the case expects.
func (c checkCase) want() string {
	for _, f := range c.Files {
		if f.Name == "want" {
			return string(f.Data)
		}
	}
	return ""
}

func (c checkCase) write(t *testing.T, file, got string) {
	t.Helper()
	files := c.Files[:0:0]
	for _, f := range c.Files {
		if f.Name != "want" {
			files = append(files, f)
		}
	}
	a := txtar.Archive{Comment: c.Comment, Files: append(files, txtar.File{Name: "want", Data: []byte(got)})}
	if err := os.WriteFile(file, txtar.Format(&a), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestCheckSays runs check over every case: what it prints, word for word, and
// that no word with hunter2 in it, the secret of all cases, is among it.
func TestCheckSays(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/check/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 60 {
		t.Errorf("there are %d cases, want 60 at least", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			c := readCheckCase(t, file)
			got := c.run(t)
			for _, secret := range []string{"hunter2", "s3cr3t"} {
				if strings.Contains(got, secret) {
					t.Errorf("the output shows a secret:\n%s", got)
				}
			}
			if *update {
				c.write(t, file, got)
				return
			}
			if diff := cmp.Diff(c.want(), got); diff != "" {
				t.Errorf("%s(-want +got)\n%s", c.Comment, diff)
			}
		})
	}
}
