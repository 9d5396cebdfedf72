package sinks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// natsKeys are the keys of the kind nats. The server is always named: nobody
// but Penstock may publish on the one inside this process. Templates are Go's,
// with the fields .Subject, .Type, .Source, .ID, .APIVersion and .Sink.
type natsKeys struct {
	// URL is where to connect: nats://, tls://, ws:// or wss:// with host and
	// port, several servers of one cluster separated by commas. It may hold a
	// user and password, and is never shown.
	URL config.Secret `yaml:"url,required" example:"nats://nats.example.com:4222"`
	// Subject is the template of the subject. Values become valid words of a
	// subject. It cannot lead back into Penstock's own stream.
	Subject string `yaml:"subject" example:"shop.{{.Subject}}"`
	// Mode says what an attempt waits for: jetstream for the word of a stream
	// that it keeps the event, core for the server's that it has it.
	Mode string `yaml:"mode" oneof:"jetstream core"`
	// Stream is the stream that has to take the event; empty: any.
	Stream string `yaml:"stream" example:"SHOP"`
	// MsgID is the template of Nats-Msg-Id, by which a stream knows a repeated
	// event. Two sinks that publish into one stream need ids that differ.
	MsgID string `yaml:"msg_id" example:"shop-{{.ID}}"`
	// CredsFile is a file with a user's JWT and seed.
	CredsFile string `yaml:"creds_file,path" example:"/etc/penstock/shop.creds"`
	// NKeyFile is a file with a user's NKey seed.
	NKeyFile string `yaml:"nkey_file,path" example:"/etc/penstock/shop.nk"`
	// User is the name that Password belongs to.
	User string `yaml:"user" example:"penstock"`
	// Password is User's.
	Password config.Secret `yaml:"password" example:"${NATS_PASSWORD}"`
	// Token is for servers that want one instead of a user.
	Token config.Secret `yaml:"token" example:"${NATS_TOKEN}"`
	// TLS says which certificates to trust and to show.
	TLS natsTLS `yaml:"tls"`
}

// natsTLS are files for TLS, read at every connection.
type natsTLS struct {
	// CAFile holds the certificates that the server's is checked against;
	// empty: the system's.
	CAFile string `yaml:"ca_file,path" example:"/etc/penstock/ca.pem"`
	// CertFile is our own certificate, for servers that ask for one.
	CertFile string `yaml:"cert_file,path" example:"/etc/penstock/client.pem"`
	// KeyFile is the key of CertFile.
	KeyFile string `yaml:"key_file,path" example:"/etc/penstock/client-key.pem"`
}

const (
	modeJetStream = "jetstream"
	modeCore      = "core"
)

func defaultNATS() natsKeys {
	return natsKeys{
		Subject: "relay.{{.Subject}}",
		Mode:    modeJetStream,
		MsgID:   "{{.Sink}}:{{.Source}}:{{.ID}}",
	}
}

// natsOptions are the keys, understood.
type natsOptions struct {
	natsKeys
	servers        []*url.URL // none while url is a variable without a value
	subject, msgID *natsTemplate
}

func decodeNATS(c config.Sink) (natsOptions, config.Mistakes) {
	o := natsOptions{natsKeys: defaultNATS()}
	n := c.Options
	mistakes := n.Decode(&o.natsKeys)
	add := func(ms ...config.Mistake) { mistakes = append(mistakes, ms...) }
	if !o.URL.IsZero() && !n.Get("url").Unresolved() && !n.Get("url_file").Unresolved() {
		var m *config.Mistake
		if o.servers, m = natsServers(n, o.URL.Reveal()); m != nil {
			add(*m)
		}
	}
	var ms config.Mistakes
	o.subject, ms = newNATSTemplate(n, "subject", o.Subject, subjectFields(&sampleFields, c.Name))
	add(ms...)
	if o.subject != nil {
		if _, err := renderSubject(o.subject, subjectFields(&sampleFields, c.Name)); err != nil {
			add(n.Errorf("subject", err.Error(), "write a prefix of your own, as in relay.{{.Subject}}"))
		}
	}
	o.msgID, ms = newNATSTemplate(n, "msg_id", o.MsgID, rawFields(&sampleFields, c.Name))
	add(ms...)
	add(natsLogins(n, o)...)
	if (o.TLS.CertFile == "") != (o.TLS.KeyFile == "") {
		add(n.Get("tls").Errorf("", "has only one of cert_file and key_file", "set both or neither"))
	}
	if o.Mode == modeCore && o.Stream != "" {
		add(n.Errorf("stream", "has no meaning with mode: core, which waits for no stream", "remove it, or mode"))
	}
	mistakes.Sort()
	return o, mistakes
}

// natsServers reads url, which is never shown.
func natsServers(n config.Node, raw string) ([]*url.URL, *config.Mistake) {
	key := "url"
	if n.Get(key).IsZero() {
		key = "url_file"
	}
	const example = "write nats://host:4222 or tls://host:4222; several are separated by commas"
	mistake := func(what, hint string) ([]*url.URL, *config.Mistake) {
		m := n.Errorf(key, what, hint)
		return nil, &m
	}
	var servers []*url.URL
	for one := range strings.SplitSeq(raw, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		switch {
		case err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			return mistake("needs URLs of NATS servers", example)
		case (Guard{}).CheckHost(u.Hostname()) != nil:
			return mistake("points to an address that is never dialled", "name a server of yours")
		}
		if u.Port() == "" && u.Scheme != "ws" && u.Scheme != "wss" {
			u.Host += ":4222"
		}
		servers = append(servers, u)
	}
	return servers, nil
}

// natsLogins checks that there is one way to log in, or none.
func natsLogins(n config.Node, o natsOptions) config.Mistakes {
	var given []string
	for _, way := range []struct {
		key   string
		given bool
	}{
		{"url", slices.ContainsFunc(o.servers, func(u *url.URL) bool { return u.User != nil })},
		{"creds_file", o.CredsFile != ""},
		{"nkey_file", o.NKeyFile != ""},
		{"user", o.User != ""},
		{"token", !o.Token.IsZero()},
	} {
		if way.given {
			given = append(given, way.key)
		}
	}
	var ms config.Mistakes
	switch {
	case len(given) > 1 && given[0] == "url":
		ms = append(ms, n.Errorf(given[1], "url also holds a user or token", "keep one of them"))
	case len(given) > 1:
		ms = append(ms, n.Errorf(given[1], given[0]+" is also set", "keep one of them"))
	}
	if !o.Password.IsZero() && o.User == "" {
		ms = append(ms, n.Errorf("password", "belongs to no user", "add user"))
	}
	return ms
}

// natsSink publishes each event on a subject, with the CloudEvents headers
// under which it is stored and its body untouched. It has a connection of its
// own, made at the first attempt. What it publishes lacks the header
// Penstock-Received, so no Penstock ever takes it for an event of its own.
type natsSink struct {
	name  string
	o     natsOptions
	links *natsLinks
}

func openNATS(c config.Sink, o natsOptions, d Deps) (Sink, error) {
	if len(o.servers) == 0 {
		return nil, fmt.Errorf("url has no value")
	}
	return &natsSink{name: c.Name, o: o, links: newNATSLinks(c.Name, o, d.Logger)}, nil
}

// String names the servers, and so keeps a printed sink from showing secrets.
func (s *natsSink) String() string { return s.links.label }

// GoString is String, for %#v.
func (s *natsSink) GoString() string { return s.links.label }

// Close ends the connection, once the attempts under way have ended.
func (s *natsSink) Close() error { return s.links.close() }

// Deliver publishes e and waits until a stream keeps it, or in core mode until
// the server has it. Every attempt has the same Nats-Msg-Id and Ce-Id.
func (s *natsSink) Deliver(ctx context.Context, e event.Event) error {
	m, err := s.message(e)
	if err != nil {
		return err
	}
	start := time.Now()
	link, err := s.links.get(ctx)
	if err != nil {
		return s.links.failure(ctx, start, err)
	}
	said, err := link.publish(ctx, m, s.o.Mode == modeCore)
	if err != nil {
		return s.links.failure(ctx, start, err)
	}
	trace := delivery.TraceOf(ctx)
	trace.Answered(time.Since(start))
	trace.Said(0, said)
	return nil
}

// message is what e is published as.
func (s *natsSink) message(e event.Event) (*nats.Msg, error) {
	subject, err := renderSubject(s.o.subject, subjectFields(&e, s.name))
	if err != nil {
		return nil, delivery.Fail(delivery.Ours, fmt.Errorf("subject: %w", err))
	}
	id, err := s.o.msgID.render(rawFields(&e, s.name))
	if err != nil {
		return nil, delivery.Fail(delivery.Ours, fmt.Errorf("msg_id: %w", err))
	}
	lines := s.header(&e, cleanMsgID(id))
	m := &nats.Msg{Subject: subject, Data: e.Body, Header: make(nats.Header, len(lines))}
	values := make([]string, len(lines))
	for i, h := range lines {
		values[i] = h.Value
		m.Header[h.Name] = values[i : i+1 : i+1]
	}
	return m, nil
}

// maxMsgID is the longest id that is sent as it is.
const maxMsgID = 512

// cleanMsgID makes a header's value of an id. A long one becomes its hash, so
// that two that begin alike stay apart.
func cleanMsgID(id string) string {
	id = event.HeaderValue(id, 0)
	if len(id) <= maxMsgID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256-" + hex.EncodeToString(sum[:])
}

// header are the headers of e, in the order in which they are shown.
func (s *natsSink) header(e *event.Event, msgID string) []HeaderLine {
	h := make([]HeaderLine, 0, 12)
	add := func(name, value string) {
		if value != "" {
			h = append(h, HeaderLine{name, value})
		}
	}
	add(nats.MsgIdHdr, msgID)
	add(nats.ExpectedStreamHdr, s.o.Stream)
	add("Ce-Specversion", "1.0")
	add("Ce-Id", event.HeaderValue(e.ID, maxID))
	add("Ce-Type", event.HeaderValue(ceType(*e), event.MaxAttribute))
	add("Ce-Source", event.HeaderValue("/penstock/"+e.Source, event.MaxAttribute))
	add("Ce-Time", e.Received.UTC().Format(time.RFC3339Nano))
	add("Content-Type", contentType(*e))
	add("Penstock-Source", event.HeaderValue(e.Source, event.MaxAttribute))
	add("Penstock-Subject", event.HeaderValue(e.Subject, event.MaxAttribute))
	if e.APIVersion != 0 {
		add("Penstock-Api-Version", strconv.Itoa(e.APIVersion))
	}
	if validHeaderValue(e.TraceParent) {
		add("traceparent", e.TraceParent)
	}
	return h
}

// Preview is the message that Deliver would publish.
func (s *natsSink) Preview(e event.Event) (Preview, error) {
	m, err := s.message(e)
	if err != nil {
		return Preview{}, err
	}
	return Preview{
		Target: "PUB " + m.Subject + " at " + s.links.label + " (" + s.o.Mode + ")",
		Header: s.header(&e, m.Header.Get(nats.MsgIdHdr)),
		Body:   e.Body,
	}, nil
}

var _ Previewer = (*natsSink)(nil)
