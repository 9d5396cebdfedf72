package sinks

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
)

// httpKeys are the keys of the kind http.
type httpKeys struct {
	// URL is where events are posted. It is a secret because many receivers put
	// a token in it.
	URL config.Secret `yaml:"url,required" example:"https://crm.example.com/hooks"`
	// Method is that of the requests.
	Method string `yaml:"method" oneof:"POST PUT PATCH"`
	// Headers are sent with every request, besides our own.
	Headers map[string]config.Secret `yaml:"headers" example:"{Authorization: \"Bearer ${CRM_TOKEN}\"}"`
}

// httpOptions are the keys, understood.
type httpOptions struct {
	url     *url.URL // nil while it is a variable without a value
	method  string
	headers map[string]string // by canonical name
}

func decodeHTTP(c config.Sink) (httpOptions, config.Mistakes) {
	keys := httpKeys{Method: http.MethodPost}
	mistakes := c.Options.Decode(&keys)
	o := httpOptions{method: keys.Method}
	var more config.Mistakes
	if len(mistakes) == 0 || !keys.URL.IsZero() { // else what is wrong with url is told
		o.url, more = decodeURL(c.Options, "url", keys.URL.Reveal())
		mistakes = append(mistakes, more...)
	}
	o.headers, more = decodeHeaders(c.Options.Get("headers"), keys.Headers)
	mistakes = append(mistakes, more...)
	mistakes.Sort()
	return o, mistakes
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
		return nil, "holds a user name or password", `put them in a header: headers: {Authorization: "Basic ..."}`
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
// canonical names.
func decodeHeaders(n config.Node, headers map[string]config.Secret) (map[string]string, config.Mistakes) {
	var mistakes config.Mistakes
	byName := make(map[string]string, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value, canonical := headers[name].Reveal(), textproto.CanonicalMIMEHeaderKey(name)
		what, hint := headerMistake(canonical, value)
		if _, twice := byName[canonical]; twice {
			what, hint = "is given twice", "case makes no difference; keep one"
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

// httpSink posts events as they came, with CloudEvents binary headers.
type httpSink struct {
	*client
	static []staticHeader
}

// staticHeader is a header that all requests have. Requests share the slice,
// which nobody changes; its capacity is its length, so that an append copies.
type staticHeader struct {
	name   string
	values []string
}

func openHTTP(c config.Sink, o httpOptions, d Deps) (Sink, error) {
	if o.url == nil {
		return nil, errors.New("url has no value")
	}
	s := &httpSink{static: []staticHeader{
		{"Ce-Specversion", []string{"1.0"}},
		{"User-Agent", []string{"Penstock/" + d.Version}},
		// A key without values is not sent. It tells the transport that the
		// request may be repeated on a new connection when a kept one turns
		// out to be closed: the receiver knows a repeated event by its id.
		{"Idempotency-Key", nil},
	}}
	var secrets []string
	for _, name := range slices.Sorted(maps.Keys(o.headers)) {
		s.static = append(s.static, staticHeader{name, []string{o.headers[name]}})
		secrets = append(secrets, headerSecrets(o.headers[name])...)
	}
	s.client = newClient(d, o.method, o.url, c.Retry.PermanentStatuses, secrets...)
	return s, nil
}

// Deliver posts e. The same event has the same Webhook-Id and Ce-Id each time.
func (s *httpSink) Deliver(ctx context.Context, e event.Event) error {
	return s.send(ctx, s.header(e), e.Body)
}

// maxID bounds an id in a header. Ids are at most 128 bytes, so nothing is cut:
// two ids must never become one.
const maxID = 2 << 10

// header returns the headers of e: what says which event it is, then what is
// the same for all events, so that the configuration's win.
func (s *httpSink) header(e event.Event) http.Header {
	h := make(http.Header, 8+len(s.static))
	values := make([]string, 0, 8) // one array for all
	set := func(name, value string) {
		values = append(values, value)
		n := len(values)
		h[name] = values[n-1 : n : n]
	}
	id := event.HeaderValue(e.ID, maxID)
	set("Webhook-Id", id)
	set("Ce-Id", id)
	set("Ce-Type", event.HeaderValue(ceType(e), event.MaxAttribute))
	set("Ce-Source", event.HeaderValue("/penstock/"+e.Source, event.MaxAttribute))
	set("Ce-Time", e.Received.UTC().Format(time.RFC3339Nano))
	set("Content-Type", contentType(e))
	if e.Subject != "" {
		set("Penstock-Subject", event.HeaderValue(e.Subject, event.MaxAttribute))
	}
	if e.TraceParent != "" && validHeaderValue(e.TraceParent) {
		set("Traceparent", e.TraceParent)
	}
	for _, f := range s.static {
		h[f.name] = f.values
	}
	return h
}

// ceType is what CloudEvents calls the type, which it wants never empty.
func ceType(e event.Event) string {
	switch {
	case e.Type != "":
		return e.Type
	case e.Subject != "":
		return e.Subject
	}
	return "unknown"
}

func contentType(e event.Event) string {
	if e.ContentType == "" || !validHeaderValue(e.ContentType) {
		return "application/json"
	}
	return e.ContentType
}
