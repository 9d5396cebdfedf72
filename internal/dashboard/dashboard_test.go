package dashboard

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the dashboards anew")

const folder = "../../charts/penstock/files/dashboards"

// TestGenerated: the dashboards in the chart are those that this package makes.
func TestGenerated(t *testing.T) {
	t.Parallel()
	for file, build := range map[string]func() ([]byte, error){"penstock.json": Overview, "sink.json": Sink} {
		want, err := build()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, file)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(have)); d != "" {
			t.Errorf("%s is not what the source says; run make generate (-want +got):\n%s", file, d)
		}
		check(t, file, want)
	}
}

// check: what Grafana would show wrong without a word.
func check(t *testing.T, file string, data []byte) {
	t.Helper()
	var b board
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	taken := map[[2]int]string{}
	ids := map[int]bool{}
	for _, p := range b.Panels {
		if ids[p.ID] {
			t.Errorf("%s: two panels have the id %d", file, p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0 || p.Datasource == nil || p.Datasource.UID != "${datasource}") {
			t.Errorf("%s: panel %q lacks a description, a query, or the chosen data source", file, p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= columns {
					t.Fatalf("%s: panel %q lies on %q, or beyond the edge", file, p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}
