package console

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/penstock/penstock/internal/delivery"
)

// The states of the intake.
const (
	IntakeOpen     = "open"     // webhooks are taken
	IntakeDraining = "draining" // they are not; something is still under way
	IntakeHeld     = "held"     // nothing is
	IntakePromoted = "promoted" // the events are elsewhere now
)

// IntakeStatus is the answer of everything under /api/v1/intake.
type IntakeStatus struct {
	State string `json:"state"`
	// Embedded reports that the store is inside the process.
	Embedded bool `json:"embedded"`
	// ID names the move that holds the intake, Since and Until say when it
	// began and when it ends by itself.
	ID    string    `json:"id,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// URL is where the events are once they were moved.
	URL string `json:"url,omitempty"`
}

// IntakeRequest is the body of POST /api/v1/intake/{hold,release,promoted}.
type IntakeRequest struct {
	ID string `json:"id"`
	// For is how long a hold lasts, as in 2m; it may be renewed.
	For string `json:"for,omitempty"`
	// Since is the hold in which the events were moved, URL where to.
	Since time.Time `json:"since,omitzero"`
	URL   string    `json:"url,omitempty"`
}

// Intake takes webhooks, or does not while the store is moved.
type Intake interface {
	// Hold stops taking and delivering, or renews such a hold of the same id.
	Hold(id string, lease time.Duration) (IntakeStatus, error)
	// Release ends a hold.
	Release(id string) (IntakeStatus, error)
	// Promoted ends the use of this store for good, unless the hold that began
	// at since has ended in between.
	Promoted(id string, since time.Time, url string) (IntakeStatus, error)
	Status() IntakeStatus
}

// IntakeError is a request that the state of the intake does not allow.
type IntakeError struct{ Text string }

// Error implements error.
func (e *IntakeError) Error() string { return e.Text }

// Backup makes backups of the store that this process has inside.
type Backup interface {
	// BackupSize is at most how many bytes a backup has now.
	BackupSize(ctx context.Context) (int64, error)
	// Backup writes one; noRejected leaves out refused requests.
	Backup(ctx context.Context, noRejected bool, w io.Writer) error
}

const (
	bytesType = "application/octet-stream"
	// sizeHeader announces at most how many bytes follow, errorTrailer tells
	// after them what went wrong.
	sizeHeader   = "Penstock-Backup-Bytes"
	errorTrailer = "Penstock-Error"
	// writeSilence is how long the other side may take for one piece.
	writeSilence = 30 * time.Second
	maxLease     = time.Hour
)

// intakeRoutes stop the intake for the time of a move, or for good.
func (s *Server) intakeRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/intake", summary: "Whether webhooks are taken", out: IntakeStatus{},
			handle: func(context.Context, echo.Context) (any, error) { return s.o.Intake.Status(), nil }},
		{method: http.MethodPost, path: "/intake/hold", summary: "Stop webhooks and deliveries for a time, or renew that",
			in: IntakeRequest{}, out: IntakeStatus{}, handle: s.changeIntake("hold intake", s.holdIntake)},
		{method: http.MethodPost, path: "/intake/release", summary: "Let webhooks in again", in: IntakeRequest{}, out: IntakeStatus{},
			handle: s.changeIntake("release intake", func(r IntakeRequest) (IntakeStatus, error) { return s.o.Intake.Release(r.ID) })},
		{method: http.MethodPost, path: "/intake/promoted", summary: "End the use of this store for good: its events are elsewhere", in: IntakeRequest{}, out: IntakeStatus{},
			handle: s.changeIntake("end use of store", func(r IntakeRequest) (IntakeStatus, error) { return s.o.Intake.Promoted(r.ID, r.Since, r.URL) })},
	}
}

// changeIntake calls do for an operator. What only renews a hold is not on
// record: it comes every few seconds.
func (s *Server) changeIntake(action string, do func(IntakeRequest) (IntakeStatus, error)) handler {
	return func(ctx context.Context, c echo.Context) (any, error) {
		if no := callerOf(c).mayChange(); no != nil {
			return nil, no
		}
		var r IntakeRequest
		if err := json.NewDecoder(c.Request().Body).Decode(&r); err != nil || r.ID == "" {
			return nil, refuse(http.StatusBadRequest, "the body is not a request with an id", "it is what penstock promote sends")
		}
		change := func(context.Context, echo.Context) (any, error) {
			st, err := do(r)
			var no *IntakeError
			if errors.As(err, &no) {
				return nil, refuse(http.StatusConflict, no.Text, "penstock promote knows what to do about it")
			}
			return st, err
		}
		if st := s.o.Intake.Status(); r.For != "" && st.State != IntakeOpen && st.ID == r.ID {
			return change(ctx, c)
		}
		return s.recorded(ctx, c, action, change)
	}
}

func (s *Server) holdIntake(r IntakeRequest) (IntakeStatus, error) {
	lease, err := time.ParseDuration(r.For)
	if err != nil || lease <= 0 || lease > maxLease {
		return IntakeStatus{}, refuse(http.StatusBadRequest, "for must be a time of up to 1h, such as 2m", "")
	}
	return s.o.Intake.Hold(r.ID, lease)
}

// notHeld refuses a change while the events are being moved.
func (s *Server) notHeld() error {
	if s.o.Intake == nil {
		return nil
	}
	if st := s.o.Intake.Status(); st.State != IntakeOpen {
		return refuse(http.StatusServiceUnavailable, "the events are being moved to another store, or were", "nothing can be changed here until that is over or aborted")
	}
	return nil
}

// backup streams a backup. It takes as long as the other side does, so that
// the bounds of other requests are not for it.
func (s *Server) backup(c echo.Context) error {
	if no := callerOf(c).mayChange(); no != nil { // it holds more than what a reader sees
		s.answer(c, no)
		return nil
	}
	select {
	case s.backups <- struct{}{}:
		defer func() { <-s.backups }()
	default:
		c.Response().Header().Set("Retry-After", "10")
		s.answer(c, refuse(http.StatusTooManyRequests, "another backup is being made", "ask again when it is done"))
		return nil
	}
	ctx := c.Request().Context()
	size, err := s.o.Backup.BackupSize(ctx)
	if err != nil {
		s.answer(c, asRefusal(err))
		return nil
	}
	rec := s.downloading(ctx, c)
	h := c.Response().Header()
	h.Set("Content-Type", bytesType)
	h.Set(sizeHeader, strconv.FormatInt(size, 10))
	h.Set("Trailer", errorTrailer)
	c.Response().WriteHeader(http.StatusOK)
	w := patientWriter{w: c.Response(), deadline: http.NewResponseController(c.Response()).SetWriteDeadline}
	err = s.o.Backup.Backup(ctx, c.QueryParam("rejected") == "false", w)
	rec.TookMS = s.o.Now().Sub(rec.At).Milliseconds()
	s.endChange(ctx, rec, []slog.Attr{slog.Int64("size", size)}, err)
	if err != nil {
		s.log.Error("backup not completed", "err", err)
		h.Set(errorTrailer, oneLine(err.Error()))
		return nil
	}
	return nil
}

// downloading puts on record who takes all data away. Unlike a change it goes
// on without: a store that is full has to be saved all the more.
func (s *Server) downloading(ctx context.Context, c echo.Context) delivery.Change {
	who := callerOf(c)
	rec := delivery.Change{
		ID: rand.Text(), At: s.o.Now().UTC(), By: who.name, Role: who.role, From: c.Request().RemoteAddr,
		Action: "backup", On: c.Request().URL.Path, Result: delivery.ChangeBegun,
	}
	s.log.Info("backup begun", "by", rec.By, "remote", rec.From)
	if err := s.saveChange(ctx, rec); err != nil {
		s.log.Warn("backup not put on record", "by", rec.By, "remote", rec.From, "err", err)
	}
	return rec
}

// patientWriter gives every piece its own time.
type patientWriter struct {
	w        io.Writer
	deadline func(time.Time) error
}

// Write implements io.Writer.
func (p patientWriter) Write(b []byte) (int, error) {
	if err := p.deadline(time.Now().Add(writeSilence)); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}

// IntakeStatus says whether webhooks are taken.
func (c *Client) IntakeStatus(ctx context.Context) (IntakeStatus, error) {
	var s IntakeStatus
	err := c.call(ctx, http.MethodGet, "/intake", nil, &s)
	return s, err
}

// IntakeHold stops webhooks and deliveries, or renews that.
func (c *Client) IntakeHold(ctx context.Context, id string, lease time.Duration) (IntakeStatus, error) {
	return c.intake(ctx, "hold", IntakeRequest{ID: id, For: lease.String()})
}

// IntakeRelease lets webhooks in again.
func (c *Client) IntakeRelease(ctx context.Context, id string) (IntakeStatus, error) {
	return c.intake(ctx, "release", IntakeRequest{ID: id})
}

// IntakePromoted tells the process that its events are at url from now on, as
// they were in the hold that began at since.
func (c *Client) IntakePromoted(ctx context.Context, id string, since time.Time, url string) (IntakeStatus, error) {
	return c.intake(ctx, "promoted", IntakeRequest{ID: id, Since: since, URL: url})
}

func (c *Client) intake(ctx context.Context, action string, r IntakeRequest) (IntakeStatus, error) {
	var s IntakeStatus
	err := c.call(ctx, http.MethodPost, "/intake/"+action, r, &s)
	return s, err
}

// Backup copies a backup of the process's store to w. begin is called first,
// with at most how many bytes will come; its error ends the call.
func (c *Client) Backup(ctx context.Context, noRejected bool, begin func(bytes int64) error, w io.Writer) error {
	path := "/backup"
	if noRejected {
		path += "?rejected=false"
	}
	req, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	resp, err := c.stream(req, 0)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	size, err := strconv.ParseInt(resp.Header.Get(sizeHeader), 10, 64)
	if err != nil {
		return c.stranger(resp)
	}
	if err := begin(size); err != nil {
		return err
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("receive the backup: %w", err)
	}
	if text := resp.Trailer.Get(errorTrailer); text != "" {
		return fmt.Errorf("the server could not complete the backup: %s", text)
	}
	return nil
}
