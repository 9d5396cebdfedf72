package ingress

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is a key pair from two files, read again when either changes:
// who renews a certificate need not restart anything.
type certificate struct {
	certFile, keyFile string
	now               func() time.Time
	log               *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	version version
	checked time.Time
}

// version tells two states of the files apart.
type version struct{ cert, key fileState }

// fileState is the zero value for a file that is not there.
type fileState struct {
	modified time.Time
	size     int64
}

func loadCertificate(certFile, keyFile string, now func() time.Time, l *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, now: now, log: l, checked: now()}
	// Before reading: a change in between is then seen as one.
	c.version = c.current()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	c.pair = &pair
	return c, nil
}

// get implements tls.Config.GetCertificate. It looks at the files at most once
// a second.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= time.Second {
		c.checked = now
		c.reload()
	}
	return c.pair, nil
}

// reload reads a changed pair. A bad one is reported once, and the old one
// stays until the files change again: often one file is written before the other.
func (c *certificate) reload() {
	v := c.current()
	if v == c.version {
		return
	}
	c.version = v
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.log.Error("keeping the old certificate: the new one is bad", "setting", "server.tls", "error", err)
		return
	}
	c.pair = &pair
	c.log.Info("certificate reloaded", "setting", "server.tls", "file", c.certFile)
}

func (c *certificate) current() version {
	return version{stateOf(c.certFile), stateOf(c.keyFile)}
}

func stateOf(file string) fileState {
	info, err := os.Stat(file)
	if err != nil {
		return fileState{}
	}
	return fileState{info.ModTime(), info.Size()}
}
