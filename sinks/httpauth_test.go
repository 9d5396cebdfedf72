package sinks

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/delivery"
)

// tokenServer gives out tokens token-secret-1, token-secret-2 and so on.
type tokenServer struct {
	*receiver
	n      atomic.Int64
	status atomic.Int64 // of the answers; 0: 200
	expiry int
}

func newTokenServer(t *testing.T, expiry int) *tokenServer {
	t.Helper()
	s := &tokenServer{expiry: expiry}
	s.receiver = newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		n := s.n.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "7")
		if status := int(s.status.Load()); status != 0 {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"error":"invalid_client","error_description":"not %s"}`, headerSecret)
			return
		}
		answer := map[string]any{"access_token": fmt.Sprint("token-secret-", n), "token_type": "Bearer"}
		if s.expiry > 0 {
			answer["expires_in"] = s.expiry
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	return s
}

func (s *tokenServer) auth(more string) string {
	return fmt.Sprintf("auth: {oauth2: {token_url: %s/token, client_id: me, client_secret: %q%s}}\n", s.URL, headerSecret, more)
}

func TestStaticAuthorization(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"basic: {username: me, password: 'p:w'}": "Basic " + base64Of("me:p:w"),
		"bearer: {token: abc}":                   "Bearer abc",
	} {
		r := newReceiver(t, nil)
		if err := openSink(t, "http", "url: "+r.URL+"\nauth: {"+options+"}", Deps{}).Deliver(t.Context(), sampleEvent()); err != nil {
			t.Fatalf("Deliver: %v", err)
		}
		if got := r.lastHeader(t).Get("Authorization"); got != want {
			t.Errorf("with %s Authorization is %q, want %q", options, got, want)
		}
	}
}

// TestOneTokenForAll has many attempts begin without a token.
func TestOneTokenForAll(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		expiry int
		want   int64
	}{"lives long": {3600, 1}, "never expires": {0, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ids, r := newTokenServer(t, tt.expiry), newReceiver(t, nil)
			s := openSink(t, "http", ids.auth(", scopes: [a, b], audience: crm, params: {x: y}")+"url: "+r.URL, Deps{})
			deliverMany(t, s, 32, "")
			if got := ids.n.Load(); got != tt.want {
				t.Errorf("%d requests for a token, want %d", got, tt.want)
			}
			if got := r.lastHeader(t).Get("Authorization"); got != "Bearer token-secret-1" {
				t.Errorf("Authorization is %q", got)
			}
			want := "audience=crm&grant_type=client_credentials&scope=a+b&x=y"
			if got := string(ids.bodies[0]); got != want {
				t.Errorf("asked for a token with %q, want %q", got, want)
			}
			if user, _, ok := ids.requests[0].BasicAuth(); !ok || user != "me" {
				t.Errorf("asked for a token as %q, want basic credentials of me", user)
			}
		})
	}
}

func deliverMany(t *testing.T, s Sink, n int, class delivery.Class) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := s.Deliver(t.Context(), sampleEvent()); delivery.ClassOf(err) != class {
				t.Errorf("Deliver = %v, class %q, want %q", err, delivery.ClassOf(err), class)
			}
		})
	}
	wg.Wait()
}

func TestExpiredTokenIsReplaced(t *testing.T) {
	t.Parallel()
	// oauth2 counts a token as expired ten seconds early.
	ids, r := newTokenServer(t, 5), newReceiver(t, nil)
	s := openSink(t, "http", ids.auth(", send_credentials: body")+"url: "+r.URL, Deps{})
	for range 3 {
		if err := s.Deliver(t.Context(), sampleEvent()); err != nil {
			t.Fatalf("Deliver: %v", err)
		}
	}
	if got := r.lastHeader(t).Get("Authorization"); got != "Bearer token-secret-3" {
		t.Errorf("Authorization is %q, want the third token", got)
	}
	if !strings.Contains(string(ids.bodies[0]), "client_id=me&client_secret=") {
		t.Errorf("asked for a token with %q, want the credentials in it", ids.bodies[0])
	}
}

// TestTokenThatIsNotAccepted revokes the first token: every attempt gets
// through with the second, which is fetched once.
func TestTokenThatIsNotAccepted(t *testing.T) {
	t.Parallel()
	ids := newTokenServer(t, 3600)
	r := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer token-secret-1" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	s := openSink(t, "http", ids.auth("")+"url: "+r.URL, Deps{})
	deliverMany(t, s, 32, "")
	if got := ids.n.Load(); got != 2 {
		t.Errorf("%d requests for a token, want 2", got)
	}
}

// TestReceiverThatAcceptsNoToken is not a reason to ask for tokens all the time.
func TestReceiverThatAcceptsNoToken(t *testing.T) {
	t.Parallel()
	ids := newTokenServer(t, 3600)
	r := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprint(w, "not ", r.Header.Get("Authorization"))
	})
	s := openSink(t, "http", ids.auth("")+"url: "+r.URL, Deps{})
	for range 5 {
		err := s.Deliver(t.Context(), sampleEvent())
		checkFailure(t, err, delivery.Refused, "answered 401")
		if text := fmt.Sprintf("%v %s", err, err.(*delivery.Error).Response); strings.Contains(text, "token-secret") {
			t.Errorf("the error holds the token: %s", text)
		}
	}
	if tokens, posts := ids.n.Load(), len(r.posted(t)); tokens != 2 || posts != 6 {
		t.Errorf("%d requests for a token and %d posts for 5 attempts, want 2 and 6", tokens, posts)
	}
}

func TestTokenFailures(t *testing.T) {
	t.Parallel()
	closed := newTokenServer(t, 0)
	closed.Close()
	closed.URL = "http://127.0.0.1:1" // its port may be another test's by now
	for name, tt := range map[string]struct {
		status int64
		class  delivery.Class
		wait   time.Duration
		text   string
	}{
		"wrong credentials": {401, delivery.Refused, 0, "answered 401 Unauthorized: invalid_client"},
		"bad request":       {400, delivery.Refused, 0, "answered 400 Bad Request: invalid_client"},
		"moved":             {302, delivery.Refused, 0, "answered 302"},
		"in trouble":        {503, delivery.Failed, 7 * time.Second, "answered 503"},
		"too many":          {429, delivery.Throttled, 7 * time.Second, "answered 429"},
		"nobody listens":    {0, delivery.Failed, 0, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ids, r := closed, newReceiver(t, nil)
			if tt.status != 0 {
				ids = newTokenServer(t, 0)
				ids.status.Store(tt.status)
			}
			s := openSink(t, "http", ids.auth("")+"url: "+r.URL, Deps{})
			err := s.Deliver(within(t, longEnough), sampleEvent())
			checkFailure(t, err, tt.class, "fetch a token from "+strings.TrimPrefix(ids.URL, "http://"))
			checkFailure(t, err, tt.class, tt.text)
			if got := err.(*delivery.Error).RetryAfter; got != tt.wait {
				t.Errorf("RetryAfter is %s, want %s", got, tt.wait)
			}
			if len(r.posted(t)) != 0 {
				t.Error("the event was sent without a token")
			}
		})
	}
}

// TestTokensComeByTheSamePath fetches tokens from a server with the receiver's
// authority and another name, at an address that an event could not choose.
func TestTokensComeByTheSamePath(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	files := ours.write(t, t.TempDir(), "client")
	ids := mutual(t, ours, ours, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"access_token":"token-secret-1"}`)
	})
	r := mutual(t, ours, ours, nil, nil)
	s := openSink(t, "http", "url: "+r.URL+"\ntls: {server_name: crm.internal, ca_file: "+files.ca+", cert_file: "+files.cert+", key_file: "+files.key+"}\n"+
		"auth: {oauth2: {token_url: "+ids.URL+", client_id: me, client_secret: x}}", Deps{})
	if err := s.Deliver(within(t, longEnough), sampleEvent()); err != nil {
		t.Fatalf("Deliver: %v", err)
	}
	if got := r.lastHeader(t).Get("Authorization"); got != "Bearer token-secret-1" {
		t.Errorf("Authorization is %q", got)
	}
	guarded := openSink(t, "http", "url: https://{{.Type}}/\nallowed_hosts: [127.0.0.1]\ntls: {ca_file: "+files.ca+", cert_file: "+files.cert+", key_file: "+files.key+"}\n"+
		"auth: {oauth2: {token_url: "+ids.URL+", client_id: me, client_secret: x}}", Deps{})
	e := sampleEvent()
	e.Type = "127.0.0.1"
	checkFailure(t, guarded.Deliver(within(t, longEnough), e), delivery.Refused, "POST 127.0.0.1: 127.0.0.1 is not a public address")
}

// TestTokenStorm has many attempts wait for a token server that then fails:
// they share its failure.
func TestTokenStorm(t *testing.T) {
	t.Parallel()
	const attempts = 32
	var asked atomic.Int64
	first, release := make(chan struct{}, attempts), make(chan struct{})
	ids := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		first <- struct{}{}
		<-release
		w.WriteHeader(http.StatusInternalServerError)
	})
	s := openSink(t, "http", fmt.Sprintf("auth: {oauth2: {token_url: %s, client_id: me, client_secret: x}}\nurl: %s", ids.URL, ids.URL), Deps{}).(*httpSink)
	var wg sync.WaitGroup
	before := s.tokens.latest.Load()
	wg.Go(func() { _ = s.Deliver(t.Context(), sampleEvent()) })
	<-first
	waiting := make(chan struct{}, attempts)
	for range attempts {
		wg.Go(func() {
			waiting <- struct{}{}
			_, err := s.tokens.get(t.Context(), nil)
			if err == nil {
				t.Error("get has a token of a server that gives none")
			}
		})
	}
	for range attempts {
		<-waiting
	}
	if s.tokens.latest.Load() != before {
		t.Fatal("the first request has ended too early for this test")
	}
	close(release)
	wg.Wait()
	// One more for every second that this machine took for it.
	if got := asked.Load(); got > attempts/4 {
		t.Errorf("%d requests for a token of %d attempts, want one", got, attempts)
	}
}
