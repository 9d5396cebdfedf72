// Package vulncheck has one test: whether the program calls code that is known
// to be vulnerable.
package vulncheck

import (
	"errors"
	"net/http"
	"os/exec"
	"testing"
	"time"
)

// database is what govulncheck asks.
const database = "https://vuln.go.dev/index/db.json"

// foundSome is how govulncheck ends when it has found a vulnerability.
const foundSome = 3

// TestVulnerabilities runs govulncheck over the product. It needs the database
// of Go's security team, which is on the network and nowhere else.
func TestVulnerabilities(t *testing.T) {
	t.Parallel()
	client := &http.Client{Timeout: 15 * time.Second}
	resp, err := client.Get(database)
	if err != nil {
		t.Skipf("capability: the database of vulnerabilities is not reachable: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Skipf("capability: the database of vulnerabilities answers %s", resp.Status)
	}
	out, err := exec.CommandContext(t.Context(), "go", "tool", "govulncheck", "-C", "../..", "./...").CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.ExitCode() == foundSome:
		t.Errorf("vulnerabilities:\n%s", out)
	default:
		t.Errorf("govulncheck: %v\n%s", err, out)
	}
}
