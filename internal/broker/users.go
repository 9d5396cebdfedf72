package broker

import (
	"crypto/rand"
	"encoding/hex"
	"net"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// internalUser is how we ourselves log in to the embedded server when others
// may too. Its password lives in this process only.
const internalUser = "penstock-internal"

// anonymousUser is who an unauthenticated client on a loopback listener is.
const anonymousUser = "penstock-anonymous"

// addUsers lets the configured users read events, and ourselves do everything.
func addUsers(opts *server.Options, o Options) {
	perms := readerPermissions(o)
	opts.Users = []*server.User{{Username: internalUser, Password: o.internalPassword}}
	for _, u := range o.Config.Users {
		if u.NKey != "" {
			opts.Nkeys = append(opts.Nkeys, &server.NkeyUser{Nkey: u.NKey, Permissions: perms})
			continue
		}
		opts.Users = append(opts.Users, &server.User{Username: u.Name, Password: u.Password.Reveal(), Permissions: perms})
	}
	if len(o.Config.Users) == 0 && isLoopback(opts.Host) {
		opts.Users = append(opts.Users, &server.User{Username: anonymousUser, Password: o.internalPassword, Permissions: perms})
		opts.NoAuthUser = anonymousUser
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// readerPermissions lets a user subscribe to event subjects, and read the
// events stream through consumers of its own. Our own consumers are denied by
// name: whoever could fetch from one of them or delete it would lose a sink's
// events.
func readerPermissions(o Options) *server.Permissions {
	const api, s = "$JS.API.", EventsStream
	allow := []string{
		api + "INFO", api + "STREAM.INFO." + s, api + "STREAM.NAMES", api + "STREAM.LIST",
		api + "CONSUMER.CREATE." + s + ".>", api + "CONSUMER.DURABLE.CREATE." + s + ".>",
		api + "CONSUMER.INFO." + s + ".*", api + "CONSUMER.DELETE." + s + ".*",
		api + "CONSUMER.NAMES." + s, api + "CONSUMER.LIST." + s,
		api + "CONSUMER.MSG.NEXT." + s + ".*",
		api + "DIRECT.GET." + s, api + "DIRECT.GET." + s + ".>",
		"$JS.ACK." + s + ".>", "$JS.ACK.*.*." + s + ".>", "$JS.FC." + s + ".>",
	}
	var deny []string
	for _, sink := range o.Sinks {
		c := sinkConsumerPrefix + sink
		deny = append(deny,
			api+"CONSUMER.CREATE."+s+"."+c, api+"CONSUMER.CREATE."+s+"."+c+".>",
			api+"CONSUMER.DURABLE.CREATE."+s+"."+c, api+"CONSUMER.DELETE."+s+"."+c,
			api+"CONSUMER.MSG.NEXT."+s+"."+c,
			"$JS.ACK."+s+"."+c+".>", "$JS.ACK.*.*."+s+"."+c+".>")
	}
	subscribe := append([]string{"_INBOX.>"}, eventSubjects(o)...)
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: allow, Deny: deny},
		Subscribe: &server.SubjectPermission{Allow: slices.Clip(subscribe)},
	}
}

// randomPassword is for internalUser.
func randomPassword() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return hex.EncodeToString(b[:])
}

// internalLogin is the option to connect to the embedded server as ourselves.
func internalLogin(o Options) []nats.Option {
	if o.Config.Listen == "" {
		return nil
	}
	return []nats.Option{nats.UserInfo(internalUser, o.internalPassword)}
}
