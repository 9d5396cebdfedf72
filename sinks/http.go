package sinks

import (
	"errors"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// httpKeys are the keys of the kind http.
type httpKeys struct {
	// URL is where events are posted. It is secret because many receivers put
	// a token in it. It may have insertions, such as {{.Subject}}, from .ID,
	// .Type, .Subject, .Source, .APIVersion, .Received and .Data (the data of
	// the body); every inserted value is escaped. An event for which there is
	// no URL goes to the dead letters.
	URL config.Secret `yaml:"url,required" example:"https://crm.example.com/hooks"`
	// AllowedHosts are the hosts that a url may come to whose host has an
	// insertion, "*.example.com" for all below one. They are reached at public
	// addresses only.
	AllowedHosts []string `yaml:"allowed_hosts" example:"['*.example.com']"`
	// Method is the method of the requests.
	Method string `yaml:"method" oneof:"POST PUT PATCH"`
	// Headers are sent with every request, beside those that say which event
	// it is. They win over ours, such as Content-Type.
	Headers map[string]config.Secret `yaml:"headers" example:"{Authorization: 'Bearer ${TOKEN}'}"`
	// Query are parameters that are added to url, encoded.
	Query map[string]config.Secret `yaml:"query" example:"{tenant: shop}"`
	// Gzip compresses bodies from 1 KiB up, where that makes them shorter.
	Gzip bool `yaml:"gzip"`
	// Sign says how requests are signed; left out, they are not.
	Sign signKeys `yaml:"sign"`
	// Auth says how we show who we are, in the header Authorization.
	Auth authKeys `yaml:"auth"`
	// TLS says which certificates to trust and to show.
	TLS tlsKeys `yaml:"tls"`
	// HTTP2 is spoken over TLS where the receiver can; false never does.
	HTTP2 bool `yaml:"http2"`
	// Proxy is the URL of a proxy, http://, https:// or socks5://, or the word
	// environment for what HTTPS_PROXY and its like say; by default there is
	// none. The proxy then looks up the receiver's name: which address that
	// is, we cannot check.
	Proxy config.Secret `yaml:"proxy"`
	// Responses says what answers mean where the rules for all receivers are
	// not this one's. It wins over retry.permanent_statuses; a status that no
	// list names keeps its meaning.
	Responses responseKeys `yaml:"responses"`
}

// defaultHTTP are the keys with their defaults.
func defaultHTTP() httpKeys {
	return httpKeys{
		Method: http.MethodPost,
		HTTP2:  true,
		Sign:   signKeys{Algorithm: "sha256", Encoding: "hex"},
		Auth:   authKeys{OAuth2: oauth2Keys{SendCredentials: "header"}},
		TLS:    tlsKeys{MinVersion: "1.2"},
	}
}

// httpOptions are the keys, understood.
type httpOptions struct {
	url       *url.URL     // nil while it is a variable without a value
	template  *urlTemplate // nil when url is the same for all events
	method    string
	headers   map[string]string // by canonical name
	query     map[string]string
	gzip      bool
	signer    *signer // nil: not signed
	auth      authOptions
	transport transportOptions
	classes   map[int]delivery.Class
}

func decodeHTTP(c config.Sink) (httpOptions, config.Mistakes) {
	n, keys := c.Options, defaultHTTP()
	mistakes := n.Decode(&keys)
	told := func(more config.Mistakes) { mistakes = append(mistakes, more...) }
	o := httpOptions{method: keys.Method, gzip: keys.Gzip}
	var more config.Mistakes
	raw := keys.URL.Reveal()
	switch {
	case len(mistakes) > 0 && keys.URL.IsZero(): // what is wrong with url is told
	case strings.Contains(raw, "{{"):
		o.template, o.url, more = decodeURLTemplate(n, raw, keys.AllowedHosts)
	default:
		o.url, more = decodeURL(n, "url", raw)
		if len(keys.AllowedHosts) > 0 {
			more = append(more, n.Errorf("allowed_hosts", "does nothing: the host of url is the same for all events", "leave it out"))
		}
	}
	told(more)
	o.query = reveal(keys.Query)
	o.signer, more = decodeSign(n.Get("sign"), keys.Sign)
	told(more)
	o.auth, more = decodeAuth(n.Get("auth"), keys.Auth)
	told(more)
	told(decodeTLS(n.Get("tls"), keys.TLS))
	o.transport = transportOptions{
		tls: keys.TLS, ownTLS: !n.Get("tls").IsZero(), http1: !keys.HTTP2,
		publicOnly: o.template != nil && o.template.hosts != nil,
	}
	o.transport.proxy, o.transport.fromEnv, more = decodeProxy(n, keys.Proxy.Reveal())
	told(more)
	if o.transport.publicOnly && (o.transport.proxy != nil || o.transport.fromEnv) {
		told(config.Mistakes{n.Errorf("proxy", "looks up the host that an event chooses, out of our sight", "write the host of url out, or use no proxy")})
	}
	if p := o.transport.proxy; p != nil && p.Scheme == "https" && keys.TLS.ServerName != "" {
		told(config.Mistakes{n.Get("tls").Errorf("server_name", "would be asked of the proxy's certificate too", "leave it out, or use a proxy by http://")})
	}
	o.classes, more = decodeResponses(keys.Responses)
	told(more)
	o.headers, more = decodeHeaders(n.Get("headers"), keys.Headers, o.setsHeaders(n))
	told(more)
	mistakes.Sort()
	return o, mistakes
}

// setsHeaders returns the headers that other keys than headers set, with the key.
func (o httpOptions) setsHeaders(n config.Node) map[string]string {
	set := map[string]string{}
	if o.gzip {
		set["Content-Encoding"] = "gzip"
	}
	if !n.Get("auth").IsZero() {
		set["Authorization"] = "auth"
	}
	if o.signer != nil {
		for _, name := range o.signer.headers {
			set[name] = "sign"
		}
	}
	return set
}

func reveal(secrets map[string]config.Secret) map[string]string {
	texts := make(map[string]string, len(secrets))
	for name, s := range secrets {
		texts[name] = s.Reveal()
	}
	return texts
}

// decodeURL reads raw, the value of the secret key of n. It returns nil and no
// mistake for a variable without a value.
func decodeURL(n config.Node, key, raw string) (*url.URL, config.Mistakes) {
	if n.Get(key+"_file").Unresolved() || n.Get(key).Unresolved() {
		return nil, nil
	}
	u, what, hint := parseURL(raw)
	if what == "" {
		return u, nil
	}
	if n.Get(key).IsZero() {
		key += "_file"
	}
	return nil, config.Mistakes{n.Errorf(key, what, hint)}
}

// parseURL reads the URL of a receiver. What is wrong with it is said without
// the URL, which may hold a secret.
func parseURL(raw string) (u *url.URL, what, hint string) {
	const example = "write it as https://crm.example.com/hooks"
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, "is not a URL", example
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, "must begin with http:// or https://", example
	case u.Hostname() == "":
		return nil, "names no host", example
	case u.User != nil:
		return nil, "holds a user name or password", "put them under auth: {basic: {username: ..., password: ...}}"
	case u.Fragment != "":
		return nil, "has a fragment (#...), which is never sent", "leave it out"
	}
	var refused *guardError
	if errors.As((Guard{}).CheckHost(u.Hostname()), &refused) {
		return nil, "points to " + refused.target + ", " + refused.why + ", which is never dialled", "name a service of yours"
	}
	return u, "", ""
}

// ownHeaders are the headers that the configuration cannot set, with the
// reason: the protocol's, which belong to the connection, and those by which
// the receiver knows an event again.
var ownHeaders = map[string]string{
	"Connection":          ofConnection,
	"Content-Length":      ofConnection,
	"Expect":              ofConnection,
	"Host":                ofConnection,
	"Keep-Alive":          ofConnection,
	"Proxy-Authenticate":  ofConnection,
	"Proxy-Authorization": ofConnection,
	"Proxy-Connection":    ofConnection,
	"Te":                  ofConnection,
	"Trailer":             ofConnection,
	"Transfer-Encoding":   ofConnection,
	"Upgrade":             ofConnection,
	"Ce-Id":               ofEvent,
	"Ce-Specversion":      ofEvent,
	"Traceparent":         ofEvent,
	"Webhook-Id":          ofEvent,
	"Webhook-Signature":   ofEvent,
	"Webhook-Timestamp":   ofEvent,
}

const (
	ofConnection = "belongs to the connection and cannot be set"
	ofEvent      = "identifies the event and cannot be set"
)

// decodeHeaders checks the headers, the values of n, and returns them by their
// canonical names. taken are those that another key sets.
func decodeHeaders(n config.Node, headers map[string]config.Secret, taken map[string]string) (map[string]string, config.Mistakes) {
	var mistakes config.Mistakes
	byName := make(map[string]string, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value, canonical := headers[name].Reveal(), textproto.CanonicalMIMEHeaderKey(name)
		what, hint := headerMistake(canonical, value)
		if _, twice := byName[canonical]; twice {
			what, hint = "is given twice", "case makes no difference; keep one"
		}
		if key := taken[canonical]; key != "" {
			what, hint = "is set by "+key, "keep one of them"
		}
		if what != "" {
			mistakes = append(mistakes, n.Errorf(name, what, hint))
			continue
		}
		byName[canonical] = value
	}
	return byName, mistakes
}

func headerMistake(name, value string) (what, hint string) {
	switch own := ownHeaders[name]; {
	case !validToken(name):
		return "is not a header name", "use letters, digits and hyphens"
	case own != "":
		return own, "leave it out"
	case strings.ContainsAny(value, "\r\n"):
		return "has a line break in its value", "remove it, also at the end of a secret's file"
	case !validHeaderValue(value):
		return "has a control character in its value", "use printable characters"
	}
	return "", ""
}

// validToken reports that s is a header name by RFC 9110.
func validToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// validHeaderValue reports that s can be sent as a header's value.
func validHeaderValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7F {
			return false
		}
	}
	return true
}
