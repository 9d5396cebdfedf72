package console

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/delivery"
)

// HEAD answers as GET does, without a body, and asks for a token where GET does.
func TestHeadIsGetWithoutBody(t *testing.T) {
	t.Parallel()
	s := serveAudited(t, newLetters(1), &trail{})
	for _, step := range []struct {
		path, token string
		status      int
	}{
		{"/healthz", "", 200},
		{"/readyz", "", 200},
		{"/metrics", "", 200},
		{"/api/v1/status", "", 401},
		{"/api/v1/status", reader, 200},
		{"/api/v1/dead/99", reader, 404},
		{"/api/v1/openapi.json", reader, 405}, // sent as it is
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, s.url+step.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if step.token != "" {
			req.Header.Set("Authorization", "Bearer "+step.token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != step.status || len(body) > 0 {
			t.Errorf("HEAD %s answered %d %q, %v; want %d and nothing", step.path, resp.StatusCode, body, err, step.status)
		}
	}
}

// What is said of an unknown field are the fields of that address.
func TestUnknownFieldsAreToldTheKnownOnes(t *testing.T) {
	t.Parallel()
	s := serveAudited(t, newLetters(1), &trail{})
	for path, want := range map[string]string{
		"/dead/drop": "send an object with sink, class, since, all, cursor",
		"/replays":   "dry_run",
	} {
		status, body := s.ask(t, "POST", "/api/v1"+path, `{"junk":1}`, jsonType, "Authorization: Bearer "+newToken)
		if status != http.StatusBadRequest || !strings.Contains(body, want) || path == "/replays" && strings.Contains(body, "class, since, all") {
			t.Errorf("POST %s answered %d %s, want 400 and %q", path, status, body, want)
		}
	}
}

// Who takes all data away is on record, as who changes something is.
func TestBackupIsOnRecord(t *testing.T) {
	t.Parallel()
	log := &trail{}
	f := &fakeMoving{text: "all data", status: IntakeStatus{State: IntakeOpen}}
	s := serve(t, newLetters(0), func(o *Options) { o.Tokens, o.Changes, o.Backup = people(), log, f })
	if err := s.client(t, newToken).Backup(t.Context(), false, func(int64) error { return nil }, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := s.client(t, reader).Backup(t.Context(), false, func(int64) error { return nil }, io.Discard); err == nil {
		t.Error("a reader may take all data away")
	}
	records, _, _ := log.AuditedChanges(t.Context(), delivery.ChangeFilter{By: "ann", Limit: 10})
	if len(records) != 1 || records[0].Action != "backup" || records[0].Result != "done" || records[0].Role == "" {
		t.Errorf("records %+v, want one of ann's backup", records)
	}
}
