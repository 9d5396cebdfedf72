package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/penstock/penstock/config"
)

// Credential is a token that admits a caller.
type Credential struct {
	// Name says who presents it. Several credentials may have one name.
	Name string
	// Role is config.AdminRead or config.AdminOperator.
	Role  string
	Token config.Secret
}

// Credentials are those that a configuration names.
func Credentials(s config.Server) []Credential {
	var out []Credential
	if !s.AdminToken.IsZero() {
		out = append(out, Credential{Name: "server.admin_token", Role: config.AdminOperator, Token: s.AdminToken})
	}
	for _, a := range s.AdminTokens {
		for _, token := range a.Tokens {
			out = append(out, Credential{Name: a.Name, Role: a.Role, Token: token})
		}
	}
	return out
}

// caller is who asks.
type caller struct{ name, role string }

// anybody asks where no token is needed.
var anybody = caller{name: "anybody on this machine", role: config.AdminOperator}

// guard decides who may ask.
type guard struct {
	// bound is the host of server.admin, which is a loopback one if there is no token.
	bound string
	// known are those admitted; none: everybody is who names this machine.
	known atomic.Pointer[[]known]
	// open: what it stands before is no secret, so that a monitor may call this
	// machine by any name.
	open bool
}

// known is a caller by the hash of its token, so that a comparison takes the
// same time whatever the lengths are.
type known struct {
	token [sha256.Size]byte
	caller
}

func newGuard(addr string) *guard {
	host, _, _ := net.SplitHostPort(addr) // checked by New
	g := &guard{bound: host}
	g.known.Store(&[]known{})
	return g
}

// admitOnly replaces those who are admitted, all at once.
func (g *guard) admitOnly(cs []Credential) error {
	all := make([]known, 0, len(cs))
	for _, c := range cs {
		switch {
		case c.Token.IsZero():
			return errors.New("an admin token of " + strconv.Quote(c.Name) + " is empty")
		case c.Role != config.AdminRead && c.Role != config.AdminOperator:
			return errors.New("the role of admin token " + strconv.Quote(c.Name) + " is neither read nor operator")
		}
		all = append(all, known{sha256.Sum256([]byte(c.Token.Reveal())), caller{c.Name, c.Role}})
	}
	if len(all) == 0 && !g.open && !loopback(g.bound) {
		return errors.New("server.admin is not a loopback address, so server.admin_token is required")
	}
	g.known.Store(&all)
	return nil
}

// admit returns who asks, or why there is no answer; a public request needs no
// token. What a website makes a browser send is told by its Origin, or, when
// the site's name was made to resolve to us (DNS rebinding), by its Host.
func (g *guard) admit(r *http.Request, public bool) (caller, *refusal) {
	if !sameOrigin(r) {
		return caller{}, refuse(http.StatusForbidden, "the request comes from another website",
			"use the penstock command, or a page of this server itself")
	}
	if g.open {
		return anybody, nil
	}
	all := *g.known.Load()
	if len(all) == 0 {
		return anybody, g.ownName(r)
	}
	if public {
		return caller{}, nil
	}
	who, ok := identify(all, r.Header.Values("Authorization"))
	if !ok {
		return caller{}, refuse(http.StatusUnauthorized, "the admin API wants a token",
			"send Authorization: Bearer and the value of server.admin_token or of one of server.admin_tokens")
	}
	return who, nil
}

// identify looks at every token, whichever it is, so that the time tells
// nothing about them.
func identify(all []known, headers []string) (caller, bool) {
	if len(headers) != 1 {
		return caller{}, false
	}
	given, ok := bearer(headers[0])
	sum := sha256.Sum256([]byte(given))
	at := -1
	for i := range all {
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], all[i].token[:]), i, at)
	}
	if !ok || at < 0 {
		return caller{}, false
	}
	return all[at].caller, true
}

// mayChange refuses a caller who may only read.
func (c caller) mayChange() *refusal {
	if c.role == config.AdminOperator {
		return nil
	}
	return refuse(http.StatusForbidden, "the token of "+strconv.Quote(c.name)+" may read and change nothing",
		"use the token of an operator: server.admin_token, or one of server.admin_tokens with role operator")
}

// ownName refuses a Host that is not one of this machine's own.
func (g *guard) ownName(r *http.Request) *refusal {
	host := hostname(r.Host)
	if loopback(host) || host != "" && strings.EqualFold(host, g.bound) {
		return nil
	}
	return refuse(http.StatusForbidden, "the Host header does not name this machine",
		"ask http://127.0.0.1, or set server.admin_token to allow other names")
}

// hostname returns a host without its port and brackets.
func hostname(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
}

// sameOrigin reports that no other website made the request, as far as a
// browser says. Programs send neither header.
func sameOrigin(r *http.Request) bool {
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		switch strings.ToLower(site) {
		case "same-origin", "none":
		default:
			return false
		}
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	return len(origins) == 1 && err == nil && (u.Scheme == "http" || u.Scheme == "https") && strings.EqualFold(u.Host, r.Host)
}

func bearer(header string) (token string, ok bool) {
	scheme, token, ok := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	return token, ok && token != "" && strings.EqualFold(scheme, "Bearer")
}

// sendsJSON refuses a change that is not declared as JSON: a browser sends
// that to another site only after asking it first, and we do not agree.
func sendsJSON(r *http.Request) *refusal {
	types := r.Header.Values("Content-Type")
	if len(types) == 1 {
		if t, _, err := mime.ParseMediaType(types[0]); err == nil && t == "application/json" {
			return nil
		}
	}
	return refuse(http.StatusUnsupportedMediaType, "a change must be sent as JSON", "send Content-Type: application/json")
}
