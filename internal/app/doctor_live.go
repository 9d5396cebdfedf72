package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/sinks"
)

func checkProcess(_ context.Context, p *patient) []Finding {
	switch err := p.statusErr; {
	case p.status != nil && p.o.Version != "" && p.status.Version != p.o.Version:
		return warn("restart it, or use its own penstock", "running, of version %s; this is %s", p.status.Version, p.o.Version)
	case p.status != nil:
		return good("running since %s, version %s", p.status.Started.UTC().Format(time.RFC3339), p.status.Version)
	case err == nil:
		return skipped("no admin API to ask; what follows is of the file")
	default:
		var nobody *console.UnreachableError
		if errors.As(err, &nobody) {
			return skipped("not running, as far as can be told; what follows is of the file (%v)", err)
		}
		return failed("set PENSTOCK_TOKEN, or name the process by -c FILE or --server URL", "%v", err)
	}
}

func checkReady(_ context.Context, p *patient) []Finding {
	if len(p.status.NotReady) == 0 {
		return good("ready, as /readyz says")
	}
	var out []Finding
	for _, reason := range p.status.NotReady {
		out = append(out, failed("the log says more; senders try again meanwhile", "not ready: %s", reason)...)
	}
	return out
}

const (
	// slightSkew is worth a word; at largeSkew signatures are refused.
	slightSkew = 2 * time.Second
	largeSkew  = 2 * time.Minute
)

// judgeSkew says how far a clock is ahead of ours.
func judgeSkew(whose string, skew time.Duration) []Finding {
	const do = "keep both clocks by NTP: signatures are refused, and retries come late, when clocks differ"
	at := skew.Round(100 * time.Millisecond)
	direction := "ahead of"
	if at < 0 {
		direction = "behind"
	}
	switch {
	case skew.Abs() >= largeSkew:
		return failed(do, "the clock of %s is %s %s ours", whose, at.Abs(), direction)
	case skew.Abs() >= slightSkew:
		return warn(do, "the clock of %s is %s %s ours", whose, at.Abs(), direction)
	}
	return good("the clock of %s agrees with ours", whose)
}

// certainly is how much of a difference is left whatever the doubt about it: an
// answer that took long says little of when it was given.
func certainly(skew, doubt time.Duration) time.Duration {
	if skew < 0 {
		return min(0, skew+doubt)
	}
	return max(0, skew-doubt)
}

func checkClock(ctx context.Context, p *patient) []Finding {
	var out []Finding
	switch kept, known := broker.ClockKept(); {
	case known && kept:
		out = append(out, good("the machine's clock is kept by NTP or its host")...)
	case known:
		out = append(out, warn("run chrony, systemd-timesyncd or what your host offers", "the kernel says that nobody keeps the machine's clock")...)
	}
	if p.status != nil {
		// Its uptime is in whole seconds, so half a second is no news.
		theirs := p.status.Started.Add(time.Duration(p.status.UptimeSeconds) * time.Second)
		out = append(out, judgeSkew("the running process", certainly(theirs.Sub(p.asked.Add(p.took/2)), p.took/2).Truncate(time.Second))...)
		out = append(out, p.checkSenders(ctx)...)
	}
	if len(out) == 0 {
		out = skipped("nobody to compare the clock with")
	}
	return out
}

// checkSenders looks for requests that were refused because of their time.
func (p *patient) checkSenders(ctx context.Context) []Finding {
	skewed, last := 0, ""
	for r, err := range p.o.Client.RejectedAll(ctx, console.RejectedQuery{Since: "24h", Limit: 500}) {
		if err != nil {
			return skipped("refused requests cannot be looked at: %v", err)
		}
		if r.Cause == string(clickfunnels.CauseClock) {
			skewed++
			last = r.Hint
		}
	}
	if skewed > 0 {
		return failed("correct this machine's clock, then `penstock rejected accept --all --ignore-age`", "%s refused in 24h because the clocks differ: %s", howMany(skewed, "request"), last)
	}
	return good("no request was refused in 24h because of its time")
}

// bytesPerID is the memory that one remembered id takes, measured; assumedRate
// is the events a second when nobody knows.
const (
	bytesPerID  = 145
	assumedRate = 10
)

func checkLimits(ctx context.Context, p *patient) []Finding {
	var out []Finding
	need := uint64(p.c.Server.MaxInFlight) + 256
	for _, s := range p.c.Sinks {
		need += uint64(s.Concurrency)
	}
	switch have := broker.OpenFiles(); {
	case have == 0:
	case have < need:
		out = append(out, warn("raise it: LimitNOFILE= in a systemd unit, ulimit -n in a shell", "%d files may be open, and up to %d are needed (server.max_in_flight, each sink's concurrency)", have, need)...)
	case have > math.MaxInt32:
		out = append(out, good("any number of files may be open")...)
	default:
		out = append(out, good("%d files may be open; up to %d are needed", have, need)...)
	}
	if p.c.Broker.URL == "" {
		ids, basis := p.remembered(ctx)
		out = append(out, judgeMemory(ids, basis, p.c.Broker.DedupeWindow, broker.Memory())...)
	}
	return out
}

// remembered is about how many ids the dedupe window holds.
func (p *patient) remembered(ctx context.Context) (ids float64, basis string) {
	window := p.c.Broker.DedupeWindow.Seconds()
	if p.status != nil && p.status.Events.Kept > 0 {
		page, err := p.o.Client.EventList(ctx, console.EventQuery{Until: p.c.Broker.DedupeWindow.String(), Limit: 1})
		switch {
		case err == nil && len(page.Items) == 1:
			return float64(p.status.Events.LastSeq - page.Items[0].Seq), "as many events came in that time"
		case err == nil && page.Next == "":
			if up := float64(p.status.UptimeSeconds); up > 60 && up < window {
				return float64(p.status.Events.Kept) * window / up, "at the rate since the start"
			}
			return float64(p.status.Events.Kept), "as many events are kept"
		}
	}
	return window * assumedRate, fmt.Sprintf("at %d events a second", assumedRate)
}

func judgeMemory(ids float64, basis string, window time.Duration, memory int64) []Finding {
	need := int64(ids * bytesPerID)
	text := fmt.Sprintf("ids of %s take about %s of memory (%s)", strings.TrimSuffix(window.String(), "0m0s"), inBytes(need), basis)
	if memory > 0 && need > memory/4 {
		return warn("shorten broker.dedupe_window, or give the process more", "%s, of %s", text, inBytes(memory))
	}
	return good("%s", text)
}

func checkStreams(_ context.Context, p *patient) []Finding {
	e := p.status.Events
	var out []Finding
	if e.LimitBytes > 0 {
		used := float64(e.Bytes) / float64(e.LimitBytes)
		text := fmt.Sprintf("%s in %s of %s", howMany(int(e.Kept), "event"), inBytes(e.Bytes), inBytes(e.LimitBytes))
		switch {
		case used >= 0.95:
			out = append(out, failed("raise broker.max_bytes, or bring the sink up that keeps events from being purged", "%s: at the limit webhooks are answered 507", text)...)
		case used >= 0.8:
			out = append(out, warn("raise broker.max_bytes: the oldest events go before broker.retention is over", "%s", text)...)
		default:
			out = append(out, good("%s", text)...)
		}
	}
	if e.Foreign > 0 {
		out = append(out, warn("let nobody else publish there", "%s on our subjects that somebody else published, and that are skipped", howMany(int(e.Foreign), "message"))...)
	}
	if e.DeadLetters > 0 {
		out = append(out, warn("see `penstock dead ls`; retry or drop them before they expire after 30 days", "%s", howMany(int(e.DeadLetters), "dead letter"))...)
	}
	return out
}

func checkQueues(ctx context.Context, p *patient) []Finding {
	l, err := p.o.Client.SinkList(ctx)
	if err != nil {
		return failed("ask again", "%v", err)
	}
	var out []Finding
	flowing, elsewhere := 0, 0
	for _, s := range l.Items {
		switch s.State {
		case "held":
			out = append(out, failed("see to the receiver; Penstock tries again by itself", "%s is held since %s: %s", s.Name, s.Since.UTC().Format(time.RFC3339), s.LastError)...)
		case "paused":
			out = append(out, warn("`penstock sinks resume "+s.Name+"` when it may go on", "%s is paused, with %d waiting", s.Name, s.Waiting)...)
		case "throttled":
			out = append(out, warn("set its rate to what the receiver takes", "%s asked for a pause until %s: %s", s.Name, s.NextProbe.UTC().Format(time.RFC3339), s.LastError)...)
		case "":
			elsewhere++
		default:
			flowing++
		}
	}
	for _, r := range l.Removed {
		out = append(out, warn("`penstock sinks prune "+r.Name+"`, or configure it again", "%s is not configured any more and has %d waiting", r.Name, r.Waiting+r.Retries)...)
	}
	if flowing > 0 {
		out = append(out, good("%s flowing", howMany(flowing, "sink"))...)
	}
	if elsewhere > 0 {
		out = append(out, skipped("%s that another process delivers to", howMany(elsewhere, "sink"))...)
	}
	return out
}

// checkSinks connects to every sink, all at the same time.
func checkSinks(ctx context.Context, p *patient) []Finding {
	if len(p.o.Roles) > 0 && !(Options{Roles: p.o.Roles}).has(config.RoleRouter) {
		return nil
	}
	out := make([]Finding, len(p.c.Sinks))
	var all sync.WaitGroup
	for i, s := range p.c.Sinks {
		if p.misses("sinks." + s.Name) {
			out[i] = skipped("%s (%s): not checked: it needs what is not set here", s.Name, s.Kind)[0]
			continue
		}
		all.Go(func() { out[i] = reach(ctx, s) })
	}
	all.Wait()
	return out
}

// wayBack is what to do about a sink that cannot be reached.
func wayBack(err error) string {
	var name *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.As(err, &name):
		return "correct the host in the sink's address, or this machine's DNS"
	case errors.As(err, &cert):
		return "renew the receiver's certificate, use the name it is for, or name its authority to this machine"
	case errors.As(err, &record):
		return "that port speaks no TLS: use http:// or its TLS port in the sink's address"
	case errors.As(err, &alert):
		return "the receiver refuses the TLS handshake: see which versions and client certificates it wants"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "start the receiver, or correct the port in the sink's address"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way there from this machine: see to its network, VPN or firewall"
	}
	return "start the receiver, or correct the sink's address"
}

// reachTimeout bounds the connection to one sink.
const reachTimeout = 5 * time.Second

func reach(ctx context.Context, s config.Sink) Finding {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	began := time.Now()
	host, err := sinks.Reach(ctx, s)
	took := time.Since(began).Round(time.Millisecond)
	switch {
	case errors.Is(err, sinks.ErrNotChecked):
		return skipped("%s (%s): %v", s.Name, s.Kind, err)[0]
	case errors.Is(err, context.DeadlineExceeded):
		return failed("open the way there: DNS, firewall, proxy", "%s (%s): %s did not answer within %s", s.Name, s.Kind, host, reachTimeout)[0]
	case err != nil:
		return failed(wayBack(err)+"; events wait meanwhile", "%s (%s): %s cannot be reached: %v", s.Name, s.Kind, host, err)[0]
	}
	return good("%s (%s): %s was reached in %s; nothing was sent", s.Name, s.Kind, host, took)[0]
}
