package broker

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var updatePage = flag.Bool("update", false, "write the tables of docs/cluster.md anew")

const clusterPage = "../../docs/cluster.md"

// roleTable is what the page shows of a role: one configured root, prefix and
// sink stand for all.
func roleTable(role string) string {
	r := Permissions(role, []string{"<root>"}, []string{"<prefix>"}, []string{"<sink>"})
	var b strings.Builder
	b.WriteString("| may | subject | for |\n|---|---|---|\n")
	for _, part := range []struct {
		may    string
		rights []Right
	}{{"publish", r.Publish}, {"not publish", r.Deny}, {"subscribe", r.Subscribe}} {
		for _, right := range part.rights {
			fmt.Fprintf(&b, "| %s | `%s` | %s |\n", part.may, right.Subject, right.Why)
		}
	}
	return b.String()
}

// The page's tables are the permissions that the code needs.
func TestClusterPageListsThePermissions(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(clusterPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	for _, role := range PermissionRoles() {
		begin, end := "<!-- permissions: "+role+" -->\n", "<!-- end -->"
		before, rest, ok := strings.Cut(page, begin)
		have, after, ended := strings.Cut(rest, end)
		if !ok || !ended {
			t.Fatalf("%s has no table for role %s", clusterPage, role)
		}
		want := roleTable(role)
		if *updatePage {
			page = before + begin + want + end + after
		} else if have != want {
			t.Errorf("%s, role %s: the table is\n%s\nwant\n%s\nrun `go test ./internal/broker -run ClusterPage -update`", clusterPage, role, have, want)
		}
	}
	if *updatePage {
		if err := os.WriteFile(clusterPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
