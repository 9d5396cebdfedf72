package broker

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// guardedServer starts a NATS server with a user for each role, named like it,
// who may do what Permissions says, as change leaves it. It returns options
// for a broker with one role's credentials.
func guardedServer(t *testing.T, change func(role string, r *Rights)) func(roles ...string) Options {
	t.Helper()
	base := testOptions(t, "")
	base.patience = patience
	srv := &server.Options{
		JetStream: true, StoreDir: t.TempDir(), Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
		MaxPayload: 2 << 20, JetStreamMaxStore: 16 << 30,
	}
	for _, role := range PermissionRoles() {
		r, err := base.RoleRights(role)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(role, &r)
		}
		srv.Users = append(srv.Users, &server.User{Username: role, Password: "pw", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: subjects(r.Publish), Deny: subjects(r.Deny)},
			Subscribe: &server.SubjectPermission{Allow: subjects(r.Subscribe)},
		}})
	}
	url := startServer(t, srv)
	return func(roles ...string) Options {
		o := base
		o.Roles = roles
		o.Config.URL = strings.Replace(url, "nats://", "nats://"+roles[0]+":pw@", 1)
		return o
	}
}

func startServer(t *testing.T, o *server.Options) (url string) {
	t.Helper()
	return newServer(t, o).ClientURL()
}

func newServer(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("external NATS server is not ready")
	}
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return srv
}

// provisioned opens a broker as the provisioner and prepares the queue of crm.
func provisioned(t *testing.T, o Options) *Broker {
	t.Helper()
	b := open(t, o)
	if err := b.Prepare(t.Context(), []delivery.Subscription{subscription(">")}); err != nil {
		t.Fatal(err)
	}
	return b
}

// Each role does all its work with its own rights.
func TestRolesWorkWithLeastRights(t *testing.T) {
	t.Parallel()
	as := guardedServer(t, nil)
	p := provisioned(t, as(RoleProvisioner))
	want := []string{
		"made stream PENSTOCK_EVENTS", "made stream PENSTOCK_RETRY", "made stream PENSTOCK_DEAD",
		"made stream PENSTOCK_REJECTED", "made stream PENSTOCK_JOBS", "made stream PENSTOCK_ATTEMPTS", "made stream PENSTOCK_AUDIT",
		"made consumer sink-crm on stream PENSTOCK_EVENTS", "made consumer retry-crm on stream PENSTOCK_RETRY",
	}
	if got := p.Changes(); !slices.Equal(got, want) {
		t.Errorf("Changes = %q, want %q", got, want)
	}
	ingress, router, console := open(t, as(config.RoleIngress)), open(t, as(config.RoleRouter)), open(t, as(config.RoleConsole))
	if err := router.Prepare(t.Context(), []delivery.Subscription{subscription(">")}); err != nil {
		t.Fatalf("prepare what is provisioned: %v", err)
	}
	if got := router.Changes(); len(got) > 0 {
		t.Errorf("the router changed %q", got)
	}
	h := &handler{judge: func(a delivery.Attempt) delivery.Verdict {
		if a.Attempts == 0 {
			return delivery.Verdict{Action: delivery.Again, Spent: true, Class: delivery.Failed, Reason: "not now"}
		}
		return delivery.Verdict{Action: delivery.Bury, Spent: true, Class: delivery.Rejected, Reason: "never"}
	}}
	consume(t, router, subscription(">"), h)
	publishAll(t, ingress, 1, 2)
	var letters []delivery.DeadLetter
	eventually(t, "two dead letters", func() bool {
		var err error
		if letters, _, err = console.DeadLetters(t.Context(), delivery.DeadFilter{Limit: 10}); err != nil {
			t.Fatal(err)
		}
		return len(letters) == 2
	})
	if _, err := console.RetryDead(t.Context(), letters[0].Seq); err != nil {
		t.Errorf("retry a dead letter: %v", err)
	}
	if _, err := console.DropDead(t.Context(), letters[1].Seq); err != nil {
		t.Errorf("drop a dead letter: %v", err)
	}
	enough := errors.New("enough")
	if err := console.FollowEvents(t.Context(), Follow{}, func(StoredEvent) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("follow events: %v", err)
	}
	stop := recording(t, router)
	router.Record(testRecord(1, "crm"))
	recorded(t, router)
	stop()
	if err := console.FollowRecords(t.Context(), Follow{}, func(RecordBatch) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("follow records: %v", err)
	}
	if err := console.SaveChange(t.Context(), delivery.Change{ID: "one", Action: "drop dead letter"}); err != nil {
		t.Errorf("record a change: %v", err)
	}
	if got, _, err := console.AuditedChanges(t.Context(), delivery.ChangeFilter{Limit: 10}); err != nil || len(got) != 1 {
		t.Errorf("read changes: %v, %v", got, err)
	}
	if _, err := console.Stats(t.Context()); err != nil {
		t.Errorf("statistics: %v", err)
	}
	eventually(t, "events settled", func() bool { tidy(t, router, time.Now().Add(2*time.Hour)); return firstSeq(t, console) == 3 })
}

// A start without what it needs says what is missing and what makes it.
func TestStartNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	without := func(role, subject string) func(string, *Rights) {
		return func(r string, rights *Rights) {
			if r == role {
				drop := func(x Right) bool { return x.Subject == subject }
				rights.Publish = slices.DeleteFunc(rights.Publish, drop)
			}
		}
	}
	for name, tt := range map[string]struct {
		role      string
		change    func(string, *Rights)
		provision bool
		config    func(*Options)
		want      []string
	}{
		"an ingress before provisioning": {role: config.RoleIngress, config: func(o *Options) { o.patience = 5 * time.Second }, // it waits for a stream to be made
			want: []string{"PENSTOCK_EVENTS", "no responders", "`penstock provision`"}},
		"a router before provisioning": {role: config.RoleRouter,
			want: []string{"stream PENSTOCK_EVENTS does not exist", "$JS.API.STREAM.CREATE.PENSTOCK_EVENTS", "`penstock provision`"}},
		"a router with larger streams": {role: config.RoleRouter, provision: true, config: func(o *Options) { o.Config.MaxBytes *= 2 },
			want: []string{"stream PENSTOCK_EVENTS differs from the configuration in bytes", "$JS.API.STREAM.UPDATE.PENSTOCK_EVENTS", "`penstock provision`"}},
		"a router that may not bury": {role: config.RoleRouter, provision: true, change: without(config.RoleRouter, "penstock.dead.>"),
			want: []string{"role router lacks permissions", "publish to penstock.dead.> (store dead letters)", "--print-permissions router"}},
		"a router that may not purge or fetch": {role: config.RoleRouter, provision: true, change: func(role string, r *Rights) {
			without(config.RoleRouter, "$JS.API.STREAM.PURGE.PENSTOCK_EVENTS")(role, r)
			without(config.RoleRouter, "$JS.API.CONSUMER.MSG.NEXT.PENSTOCK_EVENTS.sink-crm")(role, r)
		}, want: []string{"$JS.API.STREAM.PURGE.PENSTOCK_EVENTS (purge", "$JS.API.CONSUMER.MSG.NEXT.PENSTOCK_EVENTS.sink-crm (fetch"}},
		"a console that hears no answers": {role: config.RoleConsole, change: func(role string, r *Rights) { r.Subscribe = inbox("of-somebody-else") },
			want: []string{"subscribe to _INBOX_console.> (receive answers)"}},
		"an ingress that may not store": {role: config.RoleIngress, provision: true, change: without(config.RoleIngress, "unknown.>"),
			want: []string{"role ingress lacks permissions", "publish to unknown.> (store events)"}},
		"an ingress with large bodies": {role: config.RoleIngress, provision: true, config: func(o *Options) { o.MaxBody = 8 << 20 },
			want: []string{"server.max_body 8388608", "raise max_payload"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			as := guardedServer(t, tt.change)
			if tt.provision {
				provisioned(t, as(RoleProvisioner))
			}
			o := as(tt.role)
			if tt.config != nil {
				tt.config(&o)
			}
			b := New(o)
			defer b.Close()
			err := b.Open(t.Context())
			if err == nil {
				t.Fatal("Open succeeds")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Open = %v\nwant it to say %q", err, want)
				}
			}
		})
	}
}

func TestMissingQueueIsNamed(t *testing.T) {
	t.Parallel()
	as := guardedServer(t, nil)
	provisioned(t, as(RoleProvisioner))
	b := open(t, as(config.RoleRouter))
	err := b.Prepare(t.Context(), []delivery.Subscription{subscription("order.>")})
	if err == nil || !strings.Contains(err.Error(), "consumer sink-crm on stream PENSTOCK_EVENTS differs") || !strings.Contains(err.Error(), "`penstock provision`") {
		t.Errorf("Prepare with other filters = %v", err)
	}
}

// Replicas that start at once, on an empty server and with every right, agree.
func TestReplicasProvisionTogether(t *testing.T) {
	t.Parallel()
	url := externalServer(t)
	o := testOptions(t, "")
	o.Config.URL, o.Sinks = url, []string{"crm", "lake"}
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() {
			b := New(o)
			defer b.Close()
			err := b.Open(t.Context())
			if err == nil {
				err = b.Prepare(t.Context(), []delivery.Subscription{subscription(">"), {Sink: "lake", Filters: []string{"order.>"}}})
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	b := open(t, o)
	for _, sink := range o.Sinks {
		c, err := b.admin.js.Consumer(t.Context(), EventsStream, sinkConsumerPrefix+sink)
		if err != nil || c.CachedInfo().Config.OptStartSeq != 1 {
			t.Errorf("queue of %s: %v", sink, err)
		}
	}
}

// A record that another process's update undid is made again.
func TestLostRecordIsCorrected(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	publishAll(t, b, 1, 4)
	late := delivery.Subscription{Sink: "late", Filters: []string{">"}}
	if err := b.Prepare(t.Context(), []delivery.Subscription{late}); err != nil {
		t.Fatal(err)
	}
	for name, undo := range map[string]func(map[string]string){
		"gone":  func(m map[string]string) { delete(m, startKeyPrefix+"late") },
		"later": func(m map[string]string) { m[startKeyPrefix+"late"] = "9" },
	} {
		s, err := b.admin.js.Stream(t.Context(), EventsStream)
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		undo(cfg.Metadata)
		if _, err := b.admin.js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if err := b.Prepare(t.Context(), []delivery.Subscription{late}); err != nil {
			t.Fatal(err)
		}
		info, err := s.Info(t.Context())
		if err != nil || info.Config.Metadata[startKeyPrefix+"late"] != "5" {
			t.Errorf("record %s: now %q, %v; want 5", name, info.Config.Metadata[startKeyPrefix+"late"], err)
		}
	}
}

// What one replica scheduled and another settled, the first no longer counts.
func TestRetriesAreCountedAcrossReplicas(t *testing.T) {
	t.Parallel()
	o := testOptions(t, "")
	o.Config.URL = externalServer(t)
	a, b := open(t, o), open(t, o)
	later := func(a delivery.Attempt) delivery.Verdict {
		if a.Attempts > 0 {
			return delivery.Verdict{} // left to the other
		}
		return delivery.Verdict{Action: delivery.Again, Spent: true, Delay: 300 * time.Millisecond, Class: delivery.Failed, Reason: "not now"}
	}
	stop := consume(t, a, subscription(">"), &handler{judge: later})
	publishAll(t, a, 1, 3)
	eventually(t, "three retries wait", func() bool { return a.Outstanding("crm") == 3 })
	stop()
	h := &handler{judge: done}
	consume(t, b, subscription(">"), h)
	eventually(t, "the other settles them", func() bool { return len(h.attempts()) >= 3 && b.Outstanding("crm") == 0 })
	eventually(t, "the first counts none", func() bool {
		if err := a.countRetries(t.Context(), "crm"); err != nil {
			t.Fatal(err)
		}
		return a.Outstanding("crm") == 0
	})
}

// The printed permissions are what a NATS server understands.
func TestSnippetIsNATSConfiguration(t *testing.T) {
	t.Parallel()
	o := testOptions(t, "")
	for _, role := range PermissionRoles() {
		r, err := o.RoleRights(role)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "nats.conf")
		if err := os.WriteFile(path, []byte("authorization {users: [{user: u, password: p, "+r.Snippet()+"}]}"), 0o600); err != nil {
			t.Fatal(err)
		}
		conf, err := server.ProcessConfigFile(path)
		if err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		p := conf.Users[0].Permissions
		if !slices.Equal(p.Publish.Allow, subjects(r.Publish)) || !slices.Equal(p.Publish.Deny, subjects(r.Deny)) || !slices.Equal(p.Subscribe.Allow, subjects(r.Subscribe)) {
			t.Errorf("%s: the server reads %+v", role, p)
		}
	}
}
