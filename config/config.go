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
}

// Server says where and how we listen.
type Server struct {
	Pos Pos
	// Listen is where webhooks, /healthz and /readyz are served.
	Listen string `yaml:"listen"`
	// Admin is where the admin API and /metrics are served; empty turns it off.
	Admin string `yaml:"admin"`
	// AdminToken is required of callers of the admin API unless it is empty,
	// which is allowed only while Admin is a loopback address.
	AdminToken Secret `yaml:"admin_token"`
	TLS        TLS    `yaml:"tls"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// MaxBody bounds a request's body; the event store takes no more than 8MiB.
	MaxBody Size `yaml:"max_body" range:"1KiB..8MiB"`
	// MaxInFlight bounds the requests being read or stored at once, and
	// MaxInFlightBytes their bodies together; beyond them we answer 429.
	MaxInFlight      int  `yaml:"max_in_flight" range:"1..1000000"`
	MaxInFlightBytes Size `yaml:"max_in_flight_bytes" range:"1KiB..1TiB"`
	// ShutdownTimeout bounds a graceful stop.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" range:"1s..1h"`
}

// TLS names the files of a certificate; both empty means plain HTTP. The
// files are read again when they change. Here and in Broker, a relative name
// of a file was resolved against the folder of the configuration file.
type TLS struct {
	Pos      Pos
	CertFile string `yaml:"cert_file,path"`
	KeyFile  string `yaml:"key_file,path"`
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
	URL string `yaml:"url"`
	// Credentials for URL: a .creds file, an NKey seed file, or user and
	// password within URL. CAFile, CertFile and KeyFile are for TLS.
	CredsFile string `yaml:"creds_file,path"`
	NKeyFile  string `yaml:"nkey_file,path"`
	CAFile    string `yaml:"ca_file,path"`
	CertFile  string `yaml:"cert_file,path"`
	KeyFile   string `yaml:"key_file,path"`
	// DataDir is where the embedded server keeps its streams, as written:
	// relative to the working directory.
	DataDir string `yaml:"data_dir"`
	// Listen is where the embedded server takes other NATS clients; empty: nowhere.
	Listen string `yaml:"listen"`
	// Users may connect to Listen.
	Users      []User     `yaml:"users"`
	Durability Durability `yaml:"durability" oneof:"process interval power"`
	// Retention is how long events are kept for replay.
	Retention time.Duration `yaml:"retention" range:"1m..3650d"`
	// MaxBytes bounds the stream of events; 0 means auto: the smaller of
	// 10 GiB and half of what is free.
	MaxBytes Size `yaml:"max_bytes,auto" range:"1MiB.."`
	// DedupeWindow is how long an event's id is remembered.
	DedupeWindow time.Duration `yaml:"dedupe_window" range:"1s..3650d"`
	// Replicas of every stream; 1 or 3 or 5.
	Replicas int `yaml:"replicas"`
	// ExtraRoots are further first tokens of subjects that the stream takes.
	ExtraRoots []string `yaml:"extra_roots"`
}

// User may read events over Broker.Listen. Exactly one of Password and NKey is set.
type User struct {
	Pos      Pos
	Name     string `yaml:"name,required"`
	Password Secret `yaml:"password"`
	NKey     string `yaml:"nkey"` // a public user NKey, "U..."
}

// Source is a sender and how its requests are verified.
type Source struct {
	Pos  Pos
	Name string
	Kind string `yaml:"kind"`
	// Path is where its webhooks arrive; default "/webhooks/" and the name.
	Path string `yaml:"path"`
	// Secrets are tried in turn; a request is good when any of them verifies it.
	Secrets []Secret `yaml:"secrets"`
	// URLToken, when set, is a path element after Path that replaces the
	// signature, for senders that do not sign.
	URLToken Secret `yaml:"url_token"`
	// SubjectPrefix comes before the subject; at most one source has none.
	SubjectPrefix string `yaml:"subject_prefix"`
}

// Sink is a destination and how events are delivered to it.
type Sink struct {
	Pos  Pos
	Name string
	// Kind says what takes the events; the kinds have keys of their own.
	Kind string `yaml:"kind" example:"http"`
	// Timeout bounds one attempt.
	Timeout time.Duration `yaml:"timeout" range:"1ms..1h"`
	// Concurrency bounds the attempts at one time, per replica.
	Concurrency int `yaml:"concurrency" range:"1..1000"`
	// Rate bounds the attempts over time, per replica; zero: unlimited.
	Rate  Rate  `yaml:"rate"`
	Retry Retry `yaml:"retry"`
	Hold  Hold  `yaml:"hold"`
	// Start says where a new sink begins.
	Start Start `yaml:"start"`
	// Options are the keys that belong to the kind, not decoded yet.
	Options Node
}

// Retry says when a failed delivery is tried again and when it is given up.
type Retry struct {
	// Initial is the delay after the first attempt.
	Initial time.Duration `yaml:"initial" range:"1ms..30d"`
	// Multiplier is by what each delay is longer than the one before.
	Multiplier float64 `yaml:"multiplier" range:"1..100"`
	// MaxInterval is the longest delay.
	MaxInterval time.Duration `yaml:"max_interval" range:"1ms..30d"`
	// Jitter is the share of a delay that is random, both ways.
	Jitter float64 `yaml:"jitter" range:"0..1"`
	// MaxAge is how long after its first attempt a delivery is given up; the
	// time in which the sink was held or paused does not count.
	MaxAge time.Duration `yaml:"max_age" range:"0s..3650d"`
	// PermanentStatuses are the HTTP statuses that no retry will change.
	PermanentStatuses []int `yaml:"permanent_statuses" range:"400..599"`
}

// Hold says when a sink is judged down and how it is probed.
type Hold struct {
	// Failures is after how many failures in a row; 0 turns holding off.
	Failures int `yaml:"failures" range:"0..1000000"`
	// Probe is the time until the first probe, which then doubles.
	Probe time.Duration `yaml:"probe" range:"10ms..1h"`
	// ProbeMax is the longest time between probes.
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
	Pos  Pos
	Name string `yaml:"name"` // given, or "route-<number>" counted from 1
	// Match are patterns with NATS wildcards over subjects, or event types.
	Match []Ref `yaml:"match"`
	// When is the condition, an expression; zero when there is none.
	When Node  `yaml:"when"`
	To   []Ref `yaml:"to"`
	// Transform is the body that the route's sinks get instead of the event's:
	// an expression, or mappings and lists of them; zero when there is none.
	Transform Node `yaml:"transform"`
}

// Ref is a word of the file that names something, with its place.
type Ref struct {
	Pos  Pos
	Name string
}

// Size is a number of bytes, written as 512KiB, 1MiB, 10GB or a plain number.
type Size int64
