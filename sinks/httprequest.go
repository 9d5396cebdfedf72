package sinks

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// httpSink posts events as they came, with CloudEvents binary headers.
type httpSink struct {
	*client
	static []staticHeader
	hidden map[string]bool // headers whose values a preview does not show
	url    *urlTemplate    // nil: the client's
	gzip   *compressor     // nil: bodies are sent as they are
	signer *signer         // nil: not signed
	tokens *tokens         // nil: no token is fetched
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
	s := &httpSink{hidden: map[string]bool{}, signer: o.signer, url: o.template, static: []staticHeader{
		{"Ce-Specversion", []string{"1.0"}},
		{"User-Agent", []string{"Penstock/" + d.Version}},
		// A key without values is not sent. It tells the transport that the
		// request may be repeated on a new connection when a kept one turns
		// out to be closed: the receiver knows a repeated event by its id.
		{"Idempotency-Key", nil},
	}}
	if o.gzip {
		s.gzip = new(compressor)
	}
	secrets := append(o.auth.secrets(), o.transport.secrets()...)
	if o.signer != nil {
		secrets = append(secrets, o.signer.secrets...)
	}
	headers := maps.Clone(o.headers)
	if o.auth.header != "" {
		headers = withHeader(headers, "Authorization", o.auth.header)
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		s.static = append(s.static, staticHeader{name, []string{headers[name]}})
		s.hidden[name] = true
		secrets = append(secrets, headerSecrets(headers[name])...)
	}
	target, query := *o.url, encodeQuery(o.query)
	addQuery(&target, query)
	s.client = newClient(d, o.method, &target, c.Retry.PermanentStatuses, secrets...)
	s.classes = o.classes
	if s.url != nil {
		s.url.extra = query
		s.label = strings.ReplaceAll(s.label, standIn, "*")
	}
	if err := s.ownTransport(o, d); err != nil {
		return nil, err
	}
	s.hidePerAttempt(o)
	return s, nil
}

func withHeader(headers map[string]string, name, value string) map[string]string {
	if headers == nil {
		headers = map[string]string{}
	}
	headers[name] = value
	return headers
}

// ownTransport gives the sink a transport of its own if the options need one,
// and the requests for tokens one that is not bound to the receiver's host.
func (s *httpSink) ownTransport(o httpOptions, d Deps) error {
	if o.transport.own() {
		t, err := o.transport.open(d.Logger)
		if err != nil {
			return err
		}
		s.transport, s.owned = t, true
	}
	if o.auth.oauth2 == nil {
		return nil
	}
	t := s.transport
	if o.transport.bound() {
		var err error
		if t, err = o.transport.unbound().open(d.Logger); err != nil {
			return err
		}
	}
	s.tokens = newTokens(o.auth.oauth2, t)
	return nil
}

// Close gives up idle connections that no other sink uses.
func (s *httpSink) Close() error {
	if s.tokens != nil && s.owned {
		s.tokens.client.CloseIdleConnections()
	}
	return s.client.Close()
}

// hidePerAttempt keeps what is new in every attempt out of errors and previews.
func (s *httpSink) hidePerAttempt(o httpOptions) {
	if s.tokens != nil {
		s.perAttempt = append(s.perAttempt, "Authorization")
	}
	if o.signer != nil {
		s.perAttempt = append(s.perAttempt, o.signer.headers[len(o.signer.headers)-1])
	}
	for _, name := range s.perAttempt {
		s.hidden[name] = true
	}
}

// encodeQuery encodes parameters, sorted by name, as any receiver reads them:
// a space as %20, never as +.
func encodeQuery(query map[string]string) string {
	values := url.Values{}
	for name, value := range query {
		values.Set(name, value)
	}
	return strings.ReplaceAll(values.Encode(), "+", "%20")
}

// outgoing is the request of one attempt.
type outgoing struct {
	url    *url.URL
	header http.Header
	body   []byte
}

// Deliver posts e. The same event has the same Webhook-Id and Ce-Id each time.
func (s *httpSink) Deliver(ctx context.Context, e event.Event) error {
	o, err := s.compose(e)
	switch {
	case err != nil:
		return err
	case s.tokens != nil:
		return s.deliverWithToken(ctx, o)
	}
	return s.sendTo(ctx, o.url, o.header, o.body)
}

// compose makes the request of an attempt that begins now.
func (s *httpSink) compose(e event.Event) (outgoing, error) {
	o := outgoing{url: s.request.URL, header: s.header(e), body: e.Body}
	if s.url != nil {
		u, err := s.url.of(e)
		if err != nil {
			return o, err
		}
		o.url = u
	}
	if s.signer != nil {
		values := s.signer.sign(o.header["Webhook-Id"][0], time.Now(), e.Body)
		for i, name := range s.signer.headers {
			o.header[name] = values[i : i+1 : i+1]
		}
	}
	if s.gzip != nil {
		var shorter bool
		if o.body, shorter = s.gzip.compress(e.Body); shorter {
			o.header["Content-Encoding"] = []string{"gzip"}
		}
	}
	return o, nil
}

// deliverWithToken sends o with a token, and once more with another when the
// receiver does not accept the first.
func (s *httpSink) deliverWithToken(ctx context.Context, o outgoing) error {
	start := time.Now()
	token, err := s.tokens.get(ctx, nil)
	if err != nil {
		return s.noToken(ctx, start, err)
	}
	err = s.sendWith(ctx, token, o)
	var answered *delivery.Error
	if !errors.As(err, &answered) || answered.Status != http.StatusUnauthorized || !token.worthAnother() {
		return err
	}
	if token, err = s.tokens.get(ctx, token); err != nil {
		return s.noToken(ctx, start, err)
	}
	return s.sendWith(ctx, token, o)
}

func (s *httpSink) sendWith(ctx context.Context, f *fetched, o outgoing) error {
	header := maps.Clone(o.header) // the one before may still be written
	header["Authorization"] = []string{f.token.Type() + " " + f.token.AccessToken}
	return s.sendTo(ctx, o.url, header, o.body)
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
