package ingress

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

const (
	healthPath = "/healthz"
	readyPath  = "/readyz"
)

func withDefaults(o Options) Options {
	o.ReadHeaderTimeout = cmp.Or(o.ReadHeaderTimeout, 5*time.Second)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, 30*time.Second)
	o.PublishTimeout = cmp.Or(o.PublishTimeout, 10*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 40*time.Second)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 120*time.Second)
	o.MaxHeaderBytes = cmp.Or(o.MaxHeaderBytes, 16<<10)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Enter == nil {
		o.Enter = func() (func(), bool) { return func() {}, true }
	}
	if o.Observe == nil {
		o.Observe = func(Request) {}
	}
	if o.Rejected == nil {
		o.Rejected = func(Rejection) {}
	}
	if o.Ready == nil {
		o.Ready = func() []string { return nil }
	}
	return o
}

// check returns everything that is wrong with o.
func check(o Options) error {
	var errs []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	c := o.Server
	must(o.Publisher != nil, "options: no publisher")
	must(c.MaxBody > 0, "server.max_body must be above 0, got %d", c.MaxBody)
	must(c.MaxInFlight > 0, "server.max_in_flight must be above 0, got %d", c.MaxInFlight)
	must(c.MaxInFlightBytes >= c.MaxBody, "server.max_in_flight_bytes (%d) must be at least server.max_body (%d), or the largest body never gets in", c.MaxInFlightBytes, c.MaxBody)
	must(c.ShutdownTimeout > 0, "server.shutdown_timeout must be above 0, got %s", c.ShutdownTimeout)
	must((c.TLS.CertFile == "") == (c.TLS.KeyFile == ""), "server.tls needs both cert_file and key_file, or neither")
	if err := CheckSources(o.Sources); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// CheckSources returns everything that is wrong with the sources of a server.
func CheckSources(sources []Endpoint) error {
	var errs []error
	paths := map[string]string{healthPath: "health check", readyPath: "readiness check"}
	for _, ep := range sources {
		if err := checkEndpoint(ep); err != nil {
			errs = append(errs, err)
		}
		if taken := paths[ep.Path]; taken != "" {
			errs = append(errs, fmt.Errorf("sources.%s.path: %s is taken by the %s", ep.Name, ep.Path, taken))
		}
		paths[ep.Path] = "source " + ep.Name
	}
	return errors.Join(errs...)
}

// checkEndpoint returns the first thing that is wrong with ep. The text never
// holds the token.
func checkEndpoint(ep Endpoint) error {
	switch {
	case ep.Source == nil:
		return fmt.Errorf("sources.%s: no source to verify its requests", ep.Name)
	case !strings.HasPrefix(ep.Path, "/"), len(ep.Path) > 1 && strings.HasSuffix(ep.Path, "/"), strings.ContainsAny(ep.Path, ":*?#% \\"), strings.Contains(ep.Path, "//"):
		return fmt.Errorf("sources.%s.path: must look like /webhooks/%s, without : * ? # %% or a / at its end, got %q", ep.Name, ep.Name, ep.Path)
	case strings.ContainsAny(ep.Token, "/?#%"):
		return fmt.Errorf("sources.%s.url_token: must be one path element, without / ? # or %%", ep.Name)
	case !ep.Signed && ep.Token == "":
		return fmt.Errorf("sources.%s: has neither secrets nor a url_token, so no request to it could be verified; set one of them", ep.Name)
	}
	return nil
}
