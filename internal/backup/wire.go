package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	api = "$JS.API."
	// silence is how long the server may say nothing in the middle of a
	// transfer. An election takes 4 to 9 seconds.
	silence = 20 * time.Second
	// activation is how long a server may take to make a stream of what it got.
	activation = 5 * time.Minute
	chunkSize  = 128 << 10
	// windowSize is how much the server sends ahead of what was read.
	windowSize = 2 << 20
	// inFlight is how many chunks may be on their way.
	inFlight = 32
)

// APIError is a refusal by the server.
type APIError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

// Error implements error.
func (e *APIError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.ErrCode) }

// The server's codes that mean something here.
const (
	codeNoStream  = 10059
	codeNoMessage = 10037
)

func isCode(err error, code int) bool {
	var e *APIError
	return errors.As(err, &e) && e.ErrCode == code
}

// request asks the JetStream API. It tries again while nobody leads.
func request(ctx context.Context, nc *nats.Conn, subject string, in, out any) error {
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	for {
		m, err := requestOnce(ctx, nc, api+subject, text)
		if err != nil {
			return fmt.Errorf("ask %s: %w", subject, err)
		}
		var failed struct {
			Error *APIError `json:"error"`
		}
		if err := json.Unmarshal(m.Data, &failed); err != nil {
			return fmt.Errorf("read answer to %s: %w", subject, err)
		}
		if failed.Error == nil {
			return json.Unmarshal(m.Data, out)
		}
		if failed.Error.Code != 503 || pause(ctx, 250*time.Millisecond) != nil {
			return failed.Error
		}
	}
}

// requestOnce asks until somebody answers.
func requestOnce(ctx context.Context, nc *nats.Conn, subject string, text []byte) (*nats.Msg, error) {
	for {
		try, cancel := context.WithTimeout(ctx, silence/4)
		m, err := nc.RequestWithContext(try, subject, text)
		cancel()
		if err == nil || ctx.Err() != nil {
			return m, err
		}
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrNoResponders) {
			return nil, err
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return nil, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// snapshot is a stream's snapshot on its way here. Reading it tells the server
// to go on; when nobody reads for 5 s the server gives up.
type snapshot struct {
	ctx    context.Context
	nc     *nats.Conn
	sub    *nats.Subscription
	config json.RawMessage
	state  server.StreamState
	rest   []byte
	err    error
}

// startSnapshot asks for a snapshot. The caller must close it.
func startSnapshot(ctx context.Context, nc *nats.Conn, stream string, consumers bool) (*snapshot, error) {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil { // the server bounds them
		return nil, errors.Join(err, sub.Unsubscribe())
	}
	s := &snapshot{ctx: ctx, nc: nc, sub: sub}
	var answer struct {
		Config json.RawMessage    `json:"config"`
		State  server.StreamState `json:"state"`
	}
	err = request(ctx, nc, "STREAM.SNAPSHOT."+stream,
		server.JSApiStreamSnapshotRequest{DeliverSubject: inbox, NoConsumers: !consumers, ChunkSize: chunkSize, WindowSize: windowSize}, &answer)
	if err != nil {
		return nil, errors.Join(err, sub.Unsubscribe())
	}
	s.config, s.state = answer.Config, answer.State
	return s, nil
}

// Close ends the transfer.
func (s *snapshot) Close() error { return s.sub.Unsubscribe() }

// Read implements io.Reader.
func (s *snapshot) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.next()
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *snapshot) next() {
	ctx, cancel := context.WithTimeout(s.ctx, silence)
	defer cancel()
	m, err := s.sub.NextMsgWithContext(ctx)
	switch {
	case err != nil && s.ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		s.err = fmt.Errorf("the server sent nothing more for %s", silence)
	case err != nil:
		s.err = err
	case len(m.Data) == 0:
		s.err = io.EOF
		if status := m.Header.Get("Status"); status != "" && status != "204" {
			s.err = fmt.Errorf("the server ended the snapshot: %s %s", status, m.Header.Get("Description"))
		}
	default:
		s.rest = m.Data
		if m.Reply != "" {
			s.err = s.nc.Publish(m.Reply, nil)
		}
	}
}

// upload sends a snapshot to a server, which makes a stream of it. It is an
// io.Writer of the snapshot's bytes.
type upload struct {
	ctx     context.Context
	nc      *nats.Conn
	sub     *nats.Subscription
	to      string
	buf     []byte
	waiting int // chunks sent and not confirmed
	begun   bool
}

func startUpload(ctx context.Context, nc *nats.Conn, cfg *server.StreamConfig, state *server.StreamState) (*upload, error) {
	var answer server.JSApiStreamRestoreResponse
	err := request(ctx, nc, "STREAM.RESTORE."+cfg.Name, server.JSApiStreamRestoreRequest{Config: *cfg, State: *state}, &answer)
	if err != nil {
		return nil, err
	}
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		return nil, err
	}
	return &upload{ctx: ctx, nc: nc, sub: sub, to: answer.DeliverSubject}, nil
}

// Write implements io.Writer.
func (u *upload) Write(p []byte) (int, error) {
	u.buf = append(u.buf, p...)
	for len(u.buf) >= chunkSize {
		if err := u.send(u.buf[:chunkSize]); err != nil {
			return 0, err
		}
		u.buf = append(u.buf[:0], u.buf[chunkSize:]...)
	}
	return len(p), nil
}

func (u *upload) send(chunk []byte) error {
	if !u.begun {
		u.begun = true
		return u.sendFirst(chunk)
	}
	for u.waiting >= inFlight {
		if err := u.confirmed(); err != nil {
			return err
		}
	}
	u.waiting++
	return u.nc.PublishRequest(u.to, u.sub.Subject, bytes.Clone(chunk))
}

// sendFirst sends again while the server that waits for it is not known to ours.
func (u *upload) sendFirst(chunk []byte) error {
	ctx, cancel := context.WithTimeout(u.ctx, silence)
	defer cancel()
	for {
		m, err := u.nc.RequestWithContext(ctx, u.to, chunk)
		if errors.Is(err, nats.ErrNoResponders) && pause(ctx, 20*time.Millisecond) == nil {
			continue
		}
		if err != nil {
			return err
		}
		return refusal(m)
	}
}

// confirmed waits for the server to have taken one chunk.
func (u *upload) confirmed() error {
	ctx, cancel := context.WithTimeout(u.ctx, silence)
	defer cancel()
	m, err := u.sub.NextMsgWithContext(ctx)
	if err != nil {
		return err
	}
	u.waiting--
	return refusal(m)
}

func refusal(m *nats.Msg) error {
	if status := m.Header.Get("Status"); status != "" {
		return fmt.Errorf("the server takes no more: %s %s", status, m.Header.Get("Description"))
	}
	if len(m.Data) == 0 {
		return nil
	}
	var answer struct {
		Error *APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if answer.Error != nil {
		return answer.Error
	}
	return nil
}

// finish sends the rest and waits until the server has made the stream.
func (u *upload) finish() error {
	if len(u.buf) > 0 {
		if err := u.send(u.buf); err != nil {
			return err
		}
	}
	for u.waiting > 0 {
		if err := u.confirmed(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(u.ctx, activation)
	defer cancel()
	m, err := u.nc.RequestWithContext(ctx, u.to, nil)
	if err != nil {
		return fmt.Errorf("wait until the server has made the stream: %w", err)
	}
	return refusal(m)
}

func (u *upload) Close() error { return u.sub.Unsubscribe() }

// ourMetadata leaves out of a configuration what the server writes itself.
func ourMetadata(m map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		if !strings.HasPrefix(k, "_nats.") {
			out[k] = v
		}
	}
	return out
}
