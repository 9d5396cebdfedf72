package sinks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// natsServer is a real server with its streams in files.
type natsServer struct {
	*server.Server
	opts *server.Options
}

// startNATS starts a server on a free port. It knows three users: penstock,
// whose password is headerSecret, reader, who may publish on allowed.> only, and
// other, of an account of its own.
func startNATS(t testing.TB, change func(*server.Options)) *natsServer {
	t.Helper()
	shop := server.NewAccount("shop")
	other := server.NewAccount("other")
	n := &natsServer{opts: &server.Options{
		ServerName: "shop", JetStream: true, StoreDir: t.TempDir(), Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
		MaxPayload: 2 << 20, JetStreamMaxStore: 1 << 30, JetStreamMaxMemory: 1 << 20,
		Accounts: []*server.Account{shop, other},
		Users: []*server.User{
			{Username: "penstock", Password: headerSecret, Account: shop},
			{Username: "reader", Password: querySecret, Account: shop, Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"allowed.>", "$JS.API.>"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}},
			{Username: "other", Password: headerSecret, Account: other},
		},
	}}
	if change != nil {
		change(n.opts)
	}
	n.start(t)
	n.opts.Port = n.Addr().(*net.TCPAddr).Port
	t.Cleanup(n.stop)
	return n
}

func (n *natsServer) start(t testing.TB) {
	t.Helper()
	srv, err := server.NewServer(n.opts.Clone())
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(longEnough) {
		t.Fatal("NATS server is not ready")
	}
	for _, a := range n.opts.Accounts {
		if acc, err := srv.LookupAccount(a.Name); err == nil && !acc.JetStreamEnabled() {
			if err := acc.EnableJetStream(map[string]server.JetStreamAccountLimits{"": {MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: -1}}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.Server = srv
}

func (n *natsServer) stop() {
	n.Shutdown()
	n.WaitForShutdown()
}

// as is the URL for a user with a password.
func (n *natsServer) as(user, password string) string {
	u := url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", n.opts.Port), User: url.UserPassword(user, password)}
	return u.String()
}

func (n *natsServer) client(t testing.TB) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(n.as("penstock", headerSecret), nats.Timeout(longEnough))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// stream makes a stream that takes the subjects.
func (n *natsServer) stream(t testing.TB, name string, change func(*jetstream.StreamConfig), subjects ...string) jetstream.Stream {
	t.Helper()
	_, js := n.client(t)
	c := jetstream.StreamConfig{Name: name, Subjects: subjects, Storage: jetstream.FileStorage}
	if change != nil {
		change(&c)
	}
	s, err := js.CreateStream(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// natsFixture receives by a subscription, which also sees what a stream knows
// as a duplicate.
func natsFixture() fixture {
	return fixture{
		options: func(url string) string {
			return fmt.Sprintf("url: %q\ntls: {}\nsubject: 'relay.{{.Source}}.{{.Type}}'", url)
		},
		receipts: (*receiver).elsewhere,
		serve: func(t *testing.T) (string, func(*testing.T) []receipt) {
			n := startNATS(t, nil)
			n.stream(t, "RELAY", nil, "relay.>")
			return n.as("penstock", headerSecret), subscribed(t, n)
		},
	}
}

// subscribed returns a function that returns all that was published so far.
func subscribed(t testing.TB, n *natsServer) func(*testing.T) []receipt {
	nc, _ := n.client(t)
	sub, err := nc.SubscribeSync("relay.>")
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all []receipt
	return func(t *testing.T) []receipt {
		mu.Lock()
		defer mu.Unlock()
		if err := nc.Flush(); err != nil { // what was published before has come then
			t.Fatal(err)
		}
		for {
			m, err := sub.NextMsg(time.Millisecond)
			if errors.Is(err, nats.ErrTimeout) {
				return all
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, receipt{m.Header.Get("Ce-Id"), m.Data})
		}
	}
}

func messages(t *testing.T, s jetstream.Stream) uint64 {
	t.Helper()
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
}

func TestNATSMessage(t *testing.T) {
	t.Parallel()
	n := startNATS(t, nil)
	s := n.stream(t, "SHOP", nil, "shop.>")
	sink := openSink(t, "nats", fmt.Sprintf("url: %q\nsubject: 'shop.{{.Sink}}.{{.Source}}.{{.Subject}}'\nmsg_id: '{{.ID}}'\nstream: SHOP", n.as("penstock", headerSecret)), Deps{})
	e := sampleEvent()
	e.Type, e.TraceParent = "orders/invoice paid", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if err := sink.Deliver(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != "shop.crm.clickfunnels.orders.invoice.paid" || !bytes.Equal(m.Data, e.Body) {
		t.Errorf("stored on %s: %s", m.Subject, m.Data)
	}
	want := map[string]string{
		"Nats-Msg-Id": e.ID, "Ce-Specversion": "1.0", "Ce-Id": e.ID, "Ce-Type": "orders/invoice%20paid",
		"Ce-Source": "/penstock/clickfunnels", "Ce-Time": "2026-11-23T11:34:56.789Z", "Content-Type": "application/json",
		"Penstock-Source": "clickfunnels", "Penstock-Subject": "orders.invoice.paid", "Penstock-Api-Version": "2",
		"traceparent": e.TraceParent, "Penstock-Received": "",
	}
	for name, value := range want {
		if got := m.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	p, err := sink.(Previewer).Preview(e)
	if err != nil || p.Target != "PUB "+m.Subject+" at nats://"+n.Addr().String()+" (jetstream)" || !bytes.Equal(p.Body, e.Body) {
		t.Errorf("Preview = %+v, %v", p, err)
	}
	for _, h := range p.Header {
		if got := m.Header.Get(h.Name); h.Name != nats.ExpectedStreamHdr && got != h.Value {
			t.Errorf("the preview has %s: %q, sent was %q", h.Name, h.Value, got)
		}
	}
}

func TestNATSDuplicatesAreKnown(t *testing.T) {
	t.Parallel()
	n := startNATS(t, nil)
	s := n.stream(t, "SHOP", nil, "relay.>")
	sink := openSink(t, "nats", "url: "+n.as("penstock", headerSecret), Deps{})
	e, other := sampleEvent(), sampleEvent()
	other.Source = "shop" // an id is its source's own
	for _, e := range []delivery.Attempt{{Event: e}, {Event: e}, {Event: other}, {Event: e}} {
		if err := sink.Deliver(t.Context(), e.Event); err != nil {
			t.Fatal(err)
		}
	}
	if got := messages(t, s); got != 2 {
		t.Errorf("the stream has %d messages, want 2", got)
	}
	trace := delivery.NewListeningTrace(t.Context())
	if err := sink.Deliver(trace, e); err != nil || !strings.Contains(trace.Heard().Text, "has it already, as message 1") {
		t.Errorf("Deliver = %v, answered %q", err, trace.Heard().Text)
	}
}

func TestNATSFailures(t *testing.T) {
	t.Parallel()
	n := startNATS(t, nil)
	n.stream(t, "SMALL", func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 }, "small.>")
	n.stream(t, "FULL", func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 1, jetstream.DiscardNew }, "full.>")
	n.stream(t, "ALLOWED", nil, "allowed.>")
	n.stream(t, ownStream, nil, "orders.>", "unknown.>")
	good, reader := n.as("penstock", headerSecret), n.as("reader", querySecret)
	full := openSink(t, "nats", "subject: full.x\nurl: "+good, Deps{})
	if err := full.Deliver(t.Context(), sampleEvent()); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		options string
		bytes   int
		class   delivery.Class
		text    string
	}{
		"no stream":                 {"subject: nobody.x\nurl: " + good, 10, delivery.Refused, "no stream takes this subject; make one that does, or set mode: core"},
		"another stream":            {"subject: full.y\nstream: SHOP\nurl: " + good, 10, delivery.Refused, "correct stream or subject"},
		"stream is full":            {"subject: full.y\nmsg_id: '{{.ID}}x'\nurl: " + good, 10, delivery.Failed, "the stream answered 10077: maximum messages exceeded"},
		"too large for the stream":  {"subject: small.x\nurl: " + good, 1000, delivery.Rejected, "the stream answered 10054"},
		"too large for the server":  {"subject: full.x\nurl: " + good, 3 << 20, delivery.Rejected, "the server takes 2097152"},
		"too large in core mode":    {"mode: core\nurl: " + good, 3 << 20, delivery.Rejected, "maximum payload exceeded"},
		"not permitted":             {"subject: shop.x\nurl: " + reader, 10, delivery.Refused, `the user may not publish on this subject`},
		"not permitted, core":       {"subject: shop.x\nmode: core\nurl: " + reader, 10, delivery.Refused, "allow it on the server"},
		"permitted":                 {"subject: allowed.x\nurl: " + reader, 10, "", ""},
		"wrong password":            {"url: " + n.as("penstock", pathSecret), 10, delivery.Refused, "check creds_file, nkey_file, user and password"},
		"no user":                   {"url: nats://" + n.Addr().String(), 10, delivery.Refused, "check creds_file"},
		"wrong token":               {"url: nats://" + n.Addr().String() + "\ntoken: " + headerSecret, 10, delivery.Refused, "check creds_file"},
		"JetStream of nobody":       {"url: " + n.as("other", headerSecret), 10, delivery.Refused, "no stream takes this subject"},
		"our own stream":            {"subject: orders.invoice.paid\nurl: " + good, 10, delivery.Ours, "belongs to Penstock's own stream of events on this server"},
		"our own stream, core":      {"subject: 'unknown.{{.ID}}'\nmode: core\nurl: " + good, 10, delivery.Ours, "set subject to another"},
		"nobody listens":            {"url: nats://127.0.0.1:1", 10, delivery.Failed, "connection refused"},
		"no such host":              {"url: nats://nats.invalid", 10, delivery.Network, "look up the host"},
		"metadata address":          {"url: nats://a.nip.invalid,nats://127.0.0.1:1", 10, "*", ""},
		"not TLS":                   {"url: " + strings.Replace(good, "nats:", "tls:", 1), 10, delivery.Network, "TLS: secure connection not available; use tls:// in url, or set tls"},
		"no creds file":             {"creds_file: none.creds\nurl: nats://" + n.Addr().String(), 10, delivery.Refused, "none.creds"},
		"no nkey file":              {"nkey_file: none.nk\nurl: nats://" + n.Addr().String(), 10, delivery.Refused, "none.nk"},
		"no CA file":                {"tls: {ca_file: none.pem}\nurl: nats://" + n.Addr().String(), 10, delivery.Refused, "none.pem"},
		"a template that goes wild": {"subject: 'a.{{slice .ID 0 1}}{{slice .Type 99}}'\nurl: " + good, 10, "load", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.class == "load" {
				if Check(sinkConfig(t, "nats", tt.options)) == nil {
					t.Error("Check = nil")
				}
				return
			}
			e := sampleEvent()
			e.Body = bytes.Repeat([]byte("x"), tt.bytes)
			err := openSink(t, "nats", tt.options, Deps{}).Deliver(within(t, longEnough), e)
			if tt.class == "*" {
				tt.class = delivery.ClassOf(err)
			}
			checkFailure(t, err, tt.class, tt.text)
		})
	}
}

// A server that holds its answers back is one that has not answered in time.
func TestNATSNoAnswerInTime(t *testing.T) {
	t.Parallel()
	n := startNATS(t, nil)
	nc, _ := n.client(t)
	if _, err := nc.SubscribeSync("relay.>"); err != nil { // there is somebody, who says nothing
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	n.stream(t, "READY", nil, "ready.>")
	sink := openSink(t, "nats", "url: "+n.as("penstock", headerSecret)+"\nsubject: '{{.Source}}.{{.Subject}}'", Deps{})
	e := sampleEvent()
	e.Source = "ready"
	if err := sink.Deliver(t.Context(), e); err != nil { // connects
		t.Fatal(err)
	}
	e.Source = "relay"
	err := sink.Deliver(within(t, time.Second), e)
	checkFailure(t, err, delivery.Failed, "no answer within ")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Deliver = %v, want context.DeadlineExceeded in it", err)
	}
}

func TestNATSCoreMode(t *testing.T) {
	t.Parallel()
	n := startNATS(t, nil)
	arrived := subscribed(t, n)
	sink := openSink(t, "nats", "mode: core\nurl: "+n.as("penstock", headerSecret), Deps{})
	trace := delivery.NewListeningTrace(t.Context())
	if err := sink.Deliver(trace, sampleEvent()); err != nil {
		t.Fatal(err)
	}
	if got := arrived(t); len(got) != 1 || got[0].id != sampleEvent().ID {
		t.Errorf("arrived: %q", got)
	}
	if tm := trace.Timings(); trace.Heard().Text != "the server has it" || tm.Connect == 0 || tm.FirstByte == 0 {
		t.Errorf("heard %+v, timings %+v", trace.Heard(), tm)
	}
}

// Of many messages at once, exactly those of a refused subject fail.
func TestNATSCoreRefusalsUnderLoad(t *testing.T) {
	t.Parallel()
	n := startNATS(t, nil)
	sink := openSink(t, "nats", "mode: core\nsubject: '{{.Source}}.x'\nurl: "+n.as("reader", querySecret), Deps{})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 25 {
				e := sampleEvent()
				want := delivery.Class("")
				if e.Source = "allowed"; i%2 == 0 {
					e.Source, want = fmt.Sprint("denied-", i), delivery.Refused
				}
				if err := sink.Deliver(t.Context(), e); delivery.ClassOf(err) != want {
					t.Errorf("Deliver on %s.x = %v, want class %q", e.Source, err, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestNATSServerRestarts(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{modeJetStream, modeCore} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			n := startNATS(t, nil)
			n.stream(t, "RELAY", nil, "relay.>")
			logger, logged := quiet()
			sink := openSink(t, "nats", "mode: "+mode+"\nurl: "+n.as("penstock", headerSecret), Deps{Logger: logger})
			if err := sink.Deliver(t.Context(), sampleEvent()); err != nil {
				t.Fatal(err)
			}
			n.stop()
			// Nothing is kept for later: an attempt fails, soon and every time.
			for range 3 {
				checkFailure(t, sink.Deliver(within(t, longEnough), sampleEvent()), delivery.Failed, "connect")
			}
			eventuallyT(t, "the server's port is nobody else's", func() bool {
				l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n.opts.Port))
				return err == nil && l.Close() == nil
			})
			n.start(t)
			e := sampleEvent()
			e.ID = "after"
			for deadline := time.Now().Add(longEnough); ; {
				err := sink.Deliver(t.Context(), e)
				if err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("no delivery after the restart: %v", err)
				}
			}
			_, js := n.client(t)
			s, err := js.Stream(t.Context(), "RELAY")
			if err != nil || messages(t, s) != 2 {
				t.Errorf("the stream has %d messages, %v; want 2", messages(t, s), err)
			}
			checkNoSecret(t, "log", logged.String())
		})
	}
}

func TestNATSLogins(t *testing.T) {
	t.Parallel()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	file := filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	keyed := startNATS(t, func(o *server.Options) {
		o.Nkeys = []*server.NkeyUser{{Nkey: public, Account: o.Accounts[0]}}
	})
	tokened := startNATS(t, func(o *server.Options) {
		o.Accounts, o.Users, o.Authorization = nil, nil, headerSecret
	})
	for name, options := range map[string]string{
		"nkey file":         "nkey_file: " + file + "\nurl: nats://" + keyed.Addr().String(),
		"user and password": "user: penstock\npassword: " + headerSecret + "\nurl: nats://" + keyed.Addr().String(),
		"another account":   "user: other\npassword: " + headerSecret + "\nurl: nats://" + keyed.Addr().String(),
		"token":             "token: " + headerSecret + "\nurl: nats://" + tokened.Addr().String(),
		"several servers":   fmt.Sprintf("url: 'nats://127.0.0.1:1, nats://penstock:%s@%s'", url.PathEscape(headerSecret), keyed.Addr()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := openSink(t, "nats", "mode: core\n"+options, Deps{}).Deliver(t.Context(), sampleEvent()); err != nil {
				t.Errorf("Deliver: %v", err)
			}
		})
	}
}

func TestNATSOptions(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"mode: core":                                       "penstock.yaml:1:1: has no url; add url: ...",
		"url: http://x":                                    "penstock.yaml:1:6: url: needs URLs of NATS servers; write nats://host:4222 or tls://host:4222; several are separated by commas",
		"url: nats://169.254.169.254":                      "penstock.yaml:1:6: url: points to an address that is never dialled; name a server of yours",
		"url: nats://u:p@x\ntoken: t":                      "penstock.yaml:2:8: token: url also holds a user or token; keep one of them",
		"url: nats://x\ncreds_file: a\nnkey_file: b":       "penstock.yaml:3:12: nkey_file: creds_file is also set; keep one of them",
		"url: nats://x\npassword: p":                       "penstock.yaml:2:11: password: belongs to no user; add user",
		"url: nats://x\nmode: core\nstream: S":             "penstock.yaml:3:9: stream: has no meaning with mode: core, which waits for no stream; remove it, or mode",
		"url: nats://x\nmode: fast":                        `penstock.yaml:2:7: mode: must be one of jetstream, core, got "fast"`,
		"url: nats://x\ntls: {cert_file: c}":               "penstock.yaml:2:6: tls: has only one of cert_file and key_file; set both or neither",
		"url: nats://x\nsubject: penstock.dead.x":          "penstock.yaml:2:10: subject: penstock.> is Penstock's own; write a prefix of your own, as in relay.{{.Subject}}",
		"url: nats://x\nsubject: $JS.API.x":                "penstock.yaml:2:10: subject: $JS.> is the server's own; write a prefix of your own, as in relay.{{.Subject}}",
		"url: nats://x\nsubject: a..b":                     "penstock.yaml:2:10: subject: has an empty word; write a prefix of your own, as in relay.{{.Subject}}",
		"url: nats://x\nsubject: a.>":                      `penstock.yaml:2:10: subject: has '>', which no subject may have; write a prefix of your own, as in relay.{{.Subject}}`,
		"url: nats://x\nsubject: '{{.Sbject}}'":            "penstock.yaml:2:10: subject: is not a template that works: can't evaluate field Sbject in type sinks.natsFields; the fields are .Subject, .Type, .Source, .ID, .APIVersion and .Sink",
		"url: nats://x\nmsg_id: '{{.ID'":                   "penstock.yaml:2:9: msg_id: is not a template that works: unclosed action; the fields are .Subject, .Type, .Source, .ID, .APIVersion and .Sink",
		"url: nats://x\nsubject: 'shop.{{.Type}}.{{.ID}}'": "",
	} {
		if got := Check(sinkConfig(t, "nats", options)).Error(); got != want {
			t.Errorf("Check of %q:\n got %s\nwant %s", options, got, want)
		}
	}
}

func TestSubjectsOfAnyValues(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"orders":  "orders",
		"a.b c*>": "a~2Eb~20c~2A~3E",
		"":        "none",
		"ü":       "~C3~BC",
	} {
		if got := subjectToken(in); got != want {
			t.Errorf("subjectToken(%q) = %q, want %q", in, got, want)
		}
	}
	long := strings.Repeat("é", 100)
	if a, b := subjectToken(long), subjectToken(long+"a"); a == b || len(a) > maxNATSToken || !strings.HasPrefix(a, "sha256-") {
		t.Errorf("long values became %q and %q, want hashes that differ", a, b)
	}
}

func TestPatternsCoverSubjects(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, subject string
		want             bool
	}{
		{"orders", "orders", true},
		{"orders", "orders.x", false},
		{"orders.>", "orders", false},
		{"orders.>", "orders.a.b", true},
		{"*.paid", "orders.paid", true},
		{"*.paid", "orders.a.paid", false},
		{"orders.*", "orders", false},
	} {
		if got := covers(tt.pattern, tt.subject); got != tt.want {
			t.Errorf("covers(%q, %q) = %t", tt.pattern, tt.subject, got)
		}
	}
}

// A template of names alone is joined, and says what the engine would.
func TestNATSTemplatesAreJoinedAsTheEngineWould(t *testing.T) {
	t.Parallel()
	for text, joined := range map[string]bool{
		"relay.{{.Subject}}":                           true,
		"{{.Sink}}:{{.Source}}:{{.ID}}":                true,
		"a.{{ .Type -}} .v{{.APIVersion}}":             true,
		"fixed":                                        true,
		"{{printf \"%s\" .ID}}":                        false,
		"{{if eq .Source \"x\"}}x{{else}}y{{end}}.all": false,
		"{{.ID | len}}":                                false,
		"{{$x := .ID}}{{$x}}":                          false,
	} {
		fields := rawFields(&sampleFields, "crm")
		tmpl, ms := newNATSTemplate(config.Node{}, "subject", text, fields)
		if len(ms) > 0 {
			t.Fatal(ms)
		}
		got, err := tmpl.render(fields)
		var want strings.Builder
		if err := tmpl.full.Execute(&want, fields); err != nil {
			t.Fatal(err)
		}
		if err != nil || got != want.String() || (tmpl.parts != nil) != joined {
			t.Errorf("%s: rendered %q (joined: %t), %v; want %q (joined: %t)", text, got, tmpl.parts != nil, err, want.String(), joined)
		}
	}
}
