package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// moduleRoot is the repository, as seen from the folder of this test.
const moduleRoot = "../.."

// fence is a fenced block of a page.
type fence struct {
	tag, text string
	line      int
}

// fences returns the fenced blocks of a page of the repository.
func fences(t *testing.T, page string) []fence {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(moduleRoot, page))
	if err != nil {
		t.Fatal(err)
	}
	var out []fence
	var open *fence
	for i, line := range strings.Split(string(data), "\n") {
		switch tag, marked := strings.CutPrefix(line, "```"); {
		case marked && open == nil:
			open = &fence{tag: tag, line: i + 1}
		case marked:
			out = append(out, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block is not closed", page, open.line)
	}
	return out
}

// TestReadme types every sh block of the README into one shell, in order, in an
// empty folder. The lines of a text block have to be in the output of what was
// typed before it, in which … stands for anything.
func TestReadme(t *testing.T) {
	t.Parallel()
	s := newPageShell(t, "README.md")
	ran, shown := 0, 0
	for _, b := range fences(t, "README.md") {
		if s.follow(b) {
			ran++
		} else if b.tag == "text" {
			shown++
		}
	}
	if ran < 8 || shown < 6 {
		t.Errorf("README.md has %d sh and %d text blocks, want 8 and 6 at least: the page or this test has lost some", ran, shown)
	}
	s.close()
}

// TestGettingStarted does the same with the page about ClickFunnels, whose
// webhooks begin to come before the secret is known here.
func TestGettingStarted(t *testing.T) {
	t.Parallel()
	const page = "docs/clickfunnels.md"
	s := newPageShell(t, page)
	ran := 0
	for _, b := range fences(t, page) {
		if !s.follow(b) {
			continue
		}
		if ran++; ran == 1 {
			s.run(fence{tag: "sh", line: b.line, text: `printf %s what-clickfunnels-shows-for-the-endpoint >secret
echo '{"id": 7}' >data.json
penstock send orders/invoice.paid --secret-file secret 2>&1 | grep '401 Unauthorized'
`})
		}
	}
	if ran < 4 {
		t.Errorf("%s has %d sh blocks, want 4 at least: the page or this test has lost some", page, ran)
	}
	fmt.Fprintln(s.in, "kill $(jobs -p); wait") // the page leaves it running
	s.close()
}

// pageShell is a shell for what a page tells to type, with free ports instead of
// those on the page, and programs that were built before.
type pageShell struct {
	t     *testing.T
	page  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   output
	from  int               // where the output of the last block begins
	ports map[string]string // on the page: here
	n     int               // blocks run
	ended chan struct{}     // closed when the shell has, with err
	err   error
}

// goShim stands for the go command: building takes long, and the programs are
// there.
const goShim = `#!/bin/sh
case "$*" in
"run ./cmd/penstock "*) shift 2; exec penstock "$@" ;;
"build -o dist/ ./cmd/penstock ./examples/...") exit 0 ;;
esac
echo "the test of the pages does not know: go $*" >&2
exit 1
`

// penstockShim gives the commands that use the default ports the test's.
const penstockShim = `#!/bin/sh
command=$1; shift
case $command in
serve) set -- "$@" --listen 127.0.0.1:8080 --admin 127.0.0.1:8081 ;;
send) set -- "$@" --url http://127.0.0.1:8080/webhooks/clickfunnels ;;
dead|diff|events|rejected|reload|sinks) set -- "$@" --server http://127.0.0.1:8081 ;;
esac
exec PENSTOCK "$command" "$@"
`

func newPageShell(t *testing.T, page string) *pageShell {
	t.Helper()
	s := &pageShell{t: t, page: page, ports: map[string]string{}, ended: make(chan struct{})}
	for _, port := range []string{"8080", "8081", "9000", "4222"} {
		s.ports[port] = freePort(t)
	}
	bin := t.TempDir()
	shims := map[string]string{
		"go":        goShim,
		"penstock":  strings.ReplaceAll(s.here(penstockShim), "PENSTOCK", program(t, "./cmd/penstock")),
		"receiver":  "#!/bin/sh\nexec " + program(t, "./examples/receiver") + s.here(" -listen 127.0.0.1:9000\n"),
		"subscribe": "#!/bin/sh\nexec " + program(t, "./examples/subscribe") + " \"$@\"\n",
	}
	for name, text := range shims {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.cmd = exec.Command("bash", "--norc", "--noprofile", "-em")
	s.cmd.Dir = t.TempDir()
	s.cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "CLICKFUNNELS_WEBHOOK_SECRET=", "PENSTOCK_TOKEN=")
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	s.cmd.WaitDelay = 10 * time.Second // for what the page has left running
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in = in
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.ended) }()
	t.Cleanup(s.end)
	return s
}

// end stops what the page left running: the shell kills its jobs, which have
// process groups of their own.
func (s *pageShell) end() {
	fmt.Fprintln(s.in, "kill $(jobs -p); exit") // an error when it has ended, which is as well
	s.in.Close()
	<-s.ended
}

// here replaces the ports of the page.
func (s *pageShell) here(text string) string {
	for page, port := range s.ports {
		text = strings.ReplaceAll(text, "127.0.0.1:"+page, "127.0.0.1:"+port)
	}
	return text
}

// follow types an sh block, which it reports, or looks for what a text block
// shows.
func (s *pageShell) follow(b fence) (typed bool) {
	s.t.Helper()
	switch b.tag {
	case "sh":
		s.run(b)
		return true
	case "text":
		s.shows(b)
	}
	return false
}

// close ends the shell where the page ends.
func (s *pageShell) close() {
	s.t.Helper()
	s.in.Close()
	if <-s.ended; s.err != nil {
		s.t.Errorf("%s: the shell: %v\n%s", s.page, s.err, s.out.String())
	}
}

// run types a block and waits until it has ended and what it started is ready.
func (s *pageShell) run(b fence) {
	s.t.Helper()
	s.settled()
	s.from = len(s.out.String())
	s.n++
	done := fmt.Sprintf("[block %d of the page has ended]", s.n)
	fmt.Fprintf(s.in, "%s\necho; echo '%s'\n", s.here(b.text), done)
	eventually(s.t, fmt.Sprintf("%s:%d ends: %q", s.page, b.line, b.text), func() bool {
		out := s.out.String()
		if strings.Contains(out, done) {
			return true
		}
		select {
		case <-s.ended:
			s.t.Fatalf("%s:%d: the shell has given up: %v\n%s", s.page, b.line, s.err, out)
		default:
		}
		return false
	})
	if strings.Contains(b.text, "penstock serve") {
		eventually(s.t, fmt.Sprintf("%s:%d: penstock is ready", s.page, b.line), func() bool {
			resp, err := http.Get(s.here("http://127.0.0.1:8080/readyz"))
			if err != nil {
				return false
			}
			resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
	}
	if strings.Contains(b.text, "receiver &") {
		eventually(s.t, fmt.Sprintf("%s:%d: the receiver listens", s.page, b.line), func() bool {
			c, err := net.Dial("tcp", s.here("127.0.0.1:9000"))
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
}

// settled waits until a running penstock has nothing under way.
func (s *pageShell) settled() {
	s.t.Helper()
	admin := s.ports["8081"]
	eventually(s.t, "nothing is under way", func() bool {
		handed, retries := underWay("127.0.0.1:" + admin)
		return handed+retries <= 0
	})
}

// underWay is how many deliveries wait for their first attempt or are being
// made, and how many wait for another one, in the Penstock whose admin API is
// there; -1 when none answers.
func underWay(admin string) (deliveries, retries int64) {
	resp, err := http.Get("http://" + admin + "/api/v1/sinks")
	if err != nil {
		return -1, 0
	}
	defer resp.Body.Close()
	var answer struct {
		Items []struct{ Waiting, Running, Outstanding int64 }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		return 1, 0 // it is there, and not to be asked yet
	}
	for _, sink := range answer.Items {
		deliveries += sink.Waiting + sink.Running
		retries += sink.Outstanding
	}
	return deliveries, retries
}

// shows waits for every line of a text block in the output of the last block.
func (s *pageShell) shows(b fence) {
	s.t.Helper()
	for line := range strings.Lines(b.text) {
		quoted := regexp.QuoteMeta(strings.TrimSpace(line))
		want := regexp.MustCompile(strings.ReplaceAll(quoted, "…", ".*"))
		eventually(s.t, fmt.Sprintf("%s:%d: the output has %q:\n%s", s.page, b.line, line, s.out.String()[s.from:]), func() bool {
			return want.MatchString(s.out.String()[s.from:])
		})
	}
}

var (
	pageLink = regexp.MustCompile(`\]\(([^)#:\s]+)[^):\s]*\)`)
	inCode   = regexp.MustCompile("`([^`\n]+)`")
	aPath    = regexp.MustCompile(`^[a-z.][\w.-]*(/[\w.-]+)*/?$`)
	aCall    = regexp.MustCompile(`^(?:\(\*?(\w+)\)\.|(\w+)\.)?(\w+)\(\)$`)
)

func pages(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, glob := range []string{"*.md", "docs/*.md", "docs/decisions/*.md"} {
		found, err := filepath.Glob(filepath.Join(moduleRoot, glob))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	if len(out) < 8 {
		t.Fatalf("found %d pages, want 8 at least", len(out))
	}
	return out
}

func TestLinksOfPagesExist(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pageLink.FindAllStringSubmatch(string(data), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
}

// TestArchitectureNamesWhatExists: the files, folders and functions that the
// page names in code are there. A function is written with (), a folder or a
// file in a folder with /.
func TestArchitectureNamesWhatExists(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(moduleRoot, "docs/ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	declared := functions(t)
	files, funcs := 0, 0
	for _, m := range inCode.FindAllStringSubmatch(string(data), -1) {
		name := m[1]
		if c := aCall.FindStringSubmatch(name); c != nil {
			funcs++
			if !declared[c[3]] {
				t.Errorf("docs/ARCHITECTURE.md names %s, which no package declares", name)
			}
			continue
		}
		if strings.Contains(name, "/") && aPath.MatchString(name) {
			files++
			if _, err := os.Stat(filepath.Join(moduleRoot, name)); err != nil {
				t.Errorf("docs/ARCHITECTURE.md names %s, which is not there", name)
			}
		}
	}
	if files < 20 || funcs < 15 {
		t.Errorf("docs/ARCHITECTURE.md names %d files and %d functions, want 20 and 15 at least: the page or this test has lost some", files, funcs)
	}
}

// functions are the names of all functions and methods, but for tests.
func functions(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, f := range sources(t) {
		for _, name := range f.funcs {
			out[name] = true
		}
	}
	return out
}

func TestDecisionsNameEveryDependency(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	records, err := filepath.Glob(filepath.Join(moduleRoot, "docs/decisions/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		data, err := os.ReadFile(r)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(data), "\n"); n > 40 {
			t.Errorf("%s has %d lines, want 40 at most", r, n)
		}
		text.Write(data)
	}
	required := 0
	for _, module := range directRequires(t) {
		required++
		if !strings.Contains(text.String(), "`"+module+"`") {
			t.Errorf("docs/decisions says neither why %s is required nor what would replace it", module)
		}
	}
	if required < 10 {
		t.Errorf("go.mod requires %d modules directly, want 10 at least: this test misreads it", required)
	}
}

// directRequires are the modules that go.mod requires for our own sake.
func directRequires(t *testing.T) []string {
	t.Helper()
	f, err := os.Open(filepath.Join(moduleRoot, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	for sc, within := bufio.NewScanner(f), false; sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		switch {
		case line == "require (":
			within = true
		case line == ")":
			within = false
		case within && !strings.HasSuffix(line, "// indirect"):
			out = append(out, strings.Fields(line)[0])
		}
	}
	return out
}
