package ingress

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"
)

// tokenParam names the path element that holds a URL token.
const tokenParam = "token"

// Errors of requests that the source never sees.
var (
	errToken  = errors.New("wrong token at the end of the URL")
	errNoSign = errors.New("this address alone takes nothing: a secret token must follow it in the URL")
)

// endpoint is an Endpoint with what its requests need, prepared.
type endpoint struct {
	Endpoint
	tokenHash [sha256.Size]byte
}

func newEndpoint(ep Endpoint) *endpoint {
	ep.Sender = cmp.Or(ep.Sender, "ClickFunnels")
	return &endpoint{Endpoint: ep, tokenHash: sha256.Sum256([]byte(ep.Token))}
}

// verify checks the token of a request that came with one, the signature of
// any other.
func (ep *endpoint) verify(c echo.Context, body []byte, now time.Time) error {
	if token := c.Param(tokenParam); token != "" {
		return ep.verifyToken(token)
	}
	if !ep.Signed {
		return errNoSign
	}
	return ep.Source.Verify(c.Request().Header, body, now)
}

// verifyToken compares hashes, so that the time it takes tells neither the
// token's bytes nor its length.
func (ep *endpoint) verifyToken(token string) error {
	if plain, err := url.PathUnescape(token); err == nil {
		token = plain
	}
	got := sha256.Sum256([]byte(token))
	if ep.Token == "" || subtle.ConstantTimeCompare(got[:], ep.tokenHash[:]) != 1 {
		return errToken
	}
	return nil
}
