package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/router"
	"github.com/penstock/penstock/sinks"
)

// RoleProvisioner is the role for which a configuration is loaded that is only
// to be provisioned: nothing of its sources and sinks needs to be resolved.
const RoleProvisioner = broker.RoleProvisioner

// RoleBackup is the role of the NATS user that saves and restores streams.
const RoleBackup = broker.RoleBackup

// errEmbedded is returned when there is no NATS to provision.
var errEmbedded = errors.New("broker.url is not set: the queue runs inside `penstock serve`, which makes all it needs by itself")

// ProvisionOptions are the credentials with which to provision, instead of
// those that the configuration gives to the running roles.
type ProvisionOptions struct {
	CredsFile, NKeyFile string
	// Role is the NATS user's: RoleProvisioner, or RoleBackup, which may do as
	// much; empty: RoleProvisioner.
	Role   string
	Logger *slog.Logger
}

// Provision makes or updates every stream and every sink's queues that c needs
// on its external NATS, and returns what it changed. Events that are stored and
// the positions of queues stay. It may run while Penstock does.
func Provision(ctx context.Context, c *config.Config, o ProvisionOptions) (changes []string, err error) {
	if c.Broker.URL == "" {
		return nil, errEmbedded
	}
	if o.CredsFile != "" || o.NKeyFile != "" {
		c.Broker.CredsFile, c.Broker.NKeyFile = o.CredsFile, o.NKeyFile
	}
	rt, err := router.New(router.Options{Config: c, Sinks: unopened(c)})
	if err != nil {
		return nil, err
	}
	a := unbuilt(c, Options{Roles: []string{cmp.Or(o.Role, RoleProvisioner)}}, o.Logger)
	b := broker.New(a.brokerOptions(clickfunnels.NewCatalog()))
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := b.Open(ctx); err != nil {
		return nil, err
	}
	a.broker = b
	err = newRouting(b, rt, true, func([]string) {}, a.log).open(ctx, c, func() error {
		var subs []delivery.Subscription
		for _, w := range rt.Workers() {
			subs = append(subs, rt.Subscription(w))
		}
		return b.Prepare(ctx, subs)
	})
	return b.Changes(), err
}

// WriteNATSUsers writes the users of c's NATS server, with a key for each role,
// into a folder, and returns the names of the keys it made; others stay.
func WriteNATSUsers(c *config.Config, dir string) (made []string, err error) {
	return unbuilt(c, Options{}, nil).brokerOptions(clickfunnels.NewCatalog()).WriteUsers(dir)
}

// unopened stand for the sinks of a configuration where nothing is delivered.
func unopened(c *config.Config) map[string]sinks.Sink {
	out := map[string]sinks.Sink{}
	for _, s := range c.Sinks {
		out[s.Name] = unopenedSink{sinks.BatchingOf(s)}
	}
	return out
}

type unopenedSink struct{ batching sinks.Batching }

var errUnopened = errors.New("nothing is delivered here")

// Batching implements sinks.BatchSink.
func (s unopenedSink) Batching() sinks.Batching { return s.batching }

// Deliver implements sinks.Sink.
func (unopenedSink) Deliver(context.Context, event.Event) error { return errUnopened }

// DeliverBatch implements sinks.BatchSink.
func (unopenedSink) DeliverBatch(_ context.Context, events []event.Event) []error {
	return slices.Repeat([]error{errUnopened}, len(events))
}

// NATSRights are what the NATS user of a role may do under c; see
// broker.PermissionRoles.
func NATSRights(c *config.Config, role string) (broker.Rights, error) {
	return unbuilt(c, Options{}, nil).brokerOptions(clickfunnels.NewCatalog()).RoleRights(role)
}
