// Package config holds what penstock.yaml says, and where it says it.
package config

import (
	"net/netip"
	"time"
)

// Config is one complete, checked configuration. Load fills every default, so
// a reader never has to know one. It is not changed after Load.
type Config struct {
	// Files are the files it was read from, in order; empty for the built-in one.
	Files   []string
	Server  Server
	Broker  Broker
	Sources []Source // in the order of the file
	Sinks   []Sink   // in the order of the file
	Routes  []Route  // in the order of the file
	// Default names the sinks of events that no route matched.
	Default []Ref
	// Tests say what the routes have to do; serving does not need them.
	Tests []Test
	// WatchFiles are all files that Load read: Files, then the targets of
	// *_file keys. A change of any of them may change the configuration.
	WatchFiles []string

	places map[string]Node // of server and broker, for messages about their keys
}

// Server says where and how we listen.
type Server struct {
	Pos Pos
	// Listen is where webhooks, /healthz and /readyz are served.
	Listen string `yaml:"listen"`
	// Admin is where /metrics is served, and with the role console the admin
	// API; empty turns both off.
	Admin string `yaml:"admin"`
	// AdminToken is required of callers of the admin API unless it is empty,
	// which is allowed only while Admin is a loopback address.
	AdminToken Secret `yaml:"admin_token"`
	// AdminTokens are further callers of the admin API, each with a name that
	// the audit log tells and a role.
	AdminTokens []AdminToken `yaml:"admin_tokens"`
	// TLS is the certificate to listen with; without it, plain HTTP.
	TLS TLS `yaml:"tls"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// MaxBody bounds a request's body; the event store takes no more than 8MiB.
	MaxBody Size `yaml:"max_body" range:"1KiB..8MiB"`
	// MaxInFlight bounds the requests being read or stored at once; beyond it
	// we answer 429.
	MaxInFlight int `yaml:"max_in_flight" range:"1..1000000"`
	// MaxInFlightBytes bounds the bodies of those together, in the same way.
	MaxInFlightBytes Size `yaml:"max_in_flight_bytes" range:"1KiB..1TiB"`
	// ShutdownTimeout bounds a graceful stop: half is for requests, half for
	// attempts under way.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" range:"1s..1h"`
}

// AdminToken is a caller of the admin API. Several tokens of one caller are
// valid at the same time, so that they can be exchanged one after the other.
type AdminToken struct {
	Pos Pos
	// Name is who calls, for the audit log.
	Name string `yaml:"name,required" example:"dashboard"`
	// Role is read, who changes nothing but sees all, bodies of events too; or
	// operator.
	Role string `yaml:"role,required" oneof:"read operator"`
	// Tokens are what the caller presents: any of them.
	Tokens []Secret `yaml:"tokens"`
}

// The roles of callers of the admin API.
const (
	AdminRead     = "read"
	AdminOperator = "operator"
)

// AdminGuarded reports that callers of the admin API need a token.
func (s Server) AdminGuarded() bool {
	return !s.AdminToken.IsZero() || len(s.AdminTokens) > 0
}

// TLS names the files of a certificate; both empty means plain HTTP. The
// files are read again when they change. Here and in Broker, a relative name
// of a file was resolved against the folder of the configuration file.
type TLS struct {
	Pos Pos
	// CertFile is the certificate and its chain, in PEM.
	CertFile string `yaml:"cert_file,path" example:"cert.pem"`
	// KeyFile is its private key, in PEM.
	KeyFile string `yaml:"key_file,path" example:"key.pem"`
}

// Durability is what a 2xx promises.
type Durability string

// The durabilities.
const (
	Process  Durability = "process"  // survives a kill of the process
	Interval Durability = "interval" // a power cut loses at most the last 250 ms
	Power    Durability = "power"    // survives a power cut
)

// Broker says where events are stored.
type Broker struct {
	Pos Pos
	// URL is the external NATS cluster (comma-separated for several
	// servers); empty: the server runs inside this process.
	URL string `yaml:"url" example:"nats://nats.example.com:4222"`
	// CredsFile is a .creds file for URL. The other ways to log in are NKeyFile,
	// and user and password within URL.
	CredsFile string `yaml:"creds_file,path" example:"penstock.creds"`
	// NKeyFile is a file with the seed of an NKey for URL.
	NKeyFile string `yaml:"nkey_file,path" example:"penstock.nk"`
	// CAFile has the certificates that the cluster's must be signed by; without
	// it, those of the system.
	CAFile string `yaml:"ca_file,path" example:"ca.pem"`
	// CertFile is the certificate we show to the cluster.
	CertFile string `yaml:"cert_file,path" example:"cert.pem"`
	// KeyFile is the private key of CertFile.
	KeyFile string `yaml:"key_file,path" example:"key.pem"`
	// DataDir is where the embedded server keeps its streams, as written:
	// relative to the working directory.
	DataDir string `yaml:"data_dir"`
	// Listen is where the embedded server takes other NATS clients; empty: nowhere.
	Listen string `yaml:"listen" example:"127.0.0.1:4222"`
	// Users may connect to Listen.
	Users []User `yaml:"users"`
	// Durability is what a 2xx promises: to survive a kill of the process, a
	// power cut but for the last 250 ms (interval), or a power cut. With URL set
	// it is what the operator asserts of the cluster.
	Durability Durability `yaml:"durability" oneof:"process interval power"`
	// Retention is how long events are kept for replay.
	Retention time.Duration `yaml:"retention" range:"1m..3650d"`
	// MaxBytes bounds the stream of events; 0 means auto: the smaller of
	// 10 GiB and half of what is free.
	MaxBytes Size `yaml:"max_bytes,auto" range:"1MiB.."`
	// DedupeWindow is how long an event's id is remembered, at about 145 bytes
	// of memory each; ClickFunnels tries again for 37 hours.
	DedupeWindow time.Duration `yaml:"dedupe_window" range:"1s..3650d"`
	// Replicas of every stream; 1 or 3 or 5.
	Replicas int `yaml:"replicas"`
	// ExtraRoots are further first tokens of subjects that the stream takes.
	ExtraRoots []string `yaml:"extra_roots" example:"[brand]"`
}

// User may read events over Broker.Listen. Exactly one of Password and NKey is set.
type User struct {
	Pos Pos
	// Name is what the user logs in with.
	Name string `yaml:"name,required" example:"reports"`
	// Password is the user's; or else NKey is set.
	Password Secret `yaml:"password"`
	// NKey is the public part of the user's key, "U...".
	NKey string `yaml:"nkey" example:"UB4G32YJ2GVZG3KTC3Z7BLIU3PXPJC2Y4QF6SNJUN2XIF3M3E3NDEUCA"`
}

// Source is a sender and how its requests are verified.
type Source struct {
	Pos  Pos
	Name string
	// Kind says who sends, and so how requests are verified and read.
	Kind string `yaml:"kind" example:"clickfunnels"`
	// Path is where its webhooks arrive; default "/webhooks/" and the name.
	Path string `yaml:"path" example:"/webhooks/shop"`
	// Secrets are tried in turn; a request is good when any of them verifies it.
	Secrets []Secret `yaml:"secrets"`
	// URLToken, when set, is a path element after Path that replaces the
	// signature, for senders that do not sign.
	URLToken Secret `yaml:"url_token"`
	// SubjectPrefix comes before the subject; at most one source has none.
	SubjectPrefix string `yaml:"subject_prefix" example:"shop"`
}

// Sink is a destination and how events are delivered to it.
type Sink struct {
	Pos  Pos
	Name string
	// Kind says what the destination is.
	Kind string `yaml:"kind" example:"http"`
	// Timeout bounds one attempt. However long, the queue waits for it: an open
	// attempt is reported to it every few seconds.
	Timeout time.Duration `yaml:"timeout" range:"1ms..1h"`
	// Concurrency bounds the attempts at one time, per replica.
	Concurrency int `yaml:"concurrency" range:"1..1000"`
	// Rate bounds the attempts over time, per replica; zero: unlimited.
	Rate Rate `yaml:"rate"`
	// Retry says when a failed delivery is tried again and when it is given up.
	Retry Retry `yaml:"retry"`
	// Hold says when the sink is judged down and how it is probed.
	Hold Hold `yaml:"hold"`
	// Start says where a new sink begins.
	Start Start `yaml:"start"`
	// Options are the keys that belong to the kind, not decoded yet.
	Options Node
}

// Retry says when a failed delivery is tried again and when it is given up.
type Retry struct {
	// Initial is the delay before the first retry.
	Initial time.Duration `yaml:"initial" range:"1ms..30d"`
	// Multiplier lengthens the delay from one retry to the next.
	Multiplier float64 `yaml:"multiplier" range:"1..100"`
	// MaxInterval bounds the delay.
	MaxInterval time.Duration `yaml:"max_interval" range:"1ms..30d"`
	// Jitter is the share of a delay that is random, both ways.
	Jitter float64 `yaml:"jitter" range:"0..1"`
	// MaxAge is how long after the first attempt a delivery becomes a dead
	// letter, time held not counted; 0s: nothing is retried.
	MaxAge time.Duration `yaml:"max_age" range:"0s..3650d"`
	// PermanentStatuses are the HTTP statuses that no retry will change.
	PermanentStatuses []int `yaml:"permanent_statuses" range:"400..599"`
}

// Hold says when a sink is judged down and how it is probed.
type Hold struct {
	// Failures in a row make the sink held; 0 turns holding off.
	Failures int `yaml:"failures" range:"0..1000000"`
	// Probe is the delay before a held sink is probed by one attempt; it doubles
	// each time.
	Probe time.Duration `yaml:"probe" range:"10ms..1h"`
	// ProbeMax bounds the delay between probes.
	ProbeMax time.Duration `yaml:"probe_max" range:"10ms..1d"`
}

// Rate is a number of attempts per time, with a burst. The zero Rate is unlimited.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Start is where a new sink begins in the stream. The zero Start is "now".
type Start struct {
	Beginning bool
	Since     time.Duration // before the sink's creation
	At        time.Time
}

// Route is a rule: which subjects go to which sinks.
type Route struct {
	Pos Pos
	// Name is what decisions are told under: given, or "route-<number>" counted
	// from 1.
	Name string `yaml:"name" example:"paid"`
	// Match are patterns with NATS wildcards over subjects, or event types.
	Match []Ref `yaml:"match" filled:"write match: [\"orders.>\"]" example:"['*.invoice.paid', orders/invoice.paid]"`
	// When is the condition, an expression; without it all that match are for
	// the route.
	When Node `yaml:"when" shapes:"string boolean" example:"money(data.total_amount) >= 100"`
	// To names the sinks.
	To []Ref `yaml:"to" filled:"name one or more sinks" example:"[crm, lake]"`
	// Transform is the body that the route's sinks get instead of the event's:
	// an expression, or mappings and lists of them; without it the body is
	// delivered as it came.
	Transform Node `yaml:"transform" example:"{id: event.id, total: double(data.total_amount)}"`
}

// Ref is a word of the file that names something, with its place.
type Ref struct {
	Pos  Pos
	Name string
}

// Size is a number of bytes, written as 512KiB, 1MiB, 10GB or a plain number.
type Size int64
