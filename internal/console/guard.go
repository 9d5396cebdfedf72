package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/penstock/penstock/config"
)

// guard decides who may ask. It is not changed after newGuard.
type guard struct {
	// bound is the host of server.admin, which is a loopback one if there is no token.
	bound string
	// token is the hash of the token, so that a comparison takes the same
	// time whatever the lengths are.
	token    [sha256.Size]byte
	hasToken bool
	// open: what it stands before is no secret, so that a monitor may call this
	// machine by any name.
	open bool
}

func newGuard(addr string, token config.Secret) guard {
	host, _, _ := net.SplitHostPort(addr) // checked by New
	return guard{bound: host, token: sha256.Sum256([]byte(token.Reveal())), hasToken: !token.IsZero()}
}

// admit returns nil for a request that may be answered; a public one needs no
// token. What a website makes a browser send is told by its Origin, or, when
// the site's name was made to resolve to us (DNS rebinding), by its Host.
func (g guard) admit(r *http.Request, public bool) *refusal {
	if !sameOrigin(r) {
		return refuse(http.StatusForbidden, "the request comes from another website",
			"use the penstock command, or a page of this server itself")
	}
	if g.open {
		return nil
	}
	if !g.hasToken {
		return g.ownName(r)
	}
	if public {
		return nil
	}
	given, ok := bearer(r.Header.Get("Authorization"))
	sum := sha256.Sum256([]byte(given))
	if subtle.ConstantTimeCompare(sum[:], g.token[:]) != 1 || !ok {
		return refuse(http.StatusUnauthorized, "the admin API wants a token",
			"send Authorization: Bearer and the value of server.admin_token")
	}
	return nil
}

// ownName refuses a Host that is not one of this machine's own.
func (g guard) ownName(r *http.Request) *refusal {
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
	switch strings.ToLower(r.Header.Get("Sec-Fetch-Site")) {
	case "", "same-origin", "none":
	default:
		return false
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
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}

// sendsJSON refuses a change that is not declared as JSON: a browser sends
// that to another site only after asking it first, and we do not agree.
func sendsJSON(r *http.Request) *refusal {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && t == "application/json" {
		return nil
	}
	return refuse(http.StatusUnsupportedMediaType, "a change must be sent as JSON", "send Content-Type: application/json")
}
