package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock/penstock/config"
)

// The roles of NATS users beside config.RoleIngress, config.RoleRouter and
// config.RoleConsole.
const (
	// RoleProvisioner makes the streams and the sinks' queues.
	RoleProvisioner = "provisioner"
	// RoleReader reads events through consumers of its own.
	RoleReader = "reader"
	// RoleBackup saves and restores streams; to set up a cluster with what it
	// restored it may do what a provisioner may.
	RoleBackup = "backup"
)

// PermissionRoles are the roles that Permissions knows.
func PermissionRoles() []string {
	return []string{config.RoleIngress, config.RoleRouter, config.RoleConsole, RoleProvisioner, RoleReader, RoleBackup}
}

// Right is one subject that a NATS user needs, and what for.
type Right struct{ Subject, Why string }

// Rights are what a NATS user may do: nothing else. Deny takes away from Publish.
type Rights struct{ Publish, Subscribe, Deny []Right }

const (
	api     = "$JS.API."
	acks    = "$JS.ACK."
	acksNew = "$JS.ACK.*.*." // the form with domain and account
)

// Permissions are the rights of a role, for events under the given roots (a
// subject's first token) and source prefixes, and for the named sinks. They
// are the least with which that role works. An unknown role has none.
func Permissions(role string, roots, prefixes, sinks []string) Rights {
	subjects := subjectsOf(roots, prefixes)
	switch role {
	case config.RoleIngress:
		return Rights{
			Publish:   slices.Concat(rights("store events", subjects...), rights("keep requests that failed verification", rejectedPrefix+"*")),
			Subscribe: inbox(role),
		}
	case config.RoleRouter:
		return Rights{Publish: routerRights(sinks), Subscribe: inbox(role)}
	case config.RoleConsole:
		return Rights{Publish: consoleRights(), Subscribe: inbox(role)}
	case RoleProvisioner:
		return Rights{Publish: provisionerRights(), Subscribe: inbox(role)}
	case RoleBackup:
		return Rights{Publish: backupRights(), Subscribe: inbox(role)}
	case RoleReader:
		r := readerRights(sinks)
		r.Subscribe = slices.Concat(rights("receive answers", "_INBOX.>"), rights("read events as they come in", subjects...))
		return r
	}
	return Rights{}
}

func rights(why string, subjects ...string) []Right {
	out := make([]Right, len(subjects))
	for i, s := range subjects {
		out[i] = Right{Subject: s, Why: why}
	}
	return out
}

func inbox(role string) []Right { return rights("receive answers", inboxPrefix(role)+".>") }

// inboxPrefix keeps the answers to one role from the others.
func inboxPrefix(role string) string { return "_INBOX_" + role }

func eachSink(sinks []string, before, after string) []string {
	out := make([]string, len(sinks))
	for i, s := range sinks {
		out[i] = before + sinkConsumerPrefix + s + after
	}
	return out
}

// ourStreams are all streams, in the order in which they are made.
func ourStreams() []string {
	return []string{EventsStream, retryStream, deadStream, rejectedStream, jobsStream, recordStream, auditStream}
}

func streamRights() []Right {
	var out []Right
	for _, s := range ourStreams() {
		out = append(out, Right{Subject: api + "STREAM.INFO." + s, Why: "see how the streams stand"})
	}
	return out
}

// readRights let a role read a stream through short-lived consumers, and by
// sequence.
func readRights(why, stream string) []Right {
	return rights(why, api+"CONSUMER.CREATE."+stream+".>", api+"CONSUMER.INFO."+stream+".*", api+"CONSUMER.MSG.NEXT."+stream+".*",
		api+"CONSUMER.DELETE."+stream+".*", api+"DIRECT.GET."+stream, api+"DIRECT.GET."+stream+".>")
}

func routerRights(sinks []string) []Right {
	const e, r = EventsStream, retryStream
	return slices.Concat(streamRights(),
		rights("see how the sinks' queues stand", append(eachSink(sinks, api+"CONSUMER.INFO."+e+".", ""), api+"CONSUMER.INFO."+r+".*")...),
		rights("fetch events and retries", append(eachSink(sinks, api+"CONSUMER.MSG.NEXT."+e+".", ""), api+"CONSUMER.MSG.NEXT."+r+".*")...),
		rights("acknowledge events", append(eachSink(sinks, acks+e+".", ".>"), eachSink(sinks, acksNew+e+".", ".>")...)...),
		rights("acknowledge retries", acks+r+".>", acksNew+r+".>"),
		rights("schedule retries", retryAtPrefix+"*.*"),
		rights("know a retry that is scheduled already, and how old it is", api+"DIRECT.GET."+r, api+"DIRECT.GET."+r+".>"),
		rights("store dead letters", deadPrefix+">"),
		rights("record attempts", recordPrefix+"*"),
		rights("report the queues of removed sinks", api+"CONSUMER.LIST."+e, api+"CONSUMER.LIST."+r),
		rights("find the first event since a time", api+"DIRECT.GET."+e),
		rights("purge what has outlived broker.retention", api+"STREAM.PURGE."+e),
	)
}

// consoleRights are those of whoever acts for a person: it may read, replay,
// pause, prune and erase, and store no event.
func consoleRights() []Right {
	const e, r, d, j = EventsStream, retryStream, deadStream, jobsStream
	return slices.Concat(streamRights(),
		readRights("read events, and see how the sinks' queues stand", e),
		rights("see what waits for a retry", api+"CONSUMER.INFO."+r+".*", api+"DIRECT.GET."+r, api+"DIRECT.GET."+r+".>"),
		readRights("read dead letters", d),
		readRights("read attempts", recordStream),
		readRights("read requests that failed verification", rejectedStream),
		readRights("read how far replays are", j),
		rights("retry a dead letter, replay an event", retryDuePrefix+"*"),
		rights("keep how far a replay is", jobPrefix+"*"),
		rights("delete what was retried, dropped, accepted or erased", api+"STREAM.MSG.DELETE."+d, api+"STREAM.MSG.DELETE."+rejectedStream,
			api+"STREAM.MSG.DELETE."+e, api+"STREAM.MSG.DELETE."+r, api+"STREAM.MSG.DELETE."+recordStream),
		rights("record what was erased", recordPrefix+"*"),
		readRights("read who changed what", auditStream),
		rights("record who changed what", auditPrefix+"*"),
		rights("pause a sink", api+"STREAM.UPDATE."+e),
		rights("prune a removed sink", api+"CONSUMER.LIST."+e, api+"CONSUMER.LIST."+r, api+"CONSUMER.DELETE."+r+".*", api+"STREAM.PURGE."+r),
	)
}

func provisionerRights() []Right {
	var streams []Right
	for _, s := range ourStreams() {
		streams = append(streams, rights("make and update stream "+s, api+"STREAM.CREATE."+s, api+"STREAM.UPDATE."+s)...)
	}
	return slices.Concat(streamRights(), streams,
		rights("name a stream that is in the way", api+"STREAM.NAMES"),
		rights("see the sinks' queues", api+"CONSUMER.INFO."+EventsStream+".*", api+"CONSUMER.INFO."+retryStream+".*"),
		rights("make and update the sinks' queues", api+"CONSUMER.CREATE."+EventsStream+".>", api+"CONSUMER.CREATE."+retryStream+".>"),
		rights("find where a sink with a start time begins", api+"DIRECT.GET."+EventsStream),
	)
}

func backupRights() []Right {
	var out []Right
	for _, s := range ourStreams() {
		out = append(out, rights("save and restore stream "+s, api+"STREAM.SNAPSHOT."+s, api+"STREAM.MSG.GET."+s,
			api+"STREAM.RESTORE."+s, api+"STREAM.DELETE."+s, api+"CONSUMER.INFO."+s+".*")...)
	}
	return slices.Concat(provisionerRights(), out,
		rights("see whether a router runs", api+"CONSUMER.LIST."+EventsStream),
		rights("take the pieces of a snapshot, and send them", "$JS.SNAPSHOT.ACK.>", "$JS.SNAPSHOT.RESTORE.>"),
	)
}

// readerRights deny our own consumers by name: whoever could fetch from one of
// them or delete it would lose a sink's events.
func readerRights(sinks []string) Rights {
	const s = EventsStream
	ours := slices.Concat(
		eachSink(sinks, api+"CONSUMER.CREATE."+s+".", ""), eachSink(sinks, api+"CONSUMER.CREATE."+s+".", ".>"),
		eachSink(sinks, api+"CONSUMER.DURABLE.CREATE."+s+".", ""), eachSink(sinks, api+"CONSUMER.DELETE."+s+".", ""),
		eachSink(sinks, api+"CONSUMER.MSG.NEXT."+s+".", ""),
		eachSink(sinks, acks+s+".", ".>"), eachSink(sinks, acksNew+s+".", ".>"),
	)
	return Rights{
		Publish: slices.Concat(
			rights("see the stream of events", api+"INFO", api+"STREAM.INFO."+s, api+"STREAM.NAMES", api+"STREAM.LIST"),
			rights("have consumers", api+"CONSUMER.CREATE."+s+".>", api+"CONSUMER.DURABLE.CREATE."+s+".>",
				api+"CONSUMER.INFO."+s+".*", api+"CONSUMER.DELETE."+s+".*", api+"CONSUMER.NAMES."+s, api+"CONSUMER.LIST."+s),
			rights("fetch events", api+"CONSUMER.MSG.NEXT."+s+".*"),
			rights("read one event", api+"DIRECT.GET."+s, api+"DIRECT.GET."+s+".>"),
			rights("acknowledge events", acks+s+".>", acksNew+s+".>", "$JS.FC."+s+".>"),
		),
		Deny: rights("the queues of sinks are Penstock's own", ours...),
	}
}

// subjects are those of rs.
func subjects(rs []Right) []string {
	out := make([]string, len(rs))
	for i, r := range rs {
		out[i] = r.Subject
	}
	return out
}

// Snippet is r as a block of a NATS server's configuration.
func (r Rights) Snippet() string {
	var b strings.Builder
	b.WriteString("permissions {\n  publish {\n")
	writeList(&b, "allow", r.Publish)
	if len(r.Deny) > 0 {
		writeList(&b, "deny", r.Deny)
	}
	b.WriteString("  }\n  subscribe {\n")
	writeList(&b, "allow", r.Subscribe)
	b.WriteString("  }\n}\n")
	return b.String()
}

func writeList(b *strings.Builder, name string, rs []Right) {
	fmt.Fprintf(b, "    %s: [\n", name)
	why := ""
	for _, r := range rs {
		if r.Why != why {
			why = r.Why
			fmt.Fprintf(b, "      # %s\n", why)
		}
		fmt.Fprintf(b, "      %q\n", r.Subject)
	}
	b.WriteString("    ]\n")
}

// RoleRights are the rights of a role under these options.
func (o Options) RoleRights(role string) (Rights, error) {
	if !slices.Contains(PermissionRoles(), role) {
		return Rights{}, fmt.Errorf("%w: %q is none of %s", errUnknownRole, role, strings.Join(PermissionRoles(), ", "))
	}
	return Permissions(role, slices.Concat(o.Roots, o.Config.ExtraRoots), o.Prefixes, o.Sinks), nil
}

var errUnknownRole = errors.New("unknown role")
