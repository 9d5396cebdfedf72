package console

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeReloader answers with what it was given.
type fakeReloader struct {
	result ReloadResult
	state  ReloadState
}

func (f fakeReloader) Reload(_ context.Context, dryRun bool) ReloadResult {
	f.result.DryRun = dryRun
	return f.result
}

func (f fakeReloader) ReloadState() ReloadState { return f.state }

func TestReload(t *testing.T) {
	t.Parallel()
	const path, json = "/api/v1/reload", "Content-Type: application/json"
	none := NameChanges{Added: []string{}, Changed: []string{}, Removed: []string{}}
	taken := ReloadResult{OK: true, Changed: true, Routes: NameChanges{Added: []string{"paid"}, Changed: []string{}, Removed: []string{}}, Sinks: none, Sources: none, Rules: "0123abcd", FromSeq: 7}
	refused := ReloadResult{
		Error: "the configuration has mistakes", Hint: "mend them", Routes: none, Sinks: none, Sources: none,
		Mistakes: []ConfigMistake{{File: "a.yaml", Line: 3, Column: 4, Severity: "error", Message: "is wrong", Text: "a.yaml:3:4: is wrong"}},
	}
	for name, tt := range map[string]struct {
		result ReloadResult
		status int
	}{"taken": {taken, 200}, "refused": {refused, 422}} {
		s := serve(t, newLetters(1), func(o *Options) { withToken(o); o.Reload = fakeReloader{result: tt.result} })
		if status, body := s.ask(t, "POST", path, "", json, "Authorization: Bearer "+secret); status != tt.status || tt.status != 200 && !strings.Contains(body, `"error":"the configuration has mistakes"`) {
			t.Errorf("%s: answered %d %s, want %d", name, status, body, tt.status)
		}
		for _, dryRun := range []bool{false, true} {
			want := tt.result
			want.DryRun = dryRun
			got, err := s.client(t, secret).Reload(t.Context(), dryRun)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s: the client has %v (-want +got):\n%s", name, err, diff)
			}
		}
		if n := strings.Count(s.log.String(), "action=reload"); n != 2 {
			t.Errorf("%s: %d reloads are in the log, want 2: a dry run changes nothing", name, n)
		}
		for what, headers := range map[string][]string{"no token": {json}, "no JSON": {"Authorization: Bearer " + secret}} {
			if status, _ := s.ask(t, "POST", path, "", headers...); status == 200 || status == 422 {
				t.Errorf("%s: answered %d with %s", name, status, what)
			}
		}
	}
	state := ReloadState{OK: true, LoadedAt: noon, Files: []string{"a.yaml"}, Rules: "0123abcd", FileRules: "0123abcd", Versions: 1}
	s := serve(t, newLetters(1), func(o *Options) { o.Reload = fakeReloader{state: state} })
	got, err := s.client(t, "").ReloadState(t.Context())
	if diff := cmp.Diff(state, got); err != nil || diff != "" {
		t.Errorf("ReloadState: %v (-want +got):\n%s", err, diff)
	}
	without := serve(t, newLetters(1), nil)
	if status, _ := without.ask(t, "GET", path, ""); status != 404 {
		t.Errorf("without a reloader GET is answered %d, want 404", status)
	}
}
