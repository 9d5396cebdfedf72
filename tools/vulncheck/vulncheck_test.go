// Package vulncheck has one test: whether the program calls code that is known
// to be vulnerable.
package vulncheck

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// database is what govulncheck asks.
const database = "https://vuln.go.dev/index/db.json"

// requiredVariable, when set, makes it a failure that the database cannot be
// asked. It is set where a build counts.
const requiredVariable = "PENSTOCK_REQUIRE_VULNDB"

// foundSome is how govulncheck ends when it has found a vulnerability.
const foundSome = 3

// TestVulnerabilities runs govulncheck over the product. It needs the database
// of Go's security team, which is on the network and nowhere else.
func TestVulnerabilities(t *testing.T) {
	t.Parallel()
	if err := reachable(t.Context(), database); err != nil {
		absent(t, os.Getenv(requiredVariable), err)
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

// reachable returns why the database at url cannot be asked, or nil.
func reachable(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the database of vulnerabilities is not reachable: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the database of vulnerabilities answers %s", resp.Status)
	}
	return nil
}

// ender is what ends a test.
type ender interface {
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// absent ends a test for which the database is missing, as a failure where it is
// required.
func absent(t ender, required string, err error) {
	if required != "" {
		t.Fatalf("%s is set, and %v", requiredVariable, err)
		return
	}
	t.Skipf("capability: %v", err)
}

// recorded is how a test would have ended.
type recorded string

func (r *recorded) Skipf(format string, args ...any) {
	*r = recorded("skip: " + fmt.Sprintf(format, args...))
}

func (r *recorded) Fatalf(format string, args ...any) {
	*r = recorded("fail: " + fmt.Sprintf(format, args...))
}

func TestDatabaseIsAbsent(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/there" {
			http.Error(w, "no", http.StatusForbidden)
		}
	}))
	if err := reachable(t.Context(), s.URL+"/there"); err != nil {
		t.Errorf("a database that answers: %v", err)
	}
	refused := reachable(t.Context(), s.URL)
	s.Close()
	for required, want := range map[string]string{"": "skip: capability: the", "1": "fail: PENSTOCK_REQUIRE_VULNDB is set, and the"} {
		for cause, err := range map[string]error{"answers 403 Forbidden": refused, "is not reachable": reachable(t.Context(), s.URL)} {
			var got recorded
			if err == nil {
				t.Errorf("a database that %s is there", cause)
				continue
			}
			absent(&got, required, err)
			if want := want + " database of vulnerabilities " + cause; !strings.HasPrefix(string(got), want) {
				t.Errorf("required %q: %s, want %s", required, got, want)
			}
		}
	}
}
