package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
)

// defaultBase is where serve listens without a file.
const defaultBase = "http://127.0.0.1:8080"

// maxHealthBody bounds what is read of the answer: the reasons of a process
// that is not ready.
const maxHealthBody = 4 << 10

type healthFlags struct {
	files        []string
	url          string
	ready, admin bool
	timeout      time.Duration
}

func newHealth(p process) *cobra.Command {
	var f healthFlags
	cmd := &cobra.Command{
		Use:   "health [-c FILE...]",
		Short: "Ask a running process on this machine whether it is well",
		Long: `Asks the process that serves a configuration whether it is up (GET /healthz) or,
with --ready, whether it should get webhooks (GET /readyz). The address is
server.listen of the files; without a file and without --url it is that of the
quick-start, ` + defaultBase + `. Mistakes elsewhere in the files do not matter:
what runs was started from files that were good.

It is made for the health check of a container, which needs neither a shell nor
curl. A certificate of the listener is not verified: the name in it is the one
that senders use.

It exits with 0 when the answer is 200, with 1 when it is another or none came
in time, and with 2 when the command line is wrong.`,
		Example: `  penstock health
  penstock health -c /etc/penstock/penstock.yaml --ready
  # a process whose roles leave out the ingress
  penstock health -c penstock.yaml --admin`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.health(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "config", "c", nil, configFlagHelp)
	flags.StringVar(&f.url, "url", "", "address to ask, as "+defaultBase+", instead of that of the files")
	flags.BoolVar(&f.ready, "ready", false, "ask whether it should get webhooks, not only whether it is up")
	flags.BoolVar(&f.admin, "admin", false, "ask for /metrics on server.admin: for a process without the role ingress")
	flags.DurationVar(&f.timeout, "timeout", 3*time.Second, "how long to wait for the answer")
	return cmd
}

func (p process) health(ctx context.Context, f healthFlags) error {
	at, err := p.healthURL(f)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	answer, err := askHealth(ctx, at)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s did not answer within %s", at, f.timeout)
	case err != nil:
		return err
	}
	_, err = fmt.Fprintln(p.stdout, answer)
	return err
}

// healthURL is what to ask.
func (p process) healthURL(f healthFlags) (string, error) {
	path := "/healthz"
	switch {
	case f.timeout <= 0:
		return "", usagef("--timeout must be more than 0s, got %s", f.timeout)
	case f.admin && f.ready:
		return "", usagef("--ready and --admin contradict each other: readiness is about taking webhooks; keep one")
	case f.admin:
		path = "/metrics"
	case f.ready:
		path = "/readyz"
	}
	base := defaultBase
	switch {
	case f.url != "":
		u, err := url.Parse(f.url)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return "", usagef("--url is not an address; write it as %s", defaultBase)
		}
		base = u.Scheme + "://" + u.Host
	case len(f.files) > 0:
		// Secrets are none of our business, and a mistake that somebody is
		// making in the file right now says nothing about the process.
		c, ms := app.Load(f.files, app.LoadOptions{Env: p.env, NoEnv: true})
		if c == nil {
			return "", ms
		}
		return healthBase(c.Server, f.admin, path)
	case f.admin:
		base = "http://127.0.0.1:8081"
	}
	return base + path, nil
}

func healthBase(s config.Server, admin bool, path string) (string, error) {
	if !admin {
		return baseURL(s.Listen, s.TLS.CertFile != "") + path, nil
	}
	if s.Admin == "" {
		return "", errors.New("server.admin is empty, so nobody can be asked there")
	}
	return baseURL(s.Admin, false) + path, nil
}

// askHealth returns what a process answers that is well, in one line.
func askHealth(ctx context.Context, at string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return "", err
	}
	t := &http.Transport{
		DisableKeepAlives: true,
		// We ask our own machine by its loopback address, which is not in the
		// certificate, and send nothing that is secret.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	client := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxHealthBody)) // the status says enough
		return "", fmt.Errorf("%s answered %s: %s", at, resp.Status, strings.TrimSpace(string(body)))
	}
	return at + " is well", nil
}
