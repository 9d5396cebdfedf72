package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// fakeMoving is a store that writes text, and an intake.
type fakeMoving struct {
	text    string
	err     error
	block   chan struct{} // nil: a backup does not wait
	begun   chan struct{}
	status  IntakeStatus
	refuses error
}

func (f *fakeMoving) BackupSize(context.Context) (int64, error) { return int64(len(f.text)), nil }

func (f *fakeMoving) Backup(ctx context.Context, noRejected bool, w io.Writer) error {
	if f.begun != nil {
		close(f.begun)
		<-f.block
	}
	if noRejected {
		return errors.New("without them")
	}
	_, err := io.WriteString(w, f.text)
	return errors.Join(err, f.err)
}

func (f *fakeMoving) Hold(id string, lease time.Duration) (IntakeStatus, error) {
	f.status = IntakeStatus{State: IntakeHeld, ID: id, Until: time.Unix(int64(lease/time.Second), 0).UTC()}
	return f.status, f.refuses
}
func (f *fakeMoving) Release(string) (IntakeStatus, error) {
	return IntakeStatus{State: IntakeOpen}, f.refuses
}
func (f *fakeMoving) Promoted(_ string, _ time.Time, url string) (IntakeStatus, error) {
	return IntakeStatus{State: IntakePromoted, URL: url}, f.refuses
}
func (f *fakeMoving) Status() IntakeStatus { return f.status }

func TestBackupIsStreamed(t *testing.T) {
	t.Parallel()
	f := &fakeMoving{text: strings.Repeat("backup ", 100_000), status: IntakeStatus{State: IntakeOpen}}
	c := movingClient(t, f)
	var got bytes.Buffer
	var size int64
	begin := func(n int64) error { size = n; return nil }
	if err := c.Backup(t.Context(), false, begin, &got); err != nil || got.String() != f.text || size != int64(len(f.text)) {
		t.Errorf("Backup = %v with %d bytes of %d announced, want %d", err, got.Len(), size, len(f.text))
	}
	if err := c.Backup(t.Context(), true, begin, io.Discard); err == nil || !strings.Contains(err.Error(), "the server could not complete the backup: without them") {
		t.Errorf("a backup that breaks off = %v", err)
	}
	full := errors.New("no room")
	if err := c.Backup(t.Context(), false, func(int64) error { return full }, io.Discard); !errors.Is(err, full) {
		t.Errorf("a backup that is not begun = %v", err)
	}
}

func TestOneBackupAtATime(t *testing.T) {
	t.Parallel()
	f := &fakeMoving{text: "x", begun: make(chan struct{}), block: make(chan struct{})}
	c := movingClient(t, f)
	done := make(chan error, 1)
	begin := func(int64) error { return nil }
	go func() { done <- c.Backup(t.Context(), false, begin, io.Discard) }()
	<-f.begun
	if err := c.Backup(t.Context(), false, begin, io.Discard); err == nil || !strings.Contains(err.Error(), "another backup is being made") {
		t.Errorf("a second backup = %v", err)
	}
	close(f.block)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestIntakeRequests(t *testing.T) {
	t.Parallel()
	f := &fakeMoving{status: IntakeStatus{State: IntakeOpen}}
	c := movingClient(t, f)
	if st, err := c.IntakeHold(t.Context(), "m", 90*time.Second); err != nil || st.State != IntakeHeld || st.ID != "m" || st.Until.Unix() != 90 {
		t.Errorf("IntakeHold = %+v, %v", st, err)
	}
	if _, err := c.DeadRetry(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "being moved to another store") {
		t.Errorf("a change while the intake is held = %v", err)
	}
	if st, err := c.IntakePromoted(t.Context(), "m", time.Now(), "nats://x"); err != nil || st.URL != "nats://x" {
		t.Errorf("IntakePromoted = %+v, %v", st, err)
	}
	f.refuses = &IntakeError{Text: "another move is under way"}
	for name, call := range map[string]func() (IntakeStatus, error){
		"hold":     func() (IntakeStatus, error) { return c.IntakeHold(t.Context(), "m", time.Second) },
		"release":  func() (IntakeStatus, error) { return c.IntakeRelease(t.Context(), "m") },
		"promoted": func() (IntakeStatus, error) { return c.IntakePromoted(t.Context(), "m", time.Now(), "") },
	} {
		var no *APIError
		if _, err := call(); !errors.As(err, &no) || no.Status != 409 {
			t.Errorf("%s that is refused = %v, want 409", name, err)
		}
	}
	for _, bad := range []time.Duration{0, -time.Second, 2 * time.Hour} {
		if _, err := c.IntakeHold(t.Context(), "m", bad); err == nil || !strings.Contains(err.Error(), "must be a time of up to 1h") {
			t.Errorf("a hold for %s = %v", bad, err)
		}
	}
	if _, err := c.IntakeHold(t.Context(), "", time.Second); err == nil {
		t.Error("a hold without an id is taken")
	}
}

func movingClient(t *testing.T, f *fakeMoving) *Client {
	t.Helper()
	return serve(t, newLetters(1), func(o *Options) { o.Backup, o.Intake = f, f }).client(t, "")
}
