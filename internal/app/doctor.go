package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/console"
)

// The statuses of findings, the worst last.
const (
	StatusSkipped = "skipped" // there was nothing to check, or no way to
	StatusOK      = "ok"
	StatusWarn    = "warn" // works, and wants attention
	StatusFail    = "fail"
)

// Finding is what one check found. It holds no secret.
type Finding struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	// What was found, and what to do about it.
	What string `json:"what"`
	Do   string `json:"do,omitempty"`
}

// DoctorOptions say what is to be examined.
type DoctorOptions struct {
	// Config is nil when its mistakes, which are in Mistakes, are fatal.
	Config   *config.Config
	Mistakes config.Mistakes
	// Missing are the places that want a variable or a file with a secret that
	// is not here. Placeholders stand in the Config for them, and what needs them
	// is not checked.
	Missing config.Mistakes
	Files   []string
	Roles   []string
	Env     func(string) (string, bool)
	// Client asks the running process, if there is one.
	Client *console.Client
	// SystemCreds and SystemNKey are files with credentials of a user of the
	// NATS system account, to see how the cluster syncs; at most one.
	SystemCreds, SystemNKey string
	Version                 string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// checkTimeout bounds one check.
const checkTimeout = 20 * time.Second

// patient is what is examined, and what the running process says of itself.
type patient struct {
	o DoctorOptions
	c *config.Config
	// status is nil when no process answers, which statusErr explains. took is
	// how long it took.
	status    *console.Status
	statusErr error
	asked     time.Time
	took      time.Duration
}

// checkup is one check. It is made only where it has a meaning.
type checkup struct {
	name  string
	needs func(*patient) bool
	run   func(context.Context, *patient) []Finding
	// section of the file that it looks at, all of which has to be known.
	section string
}

func always(*patient) bool         { return true }
func configured(p *patient) bool   { return p.c != nil }
func embeddedOnly(p *patient) bool { return p.c != nil && p.c.Broker.URL == "" }
func externalOnly(p *patient) bool { return p.c != nil && p.c.Broker.URL != "" }
func running(p *patient) bool      { return p.status != nil }

// checkups are all checks, in the order in which they are told.
func checkups() []checkup {
	return []checkup{
		{"config", always, checkConfig, ""},
		{"secrets", always, checkSecrets, ""},
		{"process", always, checkProcess, ""},
		{"ready", running, checkReady, ""},
		{"ports", configured, checkPorts, "server"},
		{"data", embeddedOnly, checkData, "broker"},
		{"room", embeddedOnly, checkRoom, "broker"},
		{"durability", configured, checkDurability, "broker"},
		{"modes", configured, checkModes, "broker"},
		{"nats", externalOnly, checkNATS, "broker"},
		{"clock", always, checkClock, ""},
		{"limits", configured, checkLimits, "server"},
		{"streams", running, checkStreams, ""},
		{"queues", running, checkQueues, ""},
		{"sinks", configured, checkSinks, ""},
		{"otel", always, checkOTel, ""},
	}
}

// Examine makes all checks, of the file and, where a process answers, of that.
// It changes nothing, but for a small file in the data directory that it
// removes.
func Examine(ctx context.Context, o DoctorOptions) []Finding {
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &patient{o: o, c: o.Config}
	if o.Client != nil {
		limited, cancel := context.WithTimeout(ctx, checkTimeout)
		p.asked = o.Now()
		status, err := o.Client.Status(limited)
		p.took = o.Now().Sub(p.asked)
		cancel()
		if p.statusErr = err; err == nil {
			p.status = &status
		}
	}
	var out []Finding
	for _, c := range checkups() {
		if !c.needs(p) {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, checkTimeout)
		var found []Finding
		if c.section != "" && p.misses(c.section) {
			found = skipped("not checked: %s in the file needs what is not set here", c.section)
		} else {
			found = c.run(limited, p)
		}
		cancel()
		for _, f := range found {
			f.Check = c.name
			out = append(out, f)
		}
	}
	return out
}

// misses reports that something in a part of the file is not known here.
func (p *patient) misses(part string) bool {
	return slices.ContainsFunc(p.o.Missing, func(m config.Mistake) bool {
		return m.Path == part || strings.HasPrefix(m.Path, part+".") || strings.HasPrefix(m.Path, part+"[")
	})
}

func one(status, do, format string, args ...any) []Finding {
	return []Finding{{Status: status, What: fmt.Sprintf(format, args...), Do: do}}
}

func good(format string, args ...any) []Finding     { return one(StatusOK, "", format, args...) }
func warn(do, format string, args ...any) []Finding { return one(StatusWarn, do, format, args...) }
func failed(do, format string, args ...any) []Finding {
	return one(StatusFail, do, format, args...)
}
func skipped(format string, args ...any) []Finding { return one(StatusSkipped, "", format, args...) }
