package sinks

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/reference"
)

const sinksPage = "../docs/sinks.md"

var update = flag.Bool("update", false, "write what is generated anew")

const pageIntro = `<!-- Generated from the types in sinks and config; do not edit. To write it anew: make generate -->
# Sinks

A sink is a destination with its own place in the queue: ` + "`sinks.NAME`" + ` in the configuration, named by the ` + "`to`" + ` of routes. This page has every key
of every kind. ` + "`penstock check`" + ` finds what is wrong with a file, ` + "`penstock sinks test NAME`" + ` delivers one sample for real.

Durations are written as 500ms, 10s, 1h30m or 7d, sizes as 512KiB, 1MiB or 10GB, rates as 50/s or 600/m. A secret may also be in a file, named
by the same key with ` + "`_file`" + `, and any value may hold ` + "`${VARIABLES}`" + `. Names of files are relative to the configuration's folder.

## Every kind

`

// TestSinksPage: docs/sinks.md is what the types say.
func TestSinksPage(t *testing.T) {
	t.Parallel()
	page, err := writePage()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(sinksPage, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(sinksPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(page), string(have)); diff != "" {
		t.Errorf("docs/sinks.md is not what the types say; run make generate (-want +got):\n%s", diff)
	}
}

func writePage() ([]byte, error) {
	comments, err := reference.ReadComments(".", "../config")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(pageIntro)
	c, ms := config.Parse("defaults", []byte("sinks: {x: {kind: log}}"), config.Options{Roles: []string{config.RoleRouter}})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		return nil, fatal
	}
	common := c.Sinks[0]
	common.Kind = ""
	options := comments.Options(common)
	options[0].Required = true // the loader says so, not a tag
	if err := reference.WriteTable(&b, options); err != nil {
		return nil, err
	}
	for _, name := range Kinds() {
		if err := writeKind(&b, comments, name, kinds()[name].keys()); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// writeKind writes what the comments on the kind's sink and keys say, the keys,
// and an example.
func writeKind(b *bytes.Buffer, comments *reference.Comments, name string, keys any) error {
	about := comments.Type("sinks." + name + "Sink")
	_, about, ok := strings.Cut(about, " ")
	if !ok {
		return fmt.Errorf("the type %sSink has no comment to begin the section with", name)
	}
	// The first sentence only says whose keys they are.
	_, more, _ := strings.Cut(comments.TypeOf(keys), ". ")
	fmt.Fprintf(b, "\n## %s\n\nThe kind `%s` %s\n", name, name, strings.TrimSpace(about+" "+more))
	b.WriteByte('\n')
	if err := reference.WriteTable(b, comments.Options(keys)); err != nil {
		return err
	}
	examples := examplesOf(name)
	if len(examples) == 0 {
		return nil // TestEveryKindIsComplete says so
	}
	example, err := os.ReadFile(examples[0])
	if err != nil {
		return err
	}
	file := "examples/" + filepath.Base(examples[0])
	fmt.Fprintf(b, "\n[%s](../%s):\n\n```yaml\n%s```\n", file, file, example)
	return nil
}

// examplesOf are the example files of a kind: those that begin with its name
// and have a sink of it.
func examplesOf(kind string) []string {
	files, _ := filepath.Glob("../examples/" + kind + "*.yaml") // the pattern is well-formed
	uses := regexp.MustCompile(`kind: ` + kind + `\b`)
	var out []string
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && uses.Match(text) {
			out = append(out, file)
		}
	}
	return out
}

// TestEveryKindIsComplete: a kind has all that CONTRIBUTING.md asks for. Its
// fixture is looked for by TestEveryKindHasAFixture, and that its example
// delivers by TestExamplesDeliver.
func TestEveryKindIsComplete(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(sinksPage)
	if err != nil {
		t.Fatal(err)
	}
	comments, err := reference.ReadComments(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range Kinds() {
		if len(examplesOf(kind)) == 0 {
			t.Errorf("kind %s: no examples/%s*.yaml has a sink of it", kind, kind)
		}
		if !strings.Contains(string(page), "\n## "+kind+"\n") {
			t.Errorf("kind %s: docs/sinks.md has no section %q; run make generate", kind, "## "+kind)
		}
		for _, file := range []string{kind + ".go", kind + "_test.go"} {
			if _, err := os.Stat(file); err != nil {
				t.Errorf("kind %s: there is no sinks/%s", kind, file)
			}
		}
		for _, o := range comments.Options(kinds()[kind].keys()) {
			if o.Doc == "" && !strings.Contains(o.Key, ".") { // the others may be of config
				t.Errorf("kind %s: the field of %s has no comment", kind, o.Key)
			}
		}
		if _, ok := openAnywhere(t, kind).(Previewer); !ok {
			t.Errorf("kind %s: its sink has no Preview", kind)
		}
	}
}

// openAnywhere opens a sink of the kind that delivers to nobody.
func openAnywhere(t *testing.T, kind string) Sink {
	t.Helper()
	var errs []error
	for _, at := range []string{"http://127.0.0.1:1", "nats://127.0.0.1:1"} {
		s, err := Open(sinkConfig(t, kind, fixtures()[kind].options(at)), Deps{})
		if err == nil {
			return s
		}
		errs = append(errs, err)
	}
	t.Fatalf("kind %s does not open: %v", kind, errs)
	return nil
}
