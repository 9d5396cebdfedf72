package console

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// trail is an audit log in memory.
type trail struct {
	mu    sync.Mutex
	saved []delivery.Change // every record, those that were replaced too
	fail  error
}

func (l *trail) SaveChange(_ context.Context, c delivery.Change) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	c.Seq = uint64(len(l.saved) + 1)
	l.saved = append(l.saved, c)
	return nil
}

func (l *trail) AuditedChanges(_ context.Context, f delivery.ChangeFilter) ([]delivery.Change, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := map[string]bool{}
	var out []delivery.Change
	for _, c := range slices.Backward(l.saved) {
		switch {
		case last[c.ID], f.Before != 0 && c.Seq >= f.Before, f.By != "" && c.By != f.By, f.Action != "" && c.Action != f.Action:
		case len(out) == f.Limit:
			return out, true, nil
		default:
			out = append(out, c)
		}
		last[c.ID] = true
	}
	return out, false, nil
}

const (
	reader   = "s3cr3t-reader-token"
	newToken = "s3cr3t-second-token"
)

// people are an operator with two tokens, and a reader.
func people() []Credential {
	return Credentials(config.Server{AdminToken: config.NewSecret(secret), AdminTokens: []config.AdminToken{
		{Name: "ann", Role: config.AdminOperator, Tokens: []config.Secret{config.NewSecret(newToken), config.NewSecret(newToken + "-old")}},
		{Name: "dashboard", Role: config.AdminRead, Tokens: []config.Secret{config.NewSecret(reader)}},
	}})
}

func serveAudited(t *testing.T, l *letters, log *trail) running {
	t.Helper()
	return serve(t, l, func(o *Options) { o.Tokens, o.Changes, o.Replays = people(), log, &jobs{} })
}

func TestEveryChangeIsOnRecord(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		path, body, token string
		fail              error
		status            int
		want              []string // by action result error, of every record
	}{
		"done":                {"/dead/1/drop", "", newToken, nil, 200, []string{"ann|drop dead letter|begun|", "ann|drop dead letter|done|"}},
		"by the old token":    {"/dead/1/retry", "", newToken + "-old", nil, 200, []string{"ann|retry dead letter|begun|", "ann|retry dead letter|done|"}},
		"failed":              {"/dead/1/drop", "", secret, errDown, 503, []string{"server.admin_token|drop dead letter|begun|", "server.admin_token|drop dead letter|failed|store dead letter: no answer"}},
		"refused":             {"/dead/99/drop", "", secret, nil, 404, []string{"server.admin_token|drop dead letter|begun|", "server.admin_token|drop dead letter|refused|no such dead letter: 99"}},
		"many":                {"/dead/drop", `{"sink":"crm"}`, newToken, nil, 200, []string{"ann|drop dead letters|begun|", "ann|drop dead letters|done|"}},
		"a replay":            {"/replays", `{"sink":"crm"}`, newToken, nil, 200, []string{"ann|start replay|begun|", "ann|start replay|done|"}},
		"a dry run":           {"/replays", `{"sink":"crm","dry_run":true}`, newToken, nil, 200, nil},
		"a reader's dry run":  {"/replays", `{"sink":"crm","dry_run":true}`, reader, nil, 200, nil},
		"a reader's change":   {"/dead/1/drop", "", reader, nil, 403, nil},
		"a reader's replay":   {"/replays", `{"sink":"crm"}`, reader, nil, 403, nil},
		"a stranger's change": {"/dead/1/drop", "", "nobody", nil, 401, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, log := newLetters(2), &trail{}
			l.fail = func(uint64) error { return tt.fail }
			s := serveAudited(t, l, log)
			status, body := s.ask(t, "POST", "/api/v1"+tt.path, tt.body, jsonType, "Authorization: Bearer "+tt.token)
			if status != tt.status {
				t.Errorf("answered %d %s, want %d", status, body, tt.status)
			}
			var got []string
			for _, c := range log.saved {
				got = append(got, c.By+"|"+c.Action+"|"+c.Result+"|"+c.Error)
				if c.On != "/api/v1"+tt.path || !strings.HasPrefix(c.From, "127.0.0.1:") || !c.At.Equal(noon) {
					t.Errorf("record %+v, want what was asked, from where and when", c)
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("records (-want +got):\n%s", d)
			}
			all, err := json.Marshal(log.saved)
			if err != nil || strings.Contains(string(all), "s3cr3t") || strings.Contains(s.log.String(), "s3cr3t") {
				t.Errorf("a token is in %s\n%s", all, s.log.String())
			}
		})
	}
}

func TestReaderIsToldWhatToUse(t *testing.T) {
	t.Parallel()
	s := serveAudited(t, newLetters(1), &trail{})
	_, err := s.client(t, reader).DeadDrop(t.Context(), 1)
	if err == nil || !strings.Contains(err.Error(), `the token of "dashboard" may read and change nothing; use the token of an operator`) {
		t.Errorf("DeadDrop by a reader = %v", err)
	}
	if _, err := s.client(t, reader).DeadShow(t.Context(), 1); err != nil {
		t.Errorf("a reader cannot read: %v", err)
	}
}

func TestNoChangeWithoutARecord(t *testing.T) {
	t.Parallel()
	l := newLetters(1)
	s := serveAudited(t, l, &trail{fail: errors.New("no answer")})
	_, err := s.client(t, secret).DeadDrop(t.Context(), 1)
	if err == nil || !strings.Contains(err.Error(), "could not be put on record, so it was not made") {
		t.Errorf("DeadDrop without an audit log = %v", err)
	}
	if len(l.dropped) > 0 {
		t.Error("it was dropped")
	}
}

func TestAuditPages(t *testing.T) {
	t.Parallel()
	log := &trail{}
	s := serveAudited(t, newLetters(5), log)
	for seq := range uint64(5) {
		if _, err := s.client(t, []string{secret, newToken}[seq%2]).DeadDrop(t.Context(), seq+1); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for c, err := range s.client(t, reader).ChangesAll(t.Context(), ChangeQuery{Limit: 2, By: "ann"}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c.On+" "+c.Result+" "+c.Details["event"])
	}
	if d := cmp.Diff([]string{"/api/v1/dead/4/drop done evt-4", "/api/v1/dead/2/drop done evt-2"}, got); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
}

func TestTokensAreExchanged(t *testing.T) {
	t.Parallel()
	s := serveAudited(t, newLetters(1), &trail{})
	ask := func(token string) int {
		status, _ := s.ask(t, "GET", "/api/v1/status", "", "Authorization: Bearer "+token)
		return status
	}
	both := append(operator(secret), Credential{Name: "next", Role: config.AdminOperator, Token: config.NewSecret("next-token")})
	for _, step := range []struct {
		tokens    []Credential
		old, next int
	}{{both, 200, 200}, {both[1:], 401, 200}, {nil, 200, 200}} { // the last: on loopback everybody may ask
		if err := s.SetTokens(step.tokens); err != nil {
			t.Fatalf("SetTokens: %v", err)
		}
		if old, next := ask(secret), ask("next-token"); old != step.old || next != step.next {
			t.Errorf("with %d tokens the old one gets %d and the next %d, want %d and %d", len(step.tokens), old, next, step.old, step.next)
		}
	}
	if err := s.SetTokens([]Credential{{Name: "empty", Role: config.AdminRead}}); err == nil {
		t.Error("an empty token is taken")
	}
	if err := s.SetTokens([]Credential{{Name: "king", Role: "king", Token: config.NewSecret("x")}}); err == nil {
		t.Error("an unknown role is taken")
	}
}

func TestTokensStayOffLoopback(t *testing.T) {
	t.Parallel()
	s, err := New(Options{
		Addr: ":0", Tokens: operator(secret), Dead: newLetters(0),
		Sinks:  func(context.Context) ([]SinkStatus, error) { return nil, nil },
		Status: func(context.Context) (Status, error) { return Status{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetTokens(nil); err == nil || !strings.Contains(err.Error(), "kept as they were") {
		t.Errorf("SetTokens(nil) off loopback = %v", err)
	}
	if n := len(*s.guard.known.Load()); n != 1 {
		t.Errorf("%d callers are known after a refused exchange, want 1", n)
	}
}
