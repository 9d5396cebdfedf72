package clickfunnels

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const eventsPage = "../../docs/events.md"

var update = flag.Bool("update", false, "write docs/events.md anew")

func TestEventsPage(t *testing.T) {
	var page bytes.Buffer
	if err := WriteMarkdown(&page, NewCatalog()); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(eventsPage, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(eventsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page.String(), string(have)); diff != "" {
		t.Errorf("docs/events.md is not what the catalogue says; run this test with -update (-want +got):\n%s", diff)
	}
}

var errDiskFull = errors.New("disk full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errDiskFull }

func TestWriteMarkdownReportsTheWriter(t *testing.T) {
	t.Parallel()
	if err := WriteMarkdown(fullDisk{}, NewCatalog()); !errors.Is(err, errDiskFull) {
		t.Errorf("WriteMarkdown = %v, want %v", err, errDiskFull)
	}
}
