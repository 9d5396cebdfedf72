package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// minServer is the first NATS server with message schedules, which the
// retries are.
const minServer = "2.12"

// connect opens one connection. Ingress, router and admin each have their own,
// so that one's flood does not stand in another's way.
func (b *Broker) connect(name string) (*nats.Conn, jetstream.JetStream, error) {
	log := b.o.Logger.With("connection", name)
	opts := []nats.Option{
		nats.Name("penstock-" + name),
		nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, time.Second),
		// What we answered 503 for must not be sent later.
		nats.ReconnectBufSize(-1),
		nats.CustomInboxPrefix("_INBOX_" + name),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats connection lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("nats connection restored", "server", c.ConnectedServerName()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("nats error", "err", err) }),
	}
	url := b.o.Config.URL
	if b.embedded != nil {
		url = ""
		opts = append(opts, nats.InProcessServer(b.embedded.server))
		opts = append(opts, internalLogin(b.o)...)
	} else {
		opts = append(opts, externalOptions(b.o)...)
	}
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, nil, connectError(url, err)
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(8192), jetstream.WithDefaultTimeout(10*time.Second))
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("set up JetStream client: %w", err)
	}
	return nc, js, nil
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
