package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/config"
)

// minServer is the first NATS server with message schedules, which the
// retries are.
const minServer = "2.12"

// patienceWithCluster outlasts several leader elections.
const patienceWithCluster = 30 * time.Second

// ackTimeout is how long an external cluster may take to answer a publish
// before it is sent again, under the same id: the answer of a server that died
// never comes. It also keeps lost answers from filling the client's table.
const ackTimeout = 2 * time.Second

// connect opens one connection. Ingress, router and console each have their
// own, so that one's flood does not stand in another's way.
func (b *Broker) connect(role string) (session, error) {
	log := b.o.Logger.With("connection", role)
	probed := &probes{subjects: map[string]bool{}}
	opts := []nats.Option{
		nats.Name("penstock-" + role),
		nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, time.Second),
		// What we answered 503 for must not be sent later.
		nats.ReconnectBufSize(-1),
		nats.CustomInboxPrefix(inboxPrefix(role)),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats connection lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("nats connection restored", "server", c.ConnectedServerName()) }),
		nats.ErrorHandler(probed.logErrors(log)),
	}
	url := b.o.Config.URL
	if b.embedded != nil {
		url = ""
		opts = append(opts, nats.InProcessServer(b.embedded.server), nats.Timeout(startTimeout))
		opts = append(opts, internalLogin(b.o)...)
	} else {
		opts = append(opts, externalOptions(b.o)...)
	}
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return session{}, connectError(url, err)
	}
	jsOpts := []jetstream.JetStreamOpt{jetstream.WithPublishAsyncMaxPending(8192), jetstream.WithDefaultTimeout(10 * time.Second)}
	if b.embedded == nil {
		jsOpts = append(jsOpts, jetstream.WithPublishAsyncTimeout(ackTimeout))
	}
	js, err := jetstream.New(nc, jsOpts...)
	if err != nil {
		nc.Close()
		return session{}, fmt.Errorf("set up JetStream client: %w", err)
	}
	return session{nc: nc, js: js, role: role, probed: probed, own: b.embedded != nil}, nil
}

// connectAll opens the connections that this process needs. What is asked of the
// streams besides events goes over the connection of the most entitled role.
func (b *Broker) connectAll() error {
	has := func(role string) bool { return len(b.o.Roles) == 0 || slices.Contains(b.o.Roles, role) }
	admin := ""
	for _, role := range []string{config.RoleRouter, config.RoleConsole} {
		if has(role) {
			admin = role
		}
	}
	for _, role := range []string{RoleProvisioner, RoleBackup} {
		if slices.Contains(b.o.Roles, role) {
			admin = role
		}
	}
	for _, c := range []struct {
		role string
		want bool
		to   *session
	}{
		{config.RoleIngress, has(config.RoleIngress), &b.ingress},
		{config.RoleRouter, has(config.RoleRouter), &b.router},
		{config.RoleRouter, has(config.RoleRouter), &b.records}, // so that records stand in nobody's way
		{admin, admin != "", &b.admin},
	} {
		if !c.want {
			continue
		}
		s, err := b.connect(c.role)
		if err != nil {
			return err
		}
		*c.to = s
	}
	return nil
}

// opened are the sessions that this process has.
func (b *Broker) opened() []session {
	return slices.DeleteFunc([]session{b.ingress, b.router, b.records, b.admin}, func(s session) bool { return s.nc == nil })
}

// openExternal checks a server that is not ours, and that all we need is there
// and allowed.
func (b *Broker) openExternal(ctx context.Context) error {
	for _, s := range b.opened() {
		if err := b.checkServer(s.nc); err != nil {
			return err
		}
		if err := b.checkRights(ctx, s); err != nil {
			return err
		}
	}
	return b.patiently(ctx, "look at the streams", func(ctx context.Context) error {
		if b.admin.nc != nil {
			return b.provision(ctx)
		}
		return b.checkTaken(ctx, b.ingress, "unknown.>")
	})
}

// patiently does f again, for a while, as long as a cluster that is electing
// its leaders may be why it did not succeed.
func (b *Broker) patiently(ctx context.Context, what string, f func(context.Context) error) error {
	patience := cmp.Or(b.o.patience, patienceWithCluster)
	// Without a deadline of its own each request gets the client's, and is sent
	// again: one that came before there was a leader is never answered.
	patient, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(patience, cancel).Stop()
	var last error
	err := retrying(patient, b.o.Logger, what, transient, func() error {
		err := f(patient)
		if patient.Err() == nil || last == nil {
			last = err // and not that the patience has ended
		}
		return err
	})
	if err != nil && patient.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("the NATS cluster was not ready within %s: %w", patience, last)
	}
	return err
}

func externalOptions(o Options) []nats.Option {
	var opts []nats.Option
	c := o.Config
	if c.CredsFile != "" {
		opts = append(opts, nats.UserCredentials(c.CredsFile))
	}
	if c.NKeyFile != "" {
		opts = append(opts, func(no *nats.Options) error {
			opt, err := nats.NkeyOptionFromSeed(c.NKeyFile)
			if err != nil {
				return fmt.Errorf("read broker.nkey_file: %w", err)
			}
			return opt(no)
		})
	}
	if c.CAFile != "" {
		opts = append(opts, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" {
		opts = append(opts, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	return opts
}

// redactURL names the servers of url without user and password.
func redactURL(url string) string {
	parts := strings.Split(url, ",")
	for i, p := range parts {
		scheme, rest, ok := strings.Cut(p, "://")
		if !ok {
			scheme, rest = "nats", p
		}
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			rest = rest[at+1:]
		}
		parts[i] = strings.TrimSpace(scheme) + "://" + rest
	}
	return strings.Join(parts, ",")
}

func connectError(url string, err error) error {
	where := "embedded NATS server"
	hint := ""
	if url != "" {
		where = "NATS at " + redactURL(url)
		hint = "; check broker.url, and that the server runs"
	}
	switch {
	case errors.Is(err, nats.ErrAuthorization):
		hint = "; check broker.creds_file, broker.nkey_file or the user in broker.url"
	case errors.Is(err, nats.ErrNoServers):
		err = errors.New("no server answers")
	}
	return fmt.Errorf("connect to %s: %w%s", where, err, hint)
}

// checkServer refuses a server that lacks what we build on.
func (b *Broker) checkServer(nc *nats.Conn) error {
	if v := nc.ConnectedServerVersion(); !versionAtLeast(v, minServer) {
		return fmt.Errorf("NATS server %s is too old: retries are message schedules, which need %s or newer", v, minServer)
	}
	if need, have := maxPayload(b.o.MaxBody), nc.MaxPayload(); have < need {
		return fmt.Errorf("NATS server takes messages of up to %d bytes, server.max_body %d needs %d; raise max_payload on the server or lower server.max_body", have, b.o.MaxBody, need)
	}
	return nil
}

func versionAtLeast(have, want string) bool {
	var a, b [2]int
	if _, err := fmt.Sscanf(have, "%d.%d", &a[0], &a[1]); err != nil {
		return false
	}
	if _, err := fmt.Sscanf(want, "%d.%d", &b[0], &b[1]); err != nil {
		return false
	}
	return a[0] > b[0] || a[0] == b[0] && a[1] >= b[1]
}

// apiCode is the JetStream error code of err, 0 if it has none.
func apiCode(err error) jetstream.ErrorCode {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode
	}
	return 0
}

// closeConn lets what is buffered reach the server, then closes.
func closeConn(nc *nats.Conn, log *slog.Logger) {
	if nc == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := nc.FlushWithContext(ctx); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		log.Warn("nats connection closed before everything was sent", "err", err)
	}
	nc.Close()
}
