package broker

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// externalServer starts a NATS server that other processes could reach and
// returns its URL.
func externalServer(t *testing.T) string {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		ServerName: "external", JetStream: true, StoreDir: t.TempDir(), Host: "127.0.0.1", Port: -1,
		NoLog: true, NoSigs: true, MaxPayload: 2 << 20, JetStreamMaxStore: 16 << 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("external NATS server is not ready")
	}
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return srv.ClientURL()
}
