package config

import (
	"fmt"
	"net/netip"
	"path"
	"strings"
	"time"
)

// Survey says what a catalogue of event types has under a pattern over
// subjects, wildcards included.
type Survey struct {
	// Types is how many known types the pattern matches.
	Types int
	// OnlyV1 reports that all of them are sent in API version 1 alone.
	OnlyV1 bool
	// Versions are the API versions in which some of them are sent.
	Versions []int
	// Nearest is the pattern that was most likely meant when Types is 0, or "".
	Nearest string
}

const (
	// senderRetries is for how long a sender tries again what it could not
	// deliver: ClickFunnels for 37 hours.
	senderRetries = 37 * time.Hour
	// longWindow is the dedupe window above which its memory is worth a word.
	longWindow = 7 * day
	// bytesPerID is the memory that one remembered id takes, measured.
	bytesPerID = 145
	// fewEvents is how many of the largest events a store should hold at least.
	fewEvents = 100
)

// advise adds the warnings that Options.Advice asks for.
func (l *loader) advise() {
	if !l.o.Advice {
		return
	}
	l.adviseServer()
	l.adviseBroker()
	for i, s := range l.cfg.Sinks {
		if l.sinks[i].val.kind == mapping {
			l.adviseRetry(l.sinks[i].Node, s)
			l.adviseHold(l.sinks[i].Node, s)
		}
	}
	l.adviseRoutes()
	l.adviseClear()
}

func (l *loader) adviseServer() {
	n, s := l.server, l.cfg.Server
	at := n.Get("admin_token")
	if at.IsZero() {
		at = n.Get("admin_token_file")
	}
	switch token := s.AdminToken.Reveal(); {
	case token == "":
	case s.Admin == "":
		l.check(at.warnf("", "has no effect, because admin is off", "set admin, or remove it"))
	case len(token) < shortToken:
		l.check(at.warnf("", "is short enough to be guessed", "use at least 16 characters"))
	}
	l.adviseAdminTokens()
	l.adviseProxies(n.Get("trusted_proxies"))
}

func (l *loader) adviseProxies(n Node) {
	var seen []netip.Prefix
	for _, at := range n.list() {
		p, err := parsePrefix(at.val.text)
		if err != nil {
			continue // said elsewhere
		}
		written, _ := netip.ParsePrefix(at.val.text) // the zero Prefix for one address
		switch {
		case p.Bits() == 0:
			l.check(at.warnf("", "believes X-Forwarded-For of everybody, so anybody can name any address",
				"name the networks of your proxies"))
		case written.IsValid() && written != p:
			l.check(at.warnf("", "is read as "+p.String(), "write it so"))
		}
		for _, other := range seen {
			if other.Bits() <= p.Bits() && other.Contains(p.Addr()) {
				l.check(at.warnf("", "is within "+other.String(), "remove one"))
				break
			}
		}
		if p.Bits() > 0 {
			seen = append(seen, p)
		}
	}
}

func (l *loader) adviseBroker() {
	n, b := l.broker, l.cfg.Broker
	if at := n.Get("data_dir"); !at.IsZero() {
		switch root := volatileRoot(b.DataDir); {
		case b.URL != "":
			l.check(at.warnf("", "has no effect, because url names a cluster", "remove it"))
		case root != "" && b.Durability != Process:
			l.check(at.warnf("", "is below "+root+", which a restart of the machine empties", "choose a folder on a disk"))
		}
	}
	if at := n.Get("dedupe_window"); !at.IsZero() {
		l.adviseWindow(at, b.DedupeWindow)
	}
	if least := l.cfg.Server.MaxBody * fewEvents; b.MaxBytes > 0 && b.MaxBytes < least {
		l.check(n.warnf("max_bytes", fmt.Sprintf("%s holds fewer than %d events of server.max_body %s", b.MaxBytes, fewEvents, l.cfg.Server.MaxBody),
			fmt.Sprintf("write at least %s, or auto", least)))
	}
	for i, s := range l.cfg.Sinks {
		if at := l.sinks[i].Get("start"); s.Start.Since > b.Retention {
			l.check(at.warnf("", fmt.Sprintf("begins before what broker.retention %s keeps", showDuration(b.Retention)),
				"write beginning, or raise broker.retention"))
		}
	}
}

func (l *loader) adviseWindow(at Node, window time.Duration) {
	switch {
	case window < senderRetries && len(l.cfg.Sources) > 0:
		l.check(at.warnf("", fmt.Sprintf("%s is shorter than the %s over which ClickFunnels tries again: a late repetition is a second event",
			showDuration(window), showDuration(senderRetries)), "the default is 2d"))
	case window > longWindow:
		const rate = 10
		memory := Size(window.Seconds() * rate * bytesPerID)
		l.check(at.warnf("", fmt.Sprintf("remembers every id for %s, at %d bytes of memory each: at %d events a second, %s",
			showDuration(window), bytesPerID, rate, memory.about()), fmt.Sprintf("the sender tries again for %s; the default is 2d", showDuration(senderRetries))))
	}
}

// about writes a size roughly, in the largest unit that it has one of.
func (s Size) about() string {
	for _, u := range sizeUnits[:4] {
		if int64(s) >= u.bytes {
			return fmt.Sprintf("%.1f %s", float64(s)/float64(u.bytes), u.name)
		}
	}
	return s.String()
}

// volatileRoot returns the folder above dir that lives in memory or is cleaned
// at boot on common systems, or "".
func volatileRoot(dir string) string {
	dir = path.Clean(dir)
	for _, root := range []string{"/tmp", "/run", "/dev/shm", "/var/run"} {
		if dir == root || strings.HasPrefix(dir, root+"/") {
			return root
		}
	}
	return ""
}

// adviseRetry looks at the times of a sink. Its timeout needs no comparison
// with the acknowledgement wait of the queue: an open attempt is reported to
// the queue every few seconds, for as long as it takes.
func (l *loader) adviseRetry(n Node, s Sink) {
	r, at := s.Retry, n.Get("retry")
	stop := l.cfg.Server.ShutdownTimeout
	if s.Timeout > stop {
		l.check(n.warnf("timeout", fmt.Sprintf("%s is longer than server.shutdown_timeout %s: a stop cuts an attempt off, and it is made again",
			showDuration(s.Timeout), showDuration(stop)), "raise server.shutdown_timeout"))
	}
	given := func(key string) bool { return !at.Get(key).IsZero() }
	switch {
	case r.MaxAge == 0:
	case r.MaxAge < r.Initial:
		l.check(at.warnf("max_age", fmt.Sprintf("%s is over before the first retry after %s: every event gets two attempts at most",
			showDuration(r.MaxAge), showDuration(r.Initial)), "raise max_age, or write 0s for one attempt"))
	case given("max_interval") && !r.reachesMaxInterval():
		l.check(at.warnf("max_interval", fmt.Sprintf("%s is never reached: max_age %s ends the retries before",
			showDuration(r.MaxInterval), showDuration(r.MaxAge)), "lower it, or raise max_age"))
	}
	if r.Multiplier == 1 && given("max_interval") && r.MaxInterval > r.Initial {
		l.check(at.warnf("max_interval", "has no effect, because multiplier 1 never lengthens the delay", "raise multiplier, or remove it"))
	}
	l.adviseStatuses(at.Get("permanent_statuses"))
}

// reachesMaxInterval reports that some delay is as long as MaxInterval before
// MaxAge is over, jitter aside.
func (r Retry) reachesMaxInterval() bool {
	const enough = 10_000 // retries of a multiplier close to 1
	age, delay := 0.0, float64(r.Initial)
	for range enough {
		switch {
		case age >= float64(r.MaxAge):
			return false
		case delay >= float64(r.MaxInterval):
			return true
		}
		age += delay
		delay *= r.Multiplier
	}
	return true
}

func (l *loader) adviseStatuses(n Node) {
	seen := map[string]bool{}
	for _, at := range n.list() {
		text := at.val.text
		switch {
		case seen[text]:
			l.check(at.warnf("", "is given twice", "remove one"))
		case text == "429":
			l.check(at.warnf("", "429 asks to wait: as a permanent status it makes dead letters of a busy hour", "remove it"))
		case text == "408":
			l.check(at.warnf("", "408 is a timeout: as a permanent status it makes dead letters of a slow network", "remove it"))
		}
		seen[text] = true
	}
}

func (l *loader) adviseHold(n Node, s Sink) {
	at := n.Get("hold")
	if s.Hold.Failures != 0 {
		return
	}
	for _, key := range []string{"probe", "probe_max"} {
		if !at.Get(key).IsZero() {
			l.check(at.warnf(key, "has no effect, because failures 0 turns holding off", "set failures, or remove it"))
		}
	}
}
