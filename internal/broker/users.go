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

// readerPermissions are the rights of a reader as the server takes them.
func readerPermissions(o Options) *server.Permissions {
	r := Permissions(RoleReader, slices.Concat(o.Roots, o.Config.ExtraRoots), o.Prefixes, o.Sinks)
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: subjects(r.Publish), Deny: subjects(r.Deny)},
		Subscribe: &server.SubjectPermission{Allow: subjects(r.Subscribe)},
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
