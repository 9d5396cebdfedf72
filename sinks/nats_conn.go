package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
)

const (
	// natsDialTimeout bounds the dial of one server and its handshake.
	natsDialTimeout = 5 * time.Second
	// natsLookTimeout bounds the question whether our own stream is there.
	natsLookTimeout = 5 * time.Second
	// natsCloseWait bounds how long Close waits for attempts under way.
	natsCloseWait = 5 * time.Second
	// ownStream is Penstock's stream of events, which nobody else publishes to.
	ownStream = "PENSTOCK_EVENTS"
)

// Causes of failures that nats.go has no error for.
var (
	errClosed       = errors.New("the sink is closed")
	errDisconnected = errors.New("the connection was lost before an answer")
	errReconnecting = errors.New("not connected; a new connection is being made")
	errOwnStream    = errors.New("belongs to Penstock's own stream of events on this server, which would lead events back into it; set subject to another")
)

// natsLinks makes the connection of one sink and keeps it. It is safe for
// concurrent use.
type natsLinks struct {
	name  string
	o     natsOptions
	log   *slog.Logger
	label string // the servers without user and password
	scrub scrubber

	mu      sync.Mutex
	closed  bool
	current *natsLink
	dialing *natsDial
	flights sync.WaitGroup // dials and attempts
}

// natsDial is a connection that is being made, for all that wait for it.
type natsDial struct {
	done chan struct{} // closed when link and err are there
	link *natsLink
	err  error
}

func newNATSLinks(name string, o natsOptions, log *slog.Logger) *natsLinks {
	l := &natsLinks{name: name, o: o, log: log.With("sink", name)}
	secrets := []string{o.Password.Reveal(), o.Token.Reveal()}
	var shown []string
	for _, u := range o.servers {
		shown = append(shown, u.Scheme+"://"+u.Host)
		secrets = append(secrets, urlSecrets(u)...)
		if u.User != nil {
			password, _ := u.User.Password()
			secrets = append(secrets, u.User.Username(), password, u.User.String())
		}
	}
	l.label = strings.Join(shown, ",")
	l.scrub = newScrubber(secrets)
	return l
}

// get returns the connection, made now if there is none. The dial goes on for
// the next attempt when ctx ends before it.
func (l *natsLinks) get(ctx context.Context) (*natsLink, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	switch {
	case l.closed:
		l.mu.Unlock()
		return nil, errClosed
	case l.current != nil && !l.current.nc.IsClosed():
		defer l.mu.Unlock()
		return l.current, l.current.ready()
	}
	d := l.dialing
	if d == nil {
		d = &natsDial{done: make(chan struct{})}
		l.dialing = d
		trace := delivery.TraceOf(ctx)
		l.flights.Go(func() { l.dial(d, trace) })
	}
	l.mu.Unlock()
	select {
	case <-d.done:
		return d.link, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *natsLinks) dial(d *natsDial, trace *delivery.Trace) {
	defer close(d.done)
	d.link, d.err = l.connect(trace)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialing = nil
	l.current = d.link
}

// connect makes a connection and asks it for our own stream.
func (l *natsLinks) connect(trace *delivery.Trace) (*natsLink, error) {
	link := &natsLink{flights: map[*natsFlight]struct{}{}, seen: make(chan struct{})}
	dialer := &natsDialer{}
	dialer.trace.Store(trace)
	urls := make([]string, len(l.o.servers))
	for i, u := range l.o.servers {
		urls[i] = u.String()
	}
	nc, err := nats.Connect(strings.Join(urls, ","), append(l.login(),
		nats.Name("penstock-sink-"+l.name),
		nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, time.Second),
		// An attempt that was given up must not be sent later.
		nats.ReconnectBufSize(-1),
		// Rights and passwords change; an attempt tells meanwhile what is wrong.
		nats.IgnoreAuthErrorAbort(),
		nats.Timeout(natsDialTimeout), nats.SetCustomDialer(dialer), nats.SkipHostLookup(),
		nats.PingInterval(20*time.Second), nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { link.told(err) }),
		nats.DisconnectErrHandler(func(*nats.Conn, error) {
			link.lost()
			l.log.Warn("nats connection lost", "server", l.label)
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { l.log.Info("nats connection restored", "server", c.ConnectedServerName()) }),
	)...)
	if err != nil {
		return nil, dialer.explain(err)
	}
	dialer.trace.Store(nil)
	link.nc = nc
	if link.js, err = jetstream.New(nc); err != nil {
		nc.Close()
		return nil, err
	}
	link.own = link.ownSubjects()
	return link, nil
}

// login are the options that say who we are. Files are read here.
func (l *natsLinks) login() []nats.Option {
	o := l.o
	var opts []nats.Option
	switch {
	case o.CredsFile != "":
		opts = append(opts, nats.UserCredentials(o.CredsFile))
	case o.NKeyFile != "":
		opts = append(opts, func(no *nats.Options) error {
			opt, err := nats.NkeyOptionFromSeed(o.NKeyFile)
			if err != nil {
				return fmt.Errorf("read nkey_file: %w", err)
			}
			return opt(no)
		})
	case o.User != "":
		opts = append(opts, nats.UserInfo(o.User, o.Password.Reveal()))
	case !o.Token.IsZero():
		opts = append(opts, nats.Token(o.Token.Reveal()))
	}
	if o.TLS.CAFile != "" {
		opts = append(opts, nats.RootCAs(o.TLS.CAFile))
	}
	if o.TLS.CertFile != "" {
		opts = append(opts, nats.ClientCert(o.TLS.CertFile, o.TLS.KeyFile))
	}
	return opts
}

// close lets attempts under way end, within natsCloseWait.
func (l *natsLinks) close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.flights.Wait() // dials, which are bounded
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		return nil
	}
	idle := l.current.idle()
	late := time.NewTimer(natsCloseWait)
	defer late.Stop()
	select {
	case <-idle:
	case <-late.C:
	}
	l.current.nc.Close()
	return nil
}

func (l *natsLinks) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// natsDialer dials what the guard allows, and remembers why it could not.
type natsDialer struct {
	trace atomic.Pointer[delivery.Trace] // of the attempt that waits for the first connection
	last  atomic.Pointer[error]
}

// Dial implements nats.CustomDialer.
func (d *natsDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.dial(network, address)
	if err != nil {
		d.last.Store(&err)
	}
	return conn, err
}

func (d *natsDialer) dial(network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", network, err)
	}
	var g Guard
	if err := g.CheckHost(host); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), natsDialTimeout)
	defer cancel()
	if trace := d.trace.Load(); trace != nil {
		ctx = delivery.Within(ctx, trace)
	}
	return dialTraced(ctx, &net.Dialer{KeepAlive: 30 * time.Second, Control: g.control}, network, address)
}

// explain puts the reason of the last dial in the place of the client's word
// that there are no servers.
func (d *natsDialer) explain(err error) error {
	if last := d.last.Load(); last != nil && errors.Is(err, nats.ErrNoServers) {
		return *last
	}
	return err
}

// natsLink is one connection.
type natsLink struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	own []string // the subjects of our own stream, if it is there

	mu      sync.Mutex
	flights map[*natsFlight]struct{}
	emptied chan struct{} // closed when the last flight ends; nil: nobody waits
	seen    chan struct{} // closed when told has passed on an error
}

// natsFlight is a message on its way. The server says by the subject alone that
// it refuses one.
type natsFlight struct {
	context.Context
	subject string
	cancel  context.CancelCauseFunc
	// told are the errors that came since it began.
	told []error
}

// ready reports that messages can be sent now. They are never kept for later.
func (l *natsLink) ready() error {
	if l.nc.IsConnected() {
		return nil
	}
	if err := l.nc.LastError(); isNATSAuth(err) {
		return err
	}
	return errReconnecting
}

// begin registers a message on its way. Its context ends with a cause when the
// server refuses the subject or the connection is lost.
func (l *natsLink) begin(ctx context.Context, subject string) *natsFlight {
	ctx, cancel := context.WithCancelCause(ctx)
	f := &natsFlight{Context: ctx, subject: subject, cancel: cancel}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flights[f] = struct{}{}
	return f
}

func (l *natsLink) end(f *natsFlight) {
	f.cancel(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flights, f)
	if len(l.flights) == 0 && l.emptied != nil {
		close(l.emptied)
		l.emptied = nil
	}
}

// idle returns a channel that is closed when no message is on its way.
func (l *natsLink) idle() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan struct{})
	if len(l.flights) == 0 {
		close(c)
		return c
	}
	l.emptied = c
	return c
}

// told ends the flights that an error of the server is about.
func (l *natsLink) told(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	violation := errors.Is(err, nats.ErrPermissionViolation)
	for f := range l.flights {
		f.told = append(f.told, err)
		if violation && strings.Contains(err.Error(), `"`+f.subject+`"`) {
			f.cancel(err)
		}
	}
	close(l.seen)
	l.seen = make(chan struct{})
}

func (l *natsLink) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range l.flights {
		f.cancel(errDisconnected)
	}
}

// ownSubjects asks for Penstock's own stream. Whoever may not ask, or gets no
// answer, publishes into it as little: without the header Penstock-Received a
// message there is nobody's event.
func (l *natsLink) ownSubjects() []string {
	const subject = "$JS.API.STREAM.INFO." + ownStream
	ctx, cancel := context.WithTimeout(context.Background(), natsLookTimeout)
	defer cancel()
	f := l.begin(ctx, subject)
	defer l.end(f)
	m, err := l.nc.RequestWithContext(f, subject, nil)
	if err != nil {
		return nil
	}
	var info struct {
		Config struct {
			Subjects []string `json:"subjects"`
		} `json:"config"`
	}
	if json.Unmarshal(m.Data, &info) != nil {
		return nil
	}
	return info.Config.Subjects
}

// publish sends m and waits for the answer, which it returns for people.
func (l *natsLink) publish(ctx context.Context, m *nats.Msg, core bool) (string, error) {
	for _, own := range l.own {
		if covers(own, m.Subject) {
			return "", fmt.Errorf("subject %s %w", m.Subject, errOwnStream)
		}
	}
	if most := l.nc.MaxPayload(); int64(m.Size()-len(m.Subject)) > most {
		return "", fmt.Errorf("%w: %d bytes with headers, the server takes %d", nats.ErrMaxPayload, m.Size()-len(m.Subject), most)
	}
	f := l.begin(ctx, m.Subject)
	defer l.end(f)
	send := l.keep
	if core {
		send = l.flush
	}
	said, err := send(f, m)
	if cause := context.Cause(f); cause != nil && ctx.Err() == nil {
		err = cause
	}
	return said, err
}

// keep waits until a stream has the message.
func (l *natsLink) keep(f *natsFlight, m *nats.Msg) (string, error) {
	// The sink's retries are the ones to be seen, so there are none here.
	ack, err := l.js.PublishMsg(withDeadline(f), m, jetstream.WithRetryAttempts(0))
	if err != nil {
		return "", err
	}
	if ack.Stream == ownStream {
		return "", fmt.Errorf("subject %s %w", m.Subject, errOwnStream)
	}
	said := fmt.Sprintf("stream %s keeps it as message %d", ack.Stream, ack.Sequence)
	if ack.Duplicate {
		said = fmt.Sprintf("stream %s has it already, as message %d", ack.Stream, ack.Sequence)
	}
	return said, nil
}

// flush waits until the server has taken the message. It refuses one before it
// answers, but the client passes that on in its own time: by the error that it
// keeps, we know that there is something to wait for.
func (l *natsLink) flush(f *natsFlight, m *nats.Msg) (string, error) {
	before := l.nc.LastError()
	if err := l.nc.PublishMsg(m); err != nil {
		return "", err
	}
	if err := l.nc.FlushWithContext(withDeadline(f)); err != nil {
		return "", err
	}
	if last := l.nc.LastError(); last != before && errors.Is(last, nats.ErrPermissionViolation) {
		l.awaitTold(f, last)
	}
	return "the server has it", f.Err()
}

// awaitTold waits until the client has passed on err, and with it all that came
// before.
func (l *natsLink) awaitTold(f *natsFlight, err error) {
	for {
		l.mu.Lock()
		had, seen := slices.Contains(f.told, err), l.seen
		l.mu.Unlock()
		if had {
			return
		}
		select {
		case <-seen:
		case <-f.Done():
			return
		}
	}
}

// noDeadline gives a context the deadline that the client asks for.
type noDeadline struct{ context.Context }

// Deadline implements context.Context.
func (noDeadline) Deadline() (time.Time, bool) { return time.Now().Add(time.Hour), true }

func withDeadline(ctx context.Context) context.Context {
	if _, ok := ctx.Deadline(); ok {
		return ctx
	}
	return noDeadline{ctx}
}

var _ nats.CustomDialer = (*natsDialer)(nil)
