package clickfunnels

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/event"
)

// maxIDBytes bounds an event id that is taken as it is.
const maxIDBytes = 128

// maxContentTypeBytes bounds a Content-Type that is kept.
const maxContentTypeBytes = 128

// hashIDDigits is how many hex digits of a body's hash stand for a missing id.
const hashIDDigits = 32

// The headers that Decode keeps, in canonical form.
const (
	contentTypeHeader = "Content-Type"
	traceParentHeader = "Traceparent"
)

// Options describe one source.
type Options struct {
	// Name is the source's name in the configuration.
	Name string
	// Secrets are the endpoints' signing secrets, as ClickFunnels shows them;
	// a request is good when any of them verifies it. Empty ones are left out.
	Secrets []string
	// URLToken is the secret path element that VerifyToken compares with;
	// empty means that no token is right.
	URLToken string
	// SubjectPrefix comes before every subject, without a trailing dot. It
	// must satisfy event.ValidPrefix or be empty.
	SubjectPrefix string
	// ExtraRoots are first tokens of subjects that the stream listens on
	// besides the catalogue's; types under them count as known. Reserved ones
	// are left out.
	ExtraRoots []string
	// Catalog is what is known of the types; nil means a new one.
	Catalog *Catalog
}

// Source verifies and reads what one configured sender posts. It is safe for
// concurrent use.
type Source struct {
	name       string
	keys       []*key
	token      [sha256.Size]byte // hash of the URL token
	hasToken   bool
	prefix     string // with its dot, or empty
	malformed  string
	catalog    *Catalog
	extraRoots map[string]bool
	// known holds what becomes of each type of the catalogue, so that reading
	// one of them makes no strings.
	known map[string]spelling
	// skews are those of stale requests, clock those of all that were signed right.
	skews, clock skews
}

type spelling struct{ eventType, subject string }

// NewSource makes a source.
func NewSource(o Options) *Source {
	s := &Source{name: o.Name, catalog: o.Catalog, extraRoots: map[string]bool{}}
	if s.catalog == nil {
		s.catalog = NewCatalog()
	}
	for _, secret := range o.Secrets {
		if secret != "" { // anybody can sign with the empty one
			s.keys = append(s.keys, newKey(secret))
		}
	}
	if o.URLToken != "" {
		s.token, s.hasToken = sha256.Sum256([]byte(o.URLToken)), true
	}
	if o.SubjectPrefix != "" {
		s.prefix = o.SubjectPrefix + "."
	}
	s.malformed = s.prefix + event.Malformed
	for _, root := range o.ExtraRoots {
		s.extraRoots[root] = !event.Reserved(root)
	}
	s.known = make(map[string]spelling, len(s.catalog.spellings))
	for text, i := range s.catalog.spellings {
		s.known[text] = spelling{text, s.prefix + s.catalog.entries[i].Subject}
	}
	return s
}

// Name returns the source's name.
func (s *Source) Name() string { return s.name }

// VerifyToken reports, in constant time, whether token is the source's URL
// token, which whoever serves the source may take in place of a signature. It
// is false for a source that has none.
func (s *Source) VerifyToken(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], s.token[:]) == 1 && s.hasToken
}

// Decode implements ingress.Source: it reads the id, the type and the API
// version and leaves the body alone. A body that is not a JSON object, or
// whose type is missing or cannot become a subject, goes to unknown.malformed;
// of one that is not valid JSON nothing is believed, not even its id, lest it
// pass for a duplicate of the event it is a fragment of.
func (s *Source) Decode(h http.Header, body []byte, now time.Time) event.Event {
	e := event.Event{
		Source:      s.name,
		Subject:     s.malformed,
		Received:    now,
		ContentType: contentType(h),
		TraceParent: traceParent(h),
		Body:        body,
	}
	env, ok := readEnvelope(body)
	if !ok {
		e.ID = hashID(body)
		return e
	}
	if e.ID, ok = usableID(env.id); !ok {
		e.ID = hashID(body)
	}
	e.APIVersion = apiVersion(env)
	s.setType(&e, env.eventType)
	return e
}

// setType sets the type and the subject from the raw JSON value of the type.
func (s *Source) setType(e *event.Event, raw []byte) {
	if len(raw) > 1 && raw[0] == '"' {
		if known, ok := s.known[string(raw[1:len(raw)-1])]; ok {
			e.Type, e.Subject = known.eventType, known.subject
			return
		}
	}
	var ok bool
	if e.Type, ok = text(raw); !ok {
		return
	}
	if known, ok := s.known[e.Type]; ok { // it was written with escapes
		e.Subject = known.subject
		return
	}
	if subject, ok := event.Subject(e.Type); ok {
		e.Subject = s.prefix + s.rooted(subject)
	}
}

// rooted puts the subject of a type that is not in the catalogue where the
// stream listens.
func (s *Source) rooted(subject string) string {
	root, _, _ := strings.Cut(subject, ".")
	if s.catalog.hasRoot(root) || s.extraRoots[root] {
		return subject
	}
	return event.UnknownPrefix + subject
}

// usableID returns the id in the raw JSON value, if it is one that is safe in
// a header, a log and a terminal.
func usableID(raw []byte) (string, bool) {
	id, ok := text(raw)
	if !ok || id == "" || len(id) > maxIDBytes || !printable(id, '!') {
		return "", false
	}
	return id, true
}

// hashID is the id of a body that brings none.
func hashID(body []byte) string {
	const name = "sha256-"
	sum := sha256.Sum256(body)
	var id [len(name) + hashIDDigits]byte
	copy(id[:], name)
	hex.Encode(id[len(name):], sum[:hashIDDigits/2])
	return string(id[:])
}

// apiVersion is the version the body states or, failing that, shows: only
// version 1 wraps the data's fields in attributes.
func apiVersion(env envelope) int {
	if n, err := strconv.Atoi(string(env.version)); err == nil && 0 < n && n < 1000 {
		return n
	}
	switch {
	case env.attributes:
		return 1
	case env.data && len(env.eventType) > 0 && env.eventType[0] == '"':
		return 2
	}
	return 0
}

// contentType returns the request's Content-Type, if it is safe to hand on.
func contentType(h http.Header) string {
	values := h[contentTypeHeader]
	if len(values) == 0 || len(values[0]) > maxContentTypeBytes || !printable(values[0], ' ') {
		return ""
	}
	return values[0]
}

// printable reports whether s is ASCII from the given character to '~'.
func printable(s string, from byte) bool {
	for i := range len(s) {
		if s[i] < from || s[i] > '~' {
			return false
		}
	}
	return true
}

// traceParent returns the request's trace context, if it has exactly one and
// it is valid: version-traceid-parentid-flags in lower-case hex, ids not zero.
func traceParent(h http.Header) string {
	values := h[traceParentHeader]
	if len(values) != 1 {
		return ""
	}
	v := values[0]
	const version, trace, parent, flags = 2, 35, 52, 55 // where each part ends
	valid := len(v) == flags && v[version] == '-' && v[trace] == '-' && v[parent] == '-' &&
		lowerHex(v[:version]) && v[:version] != "ff" && lowerHex(v[parent+1:]) &&
		nonZeroID(v[version+1:trace]) && nonZeroID(v[trace+1:parent])
	if !valid {
		return ""
	}
	return v
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if _, ok := hexDigit(s[i]); !ok {
			return false
		}
	}
	return true
}

func nonZeroID(s string) bool { return lowerHex(s) && strings.Trim(s, "0") != "" }
