package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/config"
)

// errNotProvisioned is returned when the streams or queues are not as this
// configuration needs them and our NATS user may not change that.
var errNotProvisioned = errors.New("run `penstock provision` with the provisioner's credentials, then start this again")

// probeTimeout bounds one round of probes.
const probeTimeout = 10 * time.Second

// A probe is a message that does nothing wherever it arrives: a stream refuses
// it for the stream it expects, the API and a consumer for its text. Only the
// server's check of our permissions is wanted. Its text begins as JSON because
// a request to fetch takes any other text for a number.
const (
	probeToken  = "penstock-check"
	probeText   = `{"penstock start-up check, please ignore`
	probeStream = "PENSTOCK_CHECK"
)

const codeWrongStream = 10060

// session is one connection. probed are the subjects whose refusal is an
// answer, not news.
type session struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	role   string
	probed *probes
	own    bool // the server is ours and refuses nothing
}

type probes struct {
	mu       sync.Mutex
	subjects map[string]bool
}

func (p *probes) add(subjects ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range subjects {
		p.subjects[s] = true
	}
}

// expected reports that err is the refusal of a probe.
func (p *probes) expected(err error) bool {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.subjects {
		if refuses(err, s) {
			return true
		}
	}
	return false
}

// refuses reports that err is the server's refusal of that subject.
func refuses(err error, subject string) bool {
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+subject+`"`)
}

// logErrors is the connection's error handler.
func (p *probes) logErrors(log *slog.Logger) nats.ErrHandler {
	return func(_ *nats.Conn, _ *nats.Subscription, err error) {
		switch {
		case p.expected(err):
			log.Debug("nats permission is missing", "err", err)
		case errors.Is(err, nats.ErrPermissionViolation):
			log.Error("nats refuses what this role needs; `penstock provision --print-permissions ROLE` lists the permissions of its user", "err", err)
		default:
			log.Warn("nats error", "err", err)
		}
	}
}

// refused returns those of the subjects that the server does not let us publish
// to, with wildcards filled in. When there are none it costs one round trip.
func (s session) refused(ctx context.Context, subjects ...string) (denied []string, err error) {
	if s.own {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	subjects = slices.Clone(subjects)
	for i, subject := range subjects {
		subjects[i] = concrete(subject)
	}
	s.probed.add(subjects...)
	before := s.nc.LastError()
	if err := s.probe(ctx, subjects...); err != nil {
		return nil, err
	}
	if s.nc.LastError() == before {
		return nil, nil
	}
	for _, subject := range subjects {
		before := s.nc.LastError()
		if err := s.probe(ctx, subject); err != nil {
			return nil, err
		}
		if after := s.nc.LastError(); after != before && refuses(after, subject) {
			denied = append(denied, subject)
		}
	}
	return denied, nil
}

// probe returns once the server has judged a probe to each of the subjects.
func (s session) probe(ctx context.Context, subjects ...string) error {
	for _, subject := range subjects {
		if err := s.nc.PublishMsg(probeMsg(subject)); err != nil {
			return fmt.Errorf("check permissions: %w", err)
		}
	}
	if err := s.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("check permissions: %w", err)
	}
	return nil
}

func probeMsg(subject string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Header.Set("Nats-Expected-Stream", probeStream)
	m.Data = []byte(probeText)
	return m
}

// concrete is a subject that the pattern covers.
func concrete(pattern string) string {
	tokens := strings.Split(pattern, ".")
	for i, t := range tokens {
		if t == "*" || t == ">" {
			tokens[i] = probeToken
		}
	}
	return strings.Join(tokens, ".")
}

// need fails when we may not publish to subject, saying what that is for.
func (s session) need(ctx context.Context, subject, what string) error {
	denied, err := s.refused(ctx, subject)
	if err != nil || len(denied) == 0 {
		return err
	}
	return fmt.Errorf("%s, and this process may not change that (its NATS user has no permission to publish to %s); %w", what, subject, errNotProvisioned)
}

// checkRights fails when the user lacks a right of the session's role, naming
// every one of them.
func (b *Broker) checkRights(ctx context.Context, s session) error {
	want, err := b.o.RoleRights(s.role)
	if err != nil {
		return err
	}
	publish := want.Publish
	if s.role == config.RoleIngress {
		// Whoever reads events as they come in would see a probe to each of
		// their subjects; one stands for all.
		publish = rights(publish[0].Why, "unknown.>")
	}
	// Nothing that only the server's check of its text would keep from deleting.
	publish = slices.DeleteFunc(slices.Clone(publish), func(r Right) bool { return strings.HasPrefix(r.Subject, api+"STREAM.DELETE.") })
	lacks, err := s.refused(ctx, subjects(publish)...)
	if err != nil {
		return err
	}
	var missing []string
	for _, r := range publish {
		if slices.Contains(lacks, concrete(r.Subject)) {
			missing = append(missing, "publish to "+r.Subject+" ("+r.Why+")")
		}
	}
	inbox, err := s.refusesInbox(ctx)
	if err != nil {
		return err
	}
	if inbox != "" {
		missing = append(missing, "subscribe to "+inbox+" (receive answers)")
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("the NATS user of role %s lacks permissions:\n  %s\n`penstock provision --print-permissions %s` prints all that it needs", s.role, strings.Join(missing, "\n  "), s.role)
}

// refusesInbox returns the inbox that we may not subscribe to, or "".
func (s session) refusesInbox(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	subject := inboxPrefix(s.role) + "." + probeToken
	s.probed.add(subject)
	before := s.nc.LastError()
	sub, err := s.nc.SubscribeSync(subject)
	if err != nil {
		return "", fmt.Errorf("check permissions: %w", err)
	}
	if err := s.nc.FlushWithContext(ctx); err != nil {
		return "", fmt.Errorf("check permissions: %w", err)
	}
	if after := s.nc.LastError(); after != before && refuses(after, subject) {
		return inboxPrefix(s.role) + ".>", nil
	}
	if err := sub.Unsubscribe(); err != nil {
		return "", fmt.Errorf("check permissions: %w", err)
	}
	return "", nil
}

// checkTaken fails unless our stream takes events. It is how a process that
// may do nothing but publish knows.
func (b *Broker) checkTaken(ctx context.Context, s session, subject string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	m, err := s.nc.RequestMsgWithContext(ctx, probeMsg(concrete(subject)))
	if err != nil {
		return fmt.Errorf("ask stream %s whether it takes events (if it does not exist: %w): %w", EventsStream, errNotProvisioned, err)
	}
	var answer struct {
		Stream string `json:"stream"`
		Error  struct {
			Code int    `json:"err_code"`
			Text string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("read answer of stream %s: %w", EventsStream, err)
	}
	if answer.Error.Code != codeWrongStream {
		return fmt.Errorf("ask stream %s whether it takes events: %s (%d)", EventsStream, answer.Error.Text, answer.Error.Code)
	}
	if answer.Stream != "" && answer.Stream != EventsStream {
		return fmt.Errorf("events would go to stream %s, not to %s; %w", answer.Stream, EventsStream, errNotProvisioned)
	}
	return nil
}
