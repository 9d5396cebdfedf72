package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
)

const (
	defaultDataDir = "./penstock-data"
	configFlagHelp = "configuration file, or folder of *.yaml files; may be given more than once"
)

// printMistakes writes one mistake a line.
func printMistakes(w io.Writer, ms config.Mistakes) {
	if len(ms) > 0 {
		fmt.Fprintln(w, ms)
	}
}

// loadFiles loads a configuration for some roles. It fails with all that is
// wrong with it when a mistake is fatal.
func (p process) loadFiles(paths, roles []string) (c *config.Config, warnings config.Mistakes, err error) {
	c, ms := app.Load(paths, app.LoadOptions{Env: p.env, Roles: roles})
	if len(ms.Fatal()) > 0 {
		return nil, nil, ms
	}
	return c, ms, nil
}

func checkRoles(roles []string) error {
	known := []string{config.RoleIngress, config.RoleRouter, config.RoleConsole}
	for _, r := range roles {
		if !slices.Contains(known, r) {
			return usagef("--roles: %q is none of %s", r, strings.Join(known, ", "))
		}
	}
	return nil
}

// overrides are the settings of a file that serve's flags replace.
type overrides struct{ dataDir, listen, admin string }

// apply changes c. What the file's own checks would refuse is refused here.
func (o overrides) apply(c *config.Config) error {
	if o.dataDir != "" && c.Broker.URL != "" {
		return usagef("--data-dir has no meaning here: broker.url says that events are stored elsewhere")
	}
	if o.dataDir != "" {
		c.Broker.DataDir = o.dataDir
	}
	for _, a := range []struct {
		flag, value string
		set         *string
	}{{"--listen", o.listen, &c.Server.Listen}, {"--admin", o.admin, &c.Server.Admin}} {
		if a.value == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(a.value); err != nil {
			return usagef("%s %q is not an address; write host:port, or :8080 for every interface", a.flag, a.value)
		}
		*a.set = a.value
	}
	if o.admin != "" && !c.Server.AdminGuarded() && !isLoopback(o.admin) {
		return usagef("--admin %s is not a loopback address, so server.admin_token is required in the file", o.admin)
	}
	return nil
}

func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// baseURL is how somebody on this machine reaches what listens on address.
func baseURL(address string, tls bool) string {
	scheme := "http"
	if tls {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return scheme + "://" + address
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
