package sinks

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// authKeys are the keys of auth, of which one is given.
type authKeys struct {
	// Basic sends a user name and a password.
	Basic basicKeys `yaml:"basic"`
	// Bearer sends a token that does not change.
	Bearer bearerKeys `yaml:"bearer"`
	// OAuth2 fetches a token with client credentials, keeps it until it
	// expires, and fetches another when the receiver answers 401.
	OAuth2 oauth2Keys `yaml:"oauth2"`
}

// basicKeys are the keys of auth.basic.
type basicKeys struct {
	// Username is the user's name, without a colon.
	Username string `yaml:"username,required" example:"penstock"`
	// Password is the user's password.
	Password config.Secret `yaml:"password,required"`
}

// bearerKeys are the keys of auth.bearer.
type bearerKeys struct {
	// Token is sent as Authorization: Bearer TOKEN.
	Token config.Secret `yaml:"token,required"`
}

// oauth2Keys are the keys of auth.oauth2.
type oauth2Keys struct {
	// TokenURL is where tokens are fetched.
	TokenURL config.Secret `yaml:"token_url,required"`
	// ClientID is our name at the token's server.
	ClientID string `yaml:"client_id,required" example:"penstock"`
	// ClientSecret is the secret that belongs to client_id.
	ClientSecret config.Secret `yaml:"client_secret,required"`
	// Scopes are the permissions to ask for; none asks for the server's default.
	Scopes []string `yaml:"scopes" example:"[events.write]"`
	// Audience is sent as the parameter audience, which some servers want.
	Audience string `yaml:"audience" example:"https://crm.example.com"`
	// Params are further parameters of the token request.
	Params map[string]config.Secret `yaml:"params" example:"{resource: crm}"`
	// SendCredentials is where client_id and client_secret go: into the
	// header, as servers must accept, or into the body, as some insist.
	SendCredentials string `yaml:"send_credentials" oneof:"header body"`
}

// authOptions are authKeys, understood. At most one of the fields is set.
type authOptions struct {
	header string // the value of Authorization
	oauth2 *clientcredentials.Config
}

// secrets returns what must not be shown.
func (o authOptions) secrets() []string {
	if o.oauth2 == nil {
		return headerSecrets(o.header)
	}
	secrets := []string{o.oauth2.ClientSecret}
	for _, values := range o.oauth2.EndpointParams {
		secrets = append(secrets, values...)
	}
	if u, err := url.Parse(o.oauth2.TokenURL); err == nil {
		secrets = append(secrets, urlSecrets(u)...)
	}
	return secrets
}

// decodeAuth reads auth, which is n.
func decodeAuth(n config.Node, k authKeys) (authOptions, config.Mistakes) {
	given := n.Keys()
	switch {
	case n.IsZero():
		return authOptions{}, nil
	case len(given) == 0:
		return authOptions{}, config.Mistakes{n.Errorf("", "says nothing", "set one of basic, bearer, oauth2")}
	case len(given) > 1:
		return authOptions{}, config.Mistakes{n.Errorf("", "has "+strings.Join(given, " and "), "a request is authorised in one way; keep one")}
	}
	switch n := n.Get(given[0]); given[0] {
	case "basic":
		credentials := k.Basic.Username + ":" + k.Basic.Password.Reveal()
		if strings.Contains(k.Basic.Username, ":") {
			return authOptions{}, config.Mistakes{n.Errorf("username", "has a colon, which ends a user name", "remove it")}
		}
		return authOptions{header: "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))}, nil
	case "bearer":
		if what, hint := headerMistake("Authorization", k.Bearer.Token.Reveal()); what != "" {
			return authOptions{}, config.Mistakes{n.Errorf("token", what, hint)}
		}
		return authOptions{header: "Bearer " + k.Bearer.Token.Reveal()}, nil
	case "oauth2":
		return k.OAuth2.decode(n)
	}
	return authOptions{}, nil // an unknown key is told
}

func (k oauth2Keys) decode(n config.Node) (authOptions, config.Mistakes) {
	if k.TokenURL.IsZero() {
		return authOptions{}, nil // told
	}
	tokenURL, mistakes := decodeURL(n, "token_url", k.TokenURL.Reveal())
	c := &clientcredentials.Config{
		ClientID: k.ClientID, ClientSecret: k.ClientSecret.Reveal(), Scopes: k.Scopes,
		EndpointParams: url.Values{}, AuthStyle: oauth2.AuthStyleInHeader,
	}
	if tokenURL != nil {
		c.TokenURL = tokenURL.String()
	}
	if k.SendCredentials == "body" {
		c.AuthStyle = oauth2.AuthStyleInParams
	}
	if k.Audience != "" {
		c.EndpointParams.Set("audience", k.Audience)
	}
	own := map[string]string{"scope": "scopes", "audience": "audience", "client_id": "client_id", "client_secret": "client_secret"}
	for _, name := range slices.Sorted(maps.Keys(k.Params)) {
		if key := own[name]; key != "" {
			mistakes = append(mistakes, n.Get("params").Errorf(name, "has a key of its own", "write "+key+" beside params"))
			continue
		}
		c.EndpointParams.Set(name, k.Params[name].Reveal())
	}
	return authOptions{oauth2: c}, mistakes
}

// tokens fetches and keeps the token of one sink. However many attempts need
// one, a single request is under way. It is safe for concurrent use.
type tokens struct {
	config *clientcredentials.Config
	client *http.Client
	host   string
	latest atomic.Pointer[fetched]
	// turn is held by the attempt that fetches. It is a channel so that the
	// others stop waiting when their context is done.
	turn chan struct{}
}

// fetched is how a request for a token ended.
type fetched struct {
	token *oauth2.Token
	err   error
	at    time.Time
	// again: it replaced one that the receiver did not accept.
	again bool
}

// minTokenAge is how long a token stays that was fetched because the one
// before was not accepted: a third would fare no better.
const minTokenAge = 30 * time.Second

func newTokens(c *clientcredentials.Config, transport http.RoundTripper) *tokens {
	t := &tokens{config: c, turn: make(chan struct{}, 1), client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if u, err := url.Parse(c.TokenURL); err == nil {
		t.host = u.Host
	}
	t.latest.Store(&fetched{})
	return t
}

// tokenPause is how long a failed request for a token stands for those that
// would follow: a server in trouble is not asked by every attempt.
const tokenPause = time.Second

// get returns a token that is valid and not the one of refused, which the
// receiver did not accept; nil refuses none. A failure of the request that was
// waited for is everybody's failure.
func (t *tokens) get(ctx context.Context, refused *fetched) (*fetched, error) {
	before := t.latest.Load()
	switch {
	case before.serves(refused):
		return before, nil
	case before.err != nil && time.Since(before.at) < tokenPause:
		return nil, before.err
	}
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-t.turn }()
	now := t.latest.Load()
	switch {
	case now.serves(refused):
		return now, nil
	case now != before && now.err != nil:
		return nil, now.err
	}
	f := t.fetch(ctx)
	f.again = refused != nil
	// An attempt that ran out of time says nothing of the server.
	if f.err == nil || ctx.Err() == nil {
		t.latest.Store(f)
	}
	return f, f.err
}

func (f *fetched) serves(refused *fetched) bool { return f != refused && f.token.Valid() }

// worthAnother reports that another token may be accepted where f was not.
func (f *fetched) worthAnother() bool { return !f.again || time.Since(f.at) > minTokenAge }

func (t *tokens) fetch(ctx context.Context) *fetched {
	token, err := t.config.Token(context.WithValue(ctx, oauth2.HTTPClient, t.client))
	return &fetched{token: token, err: err, at: time.Now()}
}

// noToken returns what it means that no token could be had.
func (s *httpSink) noToken(ctx context.Context, start time.Time, err error) error {
	label := s.label + ": fetch a token from " + s.tokens.host
	var answered *oauth2.RetrieveError
	if !errors.As(err, &answered) || answered.Response == nil {
		return s.noAnswer(ctx, start, label, s.scrub, err)
	}
	status, note := answered.Response.StatusCode, ""
	if answered.ErrorCode != "" {
		note = ": " + oneLine(s.scrub.clean(answered.ErrorCode), 100)
	}
	e := &delivery.Error{Status: status, Err: fmt.Errorf("%s: answered %s%s", label, statusText(status), note)}
	switch {
	case status == http.StatusTooManyRequests:
		e.Class = delivery.Throttled
	case status == http.StatusRequestTimeout, status >= 500:
		e.Class = delivery.Failed
	default: // wrong credentials, or a server that is none of tokens
		e.Class = delivery.Refused
		return e
	}
	e.RetryAfter = retryAfter(answered.Response.Header, time.Now())
	return e
}
