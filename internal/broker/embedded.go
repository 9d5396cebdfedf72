package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/penstock/penstock/config"
)

// formatVersion is the layout of the data directory. A directory with a newer
// one was written by a newer Penstock and is refused.
const formatVersion = 1

// startTimeout bounds the start of the embedded server. A large store reads
// its index before it is ready.
const startTimeout = 2 * time.Minute

// embedded is a NATS server inside this process, and its hold of the directory.
type embedded struct {
	dir    string
	lock   *dirLock
	server *server.Server
}

// startEmbedded takes the data directory and starts the server on it.
func startEmbedded(o Options, budget budget) (*embedded, error) {
	dir := o.Config.DataDir
	if err := checkFormat(dir); err != nil {
		return nil, err
	}
	opts, err := serverOptions(o, budget)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("set up embedded NATS server: %w", err)
	}
	log := &serverLog{log: o.Logger}
	srv.SetLoggerV2(log, false, false, false)
	e := &embedded{dir: dir, server: srv}
	go srv.Start()
	if !becomesReady(srv, log) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, startError(o.Config, log.Fatal())
	}
	return e, nil
}

// becomesReady waits until the server takes connections, or cannot.
func becomesReady(srv *server.Server, log *serverLog) bool {
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline) && log.Fatal() == ""; {
		if srv.ReadyForConnections(100 * time.Millisecond) {
			return log.Fatal() == ""
		}
	}
	return false
}

func startError(c config.Broker, fatal string) error {
	switch {
	case strings.Contains(fatal, "address already in use"):
		return fmt.Errorf("address %s is taken by another process; stop that one, or change broker.listen", c.Listen)
	case fatal != "":
		return fmt.Errorf("start embedded NATS server on %s: %s", c.DataDir, fatal)
	}
	return fmt.Errorf("embedded NATS server on %s was not ready within %s", c.DataDir, startTimeout)
}

func serverOptions(o Options, b budget) (*server.Options, error) {
	opts := &server.Options{
		ServerName: "penstock", JetStream: true, StoreDir: o.Config.DataDir,
		JetStreamMaxStore: b.store, JetStreamMaxMemory: 64 << 20,
		DontListen: true, Host: "127.0.0.1", Port: -1, NoSigs: true, DisableJetStreamBanner: true,
		MaxPayload:   int32(maxPayload(o.MaxBody)),
		SyncInterval: 250 * time.Millisecond,
		SyncAlways:   o.Config.Durability == config.Power && !groupCommit,
		// The stream's queue of messages not yet written: past it a publisher
		// is told to come back, so memory stays bounded.
		StreamMaxBufferedMsgs: 20_000, StreamMaxBufferedSize: 64 << 20,
	}
	if o.Config.Durability == config.Process {
		opts.SyncInterval = 2 * time.Minute
	}
	if o.Config.Listen == "" {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(o.Config.Listen)
	if err != nil {
		return nil, fmt.Errorf("broker.listen %q: %w; write host:port, as in 127.0.0.1:4222", o.Config.Listen, err)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		return nil, fmt.Errorf("broker.listen %q: port %q is not a number from 0 to 65535", o.Config.Listen, port)
	}
	if n == 0 {
		n = -1
	}
	opts.DontListen, opts.Host, opts.Port = false, host, n
	addUsers(opts, o)
	return opts, nil
}

// maxPayload leaves room for our headers around the largest body.
func maxPayload(maxBody int64) int64 { return maxBody + 64<<10 }

// checkFormat makes the directory, and refuses one of a newer version.
func checkFormat(dir string) error {
	path := filepath.Join(dir, "penstock.format")
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(path, []byte(strconv.Itoa(formatVersion)+"\n"), 0o600); err != nil {
			return fmt.Errorf("write data directory: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read data directory: %w", err)
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return fmt.Errorf("%s holds %q, not a version; it is not a data directory of Penstock", path, strings.TrimSpace(string(raw)))
	}
	if v > formatVersion {
		return fmt.Errorf("data directory %s has format %d, this penstock knows up to %d; run the newer version, or use another broker.data_dir", dir, v, formatVersion)
	}
	return nil
}

// healthTries is how often a server that says it is not well is asked again.
const healthTries = 5

// health is nil while the server and all its streams work. A stream that could
// not write stays frozen until the server is started again.
func (e *embedded) health() error {
	st := e.server.Healthz(&server.HealthzOptions{})
	// The server gives itself one millisecond to say that it has started, and
	// misses that when the CPUs are busy. What is really broken stays so.
	for try := 1; try < healthTries && st.Error != ""; try++ {
		st = e.server.Healthz(&server.HealthzOptions{})
	}
	if st.Error == "" {
		return nil
	}
	return fmt.Errorf("embedded NATS server: %s", st.Error)
}

// stop ends the server and gives the directory up.
func (e *embedded) stop() error {
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
	}
	return e.lock.Close()
}

// serverLog passes the server's log on to ours. The server does not exit on a
// fatal error when it has a logger of ours, so the first one is kept.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex
	fatal string
}

// Fatal returns the first fatal error, or "".
func (l *serverLog) Fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

// Noticef implements server.LoggerV2.
func (l *serverLog) Noticef(f string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }

// Warnf implements server.LoggerV2.
func (l *serverLog) Warnf(f string, v ...any) {
	if strings.HasPrefix(f, "Plaintext passwords") {
		return // they are in our memory, not in a file of the server's
	}
	l.log.Warn("nats: " + fmt.Sprintf(f, v...))
}

// Errorf implements server.LoggerV2.
func (l *serverLog) Errorf(f string, v ...any) { l.log.Error("nats: " + fmt.Sprintf(f, v...)) }

// Fatalf implements server.LoggerV2.
func (l *serverLog) Fatalf(f string, v ...any) {
	msg := fmt.Sprintf(f, v...)
	l.mu.Lock()
	if l.fatal == "" {
		l.fatal = msg
	}
	l.mu.Unlock()
	l.log.Error("nats: " + msg)
}

// Debugf implements server.LoggerV2.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef implements server.LoggerV2.
func (l *serverLog) Tracef(string, ...any) {}
