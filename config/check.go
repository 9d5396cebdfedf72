package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

const nameHint = "use lower-case letters, digits and dashes, at most 63"

func (l *loader) checkName(e named) {
	if !nameForm.MatchString(e.name) {
		m := e.Errorf("", "not a valid name", nameHint)
		m.Pos = e.key
		l.check(m)
	}
}

// checkKind checks the kind of a source or sink; nil known accepts all.
func (l *loader) checkKind(n Node, kind string, known []string) {
	all := ""
	if len(known) > 0 {
		all = "known kinds: " + strings.Join(known, ", ")
	}
	at := n.Get("kind")
	switch {
	case at.IsZero():
		l.check(n.Errorf("", "has no kind", all))
	case at.val.kind != scalar || at.val.null || known == nil || slices.Contains(known, kind):
	case Nearest(kind, known) != "":
		l.check(at.Errorf("", "unknown kind "+at.got(), "did you mean "+Nearest(kind, known)+"?"))
	default:
		l.check(at.Errorf("", "unknown kind "+at.got(), all))
	}
}

// endpoint is a checked host:port.
type endpoint struct {
	host string
	port int
}

func parseEndpoint(s string) (endpoint, bool) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return endpoint{}, false
	}
	p, err := strconv.ParseUint(port, 10, 16)
	return endpoint{host, int(p)}, err == nil
}

func (e endpoint) anyHost() bool {
	a, err := netip.ParseAddr(e.host)
	return e.host == "" || err == nil && a.IsUnspecified()
}

func (e endpoint) loopback() bool {
	a, err := netip.ParseAddr(e.host)
	return strings.EqualFold(e.host, "localhost") || err == nil && a.Unmap().IsLoopback()
}

// clashes reports that both cannot be listened on by one process.
func (e endpoint) clashes(o endpoint) bool {
	return e.port != 0 && e.port == o.port && (e.host == o.host || e.anyHost() || o.anyHost())
}

// listener is an address we listen on, and the key that says so.
type listener struct {
	section Node
	key     string
	endpoint
}

// checkListeners checks the addresses and returns which are good.
func (l *loader) checkListeners() map[string]listener {
	good := map[string]listener{}
	var order []listener
	for _, c := range []struct {
		section   Node
		key, addr string
	}{
		{l.server, "listen", l.cfg.Server.Listen},
		{l.server, "admin", l.cfg.Server.Admin},
		{l.broker, "listen", l.cfg.Broker.Listen},
	} {
		path := join(c.section.Path, c.key)
		if c.addr == "" && path != "server.listen" {
			continue
		}
		e, ok := parseEndpoint(c.addr)
		if !ok {
			l.check(c.section.Get(c.key).needs("an address", "write host:port, or :8080 for every interface")...)
			continue
		}
		here := listener{c.section, c.key, e}
		for _, other := range order {
			if e.clashes(other.endpoint) {
				l.check(c.section.Errorf(c.key, "clashes with "+join(other.section.Path, other.key), "give each its own port"))
				break
			}
		}
		order, good[path] = append(order, here), here
	}
	return good
}

func (l *loader) checkServer() {
	n, s := l.server, l.cfg.Server
	good := l.checkListeners()
	if a, ok := good["server.admin"]; ok && !a.loopback() && !s.AdminGuarded() && len(n.Get("admin_tokens").list()) == 0 {
		l.check(n.Errorf("admin", "is not a loopback address, so admin_token is required",
			"set admin_token or admin_token_file, or admin: 127.0.0.1:8081"))
	}
	l.checkAdminTokens()
	l.together(n.Get("tls"), "cert_file", "key_file", s.TLS.CertFile, s.TLS.KeyFile)
	if s.MaxInFlightBytes < s.MaxBody {
		key := "max_in_flight_bytes"
		if n.Get(key).IsZero() {
			key = "max_body"
		}
		l.check(n.Errorf(key, fmt.Sprintf("max_in_flight_bytes %s is below max_body %s", s.MaxInFlightBytes, s.MaxBody),
			"raise max_in_flight_bytes"))
	}
}

// together reports one of two keys without the other.
func (l *loader) together(n Node, a, b, valueA, valueB string) {
	switch {
	case valueA != "" && valueB == "":
		l.check(n.Errorf(a, "needs "+b+" too", "set both or neither"))
	case valueA == "" && valueB != "":
		l.check(n.Errorf(b, "needs "+a+" too", "set both or neither"))
	}
}

// checkMissing finds what a whole configuration lacks.
func (l *loader) checkMissing(top Pos) {
	if len(l.sources) == 0 && l.runs(RoleIngress) {
		l.check(Mistake{
			Pos:  top,
			What: "no sources",
			Hint: "add one under sources, such as clickfunnels: {kind: clickfunnels, secrets: [...]}",
		})
	}
	if len(l.sinks) == 0 && l.cfg.Broker.URL == "" && l.cfg.Broker.Listen == "" {
		l.check(Mistake{
			Pos:     top,
			What:    "no sinks, and no broker.listen or broker.url to subscribe at: nobody gets the events",
			Hint:    "add one under sinks, such as log: {kind: log}",
			Warning: true,
		})
	}
}

// checkUse finds what is missing and what is never used.
func (l *loader) checkUse() {
	if !l.misread && len(l.roots) > 0 {
		l.checkMissing(Pos{File: l.roots[0].File, Line: 1, Column: 1})
	}
	if l.noRoutes {
		return // which sinks they would name is not known
	}
	used := map[string]bool{}
	for _, r := range l.cfg.Routes {
		for _, to := range r.To {
			used[to.Name] = true
		}
	}
	for _, to := range l.cfg.Default {
		used[to.Name] = true
	}
	for _, e := range l.sinks {
		if !used[e.name] {
			m := e.warnf("", "no route leads to it", "name it in the to of a route, or in default")
			m.Pos = e.key
			l.check(m)
		}
	}
}
