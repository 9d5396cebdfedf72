package app

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
)

// TestAFileIsReadWhenItIsWhole: one that is written to has to be left alone for
// longer than one that comes into the place of another. The pauses do not take
// place; what is done to the files between two of them is.
func TestAFileIsReadWhenItIsWhole(t *testing.T) {
	t.Parallel()
	const whole = "sources: {cf: {kind: clickfunnels, secrets: [0123456789abcdef]}}\nsinks: {a: {kind: log}}\nroutes: [{match: [\">\"], to: [a]}]\n"
	write := func(t *testing.T, file, text string, flags int) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		first func(t *testing.T, file string)
		// later is done before the pauses with these numbers.
		later map[int]func(t *testing.T, file string)
		want  time.Duration // since the last of them
	}{
		"written in parts, with pauses": {
			first: func(t *testing.T, file string) { write(t, file, "sinks: {", os.O_TRUNC) },
			later: map[int]func(*testing.T, string){
				5:  func(t *testing.T, file string) { write(t, file, "a: {kind: log}}\n", os.O_APPEND) },
				10: func(t *testing.T, file string) { write(t, file, "routes: []\n", os.O_APPEND) },
			},
			want: watchWritten,
		},
		"another of the same length at once": {
			first: func(t *testing.T, file string) { write(t, file, "sinks: {b", os.O_TRUNC) },
			later: map[int]func(*testing.T, string){4: func(t *testing.T, file string) { write(t, file, "sinks: {c", os.O_TRUNC) }},
			want:  watchWritten,
		},
		"renamed": {
			first: func(t *testing.T, file string) {
				write(t, file+"~", "# new\n"+whole, 0)
				must(t, os.Rename(file+"~", file))
			},
			want: watchSettles,
		},
		"another link": {
			first: func(t *testing.T, file string) {
				dir := filepath.Dir(file)
				write(t, filepath.Join(dir, "v2"), "# new\n"+whole, 0)
				must(t, os.Symlink("v2", filepath.Join(dir, "tmp")))
				must(t, os.Rename(filepath.Join(dir, "tmp"), file))
			},
			want: watchSettles,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "penstock.yaml")
			write(t, file, whole, 0)
			c, ms := Load([]string{file}, LoadOptions{})
			if fatal := ms.Fatal(); len(fatal) > 0 {
				t.Fatal(fatal)
			}
			load := func() (*config.Config, config.Mistakes) { return Load([]string{file}, LoadOptions{}) }
			a, err := New(c, Options{Load: load, Paths: []string{file}})
			must(t, err)
			t.Cleanup(func() { must(t, a.Close()) })
			a.reloads.load(false)
			tt.first(t, file)
			pauses, quiet := 0, time.Duration(0)
			w := watch{r: a.reloads, sleep: func(_ context.Context, d time.Duration) error {
				pauses++
				if do := tt.later[pauses]; do != nil {
					do(t, file)
					quiet = 0
				}
				quiet += d
				return nil
			}}
			if !w.settled(t.Context()) {
				t.Fatal("the change is not noticed")
			}
			if quiet < tt.want || quiet > tt.want+2*watchSettles || pauses < len(tt.later) {
				t.Errorf("read after %v without a change, in %d pauses; want %v", quiet, pauses, tt.want)
			}
		})
	}
}

// TestAFileThatIsAlwaysWrittenIsNotRead, and stops nothing else.
func TestAFileThatIsAlwaysWrittenIsNotRead(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "penstock.yaml")
	text := []byte("sources: {cf: {kind: clickfunnels, secrets: [0123456789abcdef]}}\nsinks: {a: {kind: log}}\n")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c, _ := Load([]string{file}, LoadOptions{NoEnv: true})
	a, err := New(c, Options{Load: func() (*config.Config, config.Mistakes) { return Load([]string{file}, LoadOptions{}) }, Paths: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	a.reloads.load(false)
	w := watch{r: a.reloads, sleep: func(context.Context, time.Duration) error {
		text = append(text, '#')
		return os.WriteFile(file, text, 0o600)
	}}
	if text = append(text, '#'); os.WriteFile(file, text, 0o600) != nil || w.settled(t.Context()) {
		t.Error("a file that is being written was taken for whole")
	}
}
